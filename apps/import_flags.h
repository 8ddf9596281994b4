// What the command line may decide about a program made from a model file. The program's identity
// and its prices follow from it, so every command that opens one takes the same flags.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>

#include "model/architecture/blueprint.h"

namespace tg::apps {

struct ImportFlags {
  bool exact = false;
  std::optional<isa::DType> kv_format;

  // `base` with what was given on the command line.
  model::ImportOptions over(model::ImportOptions base = {}) const;
};

// Adds --exact and --kv-format, which write into `flags`; it must outlive the parsing.
void add_import_flags(CLI::App& command, ImportFlags& flags);

// Names of the formats a cache of keys and values may have, the default first.
std::span<const std::string> kv_format_names();

}  // namespace tg::apps
