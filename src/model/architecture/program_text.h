// Writes program text (isa.md §8) line by line: what the templates share.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isa/program.h"
#include "model/architecture/blueprint.h"

namespace tg::model {

class ProgramText {
 public:
  void line(std::string_view text) { text_.append(text).append("\n"); }
  void append(std::string_view lines) { text_.append(lines); }

  // "  RESULT = OP OPERANDS {ATTRIBUTES} -> TYPE"
  void instruction(std::string_view result, std::string_view op, std::string_view operands,
                   std::string_view attributes, std::string_view type) {
    std::string braced = attributes.empty() ? "" : fmt::format(" {{{}}}", attributes);
    line(fmt::format("  {} = {} {}{} -> {}", result, op, operands, braced, type));
  }

  // The profiles of a program, "TEXT" first, and its bounds. `context` is the model's.
  void begin(std::string_view profiles, const ImportOptions& options, i64 context) {
    const isa::Bounds& b = options.bounds;
    line(fmt::format(".tgp least profile={}", profiles));
    line(fmt::format(".dim T<={} S<={} R<={} C<={}", b.tokens, b.sequences, b.rows,
                     b.context > 0 ? b.context : context));
  }

  // Words, so that the text says exactly what the program holds.
  void constant(std::string_view name, std::string_view dims, const std::vector<f32>& values) {
    std::string words;
    for (f32 value : values) words += fmt::format(" {:#010x}", std::bit_cast<u32>(value));
    line(fmt::format(".const ${} f32[{}] ={}", name, dims, words));
  }

  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace tg::model
