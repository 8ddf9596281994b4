// logits, sample and spec_verify: rows of scores to tokens. The draws themselves are pure functions
// of isa/reference/sampling.h; what surrounds them is done in scratch memory, since a step does not
// allocate.
#pragma once

#include "backend/abi.h"
#include "backend/cpu/kernels/args.h"
#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

// Where a step's sampling parameters are.
struct Samples {
  const tg_sample_row* rows;
  const u32* lists;
};

// 4-byte words of scratch each share needs for rows of so many scores.
constexpr i64 sample_scratch(i64 vocabulary) {
  return 4 * vocabulary;
}

// Scores after bias, penalties and mask; minus infinity where a filter removed a token. A row that
// is not finite loses all of them.
struct FilterArgs {
  Samples samples;
  Tensor x, y;  // [R, V]
  u32* scratch;
};
void filter_logits(const FilterArgs& args, i32 part, i32 parts);

struct SampleArgs {
  Samples samples;
  Tensor x;       // [R, V]
  i32* ids;       // [R]; -1 for a row without a finite score
  f32* logprobs;  // [R]
  i64 top_n;
  i32* top_ids;  // [R, top_n], most likely first, then -1; null if top_n is 0
  f32* top_logprobs;
};
void sample_rows(const SampleArgs& args, i32 part, i32 parts);

// Row r proposes token ids[rows[r]] as a child of another row of its sequence. The host checked
// that every row but a sequence's first has a parent among the rows.
struct VerifyArgs {
  Samples samples;
  BatchView batch;
  Tensor p;         // [R, V]
  const f32* q;     // [R, V]: rejection sampling against what the draft drew by; null: exact
  const i32* ids;   // [T]
  const i32* rows;  // [R]
  i64 sequences;
  i32* accepted;  // [S]
  i32* tokens;    // [S]; -1 for sequences without rows, or where a row has no finite score
  i32* taken;     // [R] or null
  u32* scratch;
};
// clear_taken zeroes `taken` for verify_proposals, which sets what it takes.
void clear_taken(const VerifyArgs& args, i32 part, i32 parts);
void verify_proposals(const VerifyArgs& args, i32 part, i32 parts);

}  // namespace tg::backend::cpu
