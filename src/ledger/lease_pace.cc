#include "ledger/lease_pace.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::ledger {

namespace {

// So that a product with nanoseconds fits.
constexpr u128 kRecentMax = u128{1} << 64;
// A lease is renewed several times before it would end.
constexpr i64 kRenewalsPerLease = 3;

}  // namespace

LeasePace::LeasePace(u128 amount, LeaseTimes times, Timestamp now)
    : amount_(amount), times_(times), used_ns_(now.ns) {
  TG_ASSERT(times.lasts_ns > 0);
}

void LeasePace::take_in(const LeaseBalances& balances, Timestamp now) {
  u128 spent = has_looked_ && balances.spent > spent_ ? balances.spent - spent_ : 0;
  i64 passed_ns = has_looked_ ? std::clamp<i64>(now.ns - looked_ns_, 0, times_.lasts_ns) : 0;
  u128 kept = static_cast<u128>(times_.lasts_ns - passed_ns);
  recent_ = recent_ * kept / static_cast<u128>(times_.lasts_ns);
  recent_ = std::min(recent_ + std::min(spent, kRecentMax), kRecentMax);
  if (spent > 0 || balances.held > 0) used_ns_ = now.ns;
  spent_ = balances.spent;
  looked_ns_ = now.ns;
  has_looked_ = true;
}

LeasePace::Deed LeasePace::look(const LeaseBalances& balances, Timestamp now) {
  take_in(balances, now);
  bool is_idle = now.ns - used_ns_ >= times_.idle_ns && balances.held == 0;
  if (is_idle) return Deed::kGiveBack;
  i64 passed_ns = now.ns - renewed_ns_;
  bool is_old = passed_ns >= times_.lasts_ns / kRenewalsPerLease;
  bool is_low = balances.free < target() / 2 && now.ns >= again_ns_;
  bool is_unsettled = balances.spent > settled_ && passed_ns >= times_.settle_ns;
  return is_old || is_low || is_unsettled ? Deed::kRenew : Deed::kNothing;
}

void LeasePace::renewed(const LeaseReport& report, u128 least, Timestamp now) {
  settled_ = report.settled;
  renewed_ns_ = now.ns;
  again_ns_ = now.ns + (report.free < target() / 2 ? kLeasePoorNs : kLeaseAgainNs);
  refused_ = report.free < std::max<u128>(least, 1) ? std::max<u128>(least, 1) : 0;
}

bool LeasePace::is_refused(u128 least, Timestamp now) const {
  return refused_ != 0 && std::max<u128>(least, 1) >= refused_ &&
         now.ns - renewed_ns_ < kLeaseRefusedNs;
}

}  // namespace tg::ledger
