// The other end of billing.h: one thread around the Till. It waits for the ledger without blocking:
// commands and ledger replies are two mailboxes watched together. Receipts are read through the
// scribe.
#pragma once

#include <memory>
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

class Cashier {
 public:
  // Learns the ledger's accounts and starts the thread. Ledger, scribe, clock, bookkeeper and
  // leases must outlive the cashier; without a bookkeeper there are no reports. With leases,
  // balances are looked up through them (TillOptions::is_leased).
  static Result<std::unique_ptr<Cashier>> start(ledger::Service& ledger, Scribe& scribe,
                                                TillOptions options, Clock& clock,
                                                Bookkeeper* bookkeeper = nullptr,
                                                ledger::LeaseService* leases = nullptr);
  // Answers what is queued, then joins; waits for a ledger that is away no longer than
  // kLastTriesNs.
  ~Cashier();
  Cashier(const Cashier&) = delete;
  Cashier& operator=(const Cashier&) = delete;

  // The gateway's end.
  Billing billing() const { return Billing(inbox_, suite_); }
  // An account that was made while the cashier runs. Thread-safe; waits for room.
  void learn(const ledger::Account& account) { accounts_->push(account); }

 private:
  Cashier(ledger::Service& ledger, Scribe& scribe, TillOptions options, Clock& clock);
  void run();
  void obey(BillingCommand& command, Till::Output& out);
  void read_usage(BillingCommand& command, const UsageRead& what);
  void read_receipt(BillingCommand& command, const ReceiptRead& what);
  void carry_out(Till::Output& out);
  bool submit(ledger::Request& request);
  void answer(std::shared_ptr<Mailbox<BillingReply>>& to, BillingReply& reply);

  ledger::Service& ledger_;
  Scribe& scribe_;
  Clock& clock_;
  Bookkeeper* bookkeeper_ = nullptr;
  ledger::LeaseService* leases_ = nullptr;
  OsRandom random_;
  tlog::Suite suite_;
  Till till_;  // The cashier's thread only.

  std::shared_ptr<Mailbox<BillingCommand>> inbox_;
  std::shared_ptr<Mailbox<ledger::Reply>> ledger_replies_;
  std::shared_ptr<Mailbox<ledger::Account>> accounts_;
  std::thread thread_;
};

}  // namespace tg::gateway
