// Keeps requests away from a supplier that fails: after a few failures in a row it is left alone
// for a while, twice as long each time, then given one request to show that it works again (circuit
// breaker; Nygard, Release It!).
#pragma once

#include <algorithm>

#include "base/types.h"

namespace tg::dispatch {

struct BreakerSettings {
  i64 failures_max = 3;             // in a row
  i64 cooldown_ns = 1'000'000'000;  // the first one
  i64 cooldown_ns_max = 60'000'000'000;
};

class Breaker {
 public:
  explicit Breaker(const BreakerSettings& settings)
      : settings_(settings), cooldown_ns_(settings.cooldown_ns) {}

  enum class State : u8 {
    kClosed,   // requests pass
    kOpen,     // none does
    kTrial,    // one may
    kOnTrial,  // one is under way
  };
  State state(i64 now_ns) const {
    if (failures_ < settings_.failures_max) return State::kClosed;
    if (now_ns < open_until_ns_) return State::kOpen;
    return is_on_trial_ ? State::kOnTrial : State::kTrial;
  }
  void sent(i64 now_ns) {
    if (state(now_ns) == State::kTrial) is_on_trial_ = true;
  }
  void succeeded() {
    failures_ = 0;
    is_on_trial_ = false;
    cooldown_ns_ = settings_.cooldown_ns;
  }
  void failed(i64 now_ns) {
    bool was_trial = state(now_ns) == State::kOnTrial;
    // Requests that fail while it is left alone were sent before.
    if (state(now_ns) == State::kOpen) return;
    failures_ = std::min(failures_ + 1, settings_.failures_max);
    is_on_trial_ = false;
    if (failures_ < settings_.failures_max) return;
    if (was_trial) cooldown_ns_ = std::min(2 * cooldown_ns_, settings_.cooldown_ns_max);
    open_until_ns_ = now_ns + cooldown_ns_;
  }
  // The trial ended without telling anything: cancelled, or refused for reasons of its own.
  void undecided() { is_on_trial_ = false; }

 private:
  BreakerSettings settings_;
  i64 failures_ = 0;
  i64 cooldown_ns_;
  i64 open_until_ns_ = 0;
  bool is_on_trial_ = false;
};

}  // namespace tg::dispatch
