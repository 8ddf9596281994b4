// A setting made ready for prediction: its device and model looked up, its nominal times and the
// features that corrections are learned over.
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

// What describes a situation without naming device or model, so that it carries over to others.
inline constexpr std::size_t kPortableFeatures = 19;
// The same and what tells devices, models, versions and campaigns apart.
inline constexpr std::size_t kFeatures = kPortableFeatures + 13;
// Positions among them that are used by name.
inline constexpr std::size_t kBandwidthFeature = kPortableFeatures + 6;  // log of bytes/s
inline constexpr std::size_t kGenerationFeature = kPortableFeatures + 7;

struct Case {
  Setting setting;
  std::string model_key;  // equal for models of one shape, whatever they are called
  Basis basis;
  std::array<f64, kFeatures> features{};  // the portable ones first; the engine is not among them
  f64 nominal_ms = 0;                     // plain roofline of a token: no learned weight
  f64 devices = 1;                        // of all instances together, for time bought
};

// kNotFound for a system or model without a file; the error of a file that cannot be used.
Result<Case> make_case(const Setting& setting, Catalog& catalog);
Case make_case(const Setting& setting, const ModelShape& model, const DeviceSpec& device);

// A number that grows with releases: 1.2.0 < 1.3.0rc1 < 1.3.0 < 1.3.0.post1; -1 if the text does
// not begin with a release.
f64 version_number(std::string_view version);

}  // namespace tg::predict
