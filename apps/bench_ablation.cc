// Each case runs the same requests with a technique and without it. Greedy decoding, so that the
// text is a check: where a technique must not change it, the share of equal texts says so.
#include "apps/bench_ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "apps/bench_drive.h"
#include "apps/bench_probes.h"
#include "apps/bench_report.h"
#include "apps/loaded_model.h"
#include "env/random.h"
#include "sim/trace.h"

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

  Result<std::unique_ptr<backend::Executor>> executor(i64 kv_tokens, i64 swap_tokens = 0) const;
  Result<std::unique_ptr<backend::Executor>> executor_of(const LoadedModel& loaded, i64 kv_tokens,
                                                         i64 swap_tokens) const;
  Result<Driven> measure(backend::Executor& executor, const EngineLimits& limits,
                         const std::vector<Arrival>& arrivals) const {
    return measure_with(loaded_, executor, limits, arrivals);
  }
  Result<std::vector<Driven>> measure_in_turns(backend::Executor& executor,
                                               std::span<const EngineLimits> all,
                                               const std::vector<Arrival>& arrivals) const;
  static Result<Driven> measure_with(const LoadedModel& loaded, backend::Executor& executor,
                                     const EngineLimits& limits,
                                     const std::vector<Arrival>& arrivals);
  Result<Arrival> ask(const std::string& text, i64 max_tokens);
  Result<std::vector<Arrival>> stories(i64 count, i64 shortest, i64 longest);
  std::vector<Arrival> replay(const sim::Trace& trace);
  // What was measured with a technique, and where: for the check of its quality.
  struct Row {
    std::string what;
    std::string with;
    backend::Executor& device;
    EngineLimits limits;
  };
  Status add(const Row& row, const Driven& driven, i64 useful, const Driven& truth);

  Status batching();
  Status memory();
  Status prefixes();
  Status trace();
  Status with_and_without_prefixes(const std::string& what, backend::Executor& device,
                                   const std::vector<Arrival>& all);
  Status keys();
  Status chunks();
  Status speculation();
  Status priorities();

  AblationOptions options_;
  LoadedModel loaded_;
  SeededRandom random_;
  u64 next_id_ = 1;
  std::vector<Probe> probes_;
  std::vector<i32> ends_;  // tokens that end a reply
  std::optional<Judged> judged_first_;
  Report report_{"ablation",
                 {"case", "with", "useful tok/s", "wall s", "TTFT p50 ms", "worst gap ms",
                  "prompt tokens computed", "preempted", "accepted drafts", "equal texts",
                  "probes right", "perplexity", "top-1 as first"}};
};

