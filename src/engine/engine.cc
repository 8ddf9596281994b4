// The loop schedule -> run -> commit; README.md follows a request through it.
#include "engine/engine.h"

#include <algorithm>

#include "base/assert.h"
#include "engine/run/attribution.h"
#include "engine/run/batch.h"
#include "engine/sample/sampler.h"
#include "engine/sched/scheduler.h"
#include "engine/submit_check.h"

namespace tg::engine {

namespace {

SchedulerLimits scheduler_limits(const backend::ExecutorLimits& device,
                                 const EngineLimits& limits) {
  i64 step_tokens_max = std::min(limits.step_tokens_max, device.tokens_max);
  // Every running sequence may want a token and a row of logits in the same step.
  i64 running_max =
      std::min({limits.running_max, device.sequences_max, device.rows_max, step_tokens_max});
  return {running_max, step_tokens_max, device.context_max};
}

PoolOptions pool_options(const backend::Executor& executor, const EngineLimits& limits) {
  return {.blocks = executor.limits().kv_pages,
          .block_tokens = executor.page_tokens(),
          .prefix_cache = limits.prefix_cache,
          .prefix_seed = limits.prefix_seed};
}

bool contains(std::span<const i32> tokens, i32 token) {
  return std::ranges::find(tokens, token) != tokens.end();
}

}  // namespace

struct Engine::State {
  State(backend::Executor& executor_in, const EngineCosts& costs, const EngineLimits& limits,
        Clock& clock_in);

  Sequence* find(u64 id) const;
  void end(Sequence& sequence, Finish reason, std::string error = {});
  void retire_ended(StepResult& result);
  void note_preemptions(const Plan& plan, StepResult& result);
  void run(const Plan& plan, StepResult& result);
  void commit(std::span<const f32> logits, std::span<const unit::StepShare> shares,
              StepResult& result);
  void note_share(Sequence& sequence, const unit::StepShare& share) const;
  void advance(Sequence& sequence, i64 tokens);
  void sample(Sequence& sequence, std::span<const f32> row, StepResult& result);
  void emit(const Sequence& sequence, i32 token, std::span<const f32> row, StepResult& result);
  void check_blocks() const;

