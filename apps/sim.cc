// `tokengrid sim`: the shipped dispatch under a virtual clock, over traces.
#include <fmt/format.h>

#include <fstream>
#include <memory>

#include "apps/commands.h"
#include "base/json_out.h"
#include "sim/fluid.h"
#include "sim/report.h"
#include "sim/scenario.h"
#include "sim/trace.h"
#include "sim/world.h"

namespace tg::apps {

namespace {

constexpr i64 kJitterNs = 2'000'000'000;

// What a scenario says goes before the command's default, and what the command says before that.
struct FormOptions {
  std::string engine;  // "": as the scenario says
  std::string money;
};

void add_form(CLI::App& app, FormOptions& o) {
  app.add_option("--engine", o.engine, "of simulated devices: the shipped one, or a quick model")
      ->check(CLI::IsMember({"shipped", "quick"}));
  app.add_option("--money", o.money, "holds and settles by the ledger; on with the shipped engine")
      ->check(CLI::IsMember({"on", "off"}));
}

void apply_form(const FormOptions& o, sim::Scenario& s) {
  s.engine = sim::engine_kind_by_name(o.engine).value_or(s.engine);
  if (o.money == "on") s.money_mode = sim::MoneyMode::kOn;
  if (o.money == "off") s.money_mode = sim::MoneyMode::kOff;
}

struct SimOptions {
  FormOptions form;
  std::string scenario;
  std::string trace;
  i64 fast = 4;
  i64 slow = 4;
  std::vector<std::string> policies;
  std::vector<f64> loads;
  i64 seeds = 1;
  i64 first_seed = 1;
  bool json = false;
  std::string svg;
  std::string requests;
  sim::GeneratorOptions generator;
};

Result<sim::Scenario> scenario_of(const SimOptions& o) {
  if (!o.scenario.empty()) return sim::read_scenario(o.scenario);
  sim::Scenario s = sim::mixed_pool(o.fast, o.slow);
  s.router.settings.waited_max_ns = 0;  // so that policies are compared on the same requests
  return s;
}

Result<sim::Trace> trace_of(const SimOptions& o) {
  if (!o.trace.empty()) return sim::read_trace(o.trace);
  return sim::generate(o.generator);
}

Result<std::vector<dispatch::Policy>> policies_of(const SimOptions& o) {
  std::vector<dispatch::Policy> out;
  for (const std::string& name : o.policies) {
    if (name == "all") {
      for (u8 i = 0; i < static_cast<u8>(dispatch::Policy::kCount); ++i) {
        out.push_back(static_cast<dispatch::Policy>(i));
      }
      continue;
    }
    std::optional<dispatch::Policy> policy = dispatch::policy_of(name);
    if (!policy) return Error{Code::kInvalid, "--policy: '" + name + "' is none of them"};
    out.push_back(*policy);
  }
  return out;
}

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) return Error{Code::kIo, path + ": cannot be written"};
  return {};
}

Status compare(const SimOptions& o) {
  TG_ASSIGN(sim::Scenario scenario, scenario_of(o));
  apply_form(o.form, scenario);
  TG_ASSIGN(sim::Trace trace, trace_of(o));
  TG_ASSIGN(std::vector<dispatch::Policy> policies, policies_of(o));
  std::vector<sim::Cell> cells;
  std::string requests(sim::kRequestsHead);
  for (f64 load : o.loads) {
    for (dispatch::Policy policy : policies) {
      sim::Cell cell{.policy = policy, .load = load, .runs = {}};
      for (i64 i = 0; i < o.seeds; ++i) {
        scenario.seed = static_cast<u64>(o.first_seed + i);
        scenario.router.policy = policy;
        sim::Trace day = sim::at_load(trace, load, kJitterNs, scenario.seed);
        sim::RunResult run = sim::run(scenario, day);
        if (!o.requests.empty()) requests += sim::to_csv(cell, scenario.seed, run.requests);
        cell.runs.push_back(run.summary);
      }
      cells.push_back(std::move(cell));
    }
  }
  if (!o.requests.empty()) TG_TRY(write_file(o.requests, requests));
  if (!o.svg.empty())
    TG_TRY(write_file(o.svg, sim::to_svg(cells, scenario.name + ", " + trace.name)));
  fmt::print("{}",
             o.json ? sim::to_json(cells) + "\n" : sim::to_table(cells) + sim::money_text(cells));
  return {};
}

struct DayOptions {
  f64 tokens = 140e12;
  f64 devices = 100'000;
  f64 carbon_weight = 0;
  f64 energy_bill = 0;
  f64 tick = 10;
  bool json = false;
};

