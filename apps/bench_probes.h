// Questions with answers: what a model was trained to know, to see whether something else than its
// weights changes what it says.
#pragma once

#include <string>
#include <vector>

#include "apps/loaded_model.h"
#include "backend/executor.h"
#include "base/result.h"
#include "engine/engine.h"

namespace tg::apps {

struct Probe {
  std::vector<i32> ids;  // the prompt and the answer
  i64 answer = 0;        // of them, the last so many are the answer's

  std::size_t first() const { return ids.size() - static_cast<std::size_t>(answer); }
};

// What a model makes of them, fed the expected tokens before each judged one.
struct Judged {
  i64 probes = 0, right = 0, tokens = 0;
  f64 loss = 0;
  std::vector<i32> choices;  // the first choice at each judged token

  f64 perplexity() const;
};

// Lines of {"messages": [one], "expected": text}.
Result<std::vector<Probe>> read_probes(const std::string& path, const LoadedModel& loaded);

// The file beside a model's.
std::string probes_beside(const std::string& model_path);

// The share of equal first choices. REQUIRES: the same probes.
f64 agreement(const Judged& a, const Judged& b);

// Through an engine under `limits`, all of them at once: a request for each token of each answer.
// Those that do not fit the executor are left out.
Result<Judged> judge_by_engine(const std::vector<Probe>& probes, const LoadedModel& loaded,
                               backend::Executor& executor, engine::EngineLimits limits);

}  // namespace tg::apps
