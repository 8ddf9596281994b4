// Leases as a running thing, between who asks for an account's balance before it spends from it and
// the gateway's own ledger. Chains of transfers go straight to the own ledger: only what cannot be
// paid from what is leased comes here.
//
// Two threads. One tends the leases and may wait for the shared ledger as long as a network is
// silent; the other answers who asks, in time, and stops granting from leases that end.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "env/mailbox.h"
#include "env/random.h"
#include "ledger/lease_tender.h"
#include "ledger/service.h"

namespace tg::ledger {

// Whoever asks hears after so long, whatever the shared ledger does.
inline constexpr i64 kLeasePatienceNs = 3'000'000'000;

class LeaseService {
 public:
  // Services and clock must outlive it. Of `own` nobody else may use the accounts that leases are
  // kept with. Takes up what an earlier process leased.
  static Result<std::unique_ptr<LeaseService>> start(Service& own, Service& shared, Clock& clock,
                                                     LeaseServiceOptions options);
  // Answers what is queued; gives all back, unless the shared ledger is away.
  ~LeaseService();
  LeaseService(const LeaseService&) = delete;
  LeaseService& operator=(const LeaseService&) = delete;

  // For a request that only looks accounts up. Sees to it that `least` is free on each of them, as
  // far as the shared ledger has it, then looks them up in the own ledger; if the shared one had to
  // be asked, the reply has the accounts that they own behind them. An error (never kUnavailable,
  // which would be the own ledger's) if that needed the shared ledger and it did not answer. False
  // if too much is queued; the request is then untouched.
  bool submit(Request& request, u128 least, std::shared_ptr<Mailbox<Reply>> reply_to);

  // How the leases stand; any thread may ask.
  LeaseFigures figures() const;

  // Waits until it is done; what the own ledger has of the account then. Not for event loops.
  Result<std::optional<Account>> ask(u128 account, LeaseUse use);

 private:
  struct Question {
    Request request;
    u128 least = 0;
    LeaseUse use = LeaseUse::kSpend;
    std::shared_ptr<Mailbox<Reply>> reply_to;
  };
  struct Waiting {
    Question question;
    i64 until_ns = 0;
  };

  LeaseService(Service& own, Service& shared, Clock& clock, LeaseServiceOptions options,
               std::string name);
  void answer_all();
  void take(Question question);
  void finish(LeaseJob done);
  void give_up_late();
  void stop_overdue();
  void tend_all();
  void publish();

  Service& own_;
  Clock& clock_;
  OsRandom random_;
  const i64 stop_every_ns_;
  LeaseTender tender_;

  // The answering thread's only.
  std::map<u64, Waiting> waiting_;
  u64 number_next_ = 1;
  i64 stopped_at_ns_ = 0;

  mutable std::mutex figures_mutex_;
  LeaseFigures figures_;  // As the tending thread last saw them.
  std::atomic<u64> late_{0};

  Mailbox<std::variant<Question, LeaseJob>> inbox_;
  Mailbox<LeaseJob> jobs_;
  std::thread answering_;
  std::thread tending_;
};

}  // namespace tg::ledger
