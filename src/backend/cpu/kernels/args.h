// Arguments of the vector kernels: plain pointers and sizes, the same for every variant. All
// matrices are row-major f32 without gaps. A kernel does share `part` of `parts`; the shares of one
// region write disjoint rows or columns, and no element's value depends on the split.
#pragma once

#include "backend/cpu/panel.h"
#include "base/types.h"

namespace tg::backend::cpu {

// Tokens a share of linear works on at a time: few enough that they stay in the L2 cache.
inline constexpr i64 kLinearTokens = 32;

struct LinearArgs {
  PanelForm form;
  const u8* w;      // panels of [n, k]
  const f32* x;     // [tokens, k]
  const f32* bias;  // [n] or null
  f32* y;           // [tokens, n]
  f32* scratch;     // linear_scratch(k) floats per share
  i64 tokens, n, k;
};

// Floats of scratch per share: sums of x over 32 columns, for codecs with a min.
static constexpr i64 linear_scratch(i64 k) {
  return kLinearTokens * ((k + 31) / 32);
}

struct EmbedArgs {
  PanelForm form;
  const u8* table;  // panels of [rows, k]
  const i32* ids;   // [tokens]
  f32* y;           // [tokens, k]
  i64 tokens, k;
};

struct RmsNormArgs {
  const f32* x;  // [rows, group * n]
  const f32* w;  // [group] or [group * n] or null
  f32* y;
  i64 rows;      // already counted per group
  i64 group;     // elements normalised together
  i64 w_groups;  // row r uses weights (r % w_groups) * group ..
  f32 eps, woff;
  bool round_bf16, round_f16;  // of x / rms, before the weight
};

// What one sequence's keys look like to attention, and where the new tokens are.
struct BatchView {
  const i32* cu;          // [sequences + 1]
  const i32* past;        // [sequences]
  const i32* page_begin;  // [sequences + 1]
  const i32* pages;
  const i32* slots;        // [tokens]
  const i32* sequence_of;  // [tokens]
};

// A page of one layer: per kv head, keys as [page_tokens / 16][dk][16] halves, then values as
// [page_tokens][dv rounded up to 16] halves.
struct KvPages {
  u8* base;
  i64 page_bytes;
  i64 page_tokens, heads, dk, dv;
};

static constexpr i64 padded_dv(i64 dv) {
  return (dv + 15) / 16 * 16;
}
static constexpr i64 kv_head_bytes(const KvPages& kv) {
  return kv.page_tokens * (kv.dk + padded_dv(kv.dv)) * 2;
}

struct KvAppendArgs {
  KvPages kv;
  BatchView batch;
  const f32* k;  // [tokens, heads * dk]
  const f32* v;  // [tokens, heads * dv]
  i64 tokens;
};

// Head sizes attention has room for on its stack.
inline constexpr i64 kHeadDimMax = 1'024;

struct AttentionArgs {
  KvPages kv;
  BatchView batch;
  const f32* q;      // [tokens, heads * dk]
  const f32* sinks;  // [heads] or null
  f32* y;            // [tokens, heads * dv]
  i64 tokens, heads;
  i64 window;  // keys visible to a query, itself included; 0: all
  f32 scale, softcap;
  bool causal;
};

enum class GluAct : u8 { kSilu, kGeluTanh, kRelu, kSwigluOai };

struct GluArgs {
  const f32* g;
  const f32* u;
  f32* y;  // [rows, n]
  i64 rows, n;
  i64 stride;  // between rows of g and of u: n, or 2n when packed
  f32 alpha, limit;
  GluAct act;
};

// y = alpha * a + beta * b, or alpha * a * b, or alpha * a if b is null; b is one row for all of
// a's if b_rows is 1.
struct BinaryArgs {
  const f32* a;
  const f32* b;
  f32* y;
  i64 rows, n, b_rows;
  f32 alpha, beta;
  bool multiply;
};

struct RopeArgs {
  const f32* x;    // [tokens, heads * d]
  const f32* cos;  // [tokens, rot / 2], mscale folded in
  const f32* sin;
  f32* y;
  i64 tokens, heads, d, rot, offset;
  bool neox;
};

struct Kernels {
  const char* name;
  void (*linear)(const LinearArgs&, i32 part, i32 parts);
  void (*embed)(const EmbedArgs&, i32 part, i32 parts);
  void (*rms_norm)(const RmsNormArgs&, i32 part, i32 parts);
  void (*kv_append)(const KvAppendArgs&, i32 part, i32 parts);
  void (*attention)(const AttentionArgs&, i32 part, i32 parts);
  void (*glu)(const GluArgs&, i32 part, i32 parts);
  void (*binary)(const BinaryArgs&, i32 part, i32 parts);
  void (*rope)(const RopeArgs&, i32 part, i32 parts);
};

struct Share {
  i64 begin, end;
};
// The part-th of `parts` nearly equal ranges of [0, n).
static inline Share share_of(i64 n, i32 part, i32 parts) {
  return {n * part / parts, n * (part + 1) / parts};
}

}  // namespace tg::backend::cpu
