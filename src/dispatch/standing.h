// How far a supplier is to be used now: what it says of itself, whether it failed of late
// (breaker.h), and whether it contradicted what we counted. One that claims tokens it did not give
// is taken only when nobody else is there.
#pragma once

#include <string>
#include <utility>

#include "dispatch/breaker.h"
#include "dispatch/view.h"

namespace tg::dispatch {

inline constexpr i64 kSuspectNs = 30'000'000'000;  // after a dispute

class Standing {
 public:
  Standing(Health stated, const BreakerSettings& settings) : breaker(settings), stated_(stated) {}

  // By its own account and its reports.
  void state(Health stated) { stated_ = stated; }
  Health stated() const { return stated_; }
  void dispute(std::string what, i64 now_ns) {
    ++disputes_;
    last_dispute_ = std::move(what);
    suspect_until_ns_ = now_ns + kSuspectNs;
  }
  i64 disputes() const { return disputes_; }
  const std::string& last_dispute() const { return last_dispute_; }

  Health health(i64 now_ns) const {
    Breaker::State state = breaker.state(now_ns);
    bool is_left_alone = state == Breaker::State::kOpen || state == Breaker::State::kOnTrial;
    if (stated_ == Health::kDown || is_left_alone) return Health::kDown;
    if (stated_ == Health::kDraining) return stated_;
    bool is_suspect = disputes_ > 0 && now_ns < suspect_until_ns_;
    return is_suspect ? Health::kSuspect : stated_;
  }

  Breaker breaker;

 private:
  Health stated_;
  i64 disputes_ = 0;
  i64 suspect_until_ns_ = 0;
  std::string last_dispute_;
};

}  // namespace tg::dispatch
