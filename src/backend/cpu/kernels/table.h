// The kernels of the variant this is compiled as, as a table.
#pragma once

#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/embed.h"
#include "backend/cpu/kernels/grouped.h"
#include "backend/cpu/kernels/linear.h"
#include "backend/cpu/kernels/peak.h"
#include "backend/cpu/kernels/rows.h"

namespace tg::backend::cpu::TG_VARIANT {

extern const Kernels kKernels;
const Kernels kKernels = {
    .name = kVariantName,
    .peak_f32 = peak_f32,
    .peak_int8 = peak_int8,
#if defined(__AMX_BF16__)
    .peak_bf16 = peak_bf16,
#else
    .peak_bf16 = nullptr,
#endif
    .read_bytes = read_bytes,
    .quantize = kernel<quantize>,
#if defined(__AMX_BF16__)
    .split = kernel<split>,
    .linear_split = kernel<linear_split>,
    .splits_f32 = true,
#else
    .split = {},
    .linear_split = {},
    .splits_f32 = false,
#endif
    .linear = kernel<linear>,
    .grouped = kernel<grouped>,
    .batched = kernel<batched>,
    .embed = kernel<embed>,
    .rms_norm = kernel<rms_norm>,
    .kv_append_f16 = kernel<kv_append_f16>,
    .attention = kernel<attention>,
    .attention_join = kernel<attention_join>,
    .attention_dense = kernel<attention_dense>,
    .glu = kernel<glu>,
    .binary = kernel<binary>,
    .rope = kernel<rope>,
};

}  // namespace tg::backend::cpu::TG_VARIANT