i64 context_of(const LoadedModel& loaded) {
  return std::min<i64>(loaded.model->program().program().bounds.context, 2'048);
}

Result<Ablation> Ablation::open(const AblationOptions& o) {
  constexpr std::size_t kEveryThird = 3;  // of the probes: the check is made for every row
  TG_ASSIGN(LoadedModel loaded, load_model(o.model, {}));
  TG_ASSIGN(std::vector<Probe> probes, read_probes(probes_beside(o.model), loaded));
  Ablation out(o, std::move(loaded));
  const std::vector<TokenId>& ends = out.loaded_.tokenizer->vocab().end_of_generation;
  out.ends_.assign(ends.begin(), ends.end());
  for (std::size_t i = 0; i < probes.size(); i += kEveryThird) {
    out.probes_.push_back(std::move(probes[i]));
  }
  return out;
}

Result<std::unique_ptr<backend::Executor>> Ablation::executor(i64 kv_tokens,
                                                              i64 swap_tokens) const {
  return executor_of(loaded_, kv_tokens, swap_tokens);
}

Result<std::unique_ptr<backend::Executor>> Ablation::executor_of(const LoadedModel& loaded,
                                                                 i64 kv_tokens,
                                                                 i64 swap_tokens) const {
  return backend::make_executor("cpu", loaded.model->program(), loaded.model->weights(),
                                {.tokens_max = 512,
                                 .sequences_max = kRunning,
                                 .rows_max = kRunning * 3,
                                 .context_max = context_of(loaded),
                                 .kv_pages = kv_tokens / 16,
                                 .swap_pages = swap_tokens / 16,
                                 .threads = options_.threads},
                                packed_file_of(*loaded.model));
}

// The run that took the median time: one of a tenth of a second is easily disturbed.
Driven median_of(std::vector<Driven> runs) {
  std::ranges::sort(runs, {}, &Driven::wall_ns);
  return std::move(runs[runs.size() / 2]);
}

Result<Driven> Ablation::measure_with(const LoadedModel& loaded, backend::Executor& executor,
                                      const EngineLimits& limits,
                                      const std::vector<Arrival>& arrivals) {
  constexpr int kRuns = 3;
  std::vector<Driven> runs;
  for (int i = 0; i < kRuns; ++i) {
    TG_ASSIGN(Driven one, drive(executor, loaded.model->program().cost(), limits, arrivals));
    runs.push_back(std::move(one));
  }
  return median_of(std::move(runs));
}

// The same under several limits, in turns, so that a busy minute is everybody's.
Result<std::vector<Driven>> Ablation::measure_in_turns(backend::Executor& executor,
                                                       std::span<const EngineLimits> all,
                                                       const std::vector<Arrival>& arrivals) const {
  constexpr int kTurns = 5;
  std::vector<std::vector<Driven>> runs(all.size());
  for (int turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      TG_ASSIGN(Driven one, drive(executor, loaded_.model->program().cost(), all[i], arrivals));
      runs[i].push_back(std::move(one));
    }
  }
  std::vector<Driven> out;
  for (std::vector<Driven>& each : runs) out.push_back(median_of(std::move(each)));
  return out;
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

Status Ablation::add(const Row& row, const Driven& driven, i64 useful, const Driven& truth) {
  TG_ASSIGN(Judged judged, judge_by_engine(probes_, loaded_, row.device, row.limits));
  if (!judged_first_) judged_first_ = judged;
  std::vector<i64> first;
  i64 worst = 0;
  for (const auto& [id, served] : driven.requests) {
    first.push_back(served.first_ns());
    worst = std::max(worst, served.worst_gap_ns());
  }
  f64 seconds = static_cast<f64>(driven.wall_ns) * 1e-9;
  report_.row({row.what, row.with, static_cast<f64>(useful) / seconds, seconds, median_ms(first),
               static_cast<f64>(worst) * 1e-6, driven.prompt_tokens_computed(),
               static_cast<i64>(driven.status.preemptions),
               static_cast<i64>(driven.status.drafts.accepted), equal_texts(driven, truth),
               judged.right, judged.perplexity(), agreement(*judged_first_, judged)});
  return {};
}

// Static batches: the next sixteen begin when the last of these has ended; padded ones compute all
// of them to the longest's end, as engines do that cannot let one go.
Status Ablation::batching() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context_of(loaded_)));
  TG_ASSIGN(std::vector<Arrival> all, stories(256, 8, 128));
  EngineLimits limits{.running_max = kRunning};
  TG_ASSIGN(Driven continuous, measure(*device, limits, all));
  TG_TRY(add({"batching", "continuous", *device, limits}, continuous, continuous.tokens(),
             continuous));
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
    TG_TRY(add({"batching", is_padded ? "static, padded" : "static", *device, limits}, sum,
               continuous.tokens(), continuous));
  }
  return {};
}

// A pool that holds a quarter of what all could ask for. Nobody knows how long an answer gets: all
// may have half of the context, and end when the model says so. Reserved: as many run as the pool
// holds with all that each may ask for, as engines without pages have it.
Status Ablation::memory() {
  constexpr i64 kRequests = 192;
  i64 context = context_of(loaded_);
  i64 pool = kRunning * context / 4;
  i64 most = context / 2;
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(pool));
  TG_ASSIGN(std::unique_ptr<backend::Executor> with_swap, executor(pool, pool));
  TG_ASSIGN(std::vector<Arrival> all, stories(kRequests, most, most));
  i64 longest = 0;
  for (Arrival& arrival : all) {
    arrival.request.stop_tokens = ends_;
    longest = std::max(longest, static_cast<i64>(arrival.request.prompt.size()) + most);
  }
  EngineLimits forecast{.running_max = kRunning, .output_guess = 64};
  EngineLimits reserved{.running_max = std::clamp<i64>(pool / longest, 1, kRunning)};
  // Hopes that every answer ends within a block: what it costs to be wrong.
  EngineLimits hopeful{.running_max = kRunning, .output_guess = 1};
  TG_ASSIGN(Driven paged, measure(*device, forecast, all));
  TG_TRY(
      add({"memory pressure", "paged, forecast", *device, forecast}, paged, paged.tokens(), paged));
  TG_ASSIGN(Driven slots, measure(*device, reserved, all));
  TG_TRY(add({"memory pressure", fmt::format("reserved, {} at once", reserved.running_max), *device,
              reserved},
             slots, slots.tokens(), paged));
  TG_ASSIGN(Driven again, measure(*device, hopeful, all));
  TG_TRY(add({"memory pressure", "paged, no forecast", *device, hopeful}, again, again.tokens(),
             paged));
  TG_ASSIGN(Driven swapped, measure(*with_swap, hopeful, all));
  TG_TRY(add({"memory pressure", "paged, no forecast, swap", *with_swap, hopeful}, swapped,
             swapped.tokens(), paged));
  return {};
}

