#include "backend/param_block.h"

#include <bit>
#include <cstring>

namespace tg::backend {

namespace {

// Appends to the block's lists.
class ListWriter {
 public:
  explicit ListWriter(u8* to) : to_(reinterpret_cast<u32*>(to)) {}

  void put(u32 word) { to_[at_++] = word; }
  tg_list ids(std::span<const i32> ids) {
    tg_list list{at_, static_cast<u32>(ids.size())};
    for (i32 id : ids) put(static_cast<u32>(id));
    return list;
  }
  tg_list bias(std::span<const std::pair<i32, f32>> pairs) {
    tg_list list{at_, static_cast<u32>(2 * pairs.size())};
    for (const std::pair<i32, f32>& pair : pairs) {
      put(static_cast<u32>(pair.first));
      put(std::bit_cast<u32>(pair.second));
    }
    return list;
  }
  tg_list mask(std::span<const u64> bits) {
    tg_list list{at_, static_cast<u32>(2 * bits.size())};
    for (u64 word : bits) {
      put(static_cast<u32>(word));
      put(static_cast<u32>(word >> 32));
    }
    return list;
  }

 private:
  u32* to_;
  u32 at_ = 0;
};

tg_sample_row sample_row(const isa::SampleRow& row, ListWriter& lists) {
  const isa::SamplingParams& p = row.params;
  return {.temperature = p.temperature,
          .top_p = p.top_p,
          .min_p = p.min_p,
          .repetition_penalty = p.repetition_penalty,
          .presence_penalty = p.presence_penalty,
          .frequency_penalty = p.frequency_penalty,
          .top_k = p.top_k,
          .seed = p.seed,
          .position = row.position,
          .prompt = lists.ids(row.prompt),
          .output = lists.ids(row.output),
          .bias = lists.bias(p.logit_bias),
          .allowed = lists.mask(row.allowed)};
}

void fill_samples(const ParamBlock& block, const StepBatch& batch, u8* to) {
  tg_sample_row* rows = reinterpret_cast<tg_sample_row*>(to + block.samples);
  ListWriter lists(to + block.lists);
  for (std::size_t r = 0; r < batch.samples.size(); ++r) {
    rows[r] = sample_row(batch.samples[r], lists);
  }
}

}  // namespace

i64 sample_words(const isa::SampleRow& row) {
  return static_cast<i64>(row.prompt.size() + row.output.size() + 2 * row.params.logit_bias.size() +
                          2 * row.allowed.size());
}

ParamBlock make_param_block(const ExecutorLimits& limits, const ParamShape& shape) {
  i64 pages =
      shape.page_tokens == 0 ? 0 : (limits.context_max + shape.page_tokens - 1) / shape.page_tokens;
  ParamBlock block{.layout = {.size = sizeof(tg_param_layout)},
                   .has_pages = shape.page_tokens > 0,
                   .has_samples = shape.takes_samples};
  tg_param_layout& layout = block.layout;
  auto take = [&](i64 count, u64 bytes = sizeof(i32)) {
    u64 offset = layout.bytes;
    u64 size = static_cast<u64>(count) * bytes;
    layout.bytes += (size + shape.alignment - 1) / shape.alignment * shape.alignment;
    return offset;
  };
  layout.ids = take(limits.tokens_max);
  layout.pos = take(limits.tokens_max * shape.position_rows);
  layout.rows = take(limits.rows_max);
  layout.cu = take(limits.sequences_max + 1);
  layout.past = take(limits.sequences_max);
  layout.page_begin = take(limits.sequences_max + 1);
  layout.pages = take(limits.sequences_max * pages);
  layout.slots = take(limits.tokens_max);
  block.tree = take(limits.tokens_max);
  if (!shape.takes_samples) return block;
  block.samples = take(limits.rows_max, sizeof(tg_sample_row));
  block.lists = take(limits.sample_words_max);
  return block;
}

void fill_params(const ParamBlock& block, const StepBatch& batch, u8* to) {
  auto put = [to](u64 offset, std::span<const i32> values) {
    if (!values.empty()) std::memcpy(to + offset, values.data(), values.size_bytes());
  };
  const tg_param_layout& layout = block.layout;
  put(layout.ids, batch.ids);
  put(layout.pos, batch.positions);
  put(layout.rows, batch.rows);
  put(layout.cu, batch.cu);
  put(layout.past, batch.past);
  put(layout.page_begin, batch.page_begin);
  if (block.has_pages) put(layout.pages, batch.pages);
  put(layout.slots, batch.slots);
  put(block.tree, batch.tree);
  // Every byte of -1 is 255.
  if (batch.tree.empty()) std::memset(to + block.tree, 0xFF, batch.ids.size_bytes());
  if (block.has_samples) fill_samples(block, batch, to);
}

}  // namespace tg::backend
