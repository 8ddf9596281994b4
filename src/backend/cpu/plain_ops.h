// The ops no step spends its time in, as plain loops over rows: the compiler's code is fast enough.
// Each does share `part` of `parts` of its result's rows.
#pragma once

#include <span>

#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

struct PlainArgs {
  isa::Opcode op;
  const OpAttributes& attributes;
  std::span<const Tensor> in;
  Tensor out;
};

// gather, view, concat, permute, cast, bmm, layernorm, act, ew, reduce, and glu with an activation
// the vector kernel lacks. REQUIRES: the op is one of these.
void run_plain(const PlainArgs& args, i32 part, i32 parts);

// Rounds rows of `out` to what f16 or bf16 can hold; nothing for other types.
struct RoundArgs {
  isa::DType type;
  Tensor out;
};
void round_rows(const RoundArgs& args, i32 part, i32 parts);

// One row per sequence, of the rows [first[s], first[s + 1]) of x, or of rows_each rows of each.
struct PoolArgs {
  const OpAttributes& attributes;
  Tensor x;          // [rows, d]
  Tensor out;        // [sequences, d]
  const i32* first;  // [sequences + 1]
  i64 rows_each;     // 0: by `first`
};
void pool_rows(const PoolArgs& args, i32 part, i32 parts);

// cos and sin of pos[t] * invf[i], times mscale, for `half` frequencies: [tokens, half] each. With
// sections the first section's frequencies use the first row of pos, and so on.
struct RopeTableArgs {
  const i32* pos;  // [tokens], or [sections, tokens]
  const f32* invf;
  std::span<const u32> sections;
  f32* cos;
  f32* sin;
  i64 tokens, half;
  f32 mscale;
};
void fill_rope_table(const RopeTableArgs& args, i32 part, i32 parts);

}  // namespace tg::backend::cpu
