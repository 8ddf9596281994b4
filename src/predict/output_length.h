// How long answers will be: streaming quantiles of output tokens per model and tenant, borrowing
// from the model's other tenants until a tenant has a history of its own.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"

namespace tg::predict {

// Counts in buckets of growing width: quantiles within 1 % of the value, in constant space. Old
// values fade: when `memory` is reached all counts are halved.
class QuantileSketch {
 public:
  static constexpr f64 kRelativeError = 0.01;
  static constexpr i64 kValueMax = 1 << 24;

  explicit QuantileSketch(f64 memory = 20'000);

  // Values outside 1..kValueMax count as the nearer end.
  void add(i64 value);
  f64 count() const { return total_; }
  // 0 if nothing was added. REQUIRES: 0 < q <= 1.
  f64 quantile(f64 q) const;
  // Adds `weight` copies of the other's distribution, scaled to a count of 1.
  void blend(const QuantileSketch& other, f64 weight);

 private:
  f64 memory_;
  f64 total_ = 0;
  std::vector<f64> buckets_;
};

struct LengthForecast {
  i64 p50 = 0;
  i64 p90 = 0;
  f64 samples = 0;  // of this tenant
};

class OutputLengths {
 public:
  // Pairs beyond this many share the model's distribution.
  static constexpr std::size_t kTenantsMax = 10'000;
  static constexpr std::size_t kModelsMax = 1'000;

  void observe(std::string_view model, std::string_view tenant, i64 output_tokens);
  // Never above max_tokens. REQUIRES: max_tokens > 0.
  LengthForecast forecast(std::string_view model, std::string_view tenant, i64 max_tokens) const;

 private:
  using Pair = std::pair<std::string, std::string>;
  std::map<Pair, QuantileSketch> tenants_;
  std::map<std::string, QuantileSketch, std::less<>> models_;
};

}  // namespace tg::predict
