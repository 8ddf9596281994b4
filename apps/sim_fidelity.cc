// `tokengrid sim fidelity`: the same arrivals to the embedded engine in real time and to a
// simulated device that has the step times the engine learnt of itself. How far the simulation is
// off, how often first tokens came within their forecast p90, and whether the shares of time that
// requests were given add up.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <unordered_map>

#include "apps/commands.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "base/json_out.h"
#include "dispatch/router.h"
#include "env/random.h"
#include "node/embedded.h"
#include "sim/draw.h"
#include "sim/world.h"

namespace tg::apps {

namespace {

constexpr f64 kMs = 1e-6;
constexpr i64 kSecond = 1'000'000'000;

struct FidelityOptions {
  std::string model;
  f64 rate = 8;
  f64 seconds = 20;
  i64 prompt_mean = 120;
  i64 output_mean = 40;
  i32 threads = 1;
  u64 seed = 1;
  bool json = false;
};

struct Timed {
  i64 at_ns = 0;
  i64 prompt = 0;
  i64 output = 0;
  i64 first_ns = 0;  // after arrival
  i64 end_ns = 0;
  i64 attributed_ns = 0;
};

std::vector<Timed> traffic(const FidelityOptions& o, i64 context_max) {
  SeededRandom random(o.seed);
  std::vector<Timed> out;
  f64 at = 0;
  while ((at += sim::exponential(random, 1 / o.rate)) < o.seconds) {
    Timed t;
    t.at_ns = static_cast<i64>(at * 1e9);
    t.prompt = 8 + static_cast<i64>(sim::exponential(random, static_cast<f64>(o.prompt_mean)));
    t.output = 2 + static_cast<i64>(sim::exponential(random, static_cast<f64>(o.output_mean)));
    t.prompt = std::min(t.prompt, context_max / 2);
    t.output = std::min(t.output, context_max / 2 - 1);
    out.push_back(t);
  }
  return out;
}

struct LiveResult {
  fleet::StepEstimate step;
  i64 keys_total = 0;
  f64 coverage = 0;  // after the first third
  f64 coverage_all = 0;
  i64 measured = 0;
  f64 busy_ns = 0;
};

// Sends in real time; the router's forecasts are made as a gateway would make them.
class Live {
 public:
  Live(node::EmbeddedSupplier& supplier, std::vector<Timed>& requests, i64 vocabulary, u64 seed)
      : supplier_(supplier),
        requests_(requests),
        vocabulary_(vocabulary),
        random_(seed),
        events_(std::make_shared<Mailbox<fleet::SupplierEvent>>(100'000)),
        router_({.settings = {.hold_ns = 0}}) {}

  Result<LiveResult> run() {
    dispatch::SupplierView facts;
    facts.step = supplier_.load().step;
    router_.add(facts, 1);
    start_ns_ = clock_.monotonic_ns();
    std::size_t next = 0;
    while (ended_ < requests_.size()) {
      i64 now = clock_.monotonic_ns() - start_ns_;
      while (next < requests_.size() && requests_[next].at_ns <= now) TG_TRY(send(next++, now));
      i64 until = next < requests_.size() ? requests_[next].at_ns - now : kSecond / 10;
      std::vector<fleet::SupplierEvent> events;
      events_->wait(events, std::clamp<i64>(until, 10'000, kSecond / 10));
      now = clock_.monotonic_ns() - start_ns_;
      for (const fleet::SupplierEvent& e : events) TG_TRY(take(e, now));
      follow_step_times();
    }
    LiveResult out;
    out.step = supplier_.load().step;
    out.coverage_all = router_.in_flight().coverage();
    out.measured = router_.in_flight().first_tokens() - early_;
    f64 covered =
        out.coverage_all * static_cast<f64>(router_.in_flight().first_tokens()) - early_covered_;
    out.coverage = out.measured > 0 ? covered / static_cast<f64>(out.measured) : 0;
    return out;
  }

 private:
  Status send(std::size_t i, i64 now) {
    Timed& t = requests_[i];
    fleet::SupplyRequest r;
    r.id = i + 1;
    for (i64 k = 0; k < t.prompt; ++k) {
      r.prompt.push_back(static_cast<TokenId>(random_.below(static_cast<u64>(vocabulary_))));
    }
    r.max_tokens = t.output;
    r.events = events_;
    dispatch::Ask ask{.id = i + 1, .route = {.prompt_tokens = t.prompt, .output_tokens = 40}};
    router_.submit(std::move(ask), now);
    std::vector<dispatch::Sent> sent;
    std::vector<dispatch::Refused> refused;
    router_.pump(now, sent, refused);
    for (const dispatch::Sent& s : sent) attempts_[s.id] = s.attempt;
    if (i == requests_.size() / 3) {
      early_ = router_.in_flight().first_tokens();
      early_covered_ = router_.in_flight().coverage() * static_cast<f64>(early_);
    }
    return supplier_.submit(std::move(r));
  }

  Status take(const fleet::SupplierEvent& e, i64 now) {
    Timed& t = requests_[e.request - 1];
    if (e.kind == fleet::SupplierEvent::Kind::kTokens) {
      if (t.first_ns == 0) {
        t.first_ns = now - t.at_ns;
        router_.first_token(attempts_[e.request], now);
      }
      return {};
    }
    if (e.reason == fleet::FinishReason::kError) return Error{Code::kUnavailable, e.error};
    t.end_ns = now - t.at_ns;
    t.output = e.usage.output_tokens;
    t.attributed_ns = e.usage.attributed_ns;
    router_.ended(attempts_[e.request], t.output, dispatch::Outcome::kServed, now);
    router_.close(e.request, t.output, now);
    ++ended_;
    return {};
  }

  // The engine's own estimate, as it learns.
  void follow_step_times() {
    dispatch::SupplierView facts = router_.pool().at(0);
    facts.step = supplier_.load().step;
    router_.set_facts(0, facts, clock_.monotonic_ns() - start_ns_);
  }

  node::EmbeddedSupplier& supplier_;
  std::vector<Timed>& requests_;
  i64 vocabulary_;
  SeededRandom random_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> events_;
  dispatch::Router router_;
  std::unordered_map<u64, u64> attempts_;  // of requests
  SystemClock clock_;
  i64 start_ns_ = 0;
  std::size_t ended_ = 0;
  i64 early_ = 0;
  f64 early_covered_ = 0;
};

// The same arrivals on a simulated device.
sim::RunResult simulate(const std::vector<Timed>& requests, const LiveResult& live,
                        const engine::EngineLimits& limits, i64 keys_total) {
  sim::Scenario scenario;
  sim::SupplierSpec spec;
  spec.name = "embedded";
  spec.rtt_ns = 0;
  spec.device.step = live.step;
  spec.device.step_tokens_max = limits.step_tokens_max;
  spec.device.step_target_ns = limits.step_target_ns;
  spec.device.running_max = limits.running_max;
  spec.device.keys_total = keys_total;
  spec.device.block_tokens = 0;
  spec.device.noise = std::min(0.3, live.step.error);
  scenario.suppliers.push_back(spec);
  scenario.router.policy = dispatch::Policy::kLeastRequests;
  scenario.router.settings.waited_max_ns = 0;
  sim::Trace trace;
  trace.name = "fidelity";
  for (const Timed& t : requests) {
    sim::TraceRequest r;
    r.at_ns = t.at_ns;
    r.prompt_tokens = static_cast<i32>(t.prompt);
    r.output_tokens = static_cast<i32>(std::max<i64>(1, t.output));
    trace.requests.push_back(r);
  }
  return sim::run(scenario, trace);
}

struct Pair {
  f64 real = 0;
  f64 simulated = 0;
  f64 error() const { return real > 0 ? simulated / real - 1 : 0; }
};

void show(const FidelityOptions& o, const std::vector<Timed>& real, const sim::RunResult& sim,
          const LiveResult& live) {
  std::vector<f64> ttft, times;
  f64 attributed = 0;
  for (const Timed& t : real) {
    ttft.push_back(static_cast<f64>(t.first_ns) * kMs);
    times.push_back(static_cast<f64>(t.end_ns) * kMs);
    attributed += static_cast<f64>(t.attributed_ns);
  }
  std::vector<f64> sim_ttft, sim_times;
  for (const sim::RequestResult& r : sim.requests) {
    sim_ttft.push_back(r.ttft_s() * 1e3);
    sim_times.push_back(static_cast<f64>(r.done_ns - r.arrived_ns) * kMs);
  }
  f64 simulated_busy_ms = sim.suppliers[0].utilisation * sim.summary.seconds * 1e3;
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("requests").number(static_cast<i64>(real.size()));
  auto row = [&](const char* name, Pair p) {
    json.key(name).begin_object().key("engine").real(p.real);
    json.key("simulated").real(p.simulated).key("error").real(p.error()).end_object();
    if (!o.json) {
      fmt::print("{:<16} engine {:>10.2f}  simulated {:>10.2f}  off by {:>6.1f} %\n", name, p.real,
                 p.simulated, 100 * p.error());
    }
  };
  row("ttft_p50_ms", {sim::quantile(ttft, 0.5), sim::quantile(sim_ttft, 0.5)});
  row("ttft_p90_ms", {sim::quantile(ttft, 0.9), sim::quantile(sim_ttft, 0.9)});
  row("request_p50_ms", {sim::quantile(times, 0.5), sim::quantile(sim_times, 0.5)});
  row("request_p90_ms", {sim::quantile(times, 0.9), sim::quantile(sim_times, 0.9)});
  row("busy_ms", {attributed * kMs, simulated_busy_ms});
  json.key("ttft_p90_coverage").real(live.coverage).key("covered_of").number(live.measured);
  json.key("ttft_p90_coverage_from_start").real(live.coverage_all);
  json.key("step_error").real(live.step.error).end_object();
  if (o.json) {
    fmt::print("{}\n", out);
  } else {
    fmt::print("first tokens within their p90 forecast: {:.1f} % of {} (from the start {:.1f} %)\n",
               100 * live.coverage, live.measured, 100 * live.coverage_all);
  }
}

Status fidelity(const FidelityOptions& o) {
  std::string path = o.model;
  if (path.empty()) {
    TG_ASSIGN(path, bundled_model());
  }
  TG_ASSIGN(LoadedModel loaded, load_model(path));
  node::EmbeddedOptions options;
  options.threads = o.threads;
  options.engine.prefix_cache = false;
  SystemClock clock;
  TG_ASSIGN(std::unique_ptr<node::EmbeddedSupplier> supplier,
            node::EmbeddedSupplier::start(loaded.model->program(), loaded.model->weights(), options,
                                          clock));
  // The first pass teaches the engine its step times; the second one is compared.
  i64 vocabulary = static_cast<i64>(loaded.tokenizer->vocab().tokens.size());
  FidelityOptions warm = o;
  warm.seconds = std::max(2.0, o.seconds / 4);
  warm.seed = o.seed + 1;
  std::vector<Timed> warming = traffic(warm, supplier->context_max());
  TG_ASSIGN(LiveResult ignored, Live(*supplier, warming, vocabulary, o.seed + 1).run());
  static_cast<void>(ignored);
  std::vector<Timed> requests = traffic(o, supplier->context_max());
  if (requests.empty()) return Error{Code::kInvalid, "--rate and --seconds give no request"};
  TG_ASSIGN(LiveResult live, Live(*supplier, requests, vocabulary, o.seed).run());
  constexpr i64 kUnbounded = 1 << 30;
  show(o, requests, simulate(requests, live, options.engine, kUnbounded), live);
  return {};
}

}  // namespace

void add_sim_fidelity(CLI::App& sim, int& exit_status) {
  std::shared_ptr<FidelityOptions> o = std::make_shared<FidelityOptions>();
  CLI::App* app = sim.add_subcommand(
      "fidelity", "The same arrivals to the embedded engine and to a simulated device");
  app->add_option("--model", o->model, "model file; the bundled one by default");
  app->add_option("--rate", o->rate, "requests per second")->check(CLI::Range(0.01, 1e4));
  app->add_option("--seconds", o->seconds, "of traffic")->check(CLI::Range(1.0, 3600.0));
  app->add_option("--prompt", o->prompt_mean, "mean prompt tokens")->check(CLI::Range(1, 100'000));
  app->add_option("--output", o->output_mean, "mean output tokens")->check(CLI::Range(1, 100'000));
  app->add_option("--threads", o->threads, "of the engine")->check(CLI::Range(1, 1024));
  app->add_option("--seed", o->seed, "of arrivals and lengths");
  app->add_flag("--json", o->json, "machine-readable output");
  app->callback([o, &exit_status] { exit_status = report(fidelity(*o)); });
}

}  // namespace tg::apps
