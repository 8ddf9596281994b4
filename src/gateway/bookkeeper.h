// Reads the ledger's documents from the first on, after the fact: adds usage up, and sees to it
// that every posted slice has a receipt. A request whose process died has posted slices and no end;
// the draft stored with its last slice becomes its receipt (I-22).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "env/clock.h"
#include "env/mailbox.h"
#include "gateway/billing.h"
#include "gateway/usage_book.h"
#include "ledger/service.h"

namespace tg::gateway {

// A slice this old, of a request that has no receipt, belongs to no process any more: one that
// lives renews its hold more often.
inline constexpr i64 kOrphanNs = 600'000'000'000;

// What documents say of requests that are under way or were left.
class SliceWatch {
 public:
  // Takes a document in the ledger's order; the draft that it is, if it ends a request.
  std::optional<meter::Draft> read(std::string_view document);
  // Drafts to be filed: of slices at or before `latest`.
  std::vector<meter::Draft> orphans(Timestamp latest) const;
  std::size_t size() const { return open_.size(); }

 private:
  struct Hash {
    std::size_t operator()(u128 id) const { return static_cast<std::size_t>(id); }
  };
  std::unordered_map<u128, meter::Draft, Hash> open_;
};

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
  void file_orphans();

  ledger::Service& ledger_;
  Clock& clock_;
  const Options options_;
  const Timestamp started_;

  // The thread's only.
  UsageBook book_;
  SliceWatch slices_;
  u64 taken_ = 0;
  bool has_filed_first_ = false;
  i64 filed_at_ns_ = 0;

  std::shared_ptr<Mailbox<UsageQuestion>> inbox_;
  std::thread thread_;
};

}  // namespace tg::gateway
