#include "engine/run/commit.h"

#include <algorithm>

#include "base/assert.h"
#include "engine/spec/speculator.h"

namespace tg::engine {

namespace {

bool contains(std::span<const i32> tokens, i32 token) {
  return std::ranges::find(tokens, token) != tokens.end();
}

}  // namespace

Committer::Committer(BlockPool& pool, i64 vocabulary, i64 funds_wait_ns, EngineStatus& totals)
    : pool_(pool),
      funds_wait_ns_(funds_wait_ns),
      vocabulary_(static_cast<std::size_t>(vocabulary)),
      totals_(totals),
      sampler_(vocabulary),
      logprobs_(vocabulary),
      allowed_((vocabulary_ + 63) / 64) {}

void Committer::commit(const RanBatch& batch, SequenceQueue& queue, StepResult& result) {
  std::size_t rows = 0;
  for (std::size_t i = 0; i < batch.parts.size(); ++i) {
    const BatchPart& part = batch.parts[i];
    Sequence& sequence = queue.at(part.sequence);
    note_share(sequence, batch.shares[i], batch.began_ns);
    result.parts.push_back({sequence.request.id, batch.shares[i].wall_ns});
    advance(sequence, part.tokens - static_cast<i64>(sequence.draft.size()));
    sample_rows(part, batch, queue, result);
    rows += static_cast<std::size_t>(part.rows);
  }
  TG_ASSERT(batch.logits.size() == rows * vocabulary_);
}

void Committer::note_share(Sequence& sequence, const unit::StepShare& share, i64 began_ns) {
  unit::Usage& usage = sequence.usage;
  if (usage.steps == 0) {
    usage.queue_ns = began_ns - sequence.submitted_ns;
    // Still where admission put it: at the end of its prefix hit.
    usage.cached_tokens = sequence.computed;
    totals_.cached_tokens += static_cast<u64>(sequence.computed);
  }
  ++usage.steps;
  usage.actual_atto_st += share.atto_st;
  usage.attributed_ns += share.wall_ns;
}

// The tokens' keys are in their blocks now: counts them, and offers the blocks that became full.
void Committer::advance(Sequence& sequence, i64 tokens) {
  i64 before = sequence.computed;
  sequence.computed += tokens;
  TG_ASSERT(sequence.computed <= sequence.known());
  totals_.recomputed_tokens +=
      static_cast<u64>(std::max<i64>(0, std::min(sequence.computed, sequence.reached) - before));
  sequence.reached = std::max(sequence.reached, sequence.computed);
  i64 prompt_done = std::min(sequence.reached, sequence.prompt_tokens);
  totals_.prompt_tokens += static_cast<u64>(prompt_done - sequence.usage.prompt_tokens);
  sequence.usage.prompt_tokens = prompt_done;
  if (!pool_.caches()) return;
  i64 block_tokens = pool_.block_tokens();
  std::span<const i32> all = sequence.tokens;
  for (; (sequence.published + 1) * block_tokens <= sequence.computed; ++sequence.published) {
    pool_.publish(sequence.blocks, sequence.published, sequence.request.cache_salt,
                  all.subspan(static_cast<std::size_t>(sequence.published * block_tokens),
                              static_cast<std::size_t>(block_tokens)));
  }
}

// One token from the first row; one more from each next row as long as the token that was proposed
// is the token that was drawn, so that its key, which is computed, is the right one.
void Committer::sample_rows(const BatchPart& part, const RanBatch& batch, SequenceQueue& queue,
                            StepResult& result) {
  Sequence& sequence = queue.at(part.sequence);
  DraftCount& count = sequence.drafting.count;
  count.drafted += sequence.draft.size();
  totals_.drafts.drafted += sequence.draft.size();
  for (i64 row = 0; row < part.rows; ++row) {
    std::size_t begin = static_cast<std::size_t>(part.row + row) * vocabulary_;
    TG_ASSERT(begin + vocabulary_ <= batch.logits.size());
    TG_ASSERT(sequence.computed == sequence.known());
    std::span<const f32> logits = batch.logits.subspan(begin, vocabulary_);
    std::optional<i32> token = draw(sequence, logits, queue);
    if (!token) break;
    emit(sequence, *token, logits, result);
    take(sequence, *token, batch.ended_ns, queue);
    if (row + 1 == part.rows) break;
    bool is_accepted = *token == sequence.draft[static_cast<std::size_t>(row)];
    note_proposal(sequence.drafting, is_accepted);
    if (is_accepted) ++count.accepted;
    if (is_accepted) ++totals_.drafts.accepted;
    if (!is_accepted || sequence.ending || sequence.paused_ns != 0) break;
    advance(sequence, 1);
  }
  sequence.draft.clear();
}

// The token that follows, or none if there is none and the request ends.
std::optional<i32> Committer::draw(Sequence& sequence, std::span<const f32> row,
                                   SequenceQueue& queue) {
  bool is_masked = sequence.mask != nullptr;
  if (is_masked && !allow(sequence)) {
    bool is_complete = sequence.mask->is_complete();
    queue.end(sequence, is_complete ? Finish::kStop : Finish::kError,
              is_complete ? "" : "engine: the mask allows no token");
    return std::nullopt;
  }
  Result<i32> token = sampler_.sample(
      {.logits = row,
       .params = sequence.request.sampling,
       .tokens = sequence.tokens,
       .prompt_tokens = sequence.prompt_tokens,
       .allowed = is_masked ? std::span<const u64>(allowed_) : std::span<const u64>()});
  if (token.ok()) return *token;
  queue.end(sequence, Finish::kError, std::move(token).error().message);
  return std::nullopt;
}

void Committer::take(Sequence& sequence, i32 token, i64 now_ns, SequenceQueue& queue) {
  sequence.tokens.push_back(token);
  unit::Usage& usage = sequence.usage;
  if (usage.output_tokens == 0) usage.first_token_ns = now_ns - sequence.submitted_ns;
  ++usage.output_tokens;
  ++totals_.output_tokens;
  if (contains(sequence.request.stop_tokens, token)) {
    queue.end(sequence, Finish::kStop);
    return;
  }
  if (sequence.mask != nullptr) sequence.mask->accept(token);
  if (usage.output_tokens == sequence.request.max_tokens) {
    queue.end(sequence, Finish::kLength);
  } else if (sequence.outputs_left() == 0) {
    // Who is paused is set aside after the step.
    if (funds_wait_ns_ > 0 && !sequence.request.is_funding_final) {
      sequence.paused_ns = std::max<i64>(1, now_ns);  // 0 says that it is not
    } else {
      queue.end(sequence, Finish::kFunds);
    }
  }
}

// Whether any token may come next; allowed_ says which.
bool Committer::allow(const Sequence& sequence) {
  std::ranges::fill(allowed_, 0);
  sequence.mask->allow(allowed_);
  if (sequence.mask->is_complete()) {
    for (i32 token : sequence.request.stop_tokens) allowed_[token / 64] |= u64{1} << (token % 64);
  }
  return std::ranges::any_of(allowed_, [](u64 word) { return word != 0; });
}

void Committer::emit(const Sequence& sequence, i32 token, std::span<const f32> row,
                     StepResult& result) {
  TokenEvent event{.request = sequence.request.id, .token = token};
  i32 count = sequence.request.sampling.logprobs;
  if (count >= 0) {
    logprobs_.read(row);
    event.logprob = logprobs_.of(token);
    logprobs_.top(count, event.top_logprobs);
  }
  result.tokens.push_back(std::move(event));
}

}  // namespace tg::engine
