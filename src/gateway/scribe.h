// Keeps the receipt log: one thread that reads the ledger's documents in their order, makes them
// pages under one checkpoint a group, and answers who wants to read. It trails the ledger by
// kScribeIntervalNs at most, or not at all for a receipt that somebody asks for. Whatever is lost
// in a crash is read from the ledger again, so nothing here needs to be told of a settlement. With
// an archive, what is a page is handed to it, and it is asked for receipts that are not here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "env/mailbox.h"
#include "gateway/archive.h"
#include "gateway/billing.h"
#include "ledger/service.h"
#include "meter/receipt_log.h"

namespace tg::gateway {

inline constexpr i64 kScribeIntervalNs = 250'000'000;

struct ScribeQuestion {
  enum class Kind : u8 {
    kReceipt,   // the buyer's file of receipt `id`, if it is `account`'s or no account is named
    kResource,  // what `path` names in the log (tlog/tile.h)
    kAudit,     // one line of JSON, or why the log and the ledger disagree
  };
  Kind kind = Kind::kReceipt;
  u128 id = 0;
  std::optional<AccountRef> account;
  std::string path;
  // Where the answer goes, as BillingReply::receipt.
  u64 tag = 0;
  std::shared_ptr<Mailbox<BillingReply>> reply_to;
};

class Scribe {
 public:
  // Starts the thread. Ledger and archive must outlive the scribe, and no other scribe may read the
  // ledger: pages are numbered here.
  Scribe(ledger::Service& ledger, meter::ReceiptLog log, Archive* archive = nullptr);
  // Takes what the ledger has, answers what is queued, then joins.
  ~Scribe();
  Scribe(const Scribe&) = delete;
  Scribe& operator=(const Scribe&) = delete;

  // False if too much is queued; the question is then untouched. Thread-safe.
  bool submit(ScribeQuestion& question) { return inbox_->try_push(question); }
  // Waits for the answer. Not for event loops.
  Result<std::string> ask(ScribeQuestion question);

 private:
  void run();
  void catch_up();
  Status take_new_documents();
  // What has come since the log's end, up to a group.
  Result<std::vector<std::string>> read_group();
  void copy_to_archive();
  Result<std::size_t> copy_group();
  void answer(const ScribeQuestion& question);
  bool is_in_archive(const ScribeQuestion& question, const Result<std::string>& found);
  Result<std::string> read_receipt(const ScribeQuestion& question);
  Result<std::string> audit();

  ledger::Service& ledger_;

  // The scribe's thread only.
  meter::ReceiptLog log_;
  std::optional<Error> failure_;  // the log could not be written; it must be opened again
  Archive* archive_;
  u64 archived_ = 0;  // Entries that were handed over.

  std::shared_ptr<Mailbox<ScribeQuestion>> inbox_;
  std::thread thread_;
};

}  // namespace tg::gateway
