#include "engine/sched/scheduler.h"

#include <algorithm>
#include <limits>

#include "base/assert.h"

namespace tg::engine {

namespace {

constexpr i64 kAnyTime = std::numeric_limits<i64>::max();  // reclaim_paused(): however short
constexpr i64 kNoVictims = -1;  // victims_for(): it does not fit whoever gives way
// The oldest prompt's least chunk beside running streams, and those while the step model knows
// nothing: of two sizes, so that it learns what a token takes and what every step does.
constexpr i64 kChunkMin = 16;
constexpr i64 kChunksBlind[] = {64, 32};
// A prompt that is so many times shorter than the first of its class has this part of a step to
// itself, so that it need not wait for all of the long one.
constexpr i64 kLane = 4;
// Of a step that prompts wait for, streams take one part in so many: then longer steps would hardly
// bring first tokens sooner.
constexpr f64 kStreamsPart = 8;
// So much of its length, at most, a step leaves for the model's being wrong.
constexpr f64 kErrorMax = 0.25;
// How fast pages get to the host's memory and back, before any has: the slow side of a bus.
constexpr f64 kCopyNsPerByte = 1;
constexpr f64 kCopyLearn = 1.0 / 8;

// Of the known tokens, those that a prefix hit may serve: never the last one, whose logits are
// wanted.
std::span<const i32> cacheable(const Sequence& sequence) {
  return std::span<const i32>(sequence.tokens).first(sequence.tokens.size() - 1);
}

i64 common_prefix(std::span<const i32> a, std::span<const i32> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

// Whether a running sequence of no lower standing is about to compute half a block or more of what
// `sequence` would compute first, which has found `found` tokens so far. Waiting for it costs a
// step or two and saves the whole common prefix, which is what several choices of one prompt,
// submitted together, need.
bool has_twin_ahead(const SequenceQueue& queue, const BlockPool& pool, const Sequence& sequence,
                    i64 found, i32 rank) {
  if (!pool.caches()) return false;
  i64 worth = found + std::max<i64>(1, pool.block_tokens() / 2);
  std::span<const i32> wanted = cacheable(sequence);
  if (static_cast<i64>(wanted.size()) < worth) return false;
  for (i64 i = 0; i < queue.running(); ++i) {
    const Sequence& other = queue.at(i);
    if (other.standing.rank > rank) return false;
    if (other.request.cache_salt != sequence.request.cache_salt) continue;
    if (other.known() < worth || other.missing() == 1) continue;
    i64 common = common_prefix(other.tokens, wanted);
    if (common >= worth && other.computed < common) return true;
  }
  return false;
}

// The first running sequence that lacks more than one token, or running().
i64 first_prompt(const SequenceQueue& queue) {
  i64 index = 0;
  while (index < queue.running() && queue.at(index).missing() == 1) ++index;
  return index;
}

// Whether somebody watches for a prompt behind the first one.
bool has_second_prompt(const SequenceQueue& queue, i64 first) {
  for (i64 i = first + 1; i < queue.running(); ++i) {
    const Sequence& other = queue.at(i);
    if (other.missing() > 1 && other.request.priority != Priority::kBatch) return true;
  }
  return false;
}

// Not if either is ripe: then order is all that counts.
bool may_pass(const Sequence& sequence, const Standing& standing, const Sequence& first) {
  if (standing.rank == 0 || standing.rank != first.standing.rank) return false;
  return sequence.missing() * kLane <= first.missing();
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, const BlockPool& pool)
    : limits_(limits),
      forecast_(limits.running_max, limits.output_guess),
      page_copy_ns_(kCopyNsPerByte * static_cast<f64>(limits.page_bytes)) {
  TG_ASSERT(limits.running_max > 0);
  TG_ASSERT(limits.running_max <= limits.step_tokens_max);
  plan_.tokens.reserve(static_cast<std::size_t>(limits.running_max));
  plan_.preempted.reserve(static_cast<std::size_t>(limits.running_max));
  // A host's page may go to one sequence and be another's in the same step.
  plan_.copies.reserve(static_cast<std::size_t>(limits.running_max + 2 * pool.swap().total()));
  chain_.reserve(static_cast<std::size_t>(limits.context_max / pool.block_tokens() + 1));
}

const Plan& Scheduler::schedule(SequenceQueue& queue, BlockPool& pool, const StepModel& model,
                                i64 now_ns) {
  TG_ASSERT(queue.running() <= limits_.running_max);
  plan_.preempted.clear();
  plan_.copies.clear();
  plan_.swap_copies = 0;
  plan_.tokens_swapped = 0;
  time_ = model.is_ready() ? model.time() : StepTime{};
  queue.rank_running(now_ns);
  secure_blocks(queue, pool);
  if (plan_.preempted.empty()) admit(queue, pool, now_ns);
  // The first in order fits an otherwise empty pool, so something can always run.
  TG_ASSERT(queue.open() == queue.paused() || queue.running() > 0);
  share_budget(queue, model);
  return plan_;
}

void Scheduler::learn(const Sequence& ended) {
  forecast_.learn(ended.request.priority, ended.usage.output_tokens);
}

// The one that has been paused longest, by `until_ns` at the latest, and still has blocks gives
// them back; false if there is none. It is not preempted: it did not run.
bool Scheduler::reclaim_paused(SequenceQueue& queue, BlockPool& pool, i64 until_ns) {
  for (i64 i = 0; i < queue.paused(); ++i) {
    Sequence& sequence = queue.paused_at(i);
    if (sequence.paused_ns > until_ns) return false;
    if (sequence.blocks.empty()) continue;
    give_blocks_back(sequence, pool);
    return true;
  }
  return false;
}

// Tokens whose keys are kept in the host's memory: all that are computed, if there is room and
// copying them there and back takes less time than computing them again.
i64 Scheduler::give_blocks_back(Sequence& sequence, BlockPool& pool) {
  TG_ASSERT(sequence.swapped.empty());
  i64 pages = pool.blocks_for(sequence.computed);
  if (pages > 0 && pages <= pool.swap().free() && swap_pays(sequence.computed, pages)) {
    for (i64 i = 0; i < pages; ++i) {
      sequence.swapped.push_back(pool.swap().take());
      plan_.copies.push_back({sequence.blocks[i], sequence.swapped.back()});
    }
    plan_.swap_copies += pages;
    plan_.tokens_swapped += sequence.computed;
    sequence.swapped_tokens = sequence.computed;
  }
  pool.release_all(sequence.blocks);
  sequence.computed = 0;
  sequence.published = 0;
  return sequence.swapped_tokens;
}

bool Scheduler::swap_pays(i64 tokens, i64 pages) const {
  if (time_.steps == 0) return false;
  StepSize again;
  again.add(0, tokens, 0);
  // They would be parts of steps that are taken anyway.
  f64 again_ns = time_.predict_ns(again) - time_.ns_per_step;
  return 2 * static_cast<f64>(pages) * page_copy_ns_ < again_ns;
}

void Scheduler::note_copies(i64 wall_ns) {
  if (plan_.swap_copies == 0) return;
  f64 each_ns = static_cast<f64>(wall_ns) / static_cast<f64>(plan_.copies.size());
  page_copy_ns_ += kCopyLearn * (each_ns - page_copy_ns_);
}

void Scheduler::secure_blocks(SequenceQueue& queue, BlockPool& pool) {
  for (i64 i = 0; i < queue.running(); ++i) {
    Sequence& sequence = queue.at(i);
    i64 wanted = pool.blocks_for(sequence.known());
    while (i < queue.running() && static_cast<i64>(sequence.blocks.size()) < wanted) {
      if (pool.available() > 0) {
        sequence.blocks.push_back(pool.allocate());
        continue;
      }
      if (reclaim_paused(queue, pool, kAnyTime)) continue;
      // A sequence alone in the pool always fits: submit() saw to it.
      TG_ASSERT(queue.running() > 1);
      preempt_last(queue, pool, PreemptReason::kOutOfBlocks, sequence.request.id);
    }
  }
}

void Scheduler::preempt_last(SequenceQueue& queue, BlockPool& pool, PreemptReason reason,
                             u64 beneficiary) {
  Sequence& victim = queue.preempt_last();
  if (victim.preemptions >= limits_.preemptions_max) victim.ripe_ns = victim.due_ns;
  plan_.preempted.push_back({.request = victim.request.id,
                             .priority = victim.request.priority,
                             .reason = reason,
                             .beneficiary = beneficiary,
                             .tokens_lost = victim.computed,
                             .preemptions = victim.preemptions,
                             .kv_pages_free = pool.available()});
  plan_.preempted.back().tokens_kept = give_blocks_back(victim, pool);
}

void Scheduler::admit(SequenceQueue& queue, BlockPool& pool, i64 now_ns) {
  Priority victims_from = Priority::kBatch;  // the highest class that gave way in this step
  while (Sequence* head = queue.next(now_ns)) {
    // Whoever gave way in this step does not come back in it.
    if (!plan_.preempted.empty() && head->request.priority >= victims_from) return;
    if (queue.running() == limits_.running_max && lower_classes(queue, *head) == 0) return;
    if (!has_budget_for(queue, *head, head->standing_at(now_ns))) return;
    std::size_t preempted = plan_.preempted.size();
    if (!try_admit(queue, pool, *head, now_ns)) return;
    for (; preempted < plan_.preempted.size(); ++preempted) {
      victims_from = std::min(victims_from, plan_.preempted[preempted].priority);
    }
  }
}

// Whether `sequence`, admitted with this standing, would compute something in this step.
bool Scheduler::has_budget_for(const SequenceQueue& queue, const Sequence& sequence,
                               const Standing& standing) const {
  i64 first = first_prompt(queue);
  if (first < queue.running() && may_pass(sequence, standing, queue.at(first))) return true;
  i64 budget = limits_.step_tokens_max - queue.running();
  for (i64 i = 0; i < queue.running() && queue.at(i).standing < standing; ++i) {
    budget -= queue.at(i).missing() - 1;
  }
  return budget > 0;
}

// Blocks for all known tokens are taken at once: a prompt admitted by its first chunk would be
// preempted in its middle when the pool is nearly full.
bool Scheduler::try_admit(SequenceQueue& queue, BlockPool& pool, Sequence& sequence, i64 now_ns) {
  TG_ASSERT(sequence.blocks.empty() && sequence.computed == 0 && sequence.published == 0);
  pool.match(cacheable(sequence), sequence.request.cache_salt, chain_);
  i64 matched = static_cast<i64>(chain_.size());
  PartOfBlock part = find_part(queue, pool, sequence);
  i64 found = matched * pool.block_tokens() + part.tokens;
  bool is_swapped = sequence.swapped_tokens > found;
  if (is_swapped) found = sequence.swapped_tokens;
  if (has_twin_ahead(queue, pool, sequence, found, sequence.standing_at(now_ns).rank)) {
    return false;
  }
  // Held first: then nobody counts on getting these blocks, whoever gives way.
  for (i32 block : chain_) {
    pool.acquire(block);
    sequence.blocks.push_back(block);
  }
  // Nobody gives way, or waits, for one that has been paused long; if nobody runs, for any.
  i64 until_ns = queue.running() == 0 ? kAnyTime : now_ns - limits_.funds_keep_ns;
  i64 victims = victims_for(queue, pool, sequence);
  while (victims != 0 && reclaim_paused(queue, pool, until_ns)) {
    victims = victims_for(queue, pool, sequence);
  }
  if (victims == kNoVictims) {
    pool.release_all(sequence.blocks);
    return false;
  }
  for (; victims > 0; --victims) {
    preempt_last(queue, pool, PreemptReason::kPriority, sequence.request.id);
  }
  for (i64 i = matched; i < pool.blocks_for(sequence.known()); ++i) {
    sequence.blocks.push_back(pool.allocate());
  }
  // Copied before anything is written in this step, so it does not matter whose the block is by
  // then.
  if (is_swapped) {
    for (std::size_t i = chain_.size(); i < sequence.swapped.size(); ++i) {
      plan_.copies.push_back({sequence.swapped[i], sequence.blocks[i]});
      ++plan_.swap_copies;
    }
  } else if (part.tokens > 0) {
    plan_.copies.push_back({part.block, sequence.blocks[static_cast<std::size_t>(matched)]});
  }
  pool.swap().give_back(sequence.swapped);
  sequence.swapped_tokens = 0;
  sequence.computed = found;
  sequence.published = matched;
  queue.admit(sequence, now_ns);
  return true;
}

// The block that begins with most of what `sequence` wants after its whole blocks: a published one,
// or one that a running sequence is filling.
PartOfBlock Scheduler::find_part(const SequenceQueue& queue, const BlockPool& pool,
                                 const Sequence& sequence) const {
  if (!pool.caches()) return {};
  std::size_t matched = chain_.size();
  std::size_t size = static_cast<std::size_t>(pool.block_tokens());
  std::span<const i32> wanted = cacheable(sequence).subspan(matched * size);
  wanted = wanted.first(std::min(wanted.size(), size));
  i32 parent = matched == 0 ? kNoBlock : chain_.back();
  u64 salt = sequence.request.cache_salt;
  PartOfBlock best = pool.match_part(parent, salt, wanted);
  for (i64 i = 0; i < queue.running(); ++i) {
    const Sequence& other = queue.at(i);
    if (other.request.cache_salt != salt) continue;
    if (other.computed <= static_cast<i64>(matched * size)) continue;
    // Equal tables so far: equal tokens.
    if (matched > 0 && other.blocks[matched - 1] != parent) continue;
    std::span<const i32> computed =
        std::span<const i32>(other.tokens).first(static_cast<std::size_t>(other.computed));
    i64 same = common_prefix(wanted, computed.subspan(matched * size));
    if (same > best.tokens) best = {other.blocks[matched], same};
  }
  return best;
}

// How many of the running, from the last, would give way to `sequence`.
i64 Scheduler::lower_classes(const SequenceQueue& queue, const Sequence& sequence) const {
  i32 rank = 1 + static_cast<i32>(sequence.request.priority);
  i64 count = 0;
  for (i64 i = queue.running() - 1; i >= 0; --i, ++count) {
    const Sequence& other = queue.at(i);
    if (other.standing.rank <= rank || other.preemptions >= limits_.preemptions_max) break;
  }
  return count;
}

// The fewest of the running, from the last, that have to give way to `sequence`.
i64 Scheduler::victims_for(const SequenceQueue& queue, const BlockPool& pool,
                           const Sequence& sequence) {
  forecast_.observe(queue, pool);
  i64 most = lower_classes(queue, sequence);
  i64 least = queue.running() < limits_.running_max ? 0 : 1;
  if (least > most || !forecast_.fits(sequence, most, pool)) return kNoVictims;
  while (least < most && !forecast_.fits(sequence, least, pool)) ++least;
  return least;
}

void Scheduler::share_budget(const SequenceQueue& queue, const StepModel& model) {
  i64 budget = limits_.step_tokens_max;
  i64 streams = 0;
  plan_.size = {};
  plan_.tokens.assign(static_cast<std::size_t>(queue.running()), 0);
  for (i64 i = 0; i < queue.running(); ++i) {
    const Sequence& sequence = queue.at(i);
    TG_ASSERT(sequence.missing() > 0);
    if (sequence.missing() > 1) continue;
    plan_.tokens[i] = 1;
    plan_.size.add(sequence.computed, 1, 1);
    --budget;
    streams += sequence.request.priority != Priority::kBatch ? 1 : 0;
  }
  TG_ASSERT(budget >= 0);
  i64 first = first_prompt(queue);
  if (first == queue.running()) return;
  // A second prompt's reader waits too: for the first one's first token to be out.
  bool is_watched = streams > 0 || has_second_prompt(queue, first);
  bool has_target = is_watched && limits_.step_target_ns > 0;
  share_prompts(queue, first, has_target ? chunk(queue.at(first), budget, model) : budget);
}

// What the step may take. Streams want it short, but all of them come with every step: where they
// leave prompts too little of it, fewer and longer steps serve those who wait for a first token,
// and nobody's stream stands still for longer than step_longest_ns.
f64 Scheduler::length_ns(const Sequence& first, const StepModel& model) const {
  f64 target = static_cast<f64>(limits_.step_target_ns);
  f64 longest = std::max(target, static_cast<f64>(limits_.step_longest_ns));
  if (first.request.priority == Priority::kBatch) return target;
  if (plan_.size.sequences == 0) return longest;
  f64 streams_ns = model.time().predict_ns(plan_.size) - model.time().ns_per_step;
  return std::clamp(kStreamsPart * streams_ns, target, longest);
}

// Tokens of prompts that the step can take beside what it has, going by the first one.
i64 Scheduler::chunk(const Sequence& first, i64 budget, const StepModel& model) const {
  if (!model.is_ready()) return std::min(budget, kChunksBlind[model.time().steps % 2]);
  f64 length = length_ns(first, model) * (1 - std::min(kErrorMax, model.time().error));
  i64 least = std::min(budget, kChunkMin);
  i64 most = budget;
  while (least < most) {
    i64 tokens = (least + most + 1) / 2;
    StepSize size = plan_.size;
    size.add(first.computed, tokens, 1);
    if (model.time().predict_ns(size) <= length) {
      least = tokens;
    } else {
      most = tokens - 1;
    }
  }
  return least;
}

void Scheduler::share_prompts(const SequenceQueue& queue, i64 first, i64 room) {
  auto give = [&](i64 index, i64 most) {
    i64 tokens = std::min(queue.at(index).missing() - plan_.tokens[index], most);
    plan_.tokens[index] += tokens;
    room -= tokens;
  };
  // A quarter of the room goes to the shortest of those that may pass the first.
  i64 shortest = first;
  for (i64 i = first + 1; i < queue.running(); ++i) {
    if (plan_.tokens[i] > 0 || !may_pass(queue.at(i), queue.at(i).standing, queue.at(first)))
      continue;
    if (shortest == first || queue.at(i).missing() < queue.at(shortest).missing()) shortest = i;
  }
  if (shortest != first) give(shortest, room / kLane);
  for (i64 i = first; i < queue.running(); ++i) {
    const Sequence& sequence = queue.at(i);
    if (sequence.missing() == 1) continue;
    give(i, room);
    if (plan_.tokens[i] == 0) continue;
    bool has_row = plan_.tokens[i] == sequence.missing();
    plan_.size.add(sequence.computed, plan_.tokens[i], has_row ? 1 : 0);
  }
  TG_ASSERT(room >= 0);
}

}  // namespace tg::engine
