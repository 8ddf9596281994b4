#include "backend/opencl/extensions.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace tg::backend::opencl {

namespace {

// CL_DEVICE_INTEGER_DOT_PRODUCT_INPUT_4x8BIT_PACKED_KHR
constexpr u64 kDotPacked = 1;

bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t at = words.find(word); at != words.npos; at = words.find(word, at + 1)) {
    std::size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) {
      return true;
    }
  }
  return false;
}

// 3 of "OpenCL C 3.0 name"; 1 for what is not understood.
int major_version(std::string_view c_version) {
  constexpr std::string_view kPrefix = "OpenCL C ";
  int major = 1;
  if (c_version.starts_with(kPrefix)) {
    const char* from = c_version.data() + kPrefix.size();
    std::from_chars(from, c_version.data() + c_version.size(), major);
  }
  return major;
}

}  // namespace

ExtensionUse extension_use() {
  const char* named = std::getenv("TG_OPENCL_EXTENSIONS");
  std::string_view use = named ? named : "";
  if (use == "none") return ExtensionUse::kNone;
  return use == "emulated" ? ExtensionUse::kEmulated : ExtensionUse::kDevice;
}

Extensions extensions_of(const Reported& device, ExtensionUse use) {
  if (use == ExtensionUse::kNone) return {};
  if (use == ExtensionUse::kEmulated) {
    return {.half = true, .subgroups = true, .int_dot = true, .emulated = true};
  }
  // Sub-groups are an extension of OpenCL C 2.0, and optional again in 3.0.
  return {.half = has_word(device.extensions, "cl_khr_fp16"),
          .subgroups = has_word(device.extensions, "cl_khr_subgroups") &&
                       major_version(device.c_version) >= 2,
          .int_dot = has_word(device.extensions, "cl_khr_integer_dot_product") &&
                     (device.dot_products & kDotPacked) != 0};
}

std::string build_options(const Reported& device, const Extensions& extensions) {
  int major = extensions.any() && !extensions.emulated ? major_version(device.c_version) : 1;
  std::string out = major >= 3 ? "-cl-std=CL3.0" : major == 2 ? "-cl-std=CL2.0" : "-cl-std=CL1.2";
  if (extensions.half) out += " -DHAS_HALF";
  if (extensions.subgroups) out += " -DHAS_SUBGROUPS";
  if (extensions.int_dot) out += " -DHAS_INT_DOT";
  if (extensions.emulated) out += " -DEMULATED";
  return out;
}

}  // namespace tg::backend::opencl
