#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sim/fluid.h"
#include "sim/report.h"
#include "sim/world.h"

namespace tg::sim {
namespace {

constexpr i64 kSecond = 1'000'000'000;

TEST(Trace, MooncakeAndAzure) {
  Result<Trace> mooncake = parse_trace(
      "{\"timestamp\": 1000, \"input_length\": 1300, \"output_length\": 5, \"hash_ids\": [0, 7, "
      "9]}\n"
      "{\"timestamp\": 3000, \"input_length\": 600, \"output_length\": 0, \"hash_ids\": [0, 8]}\n",
      "m");
  ASSERT_TRUE(mooncake.ok());
  EXPECT_EQ(mooncake->requests[1].at_ns, 2 * kSecond);
  EXPECT_EQ(mooncake->requests[1].output_tokens, 1);
  // Two whole blocks of 512 in 1,300 tokens.
  EXPECT_EQ(mooncake->requests[0].blocks, 2u);
  EXPECT_EQ(mooncake->blocks_of(mooncake->requests[0])[0],
            mooncake->blocks_of(mooncake->requests[1])[0]);
  Result<Trace> azure = parse_trace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 23:59:59.5000000,374,44\r\n"
      "2023-11-17 00:00:01.2500000,396,109\r\n",
      "a");
  ASSERT_TRUE(azure.ok());
  EXPECT_EQ(azure->requests[1].at_ns, 1'750'000'000);
}

TEST(Trace, WrongLinesAreNamed) {
  for (const char* text :
       {"", "h\n", "h\nx,1,2\n", "h\n2023-11-16 00:00:00,1\n", "h\n2023-11-16 00:00:00,-1,2\n",
        "h\n2023-11-31 00:00:00,1,2\n", "h\n2023-11-16 24:00:00,1,2\n",
        "h\n9999-11-16 00:00:00,1,2\n", "h\n2023-11-16 00:00:00.-5,1,2\n",
        "{\"timestamp\":9223372036854775807,\"input_length\":5,\"output_length\":1}\n",
        "{\"timestamp\":1,\"input_length\":1e300,\"output_length\":1}\n", "{\"timestamp\":1}\n",
        "{\n", "{\"timestamp\":1,\"input_length\":5,\"output_length\":1,\"hash_ids\":[-1]}\n"}) {
    Result<Trace> trace = parse_trace(text, "f");
    ASSERT_FALSE(trace.ok()) << text;
    EXPECT_TRUE(trace.error().message.starts_with("f")) << trace.error().message;
  }
}

TEST(Trace, GeneratedTrafficHasItsRateAndItsConversations) {
  Trace t = generate({.seconds = 600, .rate = 20, .tenants = 50, .seed = 3});
  f64 rate = static_cast<f64>(t.requests.size()) / 600;
  EXPECT_NEAR(rate, 20, 6);
  i64 shared = 0;
  std::map<u64, int> seen;
  for (const TraceRequest& r : t.requests) {
    for (u64 b : t.blocks_of(r)) shared += seen[b]++ > 0 ? 1 : 0;
  }
  EXPECT_GT(shared, static_cast<i64>(t.blocks.size()) / 5);
  EXPECT_EQ(generate({.seed = 3}).blocks, generate({.seed = 3}).blocks);
}

Trace small_trace(f64 rate = 6, f64 seconds = 120) {
  return generate({.seconds = seconds, .rate = rate, .tenants = 10, .seed = 2});
}

TEST(World, SameSeedSameResult) {
  Scenario scenario = mixed_pool(2, 2);
  Trace trace = small_trace();
  std::string a = to_json(run(scenario, trace).suppliers);
  EXPECT_EQ(a, to_json(run(scenario, trace).suppliers));
  scenario.seed = 2;
  EXPECT_NE(a, to_json(run(scenario, trace).suppliers));
}

TEST(World, EveryPolicyServesEverybody) {
  Trace trace = small_trace();
  for (u8 i = 0; i < static_cast<u8>(dispatch::Policy::kCount); ++i) {
    Scenario scenario = mixed_pool(2, 2);
    scenario.engine = EngineKind::kQuick;
    scenario.router.policy = static_cast<dispatch::Policy>(i);
    Summary s = run(scenario, trace).summary;
    EXPECT_EQ(s.done, s.requests) << dispatch::policy_name(scenario.router.policy);
    EXPECT_GT(s.goodput, 0.3);
  }
}

void expect_all_delivered(const Scenario& scenario, const Trace& trace, i64 retried_least) {
  RunResult r = run(scenario, trace);
  EXPECT_EQ(r.summary.done, r.summary.requests);
  EXPECT_GE(r.summary.retried, retried_least);
  for (std::size_t i = 0; i < r.requests.size(); ++i) {
    ASSERT_EQ(r.requests[i].output_tokens, trace.requests[i].output_tokens);
  }
}

TEST(World, ACrashLosesNobody) {
  Scenario scenario = mixed_pool(2, 2);
  scenario.faults.push_back({FaultKind::kCrash, 0, 30 * kSecond, 60 * kSecond, 1});
  expect_all_delivered(scenario, small_trace(), 1);
}

TEST(World, APartitionIsNoticedAndHeals) {
  Scenario scenario = mixed_pool(2, 2);
  scenario.faults.push_back({FaultKind::kPartition, 0, 30 * kSecond, 50 * kSecond, 1});
  scenario.faults.push_back({FaultKind::kPartition, 1, 60 * kSecond, 61 * kSecond, 1});
  expect_all_delivered(scenario, small_trace(), 1);
}

TEST(World, EnergyOfRequestsAndIdlenessIsTheMeters) {
  Scenario scenario = mixed_pool(2, 2);
  scenario.suppliers[2].device.keys_total = 20'000;
  scenario.faults.push_back({FaultKind::kCrash, 0, 30 * kSecond, 60 * kSecond, 1});
  scenario.faults.push_back({FaultKind::kPartition, 1, 70 * kSecond, 90 * kSecond, 1});
  RunResult r = run(scenario, small_trace(12));
  f64 sum = r.summary.joules_idle;
  for (const RequestResult& q : r.requests) {
    EXPECT_GT(q.joules, 0);
    sum += q.joules;
  }
  EXPECT_GT(r.summary.retried, 0);
  EXPECT_GT(r.summary.joules_requests, 0.1 * r.summary.joules);
  EXPECT_NEAR(sum, r.summary.joules, 1e-6 * r.summary.joules);
}

TEST(World, InteractiveRequestsGoBeforeBatchOnes) {
  Scenario scenario = mixed_pool(1, 1);
  scenario.classes = {.interactive = 0.3, .batch = 0.3};
  scenario.router.settings.waited_max_ns = 0;
  Summary s = run(scenario, small_trace(24)).summary;
  EXPECT_EQ(s.done, s.requests);
  i64 requests = 0;
  for (const ClassResult& c : s.classes) requests += c.requests;
  EXPECT_EQ(requests, s.requests);
  EXPECT_NEAR(static_cast<f64>(s.classes[0].requests), 0.3 * static_cast<f64>(requests), 100);
  EXPECT_LT(2 * s.classes[0].ttft_p99, s.classes[2].ttft_p99);
  EXPECT_NE(to_json(s).find("\"interactive\""), std::string::npos);
}

TEST(World, ASlowOneGetsLess) {
  Scenario scenario = mixed_pool(4, 0);
  scenario.faults.push_back({FaultKind::kSlow, 0, 0, 1000 * kSecond, 6});
  RunResult r = run(scenario, small_trace(12));
  EXPECT_LT(r.suppliers[0].requests * 2, r.suppliers[1].requests);
}

TEST(World, ALiarGainsLittle) {
  Trace trace = small_trace(12, 300);
  Scenario honest = mixed_pool(3, 1);
  honest.engine = EngineKind::kQuick;
  Scenario lying = honest;
  lying.suppliers[3].boast = 10;
  f64 before = run(honest, trace).summary.ttft_p99;
  RunResult r = run(lying, trace);
  EXPECT_EQ(r.summary.done, r.summary.requests);
  EXPECT_LT(r.summary.ttft_p99, 3 * before + 1);
}

TEST(World, OneThatOvercountsIsLeftToTheOthers) {
  Scenario scenario = mixed_pool(3, 1);
  scenario.suppliers[0].overcount = 2;
  RunResult r = run(scenario, small_trace());
  EXPECT_EQ(r.summary.done, r.summary.requests);
  EXPECT_LT(r.suppliers[0].requests * 5, r.suppliers[1].requests);
}

TEST(World, ScalesFromZeroAndDropsNothing) {
  Scenario scenario = mixed_pool(20, 0);
  scenario.elasticity = {.is_on = true, .replicas = 0, .warm = 0, .cold_start_ns = 20 * kSecond};
  scenario.elasticity.scale = {
      .work_per_replica_s = 5, .cold_start_ns = 20 * kSecond, .replicas_max = 20};
  scenario.router.settings.waited_max_ns = 0;
  Summary s = run(scenario, small_trace(8)).summary;
  EXPECT_EQ(s.done, s.requests);
  EXPECT_GE(s.replicas_most, 1);
  EXPECT_GT(s.late, 0.01);
}

TEST(Scenario, ReadsAndComplains) {
  Result<Scenario> s = parse_scenario(
      "name = 'x'\n[[supplier]]\nname = 'a'\ncount = 3\nspeed = 0.5\nzone = 2\n"
      "[[fault]]\nkind = 'slow'\nsupplier = 1\nfrom_s = 1\nuntil_s = 2\nfactor = 3\n"
      "[elasticity]\nreplicas = 1\ncold_start_s = 52\n"
      "[money]\nbundle_st = 7\nmode = 'guaranteed'\nprice_output = 2.5\nlatency_s = 0.02\n"
      "[router]\nline_weight = 3\nslack_us_per_token = 5\n[classes]\nbatch = 0.5\n",
      "f");
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(s->suppliers.size(), 3u);
  EXPECT_EQ(s->suppliers[2].zone, 2);
  EXPECT_EQ(s->faults[0].factor, 3);
  EXPECT_EQ(s->elasticity.cold_start_ns, 52 * kSecond);
  EXPECT_EQ(s->engine, EngineKind::kShipped);
  EXPECT_EQ(s->money.bundle_st, 7);
  EXPECT_EQ(s->money.latency_ns, 20'000'000);
  EXPECT_EQ(s->router.settings.line_weight, 3);
  EXPECT_EQ(s->router.slack_ns_per_token, 5'000);
  EXPECT_EQ(s->classes.batch, 0.5);
  EXPECT_EQ(s->money.mode, market::HoldMode::kGuaranteed);
  EXPECT_EQ(s->money.prices[market::RatedClass::kOutput], 2'500'000'000);
  EXPECT_EQ(s->money.prices[market::RatedClass::kWork], 1'000'000'000'000'000);
  EXPECT_TRUE(s->has_money());
  Result<Scenario> quick = parse_scenario("engine = 'quick'\n[[supplier]]\n", "f");
  ASSERT_TRUE(quick.ok()) << quick.error().message;
  EXPECT_FALSE(quick->has_money());
  for (const char* text :
       {"", "[[supplier]]\nspeed = -1\n", "[[supplier]]\ncolour = 1\n", "seed = 'a'\n",
        "[[supplier]]\n[[fault]]\nsupplier = 1\n", "[[supplier]]\n[[fault]]\nkind = 'fire'\n",
        "engine = 'steam'\n[[supplier]]\n", "[[supplier]]\n[money]\nmode = 'later'\n",
        "[[supplier]]\n[money]\nfee_ppm = 1000001\n", "[[supplier]]\n[router]\nhope = 1\n",
        "[[supplier]]\n[classes]\ninteractive = 0.6\nbatch = 0.5\n", "supplier = 3\n",
        "[[supplier]]\n[[fault]]\nfrom_s = 2\nuntil_s = 1\n", "=\n"}) {
    Result<Scenario> wrong = parse_scenario(text, "f");
    ASSERT_FALSE(wrong.ok()) << text;
    EXPECT_TRUE(wrong.error().message.starts_with("f")) << wrong.error().message;
  }
}

TEST(Fluid, AgreesWithSingleRequests) {
  Scenario scenario = mixed_pool(8, 0);
  for (SupplierSpec& s : scenario.suppliers) s.device.block_tokens = 0;
  scenario.router.policy = dispatch::Policy::kRandom;
  Trace trace = generate({.seconds = 120,
                          .rate = 48,
                          .tenants = 1'000,
                          .burstiness = 1,
                          .prompt_sigma = 0.6,
                          .turns = 1});
  FluidTraffic t{0, 0, 0};
  f64 n = static_cast<f64>(trace.requests.size());
  for (const TraceRequest& r : trace.requests) {
    f64 prompt = static_cast<f64>(r.prompt_tokens);
    t.prompt += prompt / n;
    t.prompt_square += prompt * prompt / n;
    t.output += static_cast<f64>(r.output_tokens) / n;
  }
  Summary fine = run(scenario, trace).summary;
  f64 rate = n / (static_cast<f64>(trace.length_ns()) * 1e-9) / 8;
  FluidLoad flow = fluid_load(scenario.suppliers[0].device, t, rate);
  EXPECT_NEAR(flow.tpot_ns * 1e-9 / fine.tpot_mean, 1, 0.15);
  EXPECT_NEAR(flow.ttft_ns * 1e-9 / fine.ttft_mean, 1, 0.25);
}

TEST(Fluid, ADayIsServedAndCarbonCanBeBought) {
  FluidDay day = national_day(140e12, 1e5);
  day.tick_s = 1800;
  FluidResult plain = play_day(day);
  EXPECT_NEAR(plain.tokens / 140e12, 1, 0.01);
  EXPECT_EQ(plain.unserved, 0);
  EXPECT_LT(plain.ttft_ms, 200);
  day.carbon_weight = 2e5;
  FluidResult clean = play_day(day);
  EXPECT_LT(clean.grams, 0.9 * plain.grams);
}

TEST(Trace, AStepHasItsRates) {
  Trace t = step_traffic({.rate_before = 10, .rate_after = 500, .jump_s = 20, .seconds = 40});
  i64 before = 0;
  for (const TraceRequest& r : t.requests) before += r.at_ns < 20 * kSecond ? 1 : 0;
  EXPECT_NEAR(static_cast<f64>(before), 200, 50);
  EXPECT_NEAR(static_cast<f64>(t.requests.size()) - static_cast<f64>(before), 10'000, 400);
}

TEST(Report, ALinePerRequestAddsUp) {
  RunResult r = run(mixed_pool(1, 1), small_trace(6, 20));
  std::string csv =
      to_csv({.policy = dispatch::Policy::kPredicted, .load = 2, .runs = {}}, 7, r.requests);
  EXPECT_EQ(std::ranges::count(csv, '\n'), r.summary.requests);
  EXPECT_TRUE(csv.starts_with("tokengrid,2,7,"));
  EXPECT_EQ(std::ranges::count(csv, ','), 12 * r.summary.requests);
  EXPECT_EQ(std::ranges::count(kRequestsHead, ','), 12);
  for (const RequestResult& q : r.requests) {
    EXPECT_LE(q.arrived_ns, q.sent_ns);
    EXPECT_LT(q.sent_ns, q.first_ns);
    EXPECT_GT(q.forecast_ns, 0);
  }
}

TEST(Report, IntervalsTableAndPlot) {
  std::vector<f64> values = {1, 2, 3};
  Estimate e = estimate(values);
  EXPECT_DOUBLE_EQ(e.mean, 2);
  EXPECT_NEAR(e.half, 4.303 / std::sqrt(3), 1e-9);
  Summary s;
  s.ttft_p99 = 0.5;
  std::vector<Cell> cells = {{.policy = dispatch::Policy::kPredicted, .load = 1, .runs = {s, s}}};
  EXPECT_NE(to_table(cells).find("tokengrid"), std::string::npos);
  EXPECT_NE(to_svg(cells, "a < b").find("a &lt; b"), std::string::npos);
  EXPECT_NE(to_json(cells).find("\"ttft_p99_s\":{\"mean\":0.5,\"half\":0}"), std::string::npos);
}

}  // namespace
}  // namespace tg::sim
