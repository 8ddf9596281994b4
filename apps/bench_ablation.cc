// Each case runs the same requests with a technique and without it. Greedy decoding, so that the
// text is a check: where a technique must not change it, the share of equal texts says so.
#include "apps/bench_ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apps/bench_drive.h"
#include "apps/bench_report.h"
#include "apps/loaded_model.h"
#include "env/random.h"

namespace tg::apps {

namespace {

using engine::EngineLimits;
using engine::Priority;

constexpr i64 kRunning = 16;

class Ablation {
 public:
  static Result<Ablation> open(const AblationOptions& o);
  Status run(bool json);

 private:
  Ablation(const AblationOptions& o, LoadedModel loaded)
      : options_(o), loaded_(std::move(loaded)), random_(o.seed) {}

  Result<std::unique_ptr<backend::Executor>> executor(i64 kv_tokens) const;
  Result<Driven> measure(backend::Executor& executor, const EngineLimits& limits,
                         const std::vector<Arrival>& arrivals) const {
    return drive(executor, loaded_.model->program().cost(), limits, arrivals);
  }
  Result<Arrival> ask(const std::string& text, i64 max_tokens);
  Result<std::vector<Arrival>> stories(i64 count, i64 shortest, i64 longest);
  void add(const std::string& what, const std::string& with, const Driven& driven, i64 useful,
           const Driven& truth);

  Status batching();
  Status memory();
  Status prefixes();
  Status chunks();
  Status speculation();
  Status priorities();

  AblationOptions options_;
  LoadedModel loaded_;
  SeededRandom random_;
  u64 next_id_ = 1;
  Report report_{"ablation",
                 {"case", "with", "useful tok/s", "wall s", "TTFT p50 ms", "worst gap ms",
                  "prompt tokens computed", "preempted", "accepted drafts", "equal texts"}};
};

i64 context_of(const LoadedModel& loaded) {
  return std::min<i64>(loaded.model->program().program().bounds.context, 2'048);
}

Result<Ablation> Ablation::open(const AblationOptions& o) {
  TG_ASSIGN(LoadedModel loaded, load_model(o.model, {}));
  return Ablation(o, std::move(loaded));
}

Result<std::unique_ptr<backend::Executor>> Ablation::executor(i64 kv_tokens) const {
  return backend::make_executor("cpu", loaded_.model->program(), loaded_.model->weights(),
                                {.tokens_max = 512,
                                 .sequences_max = kRunning,
                                 .rows_max = kRunning * 3,
                                 .context_max = context_of(loaded_),
                                 .kv_pages = kv_tokens / 16,
                                 .threads = options_.threads},
                                packed_file_of(*loaded_.model));
}

Result<Arrival> Ablation::ask(const std::string& text, i64 max_tokens) {
  TG_ASSIGN(std::vector<TokenId> prompt, prompt_ids(loaded_, text, false, 0));
  Arrival out;
  out.request.id = next_id_++;
  out.request.prompt.assign(prompt.begin(), prompt.end());
  out.request.max_tokens = max_tokens;
  out.request.sampling.temperature = 0;
  return out;
}

Result<std::vector<Arrival>> Ablation::stories(i64 count, i64 shortest, i64 longest) {
  constexpr const char* kHeroes[] = {"fox", "bear", "girl", "robot", "king", "cat", "bird", "boy"};
  constexpr const char* kThings[] = {"hat", "boat", "cake", "tree", "star", "lamp", "ball", "map"};
  std::vector<Arrival> out;
  for (i64 i = 0; i < count; ++i) {
    std::string text = fmt::format("Tell me a short story about a {} and a {}.",
                                   kHeroes[random_.below(8)], kThings[random_.below(8)]);
    i64 most = shortest + static_cast<i64>(random_.below(static_cast<u64>(longest - shortest + 1)));
    TG_ASSIGN(Arrival arrival, ask(text, most));
    out.push_back(std::move(arrival));
  }
  return out;
}

f64 median_ms(std::vector<i64> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<i64>(values.size() / 2),
                   values.end());
  return static_cast<f64>(values[values.size() / 2]) * 1e-6;
}

// Requests whose tokens are the same in both, as far as both say something.
f64 equal_texts(const Driven& a, const Driven& b) {
  i64 same = 0, both = 0;
  for (const auto& [id, served] : a.requests) {
    std::map<u64, Served>::const_iterator other = b.requests.find(id);
    if (other == b.requests.end()) continue;
    std::size_t shared = std::min(served.tokens.size(), other->second.tokens.size());
    ++both;
    same += std::equal(served.tokens.begin(), served.tokens.begin() + static_cast<i64>(shared),
                       other->second.tokens.begin())
                ? 1
                : 0;
  }
  return both > 0 ? static_cast<f64>(same) / static_cast<f64>(both) : 1;
}

void Ablation::add(const std::string& what, const std::string& with, const Driven& driven,
                   i64 useful, const Driven& truth) {
  std::vector<i64> first;
  i64 worst = 0;
  for (const auto& [id, served] : driven.requests) {
    first.push_back(served.first_ns());
    worst = std::max(worst, served.worst_gap_ns());
  }
  f64 seconds = static_cast<f64>(driven.wall_ns) * 1e-9;
  report_.row({what, with, static_cast<f64>(useful) / seconds, seconds, median_ms(first),
               static_cast<f64>(worst) * 1e-6, driven.prompt_tokens_computed(),
               static_cast<i64>(driven.status.preemptions),
               static_cast<i64>(driven.status.drafts.accepted), equal_texts(driven, truth)});
}

// Static batches: the next sixteen begin when the last of these has ended; padded ones compute all
// of them to the longest's end, as engines do that cannot let one go.
Status Ablation::batching() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context_of(loaded_)));
  TG_ASSIGN(std::vector<Arrival> all, stories(64, 8, 128));
  EngineLimits limits{.running_max = kRunning};
  TG_ASSIGN(Driven continuous, measure(*device, limits, all));
  add("batching", "continuous", continuous, continuous.tokens(), continuous);
  for (bool is_padded : {false, true}) {
    Driven sum;
    for (std::size_t at = 0; at < all.size(); at += kRunning) {
      std::vector<Arrival> group(all.begin() + static_cast<i64>(at),
                                 all.begin() + static_cast<i64>(at) + kRunning);
      i64 longest = 0;
      for (const Arrival& a : group) longest = std::max(longest, a.request.max_tokens);
      for (Arrival& a : group) a.request.max_tokens = is_padded ? longest : a.request.max_tokens;
      TG_ASSIGN(Driven part, measure(*device, limits, group));
      // Everybody came when the first group began.
      for (auto& [id, served] : part.requests) {
        served.arrived_ns -= sum.wall_ns;
        sum.requests[id] = served;
      }
      sum.wall_ns += part.wall_ns;
      sum.status.prompt_tokens += part.status.prompt_tokens;
      sum.status.cached_tokens += part.status.cached_tokens;
    }
    add("batching", is_padded ? "static, padded" : "static", sum, continuous.tokens(), continuous);
  }
  return {};
}

