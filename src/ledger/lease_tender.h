// Tends a gateway's leases: whose accounts are in use here, what each must have at hand, which
// round is due. Every call may wait for the shared ledger, so it has a thread of its own
// (lease_service.h).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/random.h"
#include "ledger/lease.h"
#include "ledger/lease_pace.h"
#include "ledger/service.h"

namespace tg::ledger {

struct LeaseTerms {
  u128 payee = 0;   // The account, here and there, that requests pay to.
  u128 amount = 0;  // What to have of an account at hand at least, as far as it goes.
};

struct LeaseServiceOptions {
  std::map<u32, LeaseTerms> terms;  // By ledger; accounts of other ledgers are not leased.
  u32 timeout_ms = 300'000;         // Of a lease, in the shared ledger.
};

// What an account is wanted for.
enum class LeaseUse : u8 {
  kSpend,   // A request is to be paid from it now.
  kKnow,    // It is to be known here; nothing is leased for that.
  kSettle,  // What was spent here is to be in the shared ledger.
};

// Something asked of it, and what became of that.
struct LeaseJob {
  u64 number = 0;
  std::vector<u128> accounts;
  u128 least = 0;
  LeaseUse use = LeaseUse::kSpend;
  Status status;
};

// How the leases of one ledger's accounts stand, in that ledger's unit.
struct LeaseSums {
  i64 accounts = 0;    // In use.
  u128 leased = 0;     // Held in the shared ledger.
  u128 free = 0;       // Of what is granted here, neither spent nor held.
  u128 unsettled = 0;  // Spent here and not posted there yet.
  u128 lost = 0;       // Written off since the start.
};
struct LeaseFigures {
  std::map<u32, LeaseSums> ledgers;  // Every ledger that has terms.
  bool is_away = false;              // The shared ledger does not answer.
  u64 rounds = 0;                    // Settled or renewed an account.
  u64 failures = 0;                  // Calls that the shared ledger did not answer or refused.
  u64 late = 0;                      // Questions given up because no answer came in time.
};

class LeaseTender {
 public:
  // All must outlive it. `name` is unique among those who lease from the shared ledger.
  LeaseTender(Service& own, Service& shared, Clock& clock, Random& random, std::string name,
              LeaseServiceOptions options);

  // Takes up the leases that an earlier process had. Needs the own ledger alone.
  Status recover();
  // Sees to it that `least` of each account is free here, as far as it has that. If one had not
  // enough, adds to the accounts those that they own, and leases of these too. An error is the
  // status of a job that needed the shared ledger when it did not answer. Many cost little more
  // than one.
  void provide(std::span<LeaseJob> jobs);
  // Looks at everything that is leased, for the rounds that are due.
  Status look();
  bool has_due() const { return !due_.empty(); }
  // Carries out some of them.
  void tend();
  // Settles and returns everything that can be, until that monotonic time.
  void give_back_all(i64 until_ns);
  // As LeaseKeeper's; any thread may.
  Status stop_overdue();
  // As of the last look and the rounds since.
  LeaseFigures figures() const;

 private:
  struct Active {
    u32 ledger = 0;
    LeaseKeeper* keeper = nullptr;
    LeasePace pace;
    LeaseBalances balances;             // When last looked at,
    std::optional<LeaseReport> report;  // and after the last round.
  };
  struct Due {
    u128 account = 0;
    LeasePace::Deed deed = LeasePace::Deed::kNothing;
  };

  LeaseKeeper* keeper_of(u32 ledger);
  LeaseKeeper* keeper_for(u128 account);
  // What a job lacks; or all of it, if it is not for spending.
  struct Need {
    LeaseJob* job = nullptr;
    std::vector<u128> accounts;
  };
  using Wishes = std::map<LeaseKeeper*, std::map<u128, LeaseWish>>;
  using Returns = std::map<LeaseKeeper*, std::vector<u128>>;

  Result<std::vector<Need>> needs_of(std::span<LeaseJob> jobs);
  Status bring(std::span<const Need> needs);
  Status read_shared_accounts(std::span<const Need> needs);
  void add_owned(std::vector<u128>& accounts) const;
  Status add_wishes(const Need& need, Wishes& wishes);
  Status add_wish(u128 account, u128 least, LeaseUse use, Wishes& wishes);
  Active& activate(u128 account, u32 ledger);
  void note_round(Active& active, const LeaseReport& report, u128 least, Timestamp now);
  Status renew(const Wishes& wishes);
  Status renew(LeaseKeeper& keeper, std::span<const LeaseAsk> asks);
  Status give_back(const Returns& returns);
  Status give_back(LeaseKeeper& keeper, std::span<const u128> accounts);
  Status note_shared(Status status);
  LeaseTimes times() const;

  Service& own_;
  Service& shared_;
  Clock& clock_;
  const LeaseServiceOptions options_;
  std::map<u32, std::unique_ptr<LeaseKeeper>> keepers_;  // By ledger.

  std::map<u128, Active> active_;  // What is leased or may be, and what is not settled.
  std::deque<Due> due_;
  // Of the shared ledger, as of read_at_ns_.
  std::map<u128, u32> ledgers_;
  std::map<u128, std::vector<u128>> owned_;
  i64 read_at_ns_ = 0;

  std::map<u32, u128> lost_;  // By ledger.
  u64 rounds_ = 0;
  u64 failures_ = 0;
  bool is_away_ = false;  // The shared ledger did not answer.
  i64 ask_again_ns_ = 0;
};

}  // namespace tg::ledger
