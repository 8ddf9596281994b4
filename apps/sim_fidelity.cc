// `tokengrid sim fidelity`: the same arrivals to a live pool of embedded engines in real time and
// to simulated devices that have the step times the engines learnt of themselves, behind the same
// router, and are as far away as messages took in a first pass, and as much slower than their own
// step models as engines were in it. How far the simulation is off, and
// how often first tokens came within their forecast p90.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>

#include "apps/commands.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "base/json_out.h"
#include "dispatch/pool.h"
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
  i64 engines = 1;
  i32 threads = 1;
  f64 step_ms = 0;
  u64 seed = 1;
  sim::EngineKind engine = sim::EngineKind::kShipped;
  bool json = false;
};

struct Timed {
  i64 at_ns = 0;
  i64 prompt = 0;
  i64 output = 0;
  i64 first_ns = 0;         // after arrival
  i64 engine_first_ns = 0;  // after submission, as the engine saw it
  i64 end_ns = 0;
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

using Engines = std::vector<std::shared_ptr<node::EmbeddedSupplier>>;

// Of all engines, or of all simulated devices.
struct Work {
  f64 busy_ns = 0;
  f64 steps = 0;
  f64 mean_ns() const { return steps > 0 ? busy_ns / steps : 0; }
  friend Work operator-(Work a, Work b) { return {a.busy_ns - b.busy_ns, a.steps - b.steps}; }
};

Work work_of(const Engines& engines) {
  Work sum;
  for (const std::shared_ptr<node::EmbeddedSupplier>& engine : engines) {
    sum.busy_ns += static_cast<f64>(engine->busy_ns());
    sum.steps += static_cast<f64>(engine->load().steps);
  }
  return sum;
}

Work work_of(const sim::RunResult& result) {
  Work sum;
  for (const sim::SupplierResult& s : result.suppliers) {
    sum.busy_ns += s.utilisation * result.summary.seconds * 1e9;
    sum.steps += static_cast<f64>(s.steps);
  }
  return sum;
}

struct LiveResult {
  f64 coverage = 0;  // after the first third
  f64 coverage_all = 0;
  i64 measured = 0;
  Work work;
};

// Sends in real time, through the pool that a gateway has.
class Live {
 public:
  Live(const Engines& engines, std::vector<Timed>& requests, i64 vocabulary, u64 seed)
      : requests_(requests),
        vocabulary_(vocabulary),
        random_(seed),
        events_(std::make_shared<Mailbox<fleet::SupplierEvent>>(100'000)),
        pool_({.route = {.hedge_factor = 0}}, members(engines), clock_) {}

  Result<LiveResult> run() {
    start_ns_ = clock_.monotonic_ns();
    std::size_t next = 0;
    dispatch::PoolStatus early;
    while (ended_ < requests_.size()) {
      i64 now = clock_.monotonic_ns() - start_ns_;
      while (next < requests_.size() && requests_[next].at_ns <= now) {
        if (next == requests_.size() / 3) early = pool_.status();
        TG_TRY(send(next++));
      }
      i64 until = next < requests_.size() ? requests_[next].at_ns - now : kSecond / 10;
      std::vector<fleet::SupplierEvent> events;
      events_->wait(events, std::clamp<i64>(until, 10'000, kSecond / 10));
      now = clock_.monotonic_ns() - start_ns_;
      for (const fleet::SupplierEvent& e : events) TG_TRY(take(e, now));
    }
    dispatch::PoolStatus all = pool_.status();
    LiveResult out{.coverage_all = all.coverage, .measured = all.first_tokens - early.first_tokens};
    f64 covered = all.coverage * static_cast<f64>(all.first_tokens) -
                  early.coverage * static_cast<f64>(early.first_tokens);
    out.coverage = out.measured > 0 ? covered / static_cast<f64>(out.measured) : 0;
    return out;
  }

 private:
  static std::vector<dispatch::PoolMember> members(const Engines& engines) {
    std::vector<dispatch::PoolMember> out;
    for (std::size_t i = 0; i < engines.size(); ++i) {
      out.push_back({{.name = "engine-" + std::to_string(i)}, engines[i]});
    }
    return out;
  }

  Status send(std::size_t i) {
    const Timed& t = requests_[i];
    fleet::SupplyRequest r;
    r.id = i + 1;
    for (i64 k = 0; k < t.prompt; ++k) {
      r.prompt.push_back(static_cast<TokenId>(random_.below(static_cast<u64>(vocabulary_))));
    }
    r.max_tokens = t.output;
    r.events = events_;
    return pool_.submit(std::move(r));
  }

  Status take(const fleet::SupplierEvent& e, i64 now) {
    Timed& t = requests_[e.request - 1];
    if (e.kind == fleet::SupplierEvent::Kind::kTokens) {
      if (t.first_ns == 0) t.first_ns = now - t.at_ns;
      return {};
    }
    if (e.reason == fleet::FinishReason::kError) return Error{Code::kUnavailable, e.error};
    t.end_ns = now - t.at_ns;
    t.output = e.usage.output_tokens;
    t.engine_first_ns = e.usage.first_token_ns;
    ++ended_;
    return {};
  }

  std::vector<Timed>& requests_;
  i64 vocabulary_;
  SeededRandom random_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> events_;
  SystemClock clock_;
  i64 start_ns_ = 0;
  std::size_t ended_ = 0;
  dispatch::Pool pool_;
};

// What is not the engine's of the time to a first token: mailboxes and the wake-up of threads.
i64 median_transit_ns(const std::vector<Timed>& requests) {
  std::vector<f64> transits;
  for (const Timed& t : requests) {
    transits.push_back(static_cast<f64>(std::max<i64>(0, t.first_ns - t.engine_first_ns)));
  }
  return static_cast<i64>(sim::quantile(std::move(transits), 0.5));
}

// In the first pass.
struct Measured {
  std::vector<fleet::SupplierLoad> loads;
  engine::EngineLimits limits;
  i64 page_tokens = 16;
  i64 transit_ns = 0;
  f64 slowness = 1;  // of a mean step, against that by the step models
};

// A step model is fitted to relative errors, so that outliers, which are slow steps, hardly move
// it. Where a step's time is log-normal with deviation s, it finds e^(-3/2 s^2) of the median, and
// the mean is e^(2 s^2) times what it finds: how much slower steps are on average says how they
// scatter.
void slow_down(sim::DeviceModel& device, f64 slowness) {
  constexpr f64 kNoiseMax = 0.6;
  device.noise = std::min(kNoiseMax, std::sqrt(std::max(0.0, std::log(slowness)) / 2));
  f64 median = slowness * std::exp(-device.noise * device.noise / 2);
  for (f64* ns : {&device.step.ns_per_step, &device.step.ns_per_token, &device.step.ns_per_row,
                  &device.step.ns_per_key, &device.step.ns_per_pair}) {
    *ns *= median;
  }
}

// The same arrivals on simulated devices.
sim::RunResult simulate(const std::vector<Timed>& requests, const Measured& measured,
                        sim::EngineKind kind) {
  const engine::EngineLimits& limits = measured.limits;
  sim::Scenario scenario;
  scenario.engine = kind;
  scenario.money_mode = sim::MoneyMode::kOff;
  for (const fleet::SupplierLoad& load : measured.loads) {
    sim::SupplierSpec spec;
    spec.name = "embedded";
    spec.rtt_ns = measured.transit_ns;
    spec.device.step = load.step;
    spec.device.step_tokens_max = limits.step_tokens_max;
    spec.device.step_target_ns = limits.step_target_ns;
    spec.device.step_longest_ns = limits.step_longest_ns;
    spec.device.running_max = limits.running_max;
    spec.device.page_tokens = measured.page_tokens;
    spec.device.keys_total = load.kv_pages_total * measured.page_tokens;
    spec.device.block_tokens = 0;
    slow_down(spec.device, measured.slowness);
    scenario.suppliers.push_back(spec);
  }
  scenario.estimate_error = 0;
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

Result<LiveResult> pass(const Engines& engines, std::vector<Timed>& requests, i64 vocabulary,
                        u64 seed) {
  Work before = work_of(engines);
  TG_ASSIGN(LiveResult out, Live(engines, requests, vocabulary, seed).run());
  out.work = work_of(engines) - before;
  return out;
}

struct Pair {
  f64 real = 0;
  f64 simulated = 0;
  f64 error() const { return real > 0 ? simulated / real - 1 : 0; }
};

// One figure of each request, as it was and as it was simulated.
struct Figures {
  std::vector<f64> real;
  std::vector<f64> simulated;
  Pair at(f64 q) const { return {sim::quantile(real, q), sim::quantile(simulated, q)}; }
  Pair mean() const {
    auto of = [](const std::vector<f64>& v) {
      return v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<f64>(v.size());
    };
    return {of(real), of(simulated)};
  }
};

void show(const FidelityOptions& o, const std::vector<Timed>& real, const sim::RunResult& sim,
          const LiveResult& live, const Measured& measured) {
  Figures ttft, tpot, whole;
  for (std::size_t i = 0; i < real.size(); ++i) {
    const Timed& t = real[i];
    const sim::RequestResult& r = sim.requests[i];
    ttft.real.push_back(static_cast<f64>(t.first_ns) * kMs);
    ttft.simulated.push_back(r.ttft_s() * 1e3);
    whole.real.push_back(static_cast<f64>(t.end_ns) * kMs);
    whole.simulated.push_back(static_cast<f64>(r.done_ns - r.arrived_ns) * kMs);
    if (t.output < 2) continue;
    tpot.real.push_back(static_cast<f64>(t.end_ns - t.first_ns) * kMs /
                        static_cast<f64>(t.output - 1));
    tpot.simulated.push_back(r.tpot_s() * 1e3);
  }
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
  row("ttft_mean_ms", ttft.mean());
  row("ttft_p50_ms", ttft.at(0.5));
  row("ttft_p90_ms", ttft.at(0.9));
  row("tpot_mean_ms", tpot.mean());
  row("tpot_p50_ms", tpot.at(0.5));
  row("tpot_p90_ms", tpot.at(0.9));
  row("request_p50_ms", whole.at(0.5));
  row("request_p90_ms", whole.at(0.9));
  Work work = work_of(sim);
  row("busy_ms", {live.work.busy_ns * kMs, work.busy_ns * kMs});
  row("step_mean_ms", {live.work.mean_ns() * kMs, work.mean_ns() * kMs});
  json.key("transit_ms").real(static_cast<f64>(measured.transit_ns) * kMs);
  json.key("slowness").real(measured.slowness);
  json.key("ttft_p90_coverage").real(live.coverage).key("covered_of").number(live.measured);
  json.key("ttft_p90_coverage_from_start").real(live.coverage_all);
  json.key("simulated_coverage").real(sim.summary.coverage).end_object();
  if (o.json) {
    fmt::print("{}\n", out);
    return;
  }
  fmt::print("first tokens within their p90 forecast: {:.1f} % of {} (from the start {:.1f} %)\n",
             100 * live.coverage, live.measured, 100 * live.coverage_all);
  fmt::print("... of the simulated ones {:.1f} %\n", 100 * sim.summary.coverage);
  fmt::print(
      "in the first pass messages took {:.3f} ms, both ways, and steps {:.2f} times as long as by "
      "their step models\n",
      static_cast<f64>(measured.transit_ns) * kMs, measured.slowness);
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
  options.step_ns_min = static_cast<i64>(o.step_ms * 1e6);
  SystemClock clock;
  Engines engines;
  for (i64 i = 0; i < o.engines; ++i) {
    TG_ASSIGN(std::shared_ptr<node::EmbeddedSupplier> engine,
              node::EmbeddedSupplier::start(loaded.model->program(), loaded.model->weights(),
                                            options, clock));
    engines.push_back(std::move(engine));
  }
  // The first pass teaches, after a moment for weights and threads to be there; the second one is
  // compared.
  i64 vocabulary = static_cast<i64>(loaded.tokenizer->vocab().tokens.size());
  FidelityOptions warm = o;
  std::vector<Timed> warming;
  LiveResult first;
  for (f64 seconds : {1.0, std::max(3.0, o.seconds / 2)}) {
    warm.seconds = seconds;
    ++warm.seed;
    warming = traffic(warm, engines[0]->context_max());
    TG_ASSIGN(first, pass(engines, warming, vocabulary, warm.seed));
  }
  const std::vector<isa::KvDecl>& kv = loaded.model->program().program().kv;
  Measured measured{
      .loads = {}, .limits = options.engine, .transit_ns = median_transit_ns(warming)};
  if (!kv.empty()) measured.page_tokens = kv[0].page_tokens;
  std::vector<Timed> requests = traffic(o, engines[0]->context_max());
  if (requests.empty()) return Error{Code::kInvalid, "--rate and --seconds give no request"};
  for (const std::shared_ptr<node::EmbeddedSupplier>& engine : engines) {
    measured.loads.push_back(engine->load());
  }
  f64 by_model_ns = work_of(simulate(warming, measured, o.engine)).mean_ns();
  if (by_model_ns > 0) measured.slowness = first.work.mean_ns() / by_model_ns;
  TG_ASSIGN(LiveResult live, pass(engines, requests, vocabulary, o.seed));
  show(o, requests, simulate(requests, measured, o.engine), live, measured);
  return {};
}

}  // namespace

void add_sim_fidelity(CLI::App& sim, int& exit_status) {
  std::shared_ptr<FidelityOptions> o = std::make_shared<FidelityOptions>();
  CLI::App* app = sim.add_subcommand(
      "fidelity", "The same arrivals to embedded engines and to simulated devices");
  app->add_option("--model", o->model, "model file; the bundled one by default");
  app->add_option("--rate", o->rate, "requests per second")->check(CLI::Range(0.01, 1e4));
  app->add_option("--seconds", o->seconds, "of traffic")->check(CLI::Range(1.0, 3600.0));
  app->add_option("--prompt", o->prompt_mean, "mean prompt tokens")->check(CLI::Range(1, 100'000));
  app->add_option("--output", o->output_mean, "mean output tokens")->check(CLI::Range(1, 100'000));
  app->add_option("--engines", o->engines, "in the pool")->check(CLI::Range(1, 64));
  app->add_option("--threads", o->threads, "of an engine")->check(CLI::Range(1, 1024));
  app->add_option("--step-ms", o->step_ms, "a step takes at least so long, as on a slower device")
      ->check(CLI::Range(0.0, 1e4));
  app->add_option("--seed", o->seed, "of arrivals and lengths");
  app->add_option_function<std::string>(
         "--engine", [o](const std::string& name) { o->engine = *sim::engine_kind_by_name(name); },
         "of simulated devices: the shipped one, or a quick model")
      ->check(CLI::IsMember({"shipped", "quick"}));
  app->add_flag("--json", o->json, "machine-readable output");
  app->callback([o, &exit_status] { exit_status = report(fidelity(*o)); });
}

}  // namespace tg::apps
