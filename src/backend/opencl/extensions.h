// What a device has beyond OpenCL 1.2 that the kernels know how to use: an option of the build each
// (kernels/dialect.cl).
#pragma once

#include <string>

#include "base/types.h"

namespace tg::backend::opencl {

struct Extensions {
  bool half = false;       // cl_khr_fp16: 16-bit numbers are converted as numbers
  bool subgroups = false;  // cl_khr_subgroups: sums without local memory
  bool int_dot = false;    // cl_khr_integer_dot_product: four products of bytes at once
  // Plain OpenCL C stands for all three: for tests, where no driver has them.
  bool emulated = false;

  bool any() const { return half || subgroups || int_dot; }
};

enum class ExtensionUse { kDevice, kNone, kEmulated };

// $TG_OPENCL_EXTENSIONS: `none`, `emulated`; what the device has for anything else.
ExtensionUse extension_use();

// What a device says of itself: its extensions, separated by spaces; its version of OpenCL C, as
// "OpenCL C 3.0 .."; its kinds of integer dot products.
struct Reported {
  std::string extensions, c_version;
  u64 dot_products = 0;
};

Extensions extensions_of(const Reported& device, ExtensionUse use);

// For the compiler, without a space at either end: the language's version, then what to use.
std::string build_options(const Reported& device, const Extensions& extensions);

}  // namespace tg::backend::opencl
