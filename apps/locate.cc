#include "apps/locate.h"

#include <cstdlib>
#include <filesystem>

namespace tg::apps {

namespace {

constexpr const char* kBundled = "models/tokengrid-tiny.gguf";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Result<std::string> bundled_model() {
  std::error_code failure;
  std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe", failure).parent_path();
  if (std::filesystem::exists(kBundled, failure)) return std::string(kBundled);
  for (; !folder.empty(); folder = folder.parent_path()) {
    if (std::filesystem::exists(folder / kBundled, failure)) return (folder / kBundled).string();
    if (folder == folder.root_path()) break;
  }
  return Error{Code::kNotFound,
               std::string("no model given, and no ") + kBundled + " beside the binary"};
}

std::string default_data_directory() {
  std::string base = environment("XDG_DATA_HOME");
  if (base.empty()) base = environment("HOME") + "/.local/share";
  return base + "/tokengrid";
}

}  // namespace tg::apps
