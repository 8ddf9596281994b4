// Arguments of the vector kernels: plain pointers and sizes, the same for every variant. All
// matrices are row-major f32 without gaps. A kernel does share `part` of `parts`; the shares of one
// region write disjoint rows or columns, and no element's value depends on the split.
#pragma once

#include "backend/cpu/kernels/kernel.h"
#include "backend/cpu/kv_layout.h"
#include "backend/cpu/panel.h"
#include "base/types.h"

namespace tg::backend::cpu {

// Tokens a share of linear works on at a time: few enough that they stay in the L2 cache.
inline constexpr i64 kLinearTokens = 32;

// Rows of int8 activations with a scale for each block of 32 columns, in tiles of a few rows: a
// tile's blocks follow each other, in each block its rows.
struct Int8Rows {
  i8* q = nullptr;       // [tiles, k / 32, tile_rows, 32]
  f32* scale = nullptr;  // [tiles, k / 32, tile_rows]
  // [tiles, k / sub-block, tile_rows], made for one codec: minus its offset times the sum of the
  // codes, or if it has mins, minus the scale times that sum. They share their memory.
  i32* start = nullptr;
  f32* minus = nullptr;
  i64 tile_rows = 0;
};

// Rows a tile of AMX has at most.
inline constexpr i64 kInt8TileRows = 16;

static constexpr i64 int8_tiles(i64 tokens) {
  return (tokens + kInt8TileRows - 1) / kInt8TileRows;
}
// Nearly equal tiles, so that none is left with a few rows.
static constexpr i64 int8_tile_rows(i64 tokens) {
  return tokens == 0 ? 1 : (tokens + int8_tiles(tokens) - 1) / int8_tiles(tokens);
}
static constexpr i64 int8_part(i64 bytes) {
  return (bytes + 63) / 64 * 64;
}
// Bytes of up to so many rows, wherever they begin: codes, scales, and sums of 16 columns.
static constexpr i64 int8_bytes(i64 tokens, i64 k) {
  i64 rows = tokens + int8_tiles(tokens);
  return int8_part(rows * k) + int8_part(rows * k / 8) + int8_part(rows * k / 4) + 64;
}
static inline Int8Rows int8_rows_at(void* memory, i64 tokens, i64 k) {
  i64 rows = int8_tiles(tokens) * int8_tile_rows(tokens);
  u64 first = (reinterpret_cast<u64>(memory) + 63) / 64 * 64;
  u8* at = reinterpret_cast<u8*>(first);
  u8* scales = at + int8_part(rows * k);
  u8* sums = scales + int8_part(rows * k / 8);
  return {.q = reinterpret_cast<i8*>(at),
          .scale = reinterpret_cast<f32*>(scales),
          .start = reinterpret_cast<i32*>(sums),
          .minus = reinterpret_cast<f32*>(sums),
          .tile_rows = int8_tile_rows(tokens)};
}

// Rows of f32 activations in bf16, for bf16 weights: each number rounded (xq=bf16), or the exact
// sum of three. Tiles and blocks as Int8Rows, in each block the rows' first parts, then the second,
// then the third.
inline constexpr i64 kSplitParts = 3;
struct SplitRows {
  u16* parts = nullptr;  // [tiles, (k + 31) / 32, each, tile_rows, 32]
  i64 each = 0;          // 1 or kSplitParts
  i64 tile_rows = 0;
};
static constexpr i64 split_bytes(i64 tokens, i64 k, i64 each) {
  return (tokens + int8_tiles(tokens)) * ((k + 31) / 32) * each * 64 + 64;
}
static inline SplitRows split_rows_at(void* memory, i64 tokens, i64 each) {
  u64 first = (reinterpret_cast<u64>(memory) + 63) / 64 * 64;
  return {
      .parts = reinterpret_cast<u16*>(first), .each = each, .tile_rows = int8_tile_rows(tokens)};
}

struct SplitArgs {
  const f32* x;  // [tokens, k]
  i64 tokens, k, x_stride;
  SplitRows rows;  // written
};

struct QuantizeArgs {
  PanelForm form;  // of the product's weight
  const f32* x;    // [tokens, k]
  i64 tokens, k, x_stride;
  bool whole_rows;  // one scale for a row instead of each block
  Int8Rows rows;    // written
};

struct LinearArgs {
  PanelForm form;
  const u8* w;      // panels of [n, k]
  const f32* x;     // [tokens, k]
  Int8Rows x8;      // if it has codes, x is not read; has_codes(form)
  SplitRows split;  // what linear_split() reads instead of x; form kBf16
  const f32* bias;  // [n] or null
  f32* y;           // [tokens, n]
  f32* scratch;     // linear_scratch(k) floats per share
  i64 tokens, n, k;
  i64 x_stride, y_stride;  // floats between rows
  const i32* y_rows;       // row of y for each token; null: in order
};

// Floats of scratch per share: sums of x over 32 columns, for codecs with a min.
static constexpr i64 linear_scratch(i64 k) {
  return kLinearTokens * ((k + 31) / 32);
}

enum class Int8Rounding : u8 { kNone, kBlock, kRow };

// A matrix per expert; each of the `tokens * active` rows of y is the product with one of them.
struct GroupedArgs {
  LinearArgs linear;  // w and bias of expert 0; y of all rows; x, x_stride, tokens, y_rows unused
  i64 expert_bytes;   // between matrices
  i64 experts;
  const i32* begin;       // [experts + 1] into order
  const i32* order;       // rows of y, expert by expert
  const f32* x;           // [rows of y / ranks, k]
  i64 ranks;              // rows of y that share a row of x
  Int8Rounding rounding;  // of x; has_codes(linear.form) unless kNone
  f32* rows;              // grouped_scratch(k) floats per share
};

// Floats of scratch per share: rows gathered for one expert, and their codes.
static constexpr i64 grouped_scratch(i64 k) {
  return kLinearTokens * k + int8_bytes(kLinearTokens, k) / 4;
}

// A matrix per group: y[t, g] = w[g] x[t, g], or with `transposed` w[g]^T x[t, g].
struct BatchedArgs {
  LinearArgs linear;  // of group 0: x_stride and y_stride are between tokens; k columns of x,
                      // n of y; for transposed ones panels hold [k, n]
  i64 group_bytes;    // between matrices
  i64 groups;
  i64 x_step, y_step;  // floats between a token's groups; x_step 0: one row for all groups
  bool transposed;
};

// Floats of scratch per share: sums as linear's, or 16 partial sums for each column.
static constexpr i64 batched_scratch(i64 k, i64 n) {
  return linear_scratch(k) > 16 * n ? linear_scratch(k) : 16 * n;
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
  const i32* tree;         // [tokens]
  const i32* sequence_of;  // [tokens]
};

// The new token that new token i of a sequence follows, -1 for the first. `tree` gives parents;
// -1 in it is the token before.
static inline i64 parent_of(const i32* tree, i64 first, i64 i) {
  i64 parent = tree[first + i];
  return parent >= 0 ? parent : i - 1;
}

struct KvAppendArgs {
  KvPages kv;
  BatchView batch;
  const f32* k;  // [tokens, heads * dk]
  const f32* v;  // [tokens, heads * dv]; null if the cache has keys only
  i64 tokens;
};

// Head sizes attention has room for on its stack.
inline constexpr i64 kHeadDimMax = 1'024;

// Keys whose sums are made apart, and floats of one head's: its maximum, its total, and from 16 on
// its values.
inline constexpr i64 kSegmentKeys = 1'024;
static constexpr i64 sums_words(i64 dv) {
  return 16 + (dv + 15) / 16 * 16;
}

enum class AttentionMask : u8 { kCausal, kFull, kTree };

struct AttentionArgs {
  KvPages kv;
  BatchView batch;
  const f32* q;      // [tokens, heads * dk]
  const f32* sinks;  // [heads] or null
  f32* y;            // [tokens, heads * kv_value_dim]
  i64 tokens, heads;
  i64 window;  // keys visible to a query, itself included; 0: all
  f32 scale, softcap;
  AttentionMask mask;
  i32* paths;  // kTree: paths_stride words of scratch per share, as many as new tokens
  i64 paths_stride;
  // Null, or the sums of [tokens, heads, segments] and each segment of a token is an item of work:
  // attention() fills them, attention_join() makes y of them.
  f32* sums;
  i64 segments;
};

// Attention among the rows of a sequence in the step; no cache.
struct DenseAttentionArgs {
  BatchView batch;
  const f32* q;  // [rows, heads * dk]
  const f32* k;  // [rows, kv_heads * dk]
  const f32* v;  // [rows, kv_heads * dv]
  f32* y;        // [rows, heads * dv]
  i64 rows, heads, kv_heads, dk, dv;
  i64 rows_each;  // rows of every sequence; 0: by cu
  i64 window;     // |i - j| < window; 0: all
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
  // For limits.h: operations done, or something made of all bytes.
  i64 (*peak_f32)(i64 rounds, f32* out);
  i64 (*peak_int8)(i64 rounds, f32* out);
  i64 (*peak_bf16)(i64 rounds, f32* out);  // null: bf16 is multiplied as f32
  f32 (*read_bytes)(const u8* from, i64 bytes);
  Kernel<QuantizeArgs> quantize;
  // Products of bf16, if the variant has an instruction for them; splits_f32: also of f32
  // activations in three parts, which else linear takes as they are.
  Kernel<SplitArgs> split;
  Kernel<LinearArgs> linear_split;
  bool splits_f32;
  Kernel<LinearArgs> linear;
  Kernel<GroupedArgs> grouped;
  Kernel<BatchedArgs> batched;
  Kernel<EmbedArgs> embed;
  Kernel<RmsNormArgs> rms_norm;
  Kernel<KvAppendArgs> kv_append_f16;
  Kernel<AttentionArgs> attention;
  Kernel<AttentionArgs> attention_join;
  Kernel<DenseAttentionArgs> attention_dense;
  Kernel<GluArgs> glu;
  Kernel<BinaryArgs> binary;
  Kernel<RopeArgs> rope;
};

// What AVX512-BF16 adds to another variant.
struct Bf16Kernels {
  i64 (*peak)(i64 rounds, f32* out);
  Kernel<SplitArgs> split;
  Kernel<LinearArgs> linear_split;
};

struct Share {
  i64 begin, end;
};
// The part-th of `parts` nearly equal ranges of [0, n).
static inline Share share_of(i64 n, i32 part, i32 parts) {
  return {n * part / parts, n * (part + 1) / parts};
}

}  // namespace tg::backend::cpu
