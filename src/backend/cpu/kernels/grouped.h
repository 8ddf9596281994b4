// Products with many matrices in one op: of each expert with the rows routed to it, and of each
// group of a token with its own matrix. The panels and the order of additions are linear.h's, so
// that a row's bits are those of a plain product with its matrix.
#pragma once

#include "backend/cpu/kernels/linear.h"

namespace tg::backend::cpu::TG_VARIANT {

// Rows `order` of y, at most kLinearTokens, by one expert's panels.
template <typename Codec>
static void expert_rows(const GroupedArgs& a, const LinearArgs& expert, const i32* order, i64 count,
                        Share panels, f32* rows, f32* sums) {
  LinearArgs linear = expert;
  for (i64 i = 0; i < count; ++i) {
    const f32* from = a.x + order[i] / a.ranks * linear.k;
    __builtin_memcpy(rows + i * linear.k, from, static_cast<u64>(linear.k) * sizeof(f32));
  }
  if (a.rounding != Int8Rounding::kNone) {
    linear.x8 = int8_rows_at(rows + kLinearTokens * linear.k, count, linear.k);
    quantize_share<Codec>({.x = rows,
                           .tokens = count,
                           .k = linear.k,
                           .x_stride = linear.k,
                           .whole_rows = a.rounding == Int8Rounding::kRow,
                           .rows = linear.x8},
                          {0, count});
  }
  linear.x = rows;
  linear.x_stride = linear.k;
  linear.tokens = count;
  linear.y_rows = order;
  linear_panels<Codec>(linear, panels, sums);
}

template <typename Codec>
static void grouped_share(const GroupedArgs& a, i32 part, i32 parts) {
  Share panels = share_of(panel_count(a.linear.n), part, parts);
  f32* rows = a.rows + part * grouped_scratch(a.linear.k);
  f32* sums = a.linear.scratch + part * linear_scratch(a.linear.k);
  for (i64 e = 0; e < a.experts; ++e) {
    LinearArgs expert = a.linear;
    expert.w += e * a.expert_bytes;
    if (expert.bias) expert.bias += e * expert.n;
    for (i64 at = a.begin[e]; at < a.begin[e + 1]; at += kLinearTokens) {
      i64 left = a.begin[e + 1] - at;
      i64 count = left < kLinearTokens ? left : kLinearTokens;
      expert_rows<Codec>(a, expert, a.order + at, count, panels, rows, sums);
    }
  }
}

static void grouped(const GroupedArgs& a, i32 part, i32 parts) {
  with_codec(a.linear.form, [&]<typename Codec>() { grouped_share<Codec>(a, part, parts); });
}

// One panel's 16 rows of w, dequantised, times 16 elements of x: column j of y gathers them lane by
// lane in totals[j], whose lanes are added at the end.
template <typename Codec>
static void add_transposed(const u8* panel, V x, i64 n, f32 (*totals)[kLanes]) {
  constexpr int kHalf = Codec::kSub / 2;
  const typename Codec::Block* block = reinterpret_cast<const typename Codec::Block*>(panel);
  for (i64 column = 0; column < n; ++block) {
    for (int s = 0; s < Codec::kSubs; ++s, column += Codec::kSub) {
      typename Codec::Sub source(*block, s);
      each_pair<Codec>(source, [&](int j, const Pair& w) {
        V parts[2] = {w.low, w.high};
        for (int half = 0; half < 2; ++half) {
          i64 c = column + j + half * kHalf;
          if (c >= n) continue;
          V value = parts[half];
          if constexpr (!Codec::kUnit) value = mul(source.scale, value);
          if constexpr (Codec::kMin && !Codec::kUnit) value = sub(value, source.min);
          store(totals[c], fma(value, x, load(totals[c])));
        }
      });
    }
  }
}

template <typename Codec>
static void transposed_row(const LinearArgs& a, const f32* x, f32* y, f32 (*totals)[kLanes]) {
  for (i64 c = 0; c < a.n; ++c) store(totals[c], zero());
  for (i64 panel = 0; panel < panel_count(a.k); ++panel) {
    add_transposed<Codec>(a.w + panel * panel_bytes(a.form, a.n),
                          load_row(x, panel * kPanelRows, a.k), a.n, totals);
  }
  for (i64 c = 0; c < a.n; ++c) y[c] = sum(load(totals[c]));
}

static inline LinearArgs group_args(const BatchedArgs& a, i64 group) {
  LinearArgs linear = a.linear;
  linear.w += group * a.group_bytes;
  linear.x += group * a.x_step;
  linear.y += group * a.y_step;
  return linear;
}

template <typename Codec>
static void transposed_share(const BatchedArgs& a, i32 part, i32 parts) {
  f32* scratch = a.linear.scratch + part * batched_scratch(a.linear.k, a.linear.n);
  f32(*totals)[kLanes] = reinterpret_cast<f32(*)[kLanes]>(scratch);
  Share items = share_of(a.groups * a.linear.tokens, part, parts);
  for (i64 item = items.begin; item < items.end; ++item) {
    LinearArgs linear = group_args(a, item / a.linear.tokens);
    i64 t = item % a.linear.tokens;
    transposed_row<Codec>(linear, linear.x + t * linear.x_stride, linear.y + t * linear.y_stride,
                          totals);
  }
}

// Panels of all groups in one line, so that any number of them divides among the shares.
template <typename Codec>
static void batched_share(const BatchedArgs& a, i32 part, i32 parts) {
  f32* sums = a.linear.scratch + part * batched_scratch(a.linear.k, a.linear.n);
  i64 panels = panel_count(a.linear.n);
  Share items = share_of(a.groups * panels, part, parts);
  for (i64 item = items.begin; item < items.end;) {
    i64 group = item / panels;
    i64 end = items.end < (group + 1) * panels ? items.end : (group + 1) * panels;
    linear_panels<Codec>(group_args(a, group), {item - group * panels, end - group * panels}, sums);
    item = end;
  }
}

static void batched(const BatchedArgs& a, i32 part, i32 parts) {
  with_codec(a.linear.form, [&]<typename Codec>() {
    a.transposed ? transposed_share<Codec>(a, part, parts) : batched_share<Codec>(a, part, parts);
  });
}

}  // namespace tg::backend::cpu::TG_VARIANT