// Conversations of several turns; each turn's prompt begins with all before it.
Status Ablation::prefixes() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device,
            executor(2 * kRunning * context_of(loaded_)));
  std::vector<Arrival> all;
  for (i64 c = 0; c < 4 * kRunning; ++c) {
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
  return with_and_without_prefixes("turns of a talk", *device, all);
}

Status Ablation::with_and_without_prefixes(const std::string& what, backend::Executor& device,
                                           const std::vector<Arrival>& all) {
  const EngineLimits limits[] = {{.running_max = kRunning},
                                 {.running_max = kRunning, .prefix_cache = false}};
  TG_ASSIGN(std::vector<Driven> runs, measure_in_turns(device, limits, all));
  TG_TRY(add({what, "prefix cache", device, limits[0]}, runs[0], runs[0].tokens(), runs[0]));
  return add({what, "none", device, limits[1]}, runs[1], runs[1].tokens(), runs[0]);
}

// A published trace of conversations, each of its blocks shrunk to one of ours: which prompts begin
// alike, when they come and how long they and their answers are stays in proportion. Its words are
// not known, so ours are drawn from the blocks' names.
std::vector<Arrival> Ablation::replay(const sim::Trace& trace) {
  constexpr std::size_t kRequests = 400;
  constexpr i64 kFaster = 100;
  constexpr i64 kBlock = 16;
  i64 shrink = trace.block_tokens / kBlock;
  std::vector<Arrival> out;
  for (const sim::TraceRequest& r : trace.requests) {
    i64 prompt = static_cast<i64>(r.blocks) * kBlock;
    i64 answer = std::max<i64>(1, r.output_tokens / shrink);
    if (out.size() == kRequests) break;
    if (r.blocks == 0 || prompt + answer > context_of(loaded_)) continue;
    Arrival arrival{.after_ns = r.at_ns / kFaster};
    arrival.request.id = next_id_++;
    arrival.request.max_tokens = answer;
    arrival.request.sampling.temperature = 0;
    for (u64 block : trace.blocks_of(r)) {
      SeededRandom words(block);
      for (i64 i = 0; i < kBlock; ++i) {
        arrival.request.prompt.push_back(static_cast<i32>(16 + words.below(200)));
      }
    }
    out.push_back(std::move(arrival));
  }
  return out;
}

Status Ablation::trace() {
  if (options_.trace.empty()) return {};
  TG_ASSIGN(sim::Trace trace, sim::read_trace(options_.trace));
  std::vector<Arrival> all = replay(trace);
  if (all.empty()) return Error{Code::kInvalid, options_.trace + " has no request that fits"};
  TG_ASSIGN(std::unique_ptr<backend::Executor> device,
            executor(2 * kRunning * context_of(loaded_)));
  return with_and_without_prefixes("trace of talks", *device, all);
}

// A stream runs, then a prompt of most of the context comes.
Status Ablation::chunks() {
  i64 context = context_of(loaded_);
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(4 * context));
  std::vector<Arrival> all;
  constexpr i64 kStreamRunsNs = 2'000'000;
  TG_ASSIGN(Arrival stream, ask("Tell me a short story about a fox.", context / 2));
  TG_ASSIGN(Arrival prompt, ask("Wait", 4));
  while (static_cast<i64>(prompt.request.prompt.size()) < context * 3 / 4)
    prompt.request.prompt.push_back(static_cast<i32>(16 + random_.below(200)));
  prompt.after_ns = kStreamRunsNs;
  all.push_back(std::move(stream));
  all.push_back(std::move(prompt));
  Driven truth;
  for (i64 target_ms : {0, 10, 4, 2}) {
    EngineLimits limits{.step_target_ns = target_ms * 1'000'000, .step_longest_ns = 0};
    TG_ASSIGN(Driven one, measure(*device, limits, all));
    if (target_ms == 0) truth = one;
    std::string with =
        target_ms == 0 ? "whole prompt at once" : fmt::format("steps of {} ms", target_ms);
    TG_TRY(add({"prompt beside stream", with, *device, limits}, one, one.tokens(), truth));
  }
  return {};
}

