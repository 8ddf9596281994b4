// An engine under a scripted load, by the wall clock: when each request's tokens came.
#pragma once

#include <map>
#include <vector>

#include "backend/executor.h"
#include "engine/engine.h"
#include "env/clock.h"
#include "unit/cost_matrix.h"

namespace tg::apps {

struct Arrival {
  i64 after_ns = 0;   // of the run's start
  u64 after_end = 0;  // or when this request has ended; 0: no such wish
  engine::EngineRequest request;
};

struct Served {
  i64 arrived_ns = 0;
  std::vector<i64> token_ns;
  std::vector<i32> tokens;

  i64 first_ns() const { return token_ns.empty() ? 0 : token_ns.front() - arrived_ns; }
  i64 worst_gap_ns() const;
};

struct Driven {
  std::map<u64, Served> requests;
  i64 wall_ns = 0;
  engine::EngineStatus status;

  i64 tokens() const;
  i64 prompt_tokens_computed() const {
    return static_cast<i64>(status.prompt_tokens - status.cached_tokens + status.recomputed_tokens);
  }
};

// Steps an engine of its own until all have ended. An error of any request is the result.
Result<Driven> drive(backend::Executor& executor, const unit::CostMatrix& cost,
                     const engine::EngineLimits& limits, const std::vector<Arrival>& arrivals);

}  // namespace tg::apps
