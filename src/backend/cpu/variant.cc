#include "backend/cpu/variant.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace tg::backend::cpu {

namespace amx {
extern const Kernels kKernels;
}
namespace bf16 {
extern const Bf16Kernels kKernels;
}
namespace vnni {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace base {
extern const Kernels kKernels;
}

namespace {

struct Supported {
  std::array<const Kernels*, 6> kernels{};
  std::size_t count = 0;
};

// clang 16's __builtin_cpu_supports does not know "f16c".
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool has_vnni() {
  return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

// clang 16 and g++ 12 differ in the name __builtin_cpu_supports has for it.
bool has_bf16() {
  constexpr unsigned kBf16 = 1u << 5;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return has_vnni() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & kBf16) != 0;
}

// The kernel saves tile registers only for processes that have asked for them; what it grants
// holds for all threads.
bool has_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(2)
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!has_vnni() || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  return (edx & kAll) == kAll && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

const Kernels& with_bf16() {
  static const Kernels kAll = [] {
    Kernels all = vnni::kKernels;
    all.name = "avx512bf16";
    all.peak_bf16 = bf16::kKernels.peak;
    all.split = bf16::kKernels.split;
    all.linear_split = bf16::kKernels.linear_split;
    return all;
  }();
  return kAll;
}

Supported find_supported() {
  Supported found;
  if (has_amx()) found.kernels[found.count++] = &amx::kKernels;
  if (has_bf16()) found.kernels[found.count++] = &with_bf16();
  if (has_vnni()) found.kernels[found.count++] = &vnni::kKernels;
  if (has_avx512()) found.kernels[found.count++] = &avx512::kKernels;
  if (has_avx2()) found.kernels[found.count++] = &avx2::kKernels;
  found.kernels[found.count++] = &base::kKernels;
  return found;
}

}  // namespace

std::span<const Kernels* const> supported_variants() {
  static const Supported kFound = find_supported();
  return {kFound.kernels.data(), kFound.count};
}

}  // namespace tg::backend::cpu
