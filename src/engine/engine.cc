// The loop schedule -> run -> commit; README.md follows a request through it.
#include "engine/engine.h"

#include <algorithm>

#include "base/assert.h"
#include "engine/run/attribution.h"
#include "engine/run/batch.h"
#include "engine/run/commit.h"
#include "engine/sched/scheduler.h"
#include "engine/spec/speculator.h"
#include "engine/submit_check.h"

namespace tg::engine {

namespace {

SchedulerLimits scheduler_limits(const backend::ExecutorLimits& device,
                                 const EngineLimits& limits) {
  i64 step_tokens_max = std::min(limits.step_tokens_max, device.tokens_max);
  // Every running sequence may want a token and a row of logits in the same step.
  i64 running_max =
      std::min({limits.running_max, device.sequences_max, device.rows_max, step_tokens_max});
  return {.running_max = running_max,
          .step_tokens_max = step_tokens_max,
          .context_max = device.context_max,
          .step_target_ns = limits.step_target_ns,
          .step_longest_ns = limits.step_longest_ns,
          .preemptions_max = limits.preemptions_max,
          .output_guess = limits.output_guess,
          .funds_keep_ns = limits.funds_keep_ns};
}

SchedulerLimits scheduler_limits(const backend::Executor& executor, const EngineLimits& limits) {
  SchedulerLimits out = scheduler_limits(executor.limits(), limits);
  out.page_bytes = executor.page_bytes();
  return out;
}

SpeculatorLimits speculator_limits(const backend::ExecutorLimits& device,
                                   const EngineLimits& limits) {
  SchedulerLimits scheduler = scheduler_limits(device, limits);
  return {.draft_tokens_max = limits.draft_tokens_max,
          .step_tokens_max = scheduler.step_tokens_max,
          .rows_max = device.rows_max,
          .running_max = scheduler.running_max};
}

PoolOptions pool_options(const backend::Executor& executor, const EngineLimits& limits) {
  return {.blocks = executor.limits().kv_pages,
          .block_tokens = executor.page_tokens(),
          .prefix_cache = limits.prefix_cache,
          .prefix_seed = limits.prefix_seed,
          .swap_blocks = executor.limits().swap_pages};
}

}  // namespace

struct Engine::State {
  State(backend::Executor& executor_in, const EngineCosts& costs, const EngineLimits& limits_in,
        Clock& clock_in, Drafter* drafter);

  void wait(Sequence& sequence);
  void resume(Sequence& sequence);
  void end_unfunded(i64 now_ns);
  void note_preemptions(const Plan& plan, StepResult& result);
  void prepare_masks(const Plan& plan);
  void run(const Plan& plan, StepResult& result);
  Status copy_pages(const Plan& plan);
  void retire_ended(StepResult& result);
  void check_blocks() const;

