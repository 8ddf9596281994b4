#include "dispatch/trust.h"

#include <algorithm>
#include <cmath>

namespace tg::dispatch {
namespace {

// What a supplier may say of itself, lest one figure spoil all arithmetic.
constexpr f64 kNsMax = 3.6e12;

f64 sane(f64 ns) {
  return std::isfinite(ns) && ns > 0 ? std::min(ns, kNsMax) : 0;
}

fleet::StepEstimate sane(const fleet::StepEstimate& step) {
  return {.ns_per_step = sane(step.ns_per_step),
          .ns_per_token = sane(step.ns_per_token),
          .ns_per_row = sane(step.ns_per_row),
          .ns_per_key = sane(step.ns_per_key),
          .ns_per_pair = sane(step.ns_per_pair),
          .error = step.error};
}

bool says_nothing(const fleet::StepEstimate& step) {
  return step.ns_per_step + step.ns_per_token + step.ns_per_row <= 0;
}

}  // namespace

fleet::StepEstimate Trust::corrected(const fleet::StepEstimate& claimed,
                                     const fleet::StepEstimate& otherwise) const {
  fleet::StepEstimate step = sane(claimed);
  if (says_nothing(step)) step = sane(otherwise);
  step.ns_per_token *= first_.factor;
  step.ns_per_pair *= first_.factor;
  step.ns_per_step *= rate_.factor;
  step.ns_per_row *= rate_.factor;
  step.ns_per_key *= rate_.factor;
  return step;
}

// The factor follows the median error; the band is moved up nine times as far when exceeded as it
// is moved down when not, so that it settles where one in ten exceeds it.
void Trust::Track::learn(f64 predicted_ns, f64 measured_ns) {
  if (predicted_ns <= 0 || measured_ns <= 0) return;
  constexpr f64 kOnceMax = 3;  // of the logarithm: one measurement moves the factor by 1.6 at most
  constexpr f64 kBandStep = 0.02;
  f64 error = std::log(measured_ns / predicted_ns);
  bool is_above = measured_ns > band * predicted_ns;
  band = std::clamp(band * (is_above ? 1 + 9 * kBandStep : 1 - kBandStep), 1.05, 4.0);
  factor *= std::exp(kTrustLearning * std::clamp(error, -kOnceMax, kOnceMax));
  factor = std::clamp(factor, 1 / kCorrectionMax, kCorrectionMax);
}

void Trust::measured_first(f64 predicted_ns, f64 measured_ns) {
  first_.learn(predicted_ns, measured_ns);
}

void Trust::measured_rate(f64 predicted_ns, f64 measured_ns) {
  rate_.learn(predicted_ns, measured_ns);
}

void Trust::dispute(std::string what, i64 now_ns) {
  ++disputes_;
  last_dispute_ = std::move(what);
  suspect_until_ns_ = now_ns + kSuspectNs;
}

}  // namespace tg::dispatch
