#include "engine/spec/model_drafter.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::engine {

namespace {

constexpr f64 kLearn = 1.0 / 8;

// Leading tokens that both have.
i64 agreement(std::span<const i32> a, std::span<const i32> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

}  // namespace

ModelDrafter::ModelDrafter(backend::Executor& executor, const EngineCosts& costs, Clock& clock)
    : executor_(executor),
      clock_(clock),
      pool_({.blocks = executor.limits().kv_pages,
             .block_tokens = executor.page_tokens(),
             .prefix_cache = false}),
      builder_(executor.limits(), executor.page_tokens()),
      attribution_(costs.main, costs.entries, executor.limits().sequences_max),
      sampler_(executor.vocabulary()),
      tracks_(static_cast<std::size_t>(
          std::min(executor.limits().sequences_max, executor.limits().rows_max))) {
  i64 context = executor.limits().context_max;
  for (Track& track : tracks_) {
    track.seen.reserve(static_cast<std::size_t>(context));
    track.blocks.reserve(static_cast<std::size_t>(pool_.blocks_for(context)));
  }
  active_.reserve(tracks_.size());
  going_.reserve(tracks_.size());
}

void ModelDrafter::propose(std::span<DraftAsk> asks) {
  ++calls_;
  active_.clear();
  for (DraftAsk& ask : asks) {
    i64 longest = static_cast<i64>(ask.tokens.size()) + ask.most;
    if (longest > executor_.limits().context_max) continue;
    Track* track = find(ask.request);
    if (track == nullptr) track = open(ask.request);
    if (track == nullptr) continue;
    track->used_at = calls_;
    // Rejected proposals were seen too; and the last token's scores are wanted.
    std::span<const i32> certain = ask.tokens.first(ask.tokens.size() - 1);
    track->seen.resize(static_cast<std::size_t>(agreement(track->seen, certain)));
    active_.push_back({&ask, track});
  }
  while (!active_.empty()) pass();
  i64 wall_ns = 0;
  std::size_t tokens = 0;
  for (const DraftAsk& ask : asks) {
    wall_ns += ask.cost.wall_ns;
    tokens += ask.draft->size();
  }
  if (tokens == 0) return;
  ns_per_token_ += kLearn * (static_cast<f64>(wall_ns) / static_cast<f64>(tokens) - ns_per_token_);
}

void ModelDrafter::forget(u64 request) {
  Track* track = find(request);
  if (track != nullptr) close(*track);
}

ModelDrafter::Track* ModelDrafter::find(u64 request) {
  for (Track& track : tracks_) {
    if (track.is_open && track.request == request) return &track;
  }
  return nullptr;
}

// In place of the one that was left alone longest; none if all are in use now.
ModelDrafter::Track* ModelDrafter::open(u64 request) {
  Track* oldest = nullptr;
  for (Track& track : tracks_) {
    if (track.used_at == calls_) continue;
    if (oldest == nullptr || track.used_at < oldest->used_at) oldest = &track;
  }
  if (oldest == nullptr) return nullptr;
  close(*oldest);
  oldest->is_open = true;
  oldest->request = request;
  return oldest;
}

void ModelDrafter::close(Track& track) {
  pool_.release_all(track.blocks);
  track.seen.clear();
  track.is_open = false;
  track.used_at = 0;
}

// Blocks for so many tokens, if need be of tracks that this call does not use.
bool ModelDrafter::make_room(Track& track, i64 tokens) {
  while (static_cast<i64>(track.blocks.size()) < pool_.blocks_for(tokens)) {
    if (pool_.available() > 0) {
      track.blocks.push_back(pool_.allocate());
      continue;
    }
    Track* oldest = nullptr;
    for (Track& other : tracks_) {
      if (other.used_at == calls_ || other.blocks.empty()) continue;
      if (oldest == nullptr || other.used_at < oldest->used_at) oldest = &other;
    }
    if (oldest == nullptr) return false;
    close(*oldest);
  }
  return true;
}

// Whoever is up to date gets a token; whoever is not, or has enough, or has no room, leaves.
void ModelDrafter::pass() {
  builder_.clear();
  going_.clear();
  i64 budget = executor_.limits().tokens_max;
  for (const Active& active : active_) {
    i64 seen = static_cast<i64>(active.track->seen.size());
    i64 wanted = static_cast<i64>(active.ask->tokens.size() + active.ask->draft->size());
    i64 count = std::min(wanted - seen, budget);
    if (count == 0 || !make_room(*active.track, seen + count)) continue;
    builder_.add(static_cast<i64>(going_.size()), {.known = active.ask->tokens,
                                                   .draft = *active.ask->draft,
                                                   .blocks = active.track->blocks,
                                                   .computed = seen,
                                                   .count = count});
    going_.push_back(active);
    budget -= count;
  }
  active_.clear();
  if (going_.empty()) return;
  i64 began_ns = clock_.monotonic_ns();
  Result<std::span<const f32>> logits = executor_.run(builder_.batch());
  i64 wall_ns = clock_.monotonic_ns() - began_ns;
  Result<std::span<const unit::StepShare>> shares = attribution_.share(
      builder_.parts(),
      {.wall_ns = wall_ns, .entry = executor_.entry(), .expert_hits = executor_.expert_hits()});
  // Without its help the target says the same.
  if (!logits.ok() || !shares.ok()) return;
  for (std::size_t i = 0; i < going_.size(); ++i) {
    going_[i].ask->cost.atto_st += (*shares)[i].atto_st;
    going_[i].ask->cost.wall_ns += (*shares)[i].wall_ns;
    if (take(going_[i], builder_.parts()[i], *logits)) active_.push_back(going_[i]);
  }
}

// Whether it wants another one.
bool ModelDrafter::take(const Active& active, const BatchPart& part, std::span<const f32> logits) {
  DraftAsk& ask = *active.ask;
  std::vector<i32>& seen = active.track->seen;
  for (i64 i = 0; i < part.tokens; ++i) {
    std::size_t at = seen.size();
    bool is_known = at < ask.tokens.size();
    seen.push_back(is_known ? ask.tokens[at] : (*ask.draft)[at - ask.tokens.size()]);
  }
  if (part.rows == 0) return false;
  TG_ASSERT(part.rows == 1);
  std::size_t vocabulary = static_cast<std::size_t>(executor_.vocabulary());
  std::size_t begin = static_cast<std::size_t>(part.row) * vocabulary;
  Result<i32> token = sampler_.sample({.logits = logits.subspan(begin, vocabulary),
                                       .params = *ask.sampling,
                                       .tokens = seen,
                                       .prompt_tokens = ask.prompt_tokens});
  if (!token.ok()) return false;
  ask.draft->push_back(*token);
  return static_cast<i64>(ask.draft->size()) < ask.most;
}

}  // namespace tg::engine
