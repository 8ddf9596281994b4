// Devices of the perf data: that a step model stands for the predictor it came from.
#include "sim/perf_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <tuple>

#include "engine/sched/step_model.h"
#include "predict/made_world_testing.h"
#include "sim/scenario.h"

namespace tg::sim {
namespace {

using namespace predict;

TEST(PerfDevice, ItsStepsTakeWhatThePredictorSays) {
  Catalog catalog;
  std::vector<MeasuredCase> cases;
  MadeWorld world({.engine = "vllm", .memory = 1e11, .devices = {1}});
  for (const auto& [name, bandwidth, flops] :
       {std::tuple("a", 2e12, 4e14), std::tuple("b", 3.3e12, 1e15)}) {
    for (MeasuredCase& m : world.measure(name, bandwidth, flops)) cases.push_back(std::move(m));
    catalog.add(world.device(name, bandwidth, flops));
  }
  catalog.add("made", world.model());
  std::unique_ptr<PerfData> data = PerfData::make(std::move(catalog), cases).value();
  DeviceModel like = reference_device(1);
  DeviceModel a = data->device({.system = "a", .model = "made"}, like).value();
  DeviceModel b = data->device({.system = "b", .model = "made"}, like).value();
  // 0.9 x 100 GB less 21 GB of weights, at 40 x 2,048 x 2 bytes a key.
  EXPECT_NEAR(static_cast<f64>(a.keys_total), 69e9 / 163'840, 1e3);
  EXPECT_EQ(a.watts_busy, 700);
  EXPECT_EQ(a.price.output, like.price.output);
  engine::StepTime time{.ns_per_step = a.step.ns_per_step,
                        .ns_per_token = a.step.ns_per_token,
                        .ns_per_row = a.step.ns_per_row,
                        .ns_per_key = a.step.ns_per_key,
                        .ns_per_pair = a.step.ns_per_pair};
  for (const MeasuredCase& m : cases) {
    f64 batch = m.c.setting.concurrency;
    f64 prompt = m.c.setting.prompt;
    if (m.c.setting.system != "a" || m.c.basis.batch < batch || batch < 4) continue;
    engine::StepSize size;
    i64 begun = static_cast<i64>(batch / 512 * prompt);
    i64 keys = static_cast<i64>(prompt) + 256;
    for (i64 i = 0; i < static_cast<i64>(batch); ++i) size.add(keys, 1, 1);
    size.tokens += begun;
    size.keys += begun;
    EXPECT_NEAR(time.predict_ns(size) * 1e-6 / m.tpot_ms, 1, 0.3) << batch << " " << prompt;
  }
  f64 faster = a.step.ns_per_step / b.step.ns_per_step;
  EXPECT_GT(faster, 1.2);
  EXPECT_LT(faster, 2.2);
  EXPECT_EQ(data->device({.system = "c", .model = "made"}, like).error().code, Code::kNotFound);
  EXPECT_EQ(data->device({.system = "a", .model = "other"}, like).error().code, Code::kNotFound);
}

// Steps of simulated devices against what others measured, where the data is.
TEST(PerfDevice, PublishedTimesAreMet_slow) {
  std::string folder(TG_SOURCE_DIR);
  folder.append("/../shared/data/perf");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  std::unique_ptr<PerfData> data = PerfData::open(folder).value();
  std::vector<Observation> rows = read_observations(folder + "/e2e_silicon/silicon.csv").value();
  std::vector<f64> errors;
  std::map<std::string, engine::StepTime> known;
  for (const Observation& row : rows) {
    const Setting& s = row.setting;
    bool is_plain = !s.is_split && s.decode.data_parallel == 1 && s.decode_instances == 1 &&
                    s.decode.devices == s.decode.tensor_parallel && row.tpot_ms > 0;
    bool is_dense = s.model == "Qwen/Qwen3-32B" || s.model.find("Llama-3.1") != s.model.npos;
    if (!is_plain || !is_dense) continue;
    PerfAsk ask{.system = s.system,
                .model = s.model,
                .engine = s.engine,
                .precision = s.precision,
                .devices = static_cast<i64>(s.decode.devices)};
    std::string key = s.system + s.model + s.engine + s.precision + std::to_string(ask.devices);
    if (!known.contains(key)) {
      Result<DeviceModel> device = data->device(ask, reference_device(1));
      if (!device.ok()) continue;
      const fleet::StepEstimate& e = device->step;
      known[key] = {.ns_per_step = e.ns_per_step,
                    .ns_per_token = e.ns_per_token,
                    .ns_per_row = e.ns_per_row,
                    .ns_per_key = e.ns_per_key,
                    .ns_per_pair = e.ns_per_pair};
    }
    f64 begun = s.concurrency / s.output * s.prompt;
    f64 keys = s.concurrency * (s.prompt + s.output / 2);
    engine::StepSize size{.sequences = static_cast<i64>(s.concurrency),
                          .tokens = static_cast<i64>(s.concurrency + begun),
                          .rows = static_cast<i64>(s.concurrency),
                          .keys = static_cast<i64>(keys + begun),
                          .pairs = static_cast<i64>(keys + begun * s.prompt / 2)};
    errors.push_back(std::abs(known[key].predict_ns(size) * 1e-6 / row.tpot_ms - 1));
  }
  ASSERT_GT(errors.size(), 300u);
  std::ranges::sort(errors);
  RecordProperty("rows", static_cast<int>(errors.size()));
  RecordProperty("median_error_percent", static_cast<int>(100 * errors[errors.size() / 2]));
  EXPECT_LT(errors[errors.size() / 2], 0.08);
  EXPECT_LT(errors[errors.size() * 9 / 10], 0.3);
}

TEST(PerfDevice, ScenariosNameADirectoryThatIsThere) {
  Result<Scenario> wrong =
      parse_scenario("[[supplier]]\nperf = '/none'\nsystem = 'a'\nmodel = 'made'\n", "f");
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find("/none"), std::string::npos) << wrong.error().message;
  EXPECT_FALSE(parse_scenario("[[supplier]]\nperf = '/none'\n", "f").ok());
}

}  // namespace
}  // namespace tg::sim