Status play(const DayOptions& o) {
  sim::FluidDay day = sim::national_day(o.tokens, o.devices);
  day.tick_s = o.tick;
  day.carbon_weight = o.carbon_weight;
  day.settings.bill_weight = o.energy_bill;
  sim::FluidResult r = sim::play_day(day);
  if (o.json) {
    fmt::print("{}\n", sim::to_json(r));
    return {};
  }
  fmt::print("{:>4} {:>12} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}\n", "hour", "requests/s", "TTFT ms",
             "TPOT ms", "MW", "t CO2", "busy", "moved");
  for (std::size_t h = 0; h < r.hours.size(); ++h) {
    const sim::FluidHour& x = r.hours[h];
    fmt::print("{:>4} {:>12.0f} {:>9.1f} {:>9.2f} {:>9.2f} {:>9.1f} {:>6.3f} {:>6.3f}\n", h,
               x.requests / 3600, x.ttft_ms, x.tpot_ms, x.joules / 3600 / 1e6, x.grams / 1e6,
               x.busy, x.moved);
  }
  fmt::print(
      "{:.4g} requests, {:.4g} tokens, {:.4g} ST; {:.4g} J, {:.4f} J/ST, {:.1f} t CO2; "
      "TTFT {:.1f} ms, TPOT {:.2f} ms; most waiting {:.4g}; {} decisions\n",
      r.requests, r.tokens, r.st, r.joules, r.joules / r.st, r.grams / 1e6, r.ttft_ms, r.tpot_ms,
      r.backlog_most, r.decisions);
  return {};
}

// The flow against single requests on one kind of device with arrivals at random.
Status agree(const FormOptions& form, bool json) {
  sim::Scenario scenario = sim::mixed_pool(8, 0);
  apply_form(form, scenario);
  for (sim::SupplierSpec& s : scenario.suppliers) {
    s.device.block_tokens = 0;
    s.rtt_ns = 0;
  }
  scenario.router.policy = dispatch::Policy::kRandom;
  scenario.estimate_error = 0;
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (f64 rate : {16.0, 32.0, 48.0, 64.0, 80.0}) {
    sim::Trace trace = sim::generate({.seconds = 300,
                                      .rate = rate,
                                      .tenants = 1'000,
                                      .burstiness = 1,
                                      .prompt_sigma = 0.6,
                                      .turns = 1});
    sim::FluidTraffic t{0, 0, 0};
    f64 n = static_cast<f64>(trace.requests.size());
    for (const sim::TraceRequest& r : trace.requests) {
      f64 p = static_cast<f64>(r.prompt_tokens);
      t.prompt += p / n;
      t.prompt_square += p * p / n;
      t.output += static_cast<f64>(r.output_tokens) / n;
    }
    sim::Summary fine = sim::run(scenario, trace).summary;
    f64 seconds = static_cast<f64>(trace.length_ns()) * 1e-9;
    const sim::DeviceModel& device = scenario.suppliers[0].device;
    sim::FluidLoad flow = sim::fluid_load(device, t, n / seconds / 8);
    f64 watts = flow.busy * device.watts_busy + (1 - flow.busy) * device.watts_idle;
    f64 fine_watts = fine.joules / fine.seconds / scenario.suppliers[0].pue / 8;
    auto row = [&](const char* name, f64 a, f64 b) {
      writer.key(name).begin_object().key("fine").real(a).key("flow").real(b);
      writer.key("error").real(b / a - 1).end_object();
      if (!json)
        fmt::print("  {:<12} fine {:>9.3f}  flow {:>9.3f}  {:>+6.1f} %\n", name, a, b,
                   100 * (b / a - 1));
    };
    if (!json) fmt::print("{:.1f} requests/s on 8 devices\n", n / seconds);
    writer.begin_object().key("rate").real(n / seconds);
    row("ttft_ms", fine.ttft_mean * 1e3, flow.ttft_ns / 1e6);
    row("tpot_ms", fine.tpot_mean * 1e3, flow.tpot_ns / 1e6);
    row("watts", fine_watts, watts);
    writer.end_object();
  }
  writer.end_array();
  if (json) fmt::print("{}\n", out);
  return {};
}

struct JumpOptions {
  FormOptions form;
  std::string scenario;
  sim::StepOptions step;
  i64 seed = 1;
};

Status jump(const JumpOptions& o) {
  TG_ASSIGN(sim::Scenario scenario, sim::read_scenario(o.scenario));
  apply_form(o.form, scenario);
  scenario.seed = static_cast<u64>(o.seed);
  sim::StepOptions step = o.step;
  step.seed = static_cast<u64>(o.seed);
  sim::Trace trace = sim::step_traffic(step);
  fmt::print("{}\n", sim::to_json(sim::run(scenario, trace).summary));
  return {};
}

