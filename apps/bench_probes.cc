#include "apps/bench_probes.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/assert.h"
#include "env/clock.h"

namespace tg::apps {

namespace {

using nlohmann::literals::operator""_json_pointer;

// "" if there is no such text.
std::string text_at(const nlohmann::json& value, const nlohmann::json::json_pointer& place) {
  if (!value.contains(place) || !value.at(place).is_string()) return "";
  return value.at(place).get<std::string>();
}

// One token after the first `known` ids. A bias makes it the expected one, if there is one: so its
// own logprob is said, which is the raw scores', and beside it the model's first choice.
engine::EngineRequest ask_one(u64 id, const Probe& probe, std::size_t known) {
  constexpr f32 kCertain = 1e6f;
  engine::EngineRequest out{.id = id, .max_tokens = 1};
  out.prompt.assign(probe.ids.begin(), probe.ids.begin() + static_cast<i64>(known));
  out.sampling.temperature = 0;
  out.sampling.logprobs = 1;
  if (known < probe.ids.size()) out.sampling.logit_bias = {{probe.ids[known], kCertain}};
  return out;
}

// What was heard of the tokens of all probes, in order.
struct Heard {
  i32 choice = 0;
  f64 logprob = 0;
};

Result<std::vector<Heard>> ask_all(engine::Engine& engine, std::size_t count) {
  std::vector<Heard> heard(count);
  while (engine.has_work()) {
    engine::StepResult result = engine.step();
    for (const engine::TokenEvent& event : result.tokens) {
      TG_ASSERT(event.request < count && event.top_logprobs.size() == 1);
      heard[event.request] = {event.top_logprobs[0].first, event.logprob};
    }
    for (const engine::FinishEvent& event : result.finished) {
      if (event.reason == engine::Finish::kError) return Error{Code::kIo, event.error};
    }
  }
  return heard;
}

}  // namespace

f64 Judged::perplexity() const {
  return std::exp(loss / static_cast<f64>(std::max<i64>(1, tokens)));
}

Result<std::vector<Probe>> read_probes(const std::string& path, const LoadedModel& loaded) {
  std::ifstream file(path);
  if (!file) return Error{Code::kNotFound, "no probes in " + path};
  std::vector<Probe> probes;
  std::string line;
  while (std::getline(file, line)) {
    nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    std::string question = text_at(json, "/messages/0/content"_json_pointer);
    std::string expected = text_at(json, "/expected"_json_pointer);
    if (question.empty() || expected.empty())
      return Error{Code::kInvalid, path + ": not a probe: " + line.substr(0, 80)};
    TG_ASSIGN(std::vector<TokenId> ids, prompt_ids(loaded, question, false, 0));
    TG_ASSIGN(std::vector<TokenId> answer, loaded.tokenizer->encode(expected, {}));
    Probe probe{.ids = {ids.begin(), ids.end()}, .answer = static_cast<i64>(answer.size())};
    probe.ids.insert(probe.ids.end(), answer.begin(), answer.end());
    probes.push_back(std::move(probe));
  }
  return probes;
}

std::string probes_beside(const std::string& model_path) {
  return (std::filesystem::path(model_path).parent_path() / "probes.jsonl").string();
}

f64 agreement(const Judged& a, const Judged& b) {
  TG_ASSERT(a.choices.size() == b.choices.size() && !a.choices.empty());
  i64 same = 0;
  for (std::size_t i = 0; i < a.choices.size(); ++i) same += a.choices[i] == b.choices[i] ? 1 : 0;
  return static_cast<f64>(same) / static_cast<f64>(a.choices.size());
}

Result<Judged> judge_by_engine(const std::vector<Probe>& probes, const LoadedModel& loaded,
                               backend::Executor& executor, engine::EngineLimits limits) {
  i64 most =
      std::min(executor.limits().context_max, executor.limits().kv_pages * executor.page_tokens());
  std::vector<const Probe*> asked;
  for (const Probe& probe : probes) {
    if (static_cast<i64>(probe.ids.size()) < most) asked.push_back(&probe);
  }
  std::size_t count = 0;
  for (const Probe* probe : asked) count += static_cast<std::size_t>(probe->answer) + 1;
  limits.waiting_max = std::max<i64>(limits.waiting_max, static_cast<i64>(count));
  SystemClock clock;
  engine::Engine engine(executor, loaded.model->program().cost(), limits, clock);
  u64 id = 0;
  for (const Probe* probe : asked) {
    for (std::size_t known = probe->first(); known <= probe->ids.size(); ++known) {
      TG_TRY(engine.submit(ask_one(id++, *probe, known)));
    }
  }
  TG_ASSIGN(std::vector<Heard> heard, ask_all(engine, count));
  Judged out;
  std::size_t at = 0;
  for (const Probe* probe : asked) {
    bool is_right = true;
    for (std::size_t known = probe->first(); known <= probe->ids.size(); ++known, ++at) {
      out.choices.push_back(heard[at].choice);
      if (known == probe->ids.size()) {
        is_right &= loaded.tokenizer->is_end_of_generation(heard[at].choice);
      } else {
        is_right &= heard[at].choice == probe->ids[known];
        out.loss -= heard[at].logprob;
      }
    }
    out.tokens += probe->answer;
    out.right += is_right ? 1 : 0;
    ++out.probes;
  }
  if (out.tokens == 0) return Error{Code::kInvalid, "no probe fits the model"};
  return out;
}

}  // namespace tg::apps
