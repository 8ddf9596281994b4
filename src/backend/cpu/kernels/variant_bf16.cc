// What AVX512-BF16 adds to avx512vnni's kernels (options.cmake sets the flags). Nothing but it is
// in this file: code compiled for one instruction set must not reach machines without it.
#include "backend/cpu/kernels/bf16.h"

namespace tg::backend::cpu::TG_VARIANT {

extern const Bf16Kernels kKernels;
const Bf16Kernels kKernels = {
    .peak = peak_bf16, .split = kernel<split>, .linear_split = kernel<linear_split>};

}  // namespace tg::backend::cpu::TG_VARIANT