void add_jump(CLI::App& sim, int& exit_status) {
  std::shared_ptr<JumpOptions> o = std::make_shared<JumpOptions>();
  CLI::App* app = sim.add_subcommand("step", "Traffic that jumps, for pools that scale");
  app->add_option("--scenario", o->scenario, "TOML file with [elasticity]")->required();
  add_form(*app, o->form);
  app->add_option("--from", o->step.rate_before, "requests per second before")
      ->check(CLI::Range(0.01, 1e6));
  app->add_option("--to", o->step.rate_after, "... and after")->check(CLI::Range(0.01, 1e6));
  app->add_option("--at", o->step.jump_s, "second of the jump")->check(CLI::Range(0.0, 1e5));
  app->add_option("--seconds", o->step.seconds, "in all")->check(CLI::Range(1.0, 1e5));
  app->add_option("--seed", o->seed, "of traffic and devices")->check(CLI::Range(0, 1'000'000));
  app->callback([o, &exit_status] { exit_status = report(jump(*o)); });
}

void add_traffic(CLI::App& app, SimOptions& o) {
  app.add_option("--scenario", o.scenario, "TOML file of suppliers, faults and scaling");
  add_form(app, o.form);
  app.add_option("--fast", o.fast, "without --scenario: devices of the reference's speed")
      ->check(CLI::Range(0, 10'000));
  app.add_option("--slow", o.slow, "without --scenario: devices of a third of it")
      ->check(CLI::Range(0, 10'000));
  app.add_option("--trace", o.trace, "Mooncake JSON lines or Azure CSV, plain or gzip");
  app.add_option("--rate", o.generator.rate, "without --trace: requests per second")
      ->check(CLI::Range(1e-3, 1e6));
  app.add_option("--seconds", o.generator.seconds, "without --trace: length of the traffic")
      ->check(CLI::Range(1.0, 1e6));
  app.add_option("--tenants", o.generator.tenants, "without --trace")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--policy", o.policies, "names, or all")->default_val("tokengrid");
  app.add_option("--load", o.loads, "multiples of the trace's rate")->default_val("1");
  app.add_option("--seeds", o.seeds, "runs per policy and load")->check(CLI::Range(1, 1000));
  app.add_option("--first-seed", o.first_seed, "the others follow")
      ->check(CLI::Range(0, 1'000'000'000));
  app.add_flag("--json", o.json, "machine-readable output");
  app.add_option("--requests", o.requests, "CSV file for every request of every run");
  app.add_option("--svg", o.svg, "file for a plot of p99 first tokens over load");
}

}  // namespace

void add_sim(CLI::App& root, int& exit_status) {
  std::shared_ptr<SimOptions> o = std::make_shared<SimOptions>();
  CLI::App* sim = root.add_subcommand("sim", "Play traces against a simulated pool");
  sim->require_subcommand(1);
  CLI::App* run = sim->add_subcommand("run", "Policies by loads by seeds, side by side");
  add_traffic(*run, *o);
  run->callback([o, &exit_status] { exit_status = report(compare(*o)); });
  std::shared_ptr<DayOptions> d = std::make_shared<DayOptions>();
  CLI::App* day = sim->add_subcommand("day", "A country's day as a flow: ten zones, three kinds");
  day->add_option("--tokens", d->tokens, "prompts and outputs of the day")
      ->check(CLI::Range(1.0, 1e18));
  day->add_option("--devices", d->devices, "of all kinds")->check(CLI::Range(30.0, 1e9));
  day->add_option("--carbon-weight", d->carbon_weight, "1e-9 credit per gram")
      ->check(CLI::Range(0.0, 1e12));
  day->add_option("--energy-bill", d->energy_bill, "part of the zones' energy price that counts")
      ->check(CLI::Range(0.0, 1e3));
  day->add_option("--tick", d->tick, "seconds")->check(CLI::Range(0.1, 3600.0));
  day->add_flag("--json", d->json, "machine-readable output");
  day->callback([d, &exit_status] { exit_status = report(play(*d)); });
  CLI::App* check = sim->add_subcommand("agree", "The flow against single requests");
  add_form(*check, o->form);
  check->add_flag("--json", o->json, "machine-readable output");
  check->callback([o, &exit_status] { exit_status = report(agree(o->form, o->json)); });
  add_jump(*sim, exit_status);
  add_sim_fidelity(*sim, exit_status);
}

}  // namespace tg::apps
