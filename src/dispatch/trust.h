// What we believe of a supplier's own figures: its speed corrected by what we measured, and whether
// it has contradicted what we counted of late. A supplier that says it is fast is tried, found slow
// and then judged by that; one that claims tokens it did not give is used only when nobody else is
// there.
#pragma once

#include <string>

#include "fleet/supplier.h"

namespace tg::dispatch {

// Of the errors' logarithm, per measurement.
inline constexpr f64 kTrustLearning = 0.15;
inline constexpr f64 kCorrectionMax = 256;
inline constexpr i64 kSuspectNs = 30'000'000'000;  // after a dispute

class Trust {
 public:
  // The step times to go by: what it says, or `otherwise` if it says nothing, times what we found.
  fleet::StepEstimate corrected(const fleet::StepEstimate& claimed,
                                const fleet::StepEstimate& otherwise) const;
  // A first token came, and a whole reply at that rate, against what was predicted for them.
  void measured_first(f64 predicted_ns, f64 measured_ns);
  void measured_rate(f64 predicted_ns, f64 measured_ns);
  // The 90 % quantile of measured over predicted, about.
  f64 first_band() const { return first_.band; }
  f64 rate_band() const { return rate_.band; }

  void dispute(std::string what, i64 now_ns);
  bool is_suspect(i64 now_ns) const { return disputes_ > 0 && now_ns < suspect_until_ns_; }
  i64 disputes() const { return disputes_; }
  const std::string& last_dispute() const { return last_dispute_; }
  f64 first_correction() const { return first_.factor; }
  f64 rate_correction() const { return rate_.factor; }

 private:
  struct Track {
    f64 factor = 1;
    f64 band = 1.5;
    void learn(f64 predicted_ns, f64 measured_ns);
  };
  Track first_;
  Track rate_;
  i64 disputes_ = 0;
  i64 suspect_until_ns_ = 0;
  std::string last_dispute_;
};

}  // namespace tg::dispatch
