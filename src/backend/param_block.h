// The parameter block of a step: everything of a StepBatch that the device reads, in one piece of
// memory whose places never change (tg_param_layout).
#pragma once

#include "backend/abi.h"
#include "backend/executor.h"

namespace tg::backend {

struct ParamBlock {
  tg_param_layout layout{};
  u64 tree = 0, samples = 0, lists = 0;  // further offsets, of tg_bindings
  bool has_pages = false, has_samples = false;
};

struct ParamShape {
  i64 page_tokens = 0;  // 0: no cache
  i64 position_rows = 1;
  bool takes_samples = false;
  u64 alignment = 1;
};

ParamBlock make_param_block(const ExecutorLimits& limits, const ParamShape& shape);

// Words of `lists` that a row takes.
i64 sample_words(const isa::SampleRow& row);

// REQUIRES: StepChecker passed the batch; `to` holds layout.bytes.
void fill_params(const ParamBlock& block, const StepBatch& batch, u8* to);

}  // namespace tg::backend
