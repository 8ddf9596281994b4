// A setting made ready for prediction: its device and model looked up, its nominal times and the
// the places where residuals are compared.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "predict/catalog.h"
#include "predict/roofline.h"
#include "predict/setting.h"

namespace tg::predict {

// Logarithms of concurrency, batch, devices and attention replicas, whether experts are split, and
// logarithms of prompt and output: where a case is among others of its model and device.
inline constexpr std::size_t kSituationFeatures = 7;
// Shares of a step: see Basis.
inline constexpr std::size_t kShareFeatures = 6;

struct Case {
  Setting setting;
  std::string model_key;  // equal for models of one shape, whatever they are called
  Basis basis;
  std::array<f64, kSituationFeatures> situation{};
  f64 log_bandwidth = 0;  // of the device's memory, bytes/s
  i64 generation = 0;     // of the device; 0: not stated
  f64 nominal_ms = 0;     // plain roofline of a token: no learned weight
  f64 devices = 1;        // of all instances together, for time bought
};

// kNotFound for a system or model without a file; the error of a file that cannot be used.
Result<Case> make_case(const Setting& setting, Catalog& catalog);
Case make_case(const Setting& setting, const ModelShape& model, const DeviceSpec& device);

}  // namespace tg::predict
