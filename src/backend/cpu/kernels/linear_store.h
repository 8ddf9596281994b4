// The end of a product of one panel: its bias, and its place in y.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/simd.h"

namespace tg::backend::cpu::TG_VARIANT {

template <int kTokens>
static inline void store_totals(const LinearArgs& a, i64 panel, i64 token,
                                const V (&total)[kTokens]) {
  i64 row = panel * kPanelRows;
  V bias = a.bias ? load_row(a.bias, row, a.n) : zero();
  for (int t = 0; t < kTokens; ++t) {
    V y = a.bias ? add(total[t], bias) : total[t];
    i64 y_row = a.y_rows ? a.y_rows[token + t] : token + t;
    store_row(a.y + y_row * a.y_stride, row, a.n, y);
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