// A pool that holds a quarter of what all could need. Reserved: nobody is admitted before the pool
// could hold its whole output.
Status Ablation::memory() {
  i64 context = context_of(loaded_);
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context / 4));
  TG_ASSIGN(std::vector<Arrival> all, stories(48, 64, context / 2));
  TG_ASSIGN(Driven paged, measure(*device, {.running_max = kRunning, .output_guess = 64}, all));
  add("memory pressure", "paged, forecast", paged, paged.tokens(), paged);
  TG_ASSIGN(Driven reserved,
            measure(*device, {.running_max = kRunning, .output_guess = context}, all));
  add("memory pressure", "more reserved", reserved, reserved.tokens(), paged);
  return {};
}

// Conversations of several turns; each turn's prompt begins with all before it.
Status Ablation::prefixes() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device,
            executor(2 * kRunning * context_of(loaded_)));
  std::vector<Arrival> all;
  for (i64 c = 0; c < kRunning; ++c) {
    std::string talk;
    u64 before = 0;
    for (i64 turn = 0; turn < 4; ++turn) {
      talk += fmt::format("Part {} of talk {}: the fox saw a boat and told the king about it. ",
                          turn, c);
      TG_ASSIGN(Arrival arrival, ask(talk, 16));
      arrival.after_end = before;
      before = arrival.request.id;
      all.push_back(std::move(arrival));
    }
  }
  TG_ASSIGN(Driven cached, measure(*device, {.running_max = kRunning}, all));
  add("turns of a talk", "prefix cache", cached, cached.tokens(), cached);
  TG_ASSIGN(Driven plain, measure(*device, {.running_max = kRunning, .prefix_cache = false}, all));
  add("turns of a talk", "none", plain, plain.tokens(), cached);
  return {};
}

