// Devices of the published measurements: how long steps of a model take on an accelerator, from the
// predictor that learnt from the table (predict/predictor.h), also where nobody measured that
// pair. Its forecasts of decoding at many batches and contexts and of prompts alone become a step
// model, fitted as an engine fits its own.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "predict/catalog.h"
#include "predict/predictor.h"
#include "sim/device.h"

namespace tg::sim {

struct PerfAsk {
  std::string system;  // of specs/systems
  std::string model;   // of specs/model_configs
  std::string engine = "vllm";
  std::string precision;  // "": as the model is stored
  i64 devices = 1;        // that one instance is split over
};

class PerfData {
 public:
  // Learns from a directory laid out as ../shared/data/perf; takes seconds.
  static Result<std::unique_ptr<PerfData>> open(const std::string& directory);
  static Result<std::unique_ptr<PerfData>> make(predict::Catalog catalog,
                                                std::span<const predict::MeasuredCase> cases);

  // Step model, room for keys, and power if the data sheet has it; the rest as in `like`. kNotFound
  // for a system or model without a file, kInvalid if the devices cannot hold the weights.
  Result<DeviceModel> device(const PerfAsk& ask, DeviceModel like);

 private:
  PerfData(predict::Catalog catalog, predict::Predictor predictor)
      : catalog_(std::move(catalog)), predictor_(std::move(predictor)) {}
  Result<fleet::StepEstimate> steps_of(const PerfAsk& ask);

  predict::Catalog catalog_;
  predict::Predictor predictor_;
};

}  // namespace tg::sim
