#include "engine/sched/scheduler.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::engine {

namespace {

i64 missing(const Sequence& sequence) {
  return sequence.known() - sequence.computed;
}

// Of the known tokens, those that a prefix hit may serve: whole blocks, and never the last token,
// whose logits are wanted.
i64 cacheable_blocks(const Sequence& sequence, const BlockPool& pool) {
  return (sequence.known() - 1) / pool.block_tokens();
}

// Whether a running sequence is about to compute the very block that `sequence` would compute
// first. Waiting for it costs a step or two and saves the whole common prefix, which is what
// several choices of one prompt, submitted together, need.
bool has_twin_ahead(const SequenceQueue& queue, const BlockPool& pool, const Sequence& sequence,
                    i64 blocks_matched) {
  if (!pool.caches() || blocks_matched >= cacheable_blocks(sequence, pool)) return false;
  i64 prefix = (blocks_matched + 1) * pool.block_tokens();
  for (i64 i = 0; i < queue.running; ++i) {
    const Sequence& other = queue.at(i);
    if (other.request.cache_salt != sequence.request.cache_salt) continue;
    if (other.known() < prefix || other.computed >= prefix) continue;
    if (std::equal(other.tokens.begin(), other.tokens.begin() + prefix, sequence.tokens.begin())) {
      return true;
    }
  }
  return false;
}

// A block for each running sequence that will come to need another. Admission leaves them alone:
// it costs next to no concurrency and halves the tokens computed again after preemptions.
i64 growth_reserve(const SequenceQueue& queue, const BlockPool& pool) {
  i64 reserve = 0;
  for (i64 i = 0; i < queue.running; ++i) {
    const Sequence& sequence = queue.at(i);
    i64 held = static_cast<i64>(sequence.blocks.size());
    if (held < pool.blocks_for(sequence.keys_max())) ++reserve;
  }
  return reserve;
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, i64 block_tokens) : limits_(limits) {
  TG_ASSERT(limits.running_max > 0);
  TG_ASSERT(limits.running_max <= limits.step_tokens_max);
  plan_.tokens.reserve(static_cast<std::size_t>(limits.running_max));
  plan_.preempted.reserve(static_cast<std::size_t>(limits.running_max));
  chain_.reserve(static_cast<std::size_t>(limits.context_max / block_tokens + 1));
}

const Plan& Scheduler::schedule(SequenceQueue& queue, BlockPool& pool) {
  TG_ASSERT(queue.running <= limits_.running_max);
  plan_.preempted.clear();
  i64 budget = share_budget(queue);
  secure_blocks(queue, pool);
  if (plan_.preempted.empty()) admit(queue, pool, budget);
  TG_ASSERT(static_cast<i64>(plan_.tokens.size()) == queue.running);
  // The oldest request fits an otherwise empty pool, so something can always run.
  TG_ASSERT(queue.size() == 0 || queue.running > 0);
  return plan_;
}

i64 Scheduler::share_budget(const SequenceQueue& queue) {
  i64 budget = limits_.step_tokens_max;
  plan_.tokens.assign(static_cast<std::size_t>(queue.running), 0);
  for (i64 i = 0; i < queue.running; ++i) {
    TG_ASSERT(missing(queue.at(i)) > 0);
    if (missing(queue.at(i)) > 1) continue;
    plan_.tokens[i] = 1;
    --budget;
  }
  for (i64 i = 0; i < queue.running; ++i) {
    if (plan_.tokens[i] > 0) continue;
    plan_.tokens[i] = std::min(missing(queue.at(i)), budget);
    budget -= plan_.tokens[i];
  }
  TG_ASSERT(budget >= 0);
  return budget;
}

void Scheduler::secure_blocks(SequenceQueue& queue, BlockPool& pool) {
  for (i64 i = 0; i < queue.running; ++i) {
    Sequence& sequence = queue.at(i);
    i64 wanted = pool.blocks_for(sequence.computed + plan_.tokens[i]);
    while (i < queue.running && static_cast<i64>(sequence.blocks.size()) < wanted) {
      if (pool.available() > 0) {
        sequence.blocks.push_back(pool.allocate());
      } else {
        preempt_newest(queue, pool);
      }
    }
  }
}

void Scheduler::preempt_newest(SequenceQueue& queue, BlockPool& pool) {
  // A sequence alone in the pool always fits: submit() saw to it.
  TG_ASSERT(queue.running > 1);
  --queue.running;
  Sequence& victim = queue.at(queue.running);
  plan_.preempted.push_back({victim.request.id, victim.computed});
  plan_.tokens.pop_back();
  pool.release_all(victim.blocks);
  victim.computed = 0;
  victim.published = 0;
}

void Scheduler::admit(SequenceQueue& queue, BlockPool& pool, i64 budget) {
  while (budget > 0 && queue.running < limits_.running_max && queue.running < queue.size()) {
    Sequence& sequence = queue.at(queue.running);
    if (!try_admit(queue, pool, sequence)) return;
    ++queue.running;
    plan_.tokens.push_back(std::min(missing(sequence), budget));
    budget -= plan_.tokens.back();
  }
}

// Blocks for all known tokens are taken at once: a prompt admitted by its first chunk would be
// preempted in its middle when the pool is nearly full.
bool Scheduler::try_admit(SequenceQueue& queue, BlockPool& pool, Sequence& sequence) {
  TG_ASSERT(sequence.blocks.empty() && sequence.computed == 0 && sequence.published == 0);
  i64 cacheable = cacheable_blocks(sequence, pool) * pool.block_tokens();
  pool.match(std::span<const i32>(sequence.tokens).first(static_cast<std::size_t>(cacheable)),
             sequence.request.cache_salt, chain_);
  i64 matched = static_cast<i64>(chain_.size());
  if (has_twin_ahead(queue, pool, sequence, matched)) return false;
  i64 known_blocks = pool.blocks_for(sequence.known());
  i64 wanted = known_blocks - matched + growth_reserve(queue, pool) +
               (known_blocks < pool.blocks_for(sequence.keys_max()) ? 1 : 0);
  if (wanted > pool.available() - pool.count_cached(chain_)) return false;
  for (i32 block : chain_) {
    pool.acquire(block);
    sequence.blocks.push_back(block);
  }
  for (i64 i = matched; i < known_blocks; ++i) sequence.blocks.push_back(pool.allocate());
  sequence.computed = matched * pool.block_tokens();
  sequence.published = matched;
  return true;
}

}  // namespace tg::engine
