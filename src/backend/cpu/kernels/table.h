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
    .read_bytes = read_bytes,
    .quantize = quantize,
#if defined(__AMX_BF16__)
    .split = split,
#else
    .split = nullptr,
#endif
    .linear = linear,
    .grouped = grouped,
    .batched = batched,
    .embed = embed,
    .rms_norm = rms_norm,
    .kv_append_f16 = kv_append_f16,
    .attention = attention,
    .attention_join = attention_join,
    .attention_dense = attention_dense,
    .glu = glu,
    .binary = binary,
    .rope = rope,
};

}  // namespace tg::backend::cpu::TG_VARIANT