  backend::Executor& executor;
  Clock& clock;
  i64 waiting_max;
  BlockPool pool;
  Scheduler scheduler;
  BatchBuilder builder;
  Attribution attribution;
  Sampler sampler;
  LogprobReader logprobs;
  SequenceQueue queue;
  i64 ended = 0;          // sequences in the queue that have an ending
  i64 step_began_ns = 0;  // when the device was given the step, and when it was done
  i64 step_ended_ns = 0;
  EngineStatus totals;  // the counters; status() adds the gauges
};

Engine::State::State(backend::Executor& executor_in, const EngineCosts& costs,
                     const EngineLimits& limits, Clock& clock_in)
    : executor(executor_in),
      clock(clock_in),
      waiting_max(limits.waiting_max),
      pool(pool_options(executor_in, limits)),
      scheduler(scheduler_limits(executor_in.limits(), limits), executor_in.page_tokens()),
      builder(executor_in.limits(), executor_in.page_tokens()),
      attribution(costs.main, costs.entries, executor_in.limits().sequences_max),
      sampler(executor_in.vocabulary()),
      logprobs(executor_in.vocabulary()) {
  TG_ASSERT(limits.waiting_max > 0);
  queue.order.reserve(static_cast<std::size_t>(waiting_max + limits.running_max));
}

Engine::Engine(backend::Executor& executor, const EngineCosts& costs, const EngineLimits& limits,
               Clock& clock)
    : state_(std::make_unique<State>(executor, costs, limits, clock)) {}

Engine::~Engine() = default;

Status Engine::submit(EngineRequest request) {
  State& s = *state_;
  TG_TRY(check_request(request, {.vocabulary = s.executor.vocabulary(),
                                 .context_max = s.executor.limits().context_max,
                                 .pool_tokens = s.pool.total() * s.pool.block_tokens()}));
  if (s.find(request.id) != nullptr) {
    return Error{Code::kExists, "engine: request " + std::to_string(request.id) + " is open"};
  }
  if (s.queue.size() - s.queue.running >= s.waiting_max) {
    return Error{Code::kUnavailable,
                 "engine: " + std::to_string(s.waiting_max) + " requests wait already"};
  }
  std::unique_ptr<Sequence> sequence = std::make_unique<Sequence>();
  sequence->tokens = std::move(request.prompt);
  sequence->request = std::move(request);
  sequence->prompt_tokens = sequence->known();
  sequence->submitted_ns = s.clock.monotonic_ns();
  // Reserved here, so that steps do not allocate.
  sequence->tokens.reserve(static_cast<std::size_t>(sequence->keys_max() + 1));
  sequence->blocks.reserve(static_cast<std::size_t>(s.pool.blocks_for(sequence->keys_max())));
  s.queue.order.push_back(std::move(sequence));
  return {};
}

void Engine::cancel(u64 id) {
  Sequence* sequence = state_->find(id);
  if (sequence != nullptr && !sequence->ending) state_->end(*sequence, Finish::kCancelled);
}

bool Engine::has_work() const {
  return state_->queue.size() > 0;
}

StepResult Engine::step() {
  State& s = *state_;
  StepResult result;
  s.retire_ended(result);
  if (s.queue.size() == 0) return result;
  const Plan& plan = s.scheduler.schedule(s.queue, s.pool);
  s.note_preemptions(plan, result);
  s.run(plan, result);
  s.retire_ended(result);
  s.check_blocks();
  return result;
}

EngineStatus Engine::status() const {
  const State& s = *state_;
  EngineStatus status = s.totals;
  status.running = s.queue.running;
  status.waiting = s.queue.size() - s.queue.running;
  status.kv_pages_total = s.pool.total();
  status.kv_pages_free = s.pool.available();
  return status;
}

Sequence* Engine::State::find(u64 id) const {
  for (const std::unique_ptr<Sequence>& sequence : queue.order) {
    if (sequence->request.id == id) return sequence.get();
  }
  return nullptr;
}

void Engine::State::end(Sequence& sequence, Finish reason, std::string error) {
  TG_ASSERT(!sequence.ending);
  sequence.ending = Ending{reason, std::move(error)};
  ++ended;
}

// Gives back the blocks of everything that has ended, and says so.
void Engine::State::retire_ended(StepResult& result) {
  if (ended == 0) return;
  i64 now_ns = clock.monotonic_ns();
  i64 kept = 0;
  i64 kept_running = 0;
  for (i64 i = 0; i < queue.size(); ++i) {
    std::unique_ptr<Sequence>& slot = queue.order[static_cast<std::size_t>(i)];
    if (slot->ending) {
      pool.release_all(slot->blocks);
      slot->usage.total_ns = now_ns - slot->submitted_ns;
      result.finished.push_back(
          {slot->request.id, slot->ending->reason, std::move(slot->ending->error), slot->usage});
      continue;
    }
    if (i < queue.running) ++kept_running;
    if (kept != i) queue.order[static_cast<std::size_t>(kept)] = std::move(slot);
    ++kept;
  }
  TG_ASSERT(queue.size() - kept == ended);
  queue.order.resize(static_cast<std::size_t>(kept));
  queue.running = kept_running;
  ended = 0;
}

void Engine::State::note_preemptions(const Plan& plan, StepResult& result) {
  totals.preemptions += plan.preempted.size();
  result.preempted.assign(plan.preempted.begin(), plan.preempted.end());
}

void Engine::State::run(const Plan& plan, StepResult& result) {
  backend::StepBatch batch = builder.build(queue, plan);
  result.batch_tokens = static_cast<i64>(batch.ids.size());
  result.batch_sequences = static_cast<i64>(batch.past.size());
  TG_ASSERT(result.batch_tokens > 0);
  result.tokens.reserve(batch.rows.size());
  step_began_ns = clock.monotonic_ns();
  Result<std::span<const f32>> logits = executor.run(batch);
  step_ended_ns = clock.monotonic_ns();
  result.wall_ns = step_ended_ns - step_began_ns;
  ++totals.steps;
  Result<std::span<const unit::StepShare>> shares =
      attribution.share(queue, builder.parts(),
                        {.wall_ns = result.wall_ns,
                         .entry = executor.entry(),
                         .expert_hits = executor.expert_hits()});
  if (logits.ok() && shares.ok()) {
    commit(*logits, *shares, result);
    return;
  }
  // A trap commits nothing and does not say whose it was: all that took part end, the rest go on.
  const std::string& message = logits.ok() ? shares.error().message : logits.error().message;
  for (const BatchPart& part : builder.parts()) {
    end(queue.at(part.sequence), Finish::kError, message);
  }
}

void Engine::State::commit(std::span<const f32> logits, std::span<const unit::StepShare> shares,
                           StepResult& result) {
  std::size_t vocabulary = static_cast<std::size_t>(executor.vocabulary());
  std::size_t rows = 0;
  for (std::size_t i = 0; i < builder.parts().size(); ++i) {
    const BatchPart& part = builder.parts()[i];
    Sequence& sequence = queue.at(part.sequence);
    note_share(sequence, shares[i]);
    advance(sequence, part.tokens);
    if (part.row < 0) continue;
    TG_ASSERT(sequence.computed == sequence.known());
    TG_ASSERT(logits.size() >= (rows + 1) * vocabulary);
    sample(sequence, logits.subspan(static_cast<std::size_t>(part.row) * vocabulary, vocabulary),
           result);
    ++rows;
  }
  TG_ASSERT(logits.size() == rows * vocabulary);
}

void Engine::State::note_share(Sequence& sequence, const unit::StepShare& share) const {
  unit::Usage& usage = sequence.usage;
  if (usage.steps == 0) {
    usage.queue_ns = step_began_ns - sequence.submitted_ns;
    // Still where admission put it: at the end of its prefix hit.
    usage.cached_tokens = sequence.computed;
  }
  ++usage.steps;
  usage.actual_atto_st += share.atto_st;
  usage.attributed_ns += share.wall_ns;
}

// The tokens' keys are in their blocks now: counts them, and offers the blocks that became full.
void Engine::State::advance(Sequence& sequence, i64 tokens) {
  bool first = sequence.usage.steps == 1;
  i64 before = sequence.computed;
  sequence.computed += tokens;
  totals.recomputed_tokens +=
      static_cast<u64>(std::max<i64>(0, std::min(sequence.computed, sequence.reached) - before));
  sequence.reached = std::max(sequence.reached, sequence.computed);
  i64 prompt_done = std::min(sequence.reached, sequence.prompt_tokens);
  totals.prompt_tokens += static_cast<u64>(prompt_done - sequence.usage.prompt_tokens);
  sequence.usage.prompt_tokens = prompt_done;
  if (first) totals.cached_tokens += static_cast<u64>(before);
  if (!pool.caches()) return;
  i64 block_tokens = pool.block_tokens();
  std::span<const i32> all = sequence.tokens;
  for (; (sequence.published + 1) * block_tokens <= sequence.computed; ++sequence.published) {
    pool.publish(sequence.blocks, sequence.published, sequence.request.cache_salt,
                 all.subspan(static_cast<std::size_t>(sequence.published * block_tokens),
                             static_cast<std::size_t>(block_tokens)));
  }
}

void Engine::State::sample(Sequence& sequence, std::span<const f32> row, StepResult& result) {
  Result<i32> token = sampler.sample({.logits = row,
                                      .params = sequence.request.sampling,
                                      .tokens = sequence.tokens,
                                      .prompt_tokens = sequence.prompt_tokens});
  if (!token.ok()) {
    end(sequence, Finish::kError, std::move(token).error().message);
    return;
  }
  sequence.tokens.push_back(*token);
  unit::Usage& usage = sequence.usage;
  if (usage.output_tokens == 0) usage.first_token_ns = step_ended_ns - sequence.submitted_ns;
  ++usage.output_tokens;
  ++totals.output_tokens;
  emit(sequence, *token, row, result);
  if (contains(sequence.request.stop_tokens, *token)) {
    end(sequence, Finish::kStop);
  } else if (usage.output_tokens == sequence.request.max_tokens) {
    end(sequence, Finish::kLength);
  }
}

void Engine::State::emit(const Sequence& sequence, i32 token, std::span<const f32> row,
                         StepResult& result) {
  TokenEvent event{.request = sequence.request.id, .token = token};
  i32 count = sequence.request.sampling.logprobs;
  if (count >= 0) {
    logprobs.read(row);
    event.logprob = logprobs.of(token);
    logprobs.top(count, event.top_logprobs);
  }
  result.tokens.push_back(std::move(event));
}

// No block is lost or shared without a reference: the books balance after every step.
void Engine::State::check_blocks() const {
  pool.check();
  i64 held = 0;
  for (i64 i = 0; i < queue.running; ++i) {
    held += static_cast<i64>(queue.at(i).blocks.size());
  }
  TG_ASSERT(held == pool.references());
}

}  // namespace tg::engine
