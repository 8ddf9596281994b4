// The other end of billing.h: one thread that turns holds and closes into ledger requests, each
// close with the draft of its receipt. It waits for the ledger without blocking: commands and
// ledger replies are two mailboxes watched together. Receipts are read through the scribe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>

#include "env/clock.h"
#include "env/random.h"
#include "gateway/billing.h"
#include "gateway/scribe.h"
#include "ledger/service.h"
#include "market/settle.h"

namespace tg::gateway {

struct CashierOptions {
  u128 seller = 0;  // Ledger account credited.
  std::map<std::string, market::Contract>
      contracts;  // By model name; cost matrices must outlive the cashier.
};

class Cashier {
 public:
  // Starts the thread. Ledger, scribe and clock must outlive the cashier.
  Cashier(ledger::Service& ledger, Scribe& scribe, CashierOptions options, Clock& clock);
  // Answers what is queued, then joins.
  ~Cashier();
  Cashier(const Cashier&) = delete;
  Cashier& operator=(const Cashier&) = delete;

  // The gateway's end.
  Billing billing() const { return Billing(inbox_); }

 private:
  struct OpenHold {
    market::Hold hold;
    const market::Contract* contract = nullptr;
    i64 prompt_tokens = 0;
    i64 choice = 0;
    std::vector<AccountRef> budgets;  // Each repeats the hold,
    std::vector<u128> budget_holds;   // by a transfer of its own.
  };
  // What the ledger's reply to a tag completes.
  struct Opening {
    BillingCommand command;
    OpenHold open;
  };
  struct Closing {
    BillingCommand command;
    market::Settlement settlement;
  };

  void run();
  void obey(BillingCommand& command);
  void open(BillingCommand& command, const HoldOpen& what);
  void close(BillingCommand& command, const HoldClose& what);
  void read_receipt(BillingCommand& command, const ReceiptRead& what);
  void complete(ledger::Reply& reply);
  void complete_open(Opening& opening, const ledger::Reply& reply);
  void complete_close(Closing& closing, const ledger::Reply& reply);
  bool submit(ledger::Request request, std::variant<Opening, Closing> waiting);
  void answer(const BillingCommand& command, BillingReply reply);

  ledger::Service& ledger_;
  Scribe& scribe_;
  const CashierOptions options_;
  Clock& clock_;
  OsRandom random_;

  // The cashier's thread only.
  std::unordered_map<u64, std::variant<Opening, Closing>> waiting_;  // By ledger tag.
  std::map<u128, OpenHold> holds_;                                   // Granted, not yet closed.
  u64 tag_next_ = 1;

  std::shared_ptr<Mailbox<BillingCommand>> inbox_;
  std::shared_ptr<Mailbox<ledger::Reply>> ledger_replies_;
  std::thread thread_;
};

// The ledger and receipt id of one run: the same request and choice always give the same.
u128 run_id(const std::string& request_id, i64 choice);

}  // namespace tg::gateway
