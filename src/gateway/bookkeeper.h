// Reads the ledger's documents from the first on, after the fact: adds usage up, and sees to it
// that every posted slice has a receipt. A request whose process died has posted slices and no end;
// the draft stored with its last slice becomes its receipt (I-22).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "env/clock.h"
#include "env/mailbox.h"
#include "gateway/billing.h"
#include "gateway/others_use.h"
#include "gateway/slice_watch.h"
#include "gateway/usage_book.h"
#include "ledger/service.h"

namespace tg::gateway {

struct UsageQuestion {
  UsageQuery query;
  u64 tag = 0;
  std::shared_ptr<Mailbox<BillingReply>> reply_to;  // The report, as BillingReply::receipt.
};

class Bookkeeper {
 public:
  struct Options {
    i64 capacity_ucredit_per_hour = 0;
    // Nobody else writes this ledger: what was left when it was opened is nobody's.
    bool is_exclusive = true;
    // Of a gateway that leases: the ledger where others copy their receipts, and the own meter's
    // key. Their use is reported too, as far as it is there. It must outlive the bookkeeper.
    ledger::Service* shared = nullptr;
    std::optional<tlog::VerifierKey> meter;
  };
  // Starts the thread, before the first hold is asked for. Ledger and clock must outlive it.
  Bookkeeper(ledger::Service& ledger, Clock& clock, Options options);
  // Takes what the ledger has, answers what is queued, then joins.
  ~Bookkeeper();
  Bookkeeper(const Bookkeeper&) = delete;
  Bookkeeper& operator=(const Bookkeeper&) = delete;

  // False if too much is queued; the question is then untouched. Thread-safe.
  bool submit(UsageQuestion& question) { return inbox_->try_push(question); }
  // Waits for the report. Not for event loops.
  Result<std::string> ask(UsageQuery query);

 private:
  void run();
  void catch_up();
  bool hear_of_others();
  void file_orphans();

  ledger::Service& ledger_;
  Clock& clock_;
  const Options options_;
  const Timestamp started_;

  // The thread's only.
  UsageBook book_;
  SliceWatch slices_;
  std::unique_ptr<OthersUse> others_;
  u64 taken_ = 0;
  bool has_filed_first_ = false;
  i64 filed_at_ns_ = 0;

  std::shared_ptr<Mailbox<UsageQuestion>> inbox_;
  std::thread thread_;
};

}  // namespace tg::gateway
