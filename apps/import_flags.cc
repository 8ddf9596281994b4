#include "apps/import_flags.h"

#include <vector>

namespace tg::apps {

std::span<const std::string> kv_format_names() {
  static const std::vector<std::string> kNames = {"f16", "q8_0", "bf16", "f32", "e4m3", "q4_0"};
  return kNames;
}

model::ImportOptions ImportFlags::over(model::ImportOptions base) const {
  if (exact) base.exact = true;
  if (kv_format) base.kv_format = *kv_format;
  return base;
}

void add_import_flags(CLI::App& command, ImportFlags& flags) {
  command.add_flag("--exact", flags.exact,
                   "activations are not rounded to int8 or bf16 whatever the weights: slower, and "
                   "priced as such");
  std::span<const std::string> names = kv_format_names();
  command
      .add_option_function<std::string>(
          "--kv-format",
          [&flags](const std::string& name) { flags.kv_format = isa::dtype_by_name(name); },
          "of cached keys and values (default f16; q8_0 takes half)")
      ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())));
}

}  // namespace tg::apps
