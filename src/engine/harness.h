// What the engine's tests share: a fake device, a small cost matrix, and a run of requests to
// their ends with everything they produced.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "engine/engine.h"
#include "engine/fake_executor.h"

namespace tg::engine {

// Everything one request brought forth.
struct Outcome {
  std::vector<i32> tokens;
  std::vector<f32> logprobs;
  i64 finishes = 0;
  FinishEvent finish;
};

// A matrix with every kind of term, so that attribution has all of them to divide.
inline unit::CostMatrix small_matrix() {
  unit::CostMatrix matrix;
  matrix.per_pass[unit::kWBytes] = 1'000'003;
  matrix.per_token[unit::kMmF16] = 2'000'001;
  matrix.per_token[unit::kKvWr] = 515;
  matrix.per_row[unit::kMmF16] = 64'007;
  matrix.head_bytes = 32'001;
  matrix.windows = {{.window = 0, .attn_flops_per_pair = 257, .kv_rd_bytes_per_key = 511},
                    {.window = 8, .attn_flops_per_pair = 129, .kv_rd_bytes_per_key = 255}};
  matrix.experts = {{.experts = 8, .active = 2, .layers = 3, .bytes_per_expert = 4'099}};
  return matrix;
}

inline FakeExecutor::Shape shape(i64 pages, i64 tokens_max = 64, i64 context_max = 64) {
  return {.vocabulary = 64,
          .page_tokens = 4,
          .limits = {.tokens_max = tokens_max,
                     .sequences_max = 16,
                     .rows_max = 16,
                     .context_max = context_max,
                     .kv_pages = pages}};
}

// Allows two tokens in three, others at each place, and may end after five.
class RotatingMask final : public TokenMask {
 public:
  void allow(std::span<u64> words) override {
    for (u64 t = 0; t < 64; ++t) words[0] |= u64{(t + count_) % 3 != 0} << t;
  }
  void accept(i32) override { ++count_; }
  bool is_complete() const override { return count_ >= 5; }
  i64 prepare(std::span<const i32> proposed) override {
    u64 kept = 0;
    while (kept < proposed.size() && (static_cast<u64>(proposed[kept]) + count_ + kept) % 3 != 0)
      ++kept;
    return static_cast<i64>(kept);
  }

 private:
  u64 count_ = 0;
};

// The promise to everybody who waits: whoever was submitted after a request was ripe does not run
// before it.
class WaitCheck {
 public:
  void note(i64 submitted_ns, i64 ripe_ns, i64 ran_ns) {
    runs_.push_back({submitted_ns, ripe_ns, ran_ns});
  }
  // How many were overtaken by somebody who had no right to.
  i64 overtaken() {
    std::ranges::sort(runs_, {}, &Run::submitted_ns);
    std::vector<i64> first_of_later(runs_.size() + 1, std::numeric_limits<i64>::max());
    for (std::size_t i = runs_.size(); i > 0; --i) {
      first_of_later[i - 1] = std::min(first_of_later[i], runs_[i - 1].ran_ns);
    }
    i64 count = 0;
    for (const Run& run : runs_) {
      std::size_t later = static_cast<std::size_t>(
          std::ranges::upper_bound(runs_, run.ripe_ns, {}, &Run::submitted_ns) - runs_.begin());
      count += first_of_later[later] < run.ran_ns ? 1 : 0;
    }
    return count;
  }

 private:
  struct Run {
    i64 submitted_ns;
    i64 ripe_ns;
    i64 ran_ns;
  };
  std::vector<Run> runs_;
};

// An engine on a fake device whose clock ticks by an odd number at every reading.
class Harness {
 public:
  Harness(const FakeExecutor::Shape& device, const EngineLimits& limits, Drafter* drafter = nullptr)
      : executor(device), engine(executor, matrix, limits, clock, drafter) {
    executor.time_ns = &clock.ns;
  }

  Status submit(EngineRequest request, std::unique_ptr<TokenMask> mask = nullptr) {
    return engine.submit(std::move(request), std::move(mask));
  }

  StepResult step() {
    StepResult result = engine.step();
    wall_ns += result.wall_ns;
    for (const TokenEvent& event : result.tokens) {
      outcomes[event.request].tokens.push_back(event.token);
      outcomes[event.request].logprobs.push_back(event.logprob);
    }
    for (const FinishEvent& event : result.finished) {
      ++outcomes[event.request].finishes;
      outcomes[event.request].finish = event;
    }
    return result;
  }

  // Steps until no work is left; false if that takes more than `steps_max` steps.
  bool finish_all(i64 steps_max = 100'000) {
    for (i64 i = 0; i < steps_max && engine.has_work(); ++i) step();
    return !engine.has_work();
  }

  // Sum over all finished requests.
  i64 attributed_ns() const {
    i64 sum = 0;
    for (const std::pair<const u64, Outcome>& o : outcomes) {
      sum += o.second.finish.usage.attributed_ns;
    }
    return sum;
  }

  class TickingClock final : public Clock {
   public:
    Timestamp now() override { return {}; }
    i64 monotonic_ns() override { return ns += 1'237; }
    i64 ns = 0;
  };

  unit::CostMatrix matrix = small_matrix();
  FakeExecutor executor;
  TickingClock clock;
  Engine engine;
  std::map<u64, Outcome> outcomes;
  i64 wall_ns = 0;
};

// `count` prompt tokens that differ by `flavour`, all in a vocabulary of 64.
inline std::vector<i32> prompt_of(i64 count, i32 flavour = 0) {
  std::vector<i32> prompt;
  for (i64 i = 0; i < count; ++i) prompt.push_back(static_cast<i32>((i * 7 + flavour * 13) % 64));
  return prompt;
}

inline EngineRequest greedy(u64 id, std::vector<i32> prompt, i64 max_tokens) {
  EngineRequest request{.id = id, .prompt = std::move(prompt), .max_tokens = max_tokens};
  request.sampling.temperature = 0;
  return request;
}

}  // namespace tg::engine