// A stream runs, then a prompt of most of the context comes.
Status Ablation::chunks() {
  i64 context = context_of(loaded_);
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(4 * context));
  std::vector<Arrival> all;
  TG_ASSIGN(Arrival stream, ask("Tell me a short story about a fox.", context / 4));
  TG_ASSIGN(Arrival prompt, ask("Wait", 4));
  while (static_cast<i64>(prompt.request.prompt.size()) < context * 3 / 4)
    prompt.request.prompt.push_back(static_cast<i32>(16 + random_.below(200)));
  prompt.after_ns = 50'000'000;
  all.push_back(std::move(stream));
  all.push_back(std::move(prompt));
  Driven truth;
  for (i64 target_ms : {0, 100, 20, 5}) {
    TG_ASSIGN(Driven one, measure(*device, {.step_target_ns = target_ms * 1'000'000}, all));
    if (target_ms == 0) truth = one;
    add("prompt beside stream",
        target_ms == 0 ? "whole prompt at once" : fmt::format("steps of {} ms", target_ms), one,
        one.tokens(), truth);
  }
  return {};
}

Status Ablation::speculation() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context_of(loaded_)));
  for (bool repeats : {true, false}) {
    for (i64 batch : {1, 4, 16}) {
      std::vector<Arrival> all;
      if (repeats) {
        for (i64 i = 0; i < 2 * batch; ++i) {
          std::string words;
          for (int w = 0; w < 24; ++w) words += fmt::format(" {}", 10 + random_.below(90));
          TG_ASSIGN(Arrival arrival, ask("Repeat:" + words, 96));
          all.push_back(std::move(arrival));
        }
      } else {
        TG_ASSIGN(all, stories(2 * batch, 96, 96));
      }
      Driven truth;
      for (i64 drafts : {0, 8}) {
        TG_ASSIGN(Driven one,
                  measure(*device, {.running_max = batch, .draft_tokens_max = drafts}, all));
        if (drafts == 0) truth = one;
        add(fmt::format("{}, batch {}", repeats ? "copying" : "stories", batch),
            drafts == 0 ? "no speculation" : "suffix drafts", one, one.tokens(), truth);
      }
    }
  }
  return {};
}

// More batch work than fits, and now and then somebody who waits for an answer.
Status Ablation::priorities() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context_of(loaded_)));
  TG_ASSIGN(std::vector<Arrival> flood, stories(96, 96, 128));
  TG_ASSIGN(std::vector<Arrival> asked, stories(12, 16, 16));
  std::vector<u64> ids;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    asked[i].after_ns = static_cast<i64>(i + 1) * 100'000'000;
    ids.push_back(asked[i].request.id);
  }
  Driven truth;
  for (bool has_classes : {true, false}) {
    std::vector<Arrival> all = flood;
    for (Arrival& a : all)
      a.request.priority = has_classes ? Priority::kBatch : Priority::kStandard;
    for (Arrival a : asked) {
      a.request.priority = has_classes ? Priority::kInteractive : Priority::kStandard;
      all.push_back(std::move(a));
    }
    TG_ASSIGN(Driven one, measure(*device, {.running_max = kRunning}, all));
    if (has_classes) truth = one;
    Driven interactive = one;
    std::erase_if(interactive.requests, [&](const auto& entry) {
      return std::find(ids.begin(), ids.end(), entry.first) == ids.end();
    });
    add("overload, who waits", has_classes ? "classes" : "none", interactive, one.tokens(), truth);
  }
  return {};
}

Status Ablation::run(bool json) {
  report_.note("model", loaded_.id);
  report_.note("seed", static_cast<i64>(options_.seed));
  TG_TRY(batching());
  TG_TRY(memory());
  TG_TRY(prefixes());
  TG_TRY(chunks());
  TG_TRY(speculation());
  TG_TRY(priorities());
  report_.print(json);
  return {};
}

}  // namespace

Status bench_ablation(const AblationOptions& options) {
  TG_ASSIGN(Ablation ablation, Ablation::open(options));
  return ablation.run(options.json);
}

}  // namespace tg::apps
