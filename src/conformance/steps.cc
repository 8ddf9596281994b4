#include "conformance/steps.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/assert.h"
#include "env/random.h"

namespace tg::conformance {

namespace {

// T=1; a page and one token; many pages; sequences in several states; one with nothing to do; no
// row asked for; no sequence at all; the edges of pages and windows; chunks; two without anything
// cached; unwritten slots.
constexpr Shape kShapes[] = {
    {"t1", "1"},
    {"t17", "17"},
    {"t257", "257"},
    {"mixed", "17,1,33 ; 1,5,1 ; 3,1,1"},
    {"empty", "0,5 ; 3,0,2"},
    {"norows", "5 ; 2", false},
    {"zero", ""},
    {"page", "15,31 ; 1,1 ; 1,1 ; 1,1"},
    {"window", "8,15 ; 1,1 ; 1,1 ; 7,1 ; 1,16"},
    {"chunks", "33 ; 31 ; 1 ; 40"},
    {"batch", "17,1,40"},
    {"gap", "5,0,3"},
    {"hole", "9! ; 6! ; 1"},
};

constexpr std::string_view kReplays[] = {"the same step again", "alone",
                                         "in reverse order",    "token by token",
                                         "on other pages",      "on copied pages"};
static_assert(std::size(kReplays) == static_cast<std::size_t>(Replay::kCount));

constexpr i64 kHoleEvery = 4;
constexpr i32 kMixedLengths[] = {21, 7, 35};  // what "mixed" feeds in all

// Sampling parameters, each filter at least once; a row's follow from its sequence and position.
const isa::SamplingParams kParams[] = {
    {.temperature = 0},
    {.temperature = 0.7f, .top_k = 20, .seed = 11},
    {.temperature = 1.3f, .top_p = 0.8f, .min_p = 0.02f, .seed = 12},
    {.temperature = 1.0f, .repetition_penalty = 1.2f, .presence_penalty = 0.3f, .seed = 13},
    {.temperature = 0.9f,
     .frequency_penalty = 0.4f,
     .seed = 14,
     .logit_bias = {{3, 2.5f}, {40, -4}}},
};
constexpr i32 kPrompt[] = {1, 5, 9, 5};
constexpr i32 kOutput[] = {7, 9, 7};
constexpr u64 kAllowed[] = {0xffff0000ffff00ff, 0x0123456789abcdef, ~u64{0},
                            0x00000000000000ff, 0xf0f0f0f0f0f0f0f0, ~u64{0}};  // a bit per token

isa::SampleRow sample_row(RowKey key) {
  i32 which = (key.sequence + key.position) % static_cast<i32>(std::size(kParams));
  isa::SampleRow row{.logits = {},
                     .params = kParams[which],
                     .prompt = kPrompt,
                     .output = kOutput,
                     .allowed = {},
                     .position = static_cast<u64>(key.position) + 1};
  if (key.position % 3 == 2) row.allowed = kAllowed;
  return row;
}

struct Chunk {
  i32 sequence = 0;
  i32 count = 0;
  bool has_holes = false;
};
using Chunks = std::vector<std::vector<Chunk>>;  // by step

std::vector<Chunk> read_step(std::string_view text) {
  std::vector<Chunk> chunks;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    Chunk chunk{.sequence = static_cast<i32>(chunks.size())};
    std::from_chars_result number = std::from_chars(at, end, chunk.count);
    TG_ASSERT(number.ec == std::errc{});
    at = number.ptr;
    chunk.has_holes = at < end && *at == '!';
    while (at < end && (*at == '!' || *at == ',' || *at == ' ')) ++at;
    chunks.push_back(chunk);
  }
  return chunks;
}

Chunks read_shape(std::string_view text) {
  Chunks steps;
  for (std::size_t at = 0; at <= text.size();) {
    std::size_t end = std::min(text.find(';', at), text.size());
    std::size_t first = std::min(text.find_first_not_of(' ', at), end);
    steps.push_back(read_step(text.substr(first, end - first)));
    at = end + 1;
  }
  return steps;
}

// Distinct within a step of up to 384 tokens: 7 has no factor in common with that vocabulary.
i32 token_of(i32 sequence, i32 position, i64 vocabulary) {
  return static_cast<i32>((i64{sequence} * 131 + i64{position} * 7 + 1) % vocabulary);
}

// The parent of token i of a chunk, as a batch has it: every fourth is its grandparent's second
// child, and every seventh goes on from a token further back.
i32 tree_parent(i32 i) {
  if (i % 4 == 3) return i - 2;
  return i % 7 == 5 ? i - 4 : -1;
}

std::vector<i32> page_order(u64 seed) {
  std::vector<i32> order(static_cast<std::size_t>(kPages));
  std::iota(order.begin(), order.end(), 0);
  SeededRandom random(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

// Turns chunks into steps, remembering how far each sequence has come.
class Builder {
 public:
  explicit Builder(const Layout& layout)
      : layout_(layout), pages_(page_order(layout.seed)), past_(kPages / kSequencePages, 0) {}

  Step step(const std::vector<Chunk>& chunks, bool asks_rows) {
    Step out;
    for (const Chunk& chunk : chunks) add(out, chunk, asks_rows);
    return out;
  }

 private:
  i32 page_of(i32 sequence, i64 index) const {
    return pages_[static_cast<std::size_t>(sequence * kSequencePages + index)];
  }

  void add(Step& out, const Chunk& chunk, bool asks_rows) {
    i32& past = past_[static_cast<std::size_t>(chunk.sequence)];
    i64 end = past + chunk.count;
    std::vector<i32> fresh, table;
    for (i64 p = 0; p * layout_.page_tokens < end; ++p) table.push_back(page_of(chunk.sequence, p));
    for (i32 i = past; i < end; ++i) {
      fresh.push_back(token_of(chunk.sequence, i, layout_.vocabulary));
    }
    std::size_t first = out.slots.size();
    out.add(fresh, past, table, asks_rows ? chunk.count : 0, layout_.page_tokens);
    for (i32 i = 0; i < chunk.count; ++i, ++past) {
      bool is_hole = chunk.has_holes && i % kHoleEvery == kHoleEvery - 1;
      if (is_hole) out.slots[first + static_cast<std::size_t>(i)] = -1;
      if (layout_.trees) out.tree.push_back(tree_parent(i));
      if (asks_rows) out.keys.push_back({chunk.sequence, past});
      if (asks_rows && layout_.samples) out.samples.push_back(sample_row(out.keys.back()));
    }
  }

  Layout layout_;
  std::vector<i32> pages_;
  std::vector<i32> past_;  // by sequence
};

std::vector<Step> build(const Chunks& chunks, const Layout& layout, bool asks_rows) {
  Builder builder(layout);
  std::vector<Step> steps;
  for (const std::vector<Chunk>& step : chunks) steps.push_back(builder.step(step, asks_rows));
  return steps;
}

Chunks mixed() {
  return read_shape(find_shape("mixed")->steps);
}

// The chunks of "mixed", each in a step of its own.
Chunks chunks_alone() {
  Chunks steps;
  for (const std::vector<Chunk>& step : mixed()) {
    for (const Chunk& chunk : step) steps.push_back({chunk});
  }
  return steps;
}

Chunks chunks_reversed() {
  Chunks steps = mixed();
  for (std::vector<Chunk>& step : steps) std::reverse(step.begin(), step.end());
  return steps;
}

Chunks alone() {
  Chunks steps;
  for (i32 s = 0; s < std::ssize(kMixedLengths); ++s) steps.push_back({{s, kMixedLengths[s]}});
  return steps;
}

Chunks reversed() {
  std::vector<Chunk> all;
  for (i32 s = static_cast<i32>(std::size(kMixedLengths)) - 1; s >= 0; --s) {
    all.push_back({s, kMixedLengths[s]});
  }
  return {all};
}

Chunks one_by_one() {
  Chunks steps;
  for (i32 i = 0; i < *std::max_element(std::begin(kMixedLengths), std::end(kMixedLengths)); ++i) {
    std::vector<Chunk>& step = steps.emplace_back();
    for (i32 s = 0; s < std::ssize(kMixedLengths); ++s) {
      if (i < kMixedLengths[s]) step.push_back({s, 1});
    }
  }
  return steps;
}

}  // namespace

isa::ReferenceBatch Step::reference() const {
  return {.ids = ids,
          .positions = positions,
          .cu = cu,
          .past = past,
          .page_begin = page_begin,
          .pages = pages,
          .slots = slots,
          .rows = rows,
          .params = samples,
          .tree = tree};
}

const Shape* find_shape(std::string_view name) {
  for (const Shape& shape : kShapes) {
    if (shape.name == name) return &shape;
  }
  return nullptr;
}

std::vector<Step> steps_of(const Shape& shape, const Layout& layout) {
  return build(read_shape(shape.steps), layout, shape.asks_rows);
}

std::string_view name(Replay replay) {
  TG_ASSERT(replay < Replay::kCount);
  return kReplays[static_cast<std::size_t>(replay)];
}

std::vector<Step> replay_of(Replay replay, const Layout& layout) {
  Layout other = layout;
  if (replay == Replay::kOtherPages) other.seed = layout.seed + 1;
  bool keeps = layout.keeps_chunks;
  switch (replay) {
    case Replay::kAlone: return build(keeps ? chunks_alone() : alone(), other, true);
    case Replay::kReversed: return build(keeps ? chunks_reversed() : reversed(), other, true);
    case Replay::kOneByOne: TG_ASSERT(!keeps); return build(one_by_one(), other, true);
    default: return steps_of(*find_shape("mixed"), other);
  }
}

}  // namespace tg::conformance
