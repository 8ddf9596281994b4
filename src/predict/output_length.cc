// Logarithmic buckets as in DDSketch (Masson, Rim, Lee 2019).
#include "predict/output_length.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::predict {

namespace {

// Ratio of neighbouring bucket bounds that keeps the middle within kRelativeError of both.
const f64 kLogWidth =
    std::log((1 + QuantileSketch::kRelativeError) / (1 - QuantileSketch::kRelativeError));
// Before anything is known: public conversation traces have medians of one to three hundred output
// tokens and tails of about a thousand.
constexpr f64 kPriorP50 = 200, kPriorP90 = 1000;
// Requests of the model that a tenant's forecast borrows.
constexpr f64 kBorrowed = 20;
constexpr f64 kModelPrior = 5;

std::size_t bucket_of(i64 value) {
  i64 inside = std::clamp<i64>(value, 1, QuantileSketch::kValueMax);
  return static_cast<std::size_t>(std::ceil(std::log(static_cast<f64>(inside)) / kLogWidth - 1e-9));
}

QuantileSketch prior() {
  QuantileSketch out;
  constexpr f64 kNormalP90 = 1.2815515655446004;
  f64 sigma = std::log(kPriorP90 / kPriorP50) / kNormalP90;
  constexpr int kPoints = 99;
  for (int i = 1; i <= kPoints; ++i) {
    // The logistic distribution stands in for the normal one: its quantile has a closed form.
    f64 q = static_cast<f64>(i) / (kPoints + 1);
    f64 z = std::log(q / (1 - q)) * kNormalP90 / std::log(9.0);
    out.add(static_cast<i64>(kPriorP50 * std::exp(sigma * z)));
  }
  return out;
}

}  // namespace

QuantileSketch::QuantileSketch(f64 memory) : memory_(memory) {
  TG_ASSERT(memory >= 1);
  buckets_.assign(bucket_of(kValueMax) + 1, 0);
}

void QuantileSketch::add(i64 value) {
  if (total_ >= memory_) {
    for (f64& bucket : buckets_) bucket /= 2;
    total_ /= 2;
  }
  buckets_[bucket_of(value)] += 1;
  total_ += 1;
}

f64 QuantileSketch::quantile(f64 q) const {
  TG_ASSERT(q > 0 && q <= 1);
  f64 below = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    below += buckets_[i];
    if (buckets_[i] > 0 && below >= q * total_ * (1 - 1e-12))
      return std::exp(kLogWidth * static_cast<f64>(i)) * 2 / (1 + std::exp(kLogWidth));
  }
  return 0;
}

void QuantileSketch::blend(const QuantileSketch& other, f64 weight) {
  if (other.total_ <= 0) return;
  for (std::size_t i = 0; i < buckets_.size(); ++i)
    buckets_[i] += other.buckets_[i] * weight / other.total_;
  total_ += weight;
}

void OutputLengths::observe(std::string_view model, std::string_view tenant, i64 output_tokens) {
  std::string name(model);
  if (models_.contains(name) || models_.size() < kModelsMax) models_[name].add(output_tokens);
  Pair key(name, std::string(tenant));
  if (tenants_.contains(key) || tenants_.size() < kTenantsMax) tenants_[key].add(output_tokens);
}

LengthForecast OutputLengths::forecast(std::string_view model, std::string_view tenant,
                                       i64 max_tokens) const {
  TG_ASSERT(max_tokens > 0);
  QuantileSketch general;
  std::map<std::string, QuantileSketch, std::less<>>::const_iterator known = models_.find(model);
  if (known != models_.end()) general.blend(known->second, known->second.count());
  general.blend(prior(), kModelPrior);
  QuantileSketch own;
  own.blend(general, kBorrowed);
  std::map<Pair, QuantileSketch>::const_iterator history =
      tenants_.find(Pair(std::string(model), std::string(tenant)));
  LengthForecast out;
  if (history != tenants_.end()) {
    out.samples = history->second.count();
    own.blend(history->second, out.samples);
  }
  auto tokens = [&](f64 q) {
    return std::clamp<i64>(static_cast<i64>(std::lround(own.quantile(q))), 1, max_tokens);
  };
  out.p50 = tokens(0.5);
  out.p90 = tokens(0.9);
  return out;
}

}  // namespace tg::predict
