// The engine: one loop, schedule -> run -> commit, over packed batches with paged KV. It knows
// token ids, never strings or money. engine.h is the loop as a plain object that one thread drives;
// it owns no thread and no clock.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "base/result.h"
#include "engine/sample/token_mask.h"
#include "engine/sched/step_model.h"
#include "engine/spec/drafter.h"
#include "env/clock.h"
#include "isa/sampling.h"
#include "unit/cost_matrix.h"
#include "unit/usage.h"

namespace tg::engine {

// Who comes first when not everybody can. A class is strict until a request is ripe.
enum class Priority : u8 { kInteractive, kStandard, kBatch };
inline constexpr std::size_t kPriorities = 3;

// What who serves buyers sets funds_wait_ns to: a hold's time to live.
inline constexpr i64 kFundsWaitNs = 30'000'000'000;

struct EngineLimits {
  i64 running_max = 64;       // sequences in a step
  i64 waiting_max = 1'024;    // queue length of a class; beyond it submit() says kUnavailable
  i64 step_tokens_max = 512;  // token budget of a step: chunked prefill and decode share it
  // Aimed at while somebody's stream runs (kBatch is watched by nobody): prompts are cut so that
  // the step model expects no longer step. 0: off, and so is the next one.
  i64 step_target_ns = 100'000'000;
  // Of a step beside many streams: by then prompts have seven eighths of it, or it is so long.
  // First tokens come sooner for it, and streams no slower than this.
  i64 step_longest_ns = 200'000'000;
  // By class. A request is due this long after its submission, or earlier if it says so, and ripe
  // as long after that: from then on nobody who came later is admitted before it.
  std::array<i64, kPriorities> patience_ns = {2'000'000'000, 30'000'000'000, 600'000'000'000};
  // How long a request whose funds are used up, and whose payer has not said that they are all, is
  // paused for more. 0: not at all, it ends there.
  i64 funds_wait_ns = 0;
  // For so long of it, its keys give way only to what runs already, not to who waits.
  i64 funds_keep_ns = 1'000'000'000;
  i64 preemptions_max = 3;   // of a request; then it is ripe, and gives way only to older ones
  i64 output_guess = 128;    // tokens that admission expects of an output until it has seen some
  i64 draft_tokens_max = 0;  // proposed at once for a sequence, and verified; 0: no speculation.
                             // REQUIRES: 0 for programs with states, which cannot go back
  bool prefix_cache = true;  // serve full blocks of equal prefixes from the pool
  u64 prefix_seed = 0;       // secret of the prefix hash, so that nobody can aim collisions
};

struct EngineRequest {
  u64 id = 0;
  std::vector<i32> prompt;  // at least one token
  i64 max_tokens = 0;
  // Output tokens that are paid for so far; extend() raises it. 0: all of max_tokens.
  i64 funded_tokens = 0;
  bool is_funding_final = false;  // nothing will be added: it ends there, and is not paused
  isa::SamplingParams sampling;
  std::vector<i32> stop_tokens;
  u64 cache_salt = 0;  // requests share cached prefixes only if their salts are equal
  Priority priority = Priority::kStandard;
  i64 deadline_ns = 0;  // the first token is wanted this long after submission; 0: no wish
};

// kFunds: what was paid for is used up, and max_tokens is not reached; the payer has said that
// there is no more, or has said nothing for funds_wait_ns.
enum class Finish { kStop, kLength, kFunds, kCancelled, kError };

struct TokenEvent {
  u64 request = 0;
  i32 token = 0;
  f32 logprob = 0;                                // if sampling.logprobs >= 0
  std::vector<std::pair<i32, f32>> top_logprobs;  // if sampling.logprobs > 0
};

// usage.prompt_tokens counts prompt tokens that were computed or served from the cache: the whole
// prompt unless the request ended before its first token. cached_tokens is what its first admission
// found; what a preempted request finds again is not counted twice.
struct FinishEvent {
  u64 request = 0;
  Finish reason = Finish::kStop;
  std::string error;
  unit::Usage usage;
  DraftCount drafts;
};

enum class PreemptReason {
  kOutOfBlocks,  // one before it outgrew the pool
  kPriority,     // a request of a higher class would have had to wait
};

// A running request lost its blocks and waits, to be recomputed or for its keys to be copied back.
struct PreemptEvent {
  u64 request = 0;
  Priority priority = Priority::kStandard;
  PreemptReason reason = PreemptReason::kOutOfBlocks;
  u64 beneficiary = 0;    // the request that made it give way; its own id if it was the last
  i64 tokens_lost = 0;    // computed so far; what the prefix cache still holds is found again
  i64 tokens_kept = 0;    // of them in the host's memory: all, or none
  i64 preemptions = 0;    // of this request, with this one
  i64 kv_pages_free = 0;  // before it gave its own
};

// A request's part of a step's time on the device.
struct StepPart {
  u64 request = 0;
  i64 wall_ns = 0;
};

// What one call of step() did.
struct StepResult {
  std::vector<StepPart> parts;
  std::vector<TokenEvent> tokens;
  std::vector<FinishEvent> finished;
  std::vector<PreemptEvent> preempted;
  i64 batch_tokens = 0;
  i64 batch_sequences = 0;
  i64 wall_ns = 0;  // of the devices: the drafter's, then the step's
};

struct EngineStatus {
  i64 running = 0;
  i64 waiting = 0;
  i64 paused = 0;  // for funds
  std::array<i64, kPriorities> waiting_by_class{};
  i64 kv_pages_total = 0;
  i64 kv_pages_free = 0;  // free + cached-but-evictable
  i64 swap_pages_total = 0;
  i64 swap_pages_free = 0;
  u64 steps = 0;
  u64 prompt_tokens = 0;  // computed or served from cache
  u64 cached_tokens = 0;
  u64 output_tokens = 0;
  u64 preemptions = 0;
  u64 recomputed_tokens = 0;  // computed a second time because of them
  u64 swapped_tokens = 0;     // or copied to the host's memory instead
  DraftCount drafts;
  StepTime step_time;  // how long steps take; see StepModel
};

// Cost matrices of the program that the executor runs, for the actual work of its steps; borrowed.
struct EngineCosts {
  EngineCosts(const unit::CostMatrix& main_in, std::span<const unit::CostMatrix> entries_in = {})
      : main(main_in), entries(entries_in) {}
  const unit::CostMatrix& main;
  std::span<const unit::CostMatrix> entries;  // of the program's functions after main
};

class Engine {
 public:
  // Executor, matrix and clock must outlive the engine, as must the drafter, if there is one
  // besides the sequences' own repetitions. The executor's own limits bound `limits`. REQUIRES:
  // every limit and the executor's pool are positive.
  Engine(backend::Executor& executor, const EngineCosts& costs, const EngineLimits& limits,
         Clock& clock, Drafter* drafter = nullptr);
  ~Engine();

  // kInvalid if it could never run, kExists for an id in use, kUnavailable if the queue of its
  // class is full. With a mask, only what it allows is sampled.
  Status submit(EngineRequest request, std::unique_ptr<TokenMask> mask = nullptr);
  // Raises funded_tokens of an open request, which goes on if it was paused; a lower number than
  // before changes nothing. With `is_final` it ends there. kInvalid beyond its max_tokens,
  // kNotFound if it has ended.
  Status extend(u64 id, i64 funded_tokens, bool is_final = false);
  // The request ends in the next step()'s `finished`; its blocks are free by then.
  void cancel(u64 id);
  bool has_work() const;
  // Has work, but all of it is paused: a step would compute nothing. It should still be called now
  // and then, for who has waited too long.
  bool is_paused() const;
  // One schedule -> run -> commit. Cheap when there is no work.
  StepResult step();
  EngineStatus status() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::engine
