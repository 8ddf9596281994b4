#include "sim/perf_device.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/sched/step_model.h"
#include "predict/evaluation.h"

namespace tg::sim {

namespace {

constexpr f64 kMs = 1e6;
// Enough for one device and model, and quick to learn from.
constexpr std::size_t kRowsMax = 800;
constexpr f64 kMemoryShare = 0.9;
constexpr f64 kIdleShare = 0.2;  // of a data sheet's power, drawn with nothing to do
constexpr int kRounds = 8;       // through all forecasts: a step model forgets slowly
constexpr f64 kOutputs[] = {256, 1024};
constexpr f64 kBatches[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};
constexpr f64 kPrompts[] = {256, 1024, 2048, 4096, 8192, 16384};

predict::Setting setting_of(const PerfAsk& ask, f64 prompt, f64 output, f64 batch) {
  predict::Setting s;
  s.model = ask.model;
  s.system = ask.system;
  s.engine = ask.engine;
  s.precision = ask.precision;
  s.prompt = prompt;
  s.output = output;
  s.concurrency = batch;
  f64 devices = static_cast<f64>(ask.devices);
  s.prefill = s.decode = {.devices = devices, .tensor_parallel = devices};
  return s;
}

i64 whole(f64 value) {
  return std::llround(value);
}

// A mean step while `batch` requests decode and others like them begin: in each, so much of a
// prompt as there are tokens of an output.
engine::StepSize decode_size(f64 prompt, f64 output, f64 batch) {
  f64 begun = batch / output;
  f64 keys = batch * (prompt + output / 2);
  return {.sequences = whole(batch),
          .tokens = whole(batch + begun * prompt),
          .rows = whole(batch),
          .keys = whole(keys + begun * prompt),
          .pairs = whole(keys + begun * prompt * prompt / 2)};
}

engine::StepSize prompt_size(f64 prompt) {
  return {.sequences = 1,
          .tokens = whole(prompt),
          .rows = 1,
          .keys = whole(prompt),
          .pairs = whole(prompt * prompt / 2)};
}

}  // namespace

Result<std::unique_ptr<PerfData>> PerfData::open(const std::string& directory) {
  TG_ASSIGN(predict::Catalog catalog, predict::Catalog::open(directory));
  std::map<std::string, i64> refused;
  TG_ASSIGN(std::vector<predict::MeasuredCase> cases,
            predict::load_cases(directory + "/e2e_silicon/silicon.csv", catalog, refused));
  return make(std::move(catalog), cases);
}

Result<std::unique_ptr<PerfData>> PerfData::make(predict::Catalog catalog,
                                                 std::span<const predict::MeasuredCase> cases) {
  TG_ASSIGN(predict::Predictor predictor,
            predict::Predictor::fit(cases, {.rows_max = kRowsMax, .makes_intervals = false}));
  return std::unique_ptr<PerfData>(new PerfData(std::move(catalog), std::move(predictor)));
}

Result<fleet::StepEstimate> PerfData::steps_of(const PerfAsk& ask) {
  engine::StepModel steps;
  for (int round = 0; round < kRounds; ++round) {
    for (f64 prompt : kPrompts) {
      for (f64 output : kOutputs) {
        for (f64 batch : kBatches) {
          TG_ASSIGN(predict::Case c,
                    predict::make_case(setting_of(ask, prompt, output, batch), catalog_));
          // More than fit wait, and are no larger batch.
          if (c.basis.batch < batch) continue;
          steps.observe(decode_size(prompt, output, batch),
                        whole(predictor_.tpot().predict(c) * kMs));
        }
      }
      TG_ASSIGN(predict::Case alone,
                predict::make_case(setting_of(ask, prompt, kOutputs[0], 1), catalog_));
      steps.observe(prompt_size(prompt), whole(predictor_.ttft().predict(alone) * kMs));
    }
  }
  const engine::StepTime& t = steps.time();
  return fleet::StepEstimate{.ns_per_step = t.ns_per_step,
                             .ns_per_token = t.ns_per_token,
                             .ns_per_row = t.ns_per_row,
                             .ns_per_key = t.ns_per_key,
                             .ns_per_pair = t.ns_per_pair,
                             .error = t.error};
}

Result<DeviceModel> PerfData::device(const PerfAsk& ask, DeviceModel like) {
  TG_ASSIGN(const predict::DeviceSpec* spec, catalog_.device(ask.system));
  TG_ASSIGN(const predict::ModelEntry* model, catalog_.model(ask.model));
  TG_ASSIGN(like.step, steps_of(ask));
  const predict::ModelShape& shape = model->shape;
  predict::WeightFormat format = predict::weight_format(setting_of(ask, 1, 1, 1), shape);
  f64 devices = static_cast<f64>(ask.devices);
  f64 experts = static_cast<f64>(shape.expert_layers * shape.experts) * shape.expert_parameters;
  f64 weights = (shape.dense_parameters + shape.head_parameters) * format.dense_bytes +
                experts * format.expert_bytes;
  f64 room = spec->memory_capacity * kMemoryShare * devices - weights;
  if (spec->memory_capacity > 0 && room <= 0) {
    return Error{Code::kInvalid, std::to_string(ask.devices) + " of " + ask.system +
                                     " cannot hold the weights of " + ask.model};
  }
  // More devices than heads of keys hold some of them twice.
  f64 copies = std::max(1.0, devices / static_cast<f64>(std::max<i64>(1, shape.kv_heads)));
  f64 layers = static_cast<f64>(std::max<i64>(1, shape.full_layers));
  f64 key_bytes = copies * layers * shape.kv_elements * format.kv_bytes;
  if (room > 0 && key_bytes > 0) like.keys_total = static_cast<i64>(room / key_bytes);
  if (spec->power > 0) {
    like.watts_busy = spec->power * devices;
    like.watts_idle = kIdleShare * like.watts_busy;
  }
  return like;
}

}  // namespace tg::sim
