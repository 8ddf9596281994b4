// The seam between serving and money: the values the gateway sends to whoever meters and settles,
// and the values that come back. Both directions are mailboxes, so the two sides share no thread
// and no virtual call. One metered run (one choice of one prompt) is one hold, one close, one
// receipt.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/types.h"
#include "env/clock.h"
#include "env/mailbox.h"
#include "meter/outcome.h"
#include "unit/usage.h"

namespace tg::gateway {

using meter::Outcome;

// A ledger account, as the ledger numbers it.
using AccountRef = u128;

// Reserves what the run may cost at most. Must be answered before the run is submitted.
struct HoldOpen {
  AccountRef account = 0;
  std::string model;
  std::string program;  // Program id, hex.
  i64 prompt_tokens = 0;
  i64 output_tokens_max = 0;
  // "req_" + 32 hex digits; the second and later prompts of a batch append "." and their number, so
  // that (request_id, choice) names the run and all choices of one request_id share one prompt.
  std::string request_id;
  i64 choice = 0;  // From 0; below n.
  // Budgets that the run counts against in full, beside what pays for it: accounts on
  // ledgers::kBudget that exist and are granted (access/budget_keeper.h); each is a
  // market::BudgetLimit with budget_sink_account() as its sink. At most market::kLimitsMax.
  std::vector<AccountRef> budgets;
};

struct RunTiming {
  Timestamp started;          // When the request had been read.
  Timestamp ended;            // When the outcome was known.
  i64 first_delivery_ns = 0;  // From started to the first bytes handed over; 0 if none were.
};

// Ends a hold: exactly one follows every granted HoldOpen.
struct HoldClose {
  u128 hold = 0;
  Outcome outcome = Outcome::kRejected;
  unit::Usage usage;         // As the supplier reported it; zeros if it never did.
  i64 delivered_tokens = 0;  // Output tokens whose text was handed to the client's socket.
  std::string device;        // Who ran it, if a router chose; "": as the contract says.
  RunTiming timing;
};

// The verbatim text of a receipt, if it is the account's.
struct ReceiptRead {
  AccountRef account = 0;
  std::string receipt_id;
};

struct Settlement {
  i64 nominal_nst = 0;     // Nominal work, nano-ST.
  std::string receipt_id;  // "" if the outcome yields no receipt.
  i64 charged = 0;         // nano-ST taken from the account.
};

struct BillingReply {
  enum class Status : u8 {
    kOk,
    kInsufficientFunds,  // HoldOpen: the balance does not cover it.
    kBudgetExceeded,     // HoldOpen: the balance does, but not what `budget` has left.
    kNotFound,           // HoldOpen: no such account. ReceiptRead: none, or another account's.
    kFailed,             // Nothing happened durably; `message` says why.
  };
  u64 tag = 0;
  Status status = Status::kOk;
  std::string message;
  u128 hold = 0;          // HoldOpen.
  AccountRef budget = 0;  // kBudgetExceeded: the first of HoldOpen::budgets that refused.
  Settlement settlement;  // HoldClose.
  std::string receipt;    // ReceiptRead.
};

struct BillingCommand {
  u64 tag = 0;  // Chosen by the asker, unique among its open commands; comes back in the reply.
  std::variant<HoldOpen, HoldClose, ReceiptRead> what;
  // Where the reply goes; it has room for every open command of its owner.
  std::shared_ptr<Mailbox<BillingReply>> reply_to;
};

// Where what is charged to budgets goes (code kBudgetPool); made with the first budget.
AccountRef budget_sink_account();

// Commands the gateway may have outstanding; an inbox at least this long never refuses a close.
inline constexpr i64 kBillingCommandsMax = 16'384;

// The gateway's end. The other end owns the same inbox, drains it and answers every command once.
class Billing {
 public:
  explicit Billing(std::shared_ptr<Mailbox<BillingCommand>> inbox);

  // False if the inbox is full or closed; the command is then untouched. Thread-safe.
  bool submit(BillingCommand& command) { return inbox_->try_push(command); }

 private:
  std::shared_ptr<Mailbox<BillingCommand>> inbox_;
};

}  // namespace tg::gateway
