#include "engine/spec/speculator.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::engine {

namespace {

constexpr f64 kHitRateFirst = 0.5;
constexpr f64 kLearn = 1.0 / 8;
// A sequence that proposes nothing tries again after some hundred tokens.
constexpr f64 kForget = 1.0 / 64;
// Of so many times that the model says it loses, one token is tried once: without such steps the
// model would never learn that it is wrong.
constexpr u64 kExplore = 32;

// What followed the earlier occurrence; where that runs into the end, the text repeats itself.
void copy_continuation(std::span<const i32> tokens, i64 follows, i64 count,
                       std::vector<i32>& draft) {
  i64 period = static_cast<i64>(tokens.size()) - follows;
  for (i64 i = 0; i < count; ++i) draft.push_back(tokens[follows + i % period]);
}

}  // namespace

void note_proposal(Drafting& drafting, bool is_accepted) {
  drafting.hit_rate += kLearn * ((is_accepted ? 1 : 0) - drafting.hit_rate);
}

Speculator::Speculator(const SpeculatorLimits& limits, Drafter* drafter)
    : limits_(limits), drafter_(drafter) {
  asks_.reserve(static_cast<std::size_t>(limits.running_max));
  asking_.reserve(static_cast<std::size_t>(limits.running_max));
}

void Speculator::prepare(Sequence& sequence) const {
  if (limits_.draft_tokens_max == 0) return;
  sequence.draft.reserve(static_cast<std::size_t>(limits_.draft_tokens_max));
  sequence.drafting.hit_rate = kHitRateFirst;
  sequence.drafting.repeats.reserve(sequence.keys_max() + 1);
}

void Speculator::forget(const Sequence& sequence) const {
  if (drafter_ != nullptr) drafter_->forget(sequence.request.id);
}

i64 Speculator::propose(const SequenceQueue& queue, const Plan& plan, BlockPool& pool,
                        const StepModel& model) {
  if (limits_.draft_tokens_max == 0 || !model.is_ready()) return 0;
  if (plan.size.tokens > plan.size.rows) return 0;
  size_ = plan.size;
  expected_ = static_cast<f64>(plan.size.rows);
  spare_blocks_ = pool.available() - queue.running();
  asks_.clear();
  asking_.clear();
  for (i64 i = 0; i < queue.running(); ++i) {
    TG_ASSERT(queue.at(i).draft.empty());
    if (plan.tokens[i] > 0 && most_for(queue.at(i)) > 0) draft(queue.at(i), pool, model.time());
  }
  return asks_.empty() ? 0 : ask_drafter();
}

i64 Speculator::most_for(const Sequence& sequence) const {
  return std::min({limits_.draft_tokens_max, sequence.outputs_left() - 1,
                   limits_.step_tokens_max - size_.tokens, limits_.rows_max - size_.rows});
}

void Speculator::draft(Sequence& sequence, BlockPool& pool, const StepTime& time) {
  sequence.drafting.repeats.extend(sequence.tokens);
  SuffixIndex::Match match = sequence.drafting.repeats.find(sequence.tokens);
  bool repeats = match.follows >= 0;
  if (!repeats && drafter_ == nullptr) return;
  i64 most = most_for(sequence);
  if (repeats) most = std::min(most, match.length);
  most = worth(sequence, most, time, repeats ? 0 : drafter_->ns_per_token());
  if (most == 0) {
    sequence.drafting.hit_rate += kForget * (kHitRateFirst - sequence.drafting.hit_rate);
    if (++declined_ % kExplore != 0) return;
    most = 1;
  }
  most = make_room(sequence, most, pool);
  if (most <= 0) return;
  if (repeats) {
    copy_continuation(sequence.tokens, match.follows, most, sequence.draft);
  } else {
    asking_.push_back(&sequence);
    asks_.push_back({.request = sequence.request.id,
                     .tokens = sequence.tokens,
                     .prompt_tokens = sequence.prompt_tokens,
                     .sampling = &sequence.request.sampling,
                     .most = most,
                     .draft = &sequence.draft});
  }
  f64 chance = 1;
  for (i64 count = 0; count < most; ++count) {
    chance *= sequence.drafting.hit_rate;
    expected_ += chance;
  }
  size_.tokens += most;
  size_.rows += most;
}

// How many proposals make the step's expected tokens per time grow: the k-th is accepted with the
// hit rate to the power k, and it must bring more than its share of what all bring together.
i64 Speculator::worth(const Sequence& sequence, i64 most, const StepTime& time,
                      f64 draft_ns) const {
  f64 step_ns = time.predict_ns(size_);
  f64 expected = expected_;
  f64 chance = 1;
  for (i64 count = 0; count < most; ++count) {
    chance *= sequence.drafting.hit_rate;
    f64 keys = static_cast<f64>(sequence.known() + count + 1);
    f64 more_ns =
        draft_ns + time.ns_per_token + time.ns_per_row + time.ns_per_key + time.ns_per_pair * keys;
    if (chance * step_ns <= expected * more_ns) return count;
    expected += chance;
    step_ns += more_ns;
  }
  return most;
}

// Blocks for the keys of as many proposals as there is room for while every running sequence can
// still grow.
i64 Speculator::make_room(Sequence& sequence, i64 most, BlockPool& pool) {
  i64 wanted = pool.blocks_for(sequence.known() + most);
  for (; static_cast<i64>(sequence.blocks.size()) < wanted && spare_blocks_ > 0; --spare_blocks_) {
    sequence.blocks.push_back(pool.allocate());
  }
  i64 held = static_cast<i64>(sequence.blocks.size()) * pool.block_tokens();
  return std::min(most, held - sequence.known());
}

i64 Speculator::ask_drafter() {
  drafter_->propose(asks_);
  i64 wall_ns = 0;
  for (std::size_t i = 0; i < asks_.size(); ++i) {
    TG_ASSERT(static_cast<i64>(asks_[i].draft->size()) <= asks_[i].most);
    unit::Usage& usage = asking_[i]->usage;
    usage.actual_atto_st += asks_[i].cost.atto_st;
    usage.attributed_ns += asks_[i].cost.wall_ns;
    wall_ns += asks_[i].cost.wall_ns;
  }
  return wall_ns;
}

}  // namespace tg::engine
