// Receipts where every gateway finds them. A gateway that leases keeps its receipts in a ledger and
// a log of its own; the archive copies each, with its proof, to the ledger that the gateways share,
// and reads there what another one issued. One thread, which may wait for the shared ledger:
// nothing that serves requests waits for it.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "env/clock.h"
#include "env/mailbox.h"
#include "gateway/billing.h"
#include "ledger/service.h"
#include "meter/receipt_file.h"

namespace tg::gateway {

// A receipt that a gateway copied there, and whose use it was, which its buyer's file does not say.
struct ArchivedReceipt {
  std::string file;  // The buyer's.
  meter::ReceiptFile parsed;
  std::string key = "-";
  std::string project = "-";
};
// Whether a document of the shared ledger is one that says whose use it was. Copies of the time
// before that are the file alone.
bool is_archived(std::string_view document);
Result<ArchivedReceipt> parse_archived(std::string_view document);

// The buyer's file of a receipt that a gateway copied there. kNotFound if none did, or if it is
// another account's than the one named.
Result<std::string> archived_receipt(ledger::Service& shared, u128 id,
                                     std::optional<AccountRef> account = std::nullopt);

class Archive {
 public:
  // Of entry `index` of the gateway's log.
  struct Copy {
    u64 index = 0;
    u128 id = 0;
    std::string file;
    std::string key = "-";
    std::string project = "-";
  };
  struct Question {
    u128 id = 0;
    std::optional<AccountRef> account;
    // Where the answer goes, as BillingReply::receipt.
    u64 tag = 0;
    std::shared_ptr<Mailbox<BillingReply>> reply_to;
  };

  // Ledger and clock must outlive it. `progress_file` says how far an earlier process came; without
  // it all is copied again, which changes nothing.
  Archive(ledger::Service& shared, Clock& clock, std::string progress_file);
  // Copies what it was given, unless the shared ledger is away: the next process does it then.
  ~Archive();
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  // The first entry that was not copied when this began.
  u64 first() const { return first_; }
  // How many copies there is room for. One thread hands them over, in order, and no more.
  std::size_t room() const;
  void copy(std::vector<Copy> copies);
  // False if too much is queued; the question is then untouched. Thread-safe.
  bool submit(Question& question);

 private:
  using Message = std::variant<Copy, Question>;

  void run();
  void answer(const Question& question);
  void send();
  Status send(std::size_t count);

  ledger::Service& shared_;
  Clock& clock_;
  const std::string progress_file_;
  u64 first_ = 0;

  std::atomic<std::size_t> waiting_{0};  // Copies that are not there yet.

  // The thread's only.
  std::deque<Copy> copies_;
  i64 try_again_ns_ = 0;
  bool is_failing_ = false;

  Mailbox<Message> inbox_;
  std::thread thread_;
};

}  // namespace tg::gateway