Status Ablation::speculation() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context_of(loaded_)));
  for (bool repeats : {true, false}) {
    for (i64 batch : {1, 4, 16}) {
      std::vector<Arrival> all;
      if (repeats) {
        for (i64 i = 0; i < 8 * batch; ++i) {
          std::string words;
          for (int w = 0; w < 24; ++w) words += fmt::format(" {}", 10 + random_.below(90));
          TG_ASSIGN(Arrival arrival, ask("Repeat:" + words, 96));
          all.push_back(std::move(arrival));
        }
      } else {
        TG_ASSIGN(all, stories(8 * batch, 96, 96));
      }
      const EngineLimits limits[] = {{.running_max = batch},
                                     {.running_max = batch, .draft_tokens_max = 8}};
      TG_ASSIGN(std::vector<Driven> runs, measure_in_turns(*device, limits, all));
      std::string what = fmt::format("{}, batch {}", repeats ? "copying" : "stories", batch);
      for (std::size_t i = 0; i < runs.size(); ++i) {
        TG_TRY(add({what, i == 0 ? "no speculation" : "suffix drafts", *device, limits[i]}, runs[i],
                   runs[i].tokens(), runs[0]));
      }
    }
  }
  return {};
}

// More batch work than fits, and now and then somebody who waits for an answer.
Status Ablation::priorities() {
  TG_ASSIGN(std::unique_ptr<backend::Executor> device, executor(kRunning * context_of(loaded_)));
  TG_ASSIGN(std::vector<Arrival> flood, stories(768, 96, 128));
  TG_ASSIGN(std::vector<Arrival> asked, stories(24, 16, 16));
  std::vector<u64> ids;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    asked[i].after_ns = static_cast<i64>(i + 1) * 50'000'000;
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
    EngineLimits limits{.running_max = kRunning};
    TG_ASSIGN(Driven one, measure(*device, limits, all));
    if (has_classes) truth = one;
    Driven interactive = one;
    std::erase_if(interactive.requests, [&](const auto& entry) {
      return std::find(ids.begin(), ids.end(), entry.first) == ids.end();
    });
    TG_TRY(add({"overload, who waits", has_classes ? "classes" : "none", *device, limits},
               interactive, one.tokens(), truth));
  }
  return {};
}

// Many long answers at once: the more keys, the more their bytes count.
Status Ablation::keys() {
  i64 context = context_of(loaded_);
  TG_ASSIGN(std::vector<Arrival> all, stories(8 * kRunning, context / 2, context / 2));
  Driven truth;
  for (isa::DType format : {isa::DType::kF16, isa::DType::kQ8_0}) {
    TG_ASSIGN(LoadedModel loaded, load_model(options_.model, {.kv_format = format}));
    TG_ASSIGN(std::unique_ptr<backend::Executor> device,
              executor_of(loaded, kRunning * context, 0));
    EngineLimits limits{.running_max = kRunning};
    TG_ASSIGN(Driven one, measure_with(loaded, *device, limits, all));
    if (format == isa::DType::kF16) truth = one;
    std::string with = fmt::format("{}, {} bytes a token", isa::info(format).name,
                                   device->page_bytes() / device->page_tokens());
    TG_TRY(add({"keys", with, *device, limits}, one, one.tokens(), truth));
  }
  return {};
}

Status Ablation::run(bool json) {
  report_.note("model", loaded_.id);
  report_.note("seed", static_cast<i64>(options_.seed));
  using Case = Status (Ablation::*)();
  constexpr std::pair<std::string_view, Case> kCases[] = {
      {"batching", &Ablation::batching},     {"memory", &Ablation::memory},
      {"prefixes", &Ablation::prefixes},     {"trace", &Ablation::trace},
      {"chunks", &Ablation::chunks},         {"speculation", &Ablation::speculation},
      {"priorities", &Ablation::priorities}, {"keys", &Ablation::keys}};
  for (const auto& [name, measured] : kCases) {
    const std::vector<std::string>& only = options_.only;
    if (only.empty() || std::ranges::find(only, name) != only.end()) TG_TRY((this->*measured)());
  }
  report_.print(json);
  return report_.plot(options_.svg);
}

}  // namespace

Status bench_ablation(const AblationOptions& options) {
  TG_ASSIGN(Ablation ablation, Ablation::open(options));
  return ablation.run(options.json);
}

}  // namespace tg::apps
