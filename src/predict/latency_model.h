// One latency as learned from measured cases: non-negative weights over nominal times, shared and
// by engine; a portable correction that every case gets; and two that fade where nothing like the
// case was measured: a forest that knows devices and models, and a mean of near neighbours on the
// same device.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "predict/case.h"
#include "predict/forest.h"

namespace tg::predict {

enum class Latency : u8 { kTpot, kTtft };

struct LatencyOptions {
  Latency latency = Latency::kTpot;
  int trees = 60;
  u64 seed = 1;
  bool corrects = true;  // false: weights alone
};

// What was seen of a case's kind.
enum class Support : u8 { kSeen, kNewDevice, kNewModel, kNewBoth, kCount };

class LatencyModel {
 public:
  // Cases with y <= 0 are left out. The cases must outlive the model. REQUIRES: sizes agree.
  static LatencyModel fit(std::span<const Case* const> cases, std::span<const f64> y_ms,
                          const LatencyOptions& options);

  // Milliseconds, above 0.
  f64 predict(const Case& c) const;
  Support support(const Case& c) const;
  // Learned weights: the shared ones first, then those of each engine of engines().
  std::span<const f64> weights() const { return weights_; }
  std::span<const std::string> engines() const { return engines_; }

 private:
  struct Neighbour {
    const Case* c;
    f64 residual;
  };

  std::span<const f64> terms(const Case& c) const;
  std::vector<f64> design_row(const Case& c) const;
  void fit_weights(std::span<const Case* const> cases, std::span<const f64> y_ms);
  void fit_corrections(std::span<const Case* const> cases, std::span<const f64> y_ms);
  std::vector<f64> portable_features(const Case& c) const;
  std::vector<f64> all_features(const Case& c) const;
  Matrix feature_matrix(std::span<const Case* const> cases, bool is_portable) const;
  f64 base_ms(const Case& c) const;
  f64 portable_correction(const Case& c) const;
  f64 neighbour_correction(const Case& c) const;
  f64 engine_code(const std::string& engine) const;

  LatencyOptions options_;
  std::vector<std::string> engines_;
  std::vector<f64> weights_;
  Forest portable_;
  Forest full_;
  std::vector<Neighbour> neighbours_;
  std::map<std::string, i64> seen_;  // rows by model, device and engine
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
