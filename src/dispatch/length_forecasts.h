// How long a tenant's answers are expected to be. Quantiles over a history cost more than a
// decision may, so a forecast is renewed after so many answers; it moves slowly.
#pragma once

#include <algorithm>
#include <string>
#include <unordered_map>

#include "predict/output_length.h"

namespace tg::dispatch {

class LengthForecasts {
 public:
  // `most`: that was asked for; 0: not stated.
  predict::LengthForecast of(u64 tenant, i64 most) {
    if (tenants_.size() > predict::OutputLengths::kTenantsMax) tenants_.clear();
    Tenant& t = tenants_[tenant];
    if (t.ended % kRenewEvery == 0) {
      t.forecast = lengths_.forecast("", std::to_string(tenant), kLongest);
      if (t.forecast.p50 == kLongest) t.forecast = {.p50 = kGuess, .p90 = 2 * kGuess};
    }
    predict::LengthForecast out = t.forecast;
    if (most > 0) out.p50 = std::min(out.p50, most);
    return out;
  }
  void ended(u64 tenant, i64 output_tokens) {
    lengths_.observe("", std::to_string(tenant), output_tokens);
    ++tenants_[tenant].ended;
  }

 private:
  struct Tenant {
    predict::LengthForecast forecast;
    i64 ended = 0;
  };
  static constexpr i64 kRenewEvery = 50;
  static constexpr i64 kGuess = 200;
  static constexpr i64 kLongest = 1 << 20;

  predict::OutputLengths lengths_;
  std::unordered_map<u64, Tenant> tenants_;
};

}  // namespace tg::dispatch
