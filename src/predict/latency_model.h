// One latency as learned from measured cases: non-negative weights over nominal times, the same for
// every device, model and engine, and what they leave unexplained as a process that knows all
// three.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "predict/case.h"
#include "predict/least_squares.h"
#include "predict/residual_process.h"

namespace tg::predict {

enum class Latency : u8 { kTpot, kTtft };

inline constexpr std::size_t kProcessRowsMax = 3000;

struct LatencyOptions {
  Latency latency = Latency::kTpot;
  std::size_t rows_max = kProcessRowsMax;
  bool corrects = true;  // false: weights alone
};

// What was seen of a case's kind.
enum class Support : u8 { kSeen, kNewDevice, kNewModel, kNewBoth, kCount };

class LatencyModel {
 public:
  // Cases with y <= 0 are left out. REQUIRES: sizes agree.
  static LatencyModel fit(std::span<const Case* const> cases, std::span<const f64> y_ms,
                          const LatencyOptions& options);

  // Milliseconds, above 0.
  f64 predict(const Case& c) const;
  Support support(const Case& c) const;
  std::span<const f64> weights() const { return weights_; }
  // Logarithm of what drafts, where they are likely, multiply a token's time by.
  f64 draft_factor() const { return draft_factor_; }

 private:
  std::span<const f64> terms(const Case& c) const;
  Matrix design(std::span<const Case* const> cases) const;
  void fit_weights(std::span<const Case* const> cases, std::span<const f64> y_ms);
  void fit_draft_factor(std::span<const Case* const> cases, std::span<const f64> y_ms);
  f64 without_drafts_ms(const Case& c) const;
  f64 base_ms(const Case& c) const;
  f64 spread() const;

  LatencyOptions options_;
  std::vector<f64> weights_;
  f64 draft_factor_ = 0;
  ResidualProcess process_;
  std::map<std::string, i64> devices_;
  std::map<std::string, i64> models_;
};

// How much a measured case says about another on the same device: 1 for its twin, towards 0 with
// distance in batch, layout and lengths and for another model, engine, version or format.
f64 likeness(const Case& a, const Case& b);

// Indices of at most `count` candidates that together are most alike all of them: what to measure
// first on a new device. Greedy; looks at settings only.
std::vector<std::size_t> choose_calibration_cases(std::span<const Case* const> candidates,
                                                  i64 count);

}  // namespace tg::predict