  backend::Executor& executor;
  Clock& clock;
  const EngineLimits limits;
  const i64 running_max;  // what limits and device allow
  EngineStatus totals;    // the counters; status() adds the gauges
  BlockPool pool;
  Scheduler scheduler;
  StepModel model;
  Speculator speculator;
  BatchBuilder builder;
  Attribution attribution;
  Committer committer;
  SequenceQueue queue;
  u64 submitted = 0;
  std::vector<SequenceQueue::Owned> ended;  // scratch of retire_ended()
};

Engine::State::State(backend::Executor& executor_in, const EngineCosts& costs,
                     const EngineLimits& limits_in, Clock& clock_in, Drafter* drafter)
    : executor(executor_in),
      clock(clock_in),
      limits(limits_in),
      running_max(scheduler_limits(executor_in.limits(), limits_in).running_max),
      pool(pool_options(executor_in, limits_in)),
      scheduler(scheduler_limits(executor_in, limits_in), pool),
      speculator(speculator_limits(executor_in.limits(), limits_in), drafter),
      builder(executor_in.limits(), executor_in.page_tokens()),
      attribution(costs.main, costs.entries, executor_in.limits().sequences_max),
      committer(pool, executor_in.vocabulary(), limits_in.funds_wait_ns, totals) {
  TG_ASSERT(limits.waiting_max > 0);
  TG_ASSERT(limits.draft_tokens_max >= 0);
  TG_ASSERT(limits.step_target_ns >= 0 && limits.step_longest_ns >= 0);
  TG_ASSERT(limits.funds_wait_ns >= 0 && limits.funds_keep_ns >= 0);
  queue.reserve(limits.running_max, limits.waiting_max);
  ended.reserve(static_cast<std::size_t>(limits.running_max));
}

Engine::Engine(backend::Executor& executor, const EngineCosts& costs, const EngineLimits& limits,
               Clock& clock, Drafter* drafter)
    : state_(std::make_unique<State>(executor, costs, limits, clock, drafter)) {}

Engine::~Engine() = default;

Status Engine::submit(EngineRequest request, std::unique_ptr<TokenMask> mask) {
  State& s = *state_;
  TG_TRY(check_request(request, {.vocabulary = s.executor.vocabulary(),
                                 .context_max = s.executor.limits().context_max,
                                 .pool_tokens = s.pool.total() * s.pool.block_tokens()}));
  if (s.queue.find(request.id) != nullptr) {
    return Error{Code::kExists, "engine: request " + std::to_string(request.id) + " is open"};
  }
  i64 waiting = s.queue.waiting(request.priority) + s.queue.paused(request.priority);
  if (waiting >= s.limits.waiting_max) {
    return Error{Code::kUnavailable,
                 "engine: " + std::to_string(s.limits.waiting_max) + " requests wait already"};
  }
  if (request.funded_tokens == 0) request.funded_tokens = request.max_tokens;
  SequenceQueue::Owned sequence = std::make_unique<Sequence>();
  sequence->tokens = std::move(request.prompt);
  sequence->request = std::move(request);
  sequence->mask = std::move(mask);
  s.wait(*sequence);
  s.queue.add(std::move(sequence));
  return {};
}

Status Engine::extend(u64 id, i64 funded_tokens, bool is_final) {
  Sequence* sequence = state_->queue.find(id);
  if (sequence == nullptr || sequence->ending) {
    return Error{Code::kNotFound, "engine: request " + std::to_string(id) + " is not open"};
  }
  EngineRequest& request = sequence->request;
  if (funded_tokens > request.max_tokens) {
    return Error{Code::kInvalid, "engine: funded_tokens " + std::to_string(funded_tokens) +
                                     " exceeds max_tokens " + std::to_string(request.max_tokens)};
  }
  request.funded_tokens = std::max(request.funded_tokens, funded_tokens);
  request.is_funding_final = is_final;
  if (sequence->paused_ns == 0) return {};
  if (sequence->outputs_left() > 0) {
    state_->resume(*sequence);
  } else if (is_final) {
    state_->queue.end(*sequence, Finish::kFunds);
  }
  return {};
}

void Engine::cancel(u64 id) {
  Sequence* sequence = state_->queue.find(id);
  if (sequence != nullptr && !sequence->ending) state_->queue.end(*sequence, Finish::kCancelled);
}

bool Engine::has_work() const {
  return state_->queue.open() > 0;
}

bool Engine::is_paused() const {
  return has_work() && state_->queue.is_paused();
}

StepResult Engine::step() {
  State& s = *state_;
  StepResult result;
  s.retire_ended(result);
  if (s.queue.open() == 0) return result;
  i64 now_ns = s.clock.monotonic_ns();
  s.end_unfunded(now_ns);
  s.retire_ended(result);
  if (s.queue.open() == s.queue.paused()) return result;
  const Plan& plan = s.scheduler.schedule(s.queue, s.pool, s.model, now_ns);
  s.note_preemptions(plan, result);
  result.wall_ns = s.speculator.propose(s.queue, plan, s.pool, s.model);
  s.prepare_masks(plan);
  s.run(plan, result);
  s.queue.set_paused_aside();
  s.retire_ended(result);
  s.check_blocks();
  return result;
}

EngineStatus Engine::status() const {
  const State& s = *state_;
  EngineStatus status = s.totals;
  status.running = s.queue.running();
  status.waiting = s.queue.waiting();
  status.paused = s.queue.paused();
  for (std::size_t i = 0; i < kPriorities; ++i) {
    status.waiting_by_class[i] = s.queue.waiting(static_cast<Priority>(i));
  }
  status.kv_pages_total = s.pool.total();
  status.kv_pages_free = s.pool.available();
  status.swap_pages_total = s.pool.swap().total();
  status.swap_pages_free = s.pool.swap().free();
  status.step_time = s.model.time();
  return status;
}

// Gives a new sequence its place in time, and room for all it may become: steps do not allocate.
void Engine::State::wait(Sequence& sequence) {
  i64 patience_ns = limits.patience_ns[static_cast<std::size_t>(sequence.request.priority)];
  i64 wish_ns = sequence.request.deadline_ns == 0 ? patience_ns : sequence.request.deadline_ns;
  sequence.serial = submitted++;
  sequence.submitted_ns = clock.monotonic_ns();
  sequence.due_ns = sequence.submitted_ns + std::min(wish_ns, patience_ns);
  sequence.ripe_ns = sequence.due_ns + patience_ns;
  sequence.prompt_tokens = sequence.known();
  sequence.tokens.reserve(static_cast<std::size_t>(sequence.keys_max() + 1));
  sequence.blocks.reserve(static_cast<std::size_t>(pool.blocks_for(sequence.keys_max())));
  if (pool.swap().total() > 0) sequence.swapped.reserve(sequence.blocks.capacity());
  speculator.prepare(sequence);
}

// Funds came late, but came. Its place among the running may be taken by now.
void Engine::State::resume(Sequence& sequence) {
  bool has_slot = queue.running() < running_max;
  if (!has_slot && !sequence.blocks.empty()) {
    pool.release_all(sequence.blocks);
    sequence.computed = 0;
    sequence.published = 0;
  }
  queue.resume(sequence, has_slot);
}

// Nobody has said for too long whether funds will come.
void Engine::State::end_unfunded(i64 now_ns) {
  for (i64 i = 0; i < queue.paused(); ++i) {
    Sequence& sequence = queue.paused_at(i);
    if (now_ns - sequence.paused_ns < limits.funds_wait_ns) return;
    queue.end(sequence, Finish::kFunds);
  }
}

void Engine::State::note_preemptions(const Plan& plan, StepResult& result) {
  totals.preemptions += plan.preempted.size();
  totals.swapped_tokens += static_cast<u64>(plan.tokens_swapped);
  result.preempted.assign(plan.preempted.begin(), plan.preempted.end());
}

// Masks of the rows that the step will sample begin to be worked out; proposals that they rule out
// are dropped.
void Engine::State::prepare_masks(const Plan& plan) {
  for (i64 i = 0; i < queue.running(); ++i) {
    Sequence& sequence = queue.at(i);
    bool is_sampled = plan.tokens[i] > 0 && plan.tokens[i] == sequence.missing();
    if (sequence.mask == nullptr || !is_sampled) continue;
    i64 kept = sequence.mask->prepare(sequence.draft);
    TG_ASSERT(kept >= 0 && kept <= static_cast<i64>(sequence.draft.size()));
    sequence.draft.resize(static_cast<std::size_t>(kept));
  }
}

void Engine::State::run(const Plan& plan, StepResult& result) {
  backend::StepBatch batch = builder.build(queue, plan);
  result.batch_tokens = static_cast<i64>(batch.ids.size());
  result.batch_sequences = static_cast<i64>(batch.past.size());
  TG_ASSERT(result.batch_tokens > 0);
  result.tokens.reserve(batch.rows.size());
  result.parts.reserve(builder.parts().size());
  Status copied = copy_pages(plan);
  i64 began_ns = clock.monotonic_ns();
  Result<std::span<const f32>> logits =
      copied.ok() ? executor.run(batch) : Result<std::span<const f32>>(copied.error());
  i64 ended_ns = clock.monotonic_ns();
  i64 wall_ns = ended_ns - began_ns;
  result.wall_ns += wall_ns;
  ++totals.steps;
  Result<std::span<const unit::StepShare>> shares = attribution.share(
      builder.parts(),
      {.wall_ns = wall_ns, .entry = executor.entry(), .expert_hits = executor.expert_hits()});
  if (logits.ok() && shares.ok()) {
    model.observe(builder.size(), wall_ns);
    committer.commit({.parts = builder.parts(),
                      .logits = *logits,
                      .shares = *shares,
                      .began_ns = began_ns,
                      .ended_ns = ended_ns},
                     queue, result);
    return;
  }
  // A trap commits nothing and does not say whose it was: all that took part end, the rest go on.
  const std::string& message = logits.ok() ? shares.error().message : logits.error().message;
  for (const BatchPart& part : builder.parts()) {
    queue.end(queue.at(part.sequence), Finish::kError, message);
  }
}

Status Engine::State::copy_pages(const Plan& plan) {
  if (plan.copies.empty()) return {};
  i64 began_ns = clock.monotonic_ns();
  TG_TRY(executor.copy_pages(plan.copies));
  scheduler.note_copies(clock.monotonic_ns() - began_ns);
  return {};
}

// Gives back the blocks of everything that has ended, and says so.
void Engine::State::retire_ended(StepResult& result) {
  queue.take_ended(ended);
  if (ended.empty()) return;
  i64 now_ns = clock.monotonic_ns();
  for (SequenceQueue::Owned& sequence : ended) {
    Ending& ending = *sequence->ending;
    bool is_whole = ending.reason == Finish::kStop || ending.reason == Finish::kLength;
    if (is_whole) scheduler.learn(*sequence);
    speculator.forget(*sequence);
    pool.release_all(sequence->blocks);
    pool.swap().give_back(sequence->swapped);
    sequence->usage.total_ns = now_ns - sequence->submitted_ns;
    result.finished.push_back({.request = sequence->request.id,
                               .reason = ending.reason,
                               .error = std::move(ending.error),
                               .usage = sequence->usage,
                               .drafts = sequence->drafting.count});
  }
  ended.clear();
}

// No block is lost or shared without a reference: the books balance after every step.
void Engine::State::check_blocks() const {
  pool.check();
  i64 held = 0;
  for (i64 i = 0; i < queue.running(); ++i) {
    TG_ASSERT(queue.at(i).swapped.empty());
    held += static_cast<i64>(queue.at(i).blocks.size());
  }
  for (i64 i = 0; i < queue.paused(); ++i) {
    held += static_cast<i64>(queue.paused_at(i).blocks.size());
  }
  TG_ASSERT(held == pool.references());
}

}  // namespace tg::engine
