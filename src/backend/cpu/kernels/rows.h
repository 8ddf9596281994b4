// Kernels that work row by row: norm, gated activations, addition and multiplication, rotation.
#pragma once

#include "backend/cpu/half.h"
#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/simd.h"

namespace tg::backend::cpu::TG_VARIANT {

static inline void round_group(f32* y, i64 n, const RmsNormArgs& a) {
  for (i64 i = 0; i < n; ++i) {
    if (a.round_bf16) y[i] = bfloat_to_float(float_to_bfloat(y[i]));
    if (a.round_f16) y[i] = half_to_float(float_to_half(y[i]));
  }
}

static void rms_norm(const RmsNormArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.rows, part, parts);
  i64 n = a.group;
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* x = a.x + r * n;
    f32* y = a.y + r * n;
    const f32* w = a.w ? a.w + r % a.w_groups * n : nullptr;
    V squares = zero();
    for (i64 i = 0; i < n; i += kLanes) {
      V v = load_row(x, i, n);
      squares = fma(v, v, squares);
    }
    f32 mean = sum(squares) / static_cast<f32>(n);
    V inverse = set1(1.0f / __builtin_sqrtf(mean + a.eps));
    for (i64 i = 0; i < n; i += kLanes) store_row(y, i, n, mul(load_row(x, i, n), inverse));
    if (a.round_bf16 || a.round_f16) round_group(y, n, a);
    if (!w) continue;
    for (i64 i = 0; i < n; i += kLanes) {
      V weight = add(load_row(w, i, n), set1(a.woff));
      store_row(y, i, n, mul(load_row(y, i, n), weight));
    }
  }
}

// gpt-oss: the gate is clamped above, the linear part on both sides and moved up by one.
static inline V swiglu_oai(V g, V u, f32 alpha, f32 limit) {
  V gate = min(g, set1(limit));
  V up = max(min(u, set1(limit)), set1(-limit));
  return mul(times_sigmoid(gate, mul(gate, set1(alpha))), add(up, set1(1.0f)));
}

// x/2 * (1 + tanh(z)) = x / (1 + exp(-2z)), z = sqrt(2/pi) * (x + 0.044715 x^3).
static inline V gelu_tanh(V x) {
  V cube = mul(mul(x, x), x);
  V z = mul(fma(cube, set1(0.044715f), x), set1(0.7978845608f));
  return times_sigmoid(x, add(z, z));
}

static inline V gate(const GluArgs& a, V g, V u) {
  switch (a.act) {
    case GluAct::kSilu: return mul(times_sigmoid(g, g), u);
    case GluAct::kGeluTanh: return mul(gelu_tanh(g), u);
    case GluAct::kRelu: return mul(max(g, zero()), u);
    case GluAct::kSwigluOai: return swiglu_oai(g, u, a.alpha, a.limit);
  }
  return zero();
}

static void glu(const GluArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.rows, part, parts);
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* g = a.g + r * a.stride;
    const f32* u = a.u + r * a.stride;
    f32* y = a.y + r * a.n;
    for (i64 i = 0; i < a.n; i += kLanes) {
      store_row(y, i, a.n, gate(a, load_row(g, i, a.n), load_row(u, i, a.n)));
    }
  }
}

static inline V combine(const BinaryArgs& a, V left, V right) {
  V x = mul(set1(a.alpha), left);
  return a.multiply ? mul(x, right) : add(x, mul(set1(a.beta), right));
}

static void binary(const BinaryArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.rows, part, parts);
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* left = a.a + r * a.n;
    const f32* right = a.b ? a.b + r % a.b_rows * a.n : nullptr;
    f32* y = a.y + r * a.n;
    for (i64 i = 0; i < a.n; i += kLanes) {
      V x = load_row(left, i, a.n);
      V z = right ? combine(a, x, load_row(right, i, a.n)) : mul(set1(a.alpha), x);
      store_row(y, i, a.n, z);
    }
  }
}

// Pairs (i, i + rot/2) of a head, 16 at a time.
static inline void rotate_neox(const f32* x, const f32* cos, const f32* sin, f32* y, i64 half) {
  for (i64 i = 0; i < half; i += kLanes) {
    V a = load_row(x, i, half);
    V b = load_row(x + half, i, half);
    V c = load_row(cos, i, half);
    V s = load_row(sin, i, half);
    store_row(y, i, half, sub(mul(a, c), mul(b, s)));
    store_row(y + half, i, half, add(mul(b, c), mul(a, s)));
  }
}

// Pairs (2i, 2i + 1).
static inline void rotate_gptj(const f32* x, const f32* cos, const f32* sin, f32* y, i64 half) {
  for (i64 i = 0; i < half; ++i) {
    f32 a = x[2 * i];
    f32 b = x[2 * i + 1];
    y[2 * i] = a * cos[i] - b * sin[i];
    y[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

static void rope(const RopeArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.tokens, part, parts);
  i64 half = a.rot / 2;
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    const f32* cos = a.cos + t * half;
    const f32* sin = a.sin + t * half;
    for (i64 h = 0; h < a.heads; ++h) {
      const f32* x = a.x + (t * a.heads + h) * a.d;
      f32* y = a.y + (t * a.heads + h) * a.d;
      for (i64 i = 0; i < a.offset; ++i) y[i] = x[i];
      for (i64 i = a.offset + a.rot; i < a.d; ++i) y[i] = x[i];
      if (a.neox) {
        rotate_neox(x + a.offset, cos, sin, y + a.offset, half);
      } else {
        rotate_gptj(x + a.offset, cos, sin, y + a.offset, half);
      }
    }
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
