// When to renew a lease, to how much, and when to give it back: ahead of need, by how fast the
// account was spent of late. Decides for one account; reads no clock and asks nobody.
#pragma once

#include "env/clock.h"
#include "ledger/lease.h"

namespace tg::ledger {

struct LeaseTimes {
  i64 lasts_ns = 0;   // From a round to when it stops granting.
  i64 settle_ns = 0;  // What was spent is in the shared ledger after at most so long.
  i64 idle_ns = 0;    // Unused for so long, it is given back.
};

// How soon after a renewal that brought less than was wanted the next one is worth a round, and
// after one that did.
inline constexpr i64 kLeasePoorNs = 1'000'000'000;
inline constexpr i64 kLeaseAgainNs = 50'000'000;
// Whoever was told that an account has too little is told so again without a round.
inline constexpr i64 kLeaseRefusedNs = 200'000'000;

class LeasePace {
 public:
  enum class Deed : u8 { kNothing, kRenew, kGiveBack };

  // `amount`: what to have at hand at least.
  LeasePace(u128 amount, LeaseTimes times, Timestamp now);

  // What is to be done now that the account has this. Call it several times a second.
  Deed look(const LeaseBalances& balances, Timestamp now);
  // A request asked for more than there was.
  void asked(Timestamp now) { used_ns_ = now.ns; }
  // What a round came to that was to leave `least` free.
  void renewed(const LeaseReport& report, u128 least, Timestamp now);
  // Whether a round for `least` would find what the last one found.
  bool is_refused(u128 least, Timestamp now) const;
  // What to have at hand: what is spent while a lease lasts, if it goes on as of late.
  u128 target() const { return recent_ > amount_ ? recent_ : amount_; }

 private:
  void take_in(const LeaseBalances& balances, Timestamp now);

  u128 amount_;
  LeaseTimes times_;
  u128 recent_ = 0;  // Spent within lasts_ns, what is older counting less and less.
  u128 spent_ = 0;   // When last looked.
  bool has_looked_ = false;
  i64 looked_ns_ = 0;
  i64 used_ns_ = 0;
  u128 settled_ = 0;
  i64 renewed_ns_ = 0;
  i64 again_ns_ = 0;  // No round for more before.
  u128 refused_ = 0;  // The least that a round was asked for in vain; 0: none.
};

}  // namespace tg::ledger
