// The other end of billing.h: one thread around the Till, its own or that of a loop that lends it.
// It waits for the ledger without blocking: commands and ledger replies are two mailboxes watched
// together. Receipts are read through the scribe.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "env/clock.h"
#include "env/random.h"
#include "gateway/billing.h"
#include "gateway/bookkeeper.h"
#include "gateway/scribe.h"
#include "gateway/till.h"
#include "ledger/lease_service.h"
#include "ledger/service.h"

namespace tg::gateway {

class Cashier final : public LentWork {
 public:
  // Learns the ledger's accounts and starts the thread; a shared ledger that is away is learnt when
  // it is there. Ledger, scribe, clock, bookkeeper and leases must outlive the cashier; without a
  // bookkeeper there are no reports. With leases, balances are looked up through them
  // (TillOptions::is_leased).
  static Result<std::unique_ptr<Cashier>> start(ledger::Service& ledger, Scribe& scribe,
                                                TillOptions options, Clock& clock,
                                                Bookkeeper* bookkeeper = nullptr,
                                                ledger::LeaseService* leases = nullptr);
  // Answers what is queued, then joins; waits for a ledger that is away no longer than
  // kLastTriesNs.
  ~Cashier() override;
  Cashier(const Cashier&) = delete;
  Cashier& operator=(const Cashier&) = delete;

  // The gateway's end.
  Billing billing() { return Billing(inbox_, suite_, this); }
  // An account that was made while the cashier runs. Thread-safe; waits for room.
  void learn(const ledger::Account& account) { accounts_->push(account); }

  std::vector<int> borrow(NearReader* near) override;
  void turn(u32 readable) override;
  void give_back() override;

 private:
  Cashier(ledger::Service& ledger, Scribe& scribe, TillOptions options, Clock& clock);
  Status learn_all();
  void run();
  void wait_while_lent();
  bool is_over();
  void obey(BillingCommand& command, Till::Output& out);
  void read_usage(BillingCommand& command, const UsageRead& what);
  void read_receipt(BillingCommand& command, const ReceiptRead& what);
  void carry_out(Till::Output& out);
  std::vector<u64> ask_leases(std::vector<ledger::Request>& requests);
  void answer(std::shared_ptr<Mailbox<BillingReply>>& to, BillingReply& reply);

  ledger::Service& ledger_;
  Scribe& scribe_;
  Clock& clock_;
  Bookkeeper* bookkeeper_ = nullptr;
  ledger::LeaseService* leases_ = nullptr;
  OsRandom random_;
  tlog::Suite suite_;
  bool has_learned_ = false;  // At first start()'s, then the thread's.

  // Whose turn it is. It is not contended: at most while the work changes hands.
  std::mutex turn_mutex_;
  Till till_;
  Till::Output out_;
  bool is_open_ = true;                   // The inbox, when last looked at.
  std::vector<BillingCommand> commands_;  // Scratch.
  std::vector<ledger::Reply> replies_;

  std::shared_ptr<Mailbox<BillingCommand>> inbox_;
  std::shared_ptr<Mailbox<ledger::Reply>> ledger_replies_;
  std::shared_ptr<Mailbox<ledger::Account>> accounts_;

  std::mutex lent_mutex_;
  std::condition_variable lent_changed_;
  bool is_lent_ = false;
  std::thread thread_;
};

}  // namespace tg::gateway
