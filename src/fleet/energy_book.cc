#include "fleet/energy_book.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"

namespace tg::fleet {

EnergyBook::EnergyBook(std::unique_ptr<EnergyMeter> meter, f64 watts, i64 now_ns)
    : meter_(std::move(meter)), watts_(watts), settled_ns_(now_ns) {
  if (meter_ != nullptr) count_.source = EnergySource::kMeasured;
  if (meter_ == nullptr && watts_ > 0) count_.source = EnergySource::kModelled;
}

void EnergyBook::ran(u64 request, i64 ns) {
  if (count_.source == EnergySource::kNone) return;
  if (!parts_.empty() && parts_.back().request == request) {
    parts_.back().ns += static_cast<f64>(ns);
    return;
  }
  parts_.push_back({request, static_cast<f64>(ns)});
}

void EnergyBook::settle(i64 now_ns, bool is_wanted) {
  if (count_.source == EnergySource::kNone) return;
  if (!is_wanted && now_ns - settled_ns_ < kTickNs) return;
  constexpr f64 kSeconds = 1e-9;
  f64 busy_ns = 0;
  for (const Part& part : parts_) busy_ns += part.ns;
  f64 passed_ns = static_cast<f64>(now_ns - std::exchange(settled_ns_, now_ns));
  if (meter_ == nullptr) return share(watts_ * busy_ns * kSeconds, busy_ns);
  Result<f64> read = meter_->joules();
  if (!read.ok()) {
    // What was drawn meanwhile is seen at the next reading.
    if (!std::exchange(has_complained_, true))
      log_warn("energy", "{} cannot be read: {}", meter_->name(), read.error().message);
    settled_ns_ -= static_cast<i64>(passed_ns);
    return;
  }
  f64 drawn = *read - std::exchange(read_, *read);
  // A clock too coarse for the step may say that no time has passed.
  f64 working = busy_ns > 0 ? std::min(1.0, busy_ns / std::max(passed_ns, 1.0)) : 0;
  count_.idle_joules += drawn * (1 - working);
  share(drawn * working, busy_ns);
}

void EnergyBook::share(f64 joules, f64 busy_ns) {
  if (parts_.empty()) return;
  EnergySplit split = split_energy(joules, busy_ns, busy_ns, static_cast<i64>(parts_.size()));
  for (const Part& part : parts_) joules_[part.request] += split.joules(part.ns);
  count_.request_joules += joules;
  parts_.clear();
}

f64 EnergyBook::take(u64 request) {
  auto found = joules_.find(request);
  if (found == joules_.end()) return 0;
  f64 joules = found->second;
  joules_.erase(found);
  return joules;
}

void EnergyBook::take_into(u64 request, unit::Usage& usage) {
  constexpr f64 kMicro = 1e6;
  usage.energy_uj = std::llround(take(request) * kMicro);
  usage.is_energy_measured = count_.source == EnergySource::kMeasured;
}

}  // namespace tg::fleet
