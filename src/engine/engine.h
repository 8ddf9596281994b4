// The engine: one loop, schedule -> run -> commit, over packed batches with paged KV. It knows
// token ids, never strings or money. engine.h is the loop as a plain object that one thread drives;
// it owns no thread and no clock.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "base/result.h"
#include "env/clock.h"
#include "isa/sampling.h"
#include "unit/cost_matrix.h"
#include "unit/usage.h"

namespace tg::engine {

struct EngineLimits {
  i64 running_max = 64;       // sequences in a step
  i64 waiting_max = 1'024;    // queue length; beyond it submit() says kUnavailable
  i64 step_tokens_max = 512;  // token budget of a step: chunked prefill and decode share it
  bool prefix_cache = true;   // serve full blocks of equal prefixes from the pool
  u64 prefix_seed = 0;        // secret of the prefix hash, so that nobody can aim collisions
};

struct EngineRequest {
  u64 id = 0;
  std::vector<i32> prompt;  // at least one token
  i64 max_tokens = 0;
  isa::SamplingParams sampling;
  std::vector<i32> stop_tokens;
  u64 cache_salt = 0;  // requests share cached prefixes only if their salts are equal
};

enum class Finish { kStop, kLength, kCancelled, kError };

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
};

// A running request lost its blocks to older ones and waits to be recomputed.
struct PreemptEvent {
  u64 request = 0;
  i64 tokens_lost = 0;  // computed so far; what the prefix cache still holds is found again
};

// What one call of step() did.
struct StepResult {
  std::vector<TokenEvent> tokens;
  std::vector<FinishEvent> finished;
  std::vector<PreemptEvent> preempted;
  i64 batch_tokens = 0;
  i64 batch_sequences = 0;
  i64 wall_ns = 0;
};

struct EngineStatus {
  i64 running = 0;
  i64 waiting = 0;
  i64 kv_pages_total = 0;
  i64 kv_pages_free = 0;  // free + cached-but-evictable
  u64 steps = 0;
  u64 prompt_tokens = 0;  // computed or served from cache
  u64 cached_tokens = 0;
  u64 output_tokens = 0;
  u64 preemptions = 0;
  u64 recomputed_tokens = 0;  // computed a second time because of them
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
  // Executor, matrix and clock must outlive the engine. The executor's own limits bound `limits`.
  // REQUIRES: every limit and the executor's pool are positive.
  Engine(backend::Executor& executor, const EngineCosts& costs, const EngineLimits& limits,
         Clock& clock);
  ~Engine();

  // kInvalid if it could never run, kExists for an id in use, kUnavailable if the queue is full.
  Status submit(EngineRequest request);
  // The request ends in the next step()'s `finished`; its blocks are free by then.
  void cancel(u64 id);
  bool has_work() const;
  // One schedule -> run -> commit. Cheap when there is no work.
  StepResult step();
  EngineStatus status() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::engine
