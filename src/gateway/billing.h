// The seam between serving and money: the values the gateway sends to whoever meters and settles,
// and the values that come back. Both directions are mailboxes, so the two sides share no thread
// and no virtual call. One metered run (one choice of one prompt) is one hold, one close, one
// receipt.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/types.h"
#include "env/clock.h"
#include "env/lent_work.h"
#include "env/mailbox.h"
#include "market/lifecycle/request_life.h"
#include "market/rating/price_vector.h"
#include "meter/outcome.h"
#include "meter/receipt.h"
#include "unit/usage.h"

namespace tg::gateway {

using meter::Outcome;

// A ledger account, as the ledger numbers it.
using AccountRef = u128;

// What a buyer limits a request to, as it was said.
struct MaxCost {
  // kOwn: the unit in which the model is priced, ST or credits.
  enum class Unit : u8 { kOwn, kStandard, kCredit };
  i64 nano = 0;  // 10^-9 of it, >= 0
  Unit unit = Unit::kOwn;
};

// How a buyer wants a request to be paid.
struct FundsTerms {
  market::HoldMode mode = market::HoldMode::kSliced;
  std::optional<MaxCost> max_cost;  // Of each run; hard.
  std::string quote;  // The text of a quote that was given: its prices hold. "": none.
};

// Reserves what the run may cost, all of it or a slice. Must be answered before the run is
// submitted, which may then put out `edge` tokens and no more.
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
  FundsTerms funds;
  std::string service = "standard";  // Service class, as rate cards name it.
  bool is_embedding = false;         // Prefill alone; output_tokens_max is 0.
  // Its reply leaves in one piece, after the commit that settles it: what it holds is durable with
  // that at the latest, so nobody need wait until it is.
  bool is_whole = false;
  // Comes back in notices about the run: the supplier's name for it.
  u64 run = 0;
  // The request's body as it came, for the receipt; none: it binds none.
  std::optional<meter::Content> sent;
  // For reports alone: whose usage it is beside the account's. "": nobody's.
  std::string key;
  std::string project;
};

// How far an open run is, cumulative. Not answered; a notice follows if its edge moves.
struct HoldProgress {
  u128 hold = 0;
  i64 produced_tokens = 0;
  i64 delivered_tokens = 0;
  i64 reasoning_tokens = 0;  // Of the delivered ones.
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
  unit::Usage usage;  // As the supplier reported it; zeros if it never did.
  // Output tokens whose text was handed to the client's socket. Of an embedding: 1 if its vector
  // was.
  i64 delivered_tokens = 0;
  i64 reasoning_tokens = 0;   // Of the delivered ones.
  i64 written_tokens = 0;     // Of the prompt, to a cache that suppliers price apart.
  bool is_estimated = false;  // Figures are a supplier's own, or its work was predicted.
  u32 usage_flags = 0;        // What was odd in them (market::usage_flag).
  std::string device;         // Who ran it, if a router chose; "": as the contract says.
  // What the choice said, if all of it was handed over (meter::Binding). None: the receipt binds
  // none.
  std::optional<meter::Content> received;
  RunTiming timing;
};

// The verbatim text of a receipt, if it is the account's.
struct ReceiptRead {
  AccountRef account = 0;
  std::string receipt_id;
};

// Usage added up, as text; `query` is that of usage_book.h.
struct UsageRead {
  AccountRef account = 0;
  std::string query;
};

// What one choice of a request would cost, promised for market::kQuoteValidNs.
struct QuoteRead {
  AccountRef account = 0;
  std::string model;
  std::string service = "standard";
  i64 prompt_tokens = 0;
  i64 output_tokens_max = 0;
  i64 output_tokens_expected = 0;
  bool is_embedding = false;
  FundsTerms funds;
};

// What the account's open runs and those since the start have come to, by key and project: one line
// of JSON.
struct MeterRead {
  AccountRef account = 0;
};

struct Settlement {
  i64 nominal_nst = 0;     // Nominal work, nano-ST.
  std::string receipt_id;  // "" if the outcome yields no receipt.
  i64 charged = 0;         // Taken from the account: nano-ST, or 10^-6 credit if `in_money`.
  bool in_money = false;
  i64 value_ucredit = 0;     // The charge in 10^-6 credit, at list price if it is in ST.
  market::PriceViews views;  // Of the charge, in 10^-6 credit.
  Outcome outcome = Outcome::kRejected;
};

struct QuoteReply {
  std::string
      token;  // The signed text, base64: HoldOpen's FundsTerms::quote. "": nobody signs here.
  bool in_money = false;
  i64 input = 0;
  i64 expected = 0;
  i64 maximum = 0;
  i64 first_hold = 0;
  i64 edge_max = 0;          // Output tokens that max_cost can pay.
  i64 expected_ucredit = 0;  // At list price if it is in ST.
  i64 maximum_ucredit = 0;
  market::PriceViews views;  // Of `expected`, in 10^-6 credit.
  Timestamp expires;
};

// Tells of a run what nobody asked.
struct EdgeNotice {
  u64 run = 0;
  i64 edge = 0;           // Output tokens that are paid for.
  bool is_final = false;  // It moves no further: max_cost or the funds end there.
  bool is_lost = false;   // The hold lapsed: nothing more is paid for, the run must end.
};

struct BillingReply {
  enum class Status : u8 {
    kOk,
    kInsufficientFunds,  // HoldOpen: the balance does not cover it.
    kBudgetExceeded,     // HoldOpen: the balance does, but not what `budget` has left.
    kInvalid,            // UsageRead, a HoldOpen's quote: `message` says what is wrong.
    kNotFound,           // HoldOpen: no such account. ReceiptRead: none, or another account's.
    kFailed,             // Nothing happened durably; `message` says why.
  };
  u64 tag = 0;
  Status status = Status::kOk;
  std::string message;
  u128 hold = 0;           // HoldOpen.
  QuoteReply quote;        // QuoteRead.
  EdgeNotice notice;       // HoldOpen; and alone, if is_notice.
  bool is_notice = false;  // Answers nothing; `tag` is 0.
  AccountRef budget = 0;   // kBudgetExceeded: the first of HoldOpen::budgets that refused.
  Settlement settlement;   // HoldClose.
  std::string receipt;     // ReceiptRead; UsageRead and MeterRead: the report.
};

// Nothing but a status, and why.
BillingReply with_status(BillingReply::Status status, std::string message = {});
BillingReply failed(std::string message);

struct BillingCommand {
  u64 tag = 0;  // Chosen by the asker, unique among its open commands; comes back in the reply.
  std::variant<HoldOpen, HoldClose, ReceiptRead, HoldProgress, UsageRead, MeterRead, QuoteRead>
      what;
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
  // `suite` is the one that receipts are signed in. `work`: of the other end, which outlives the
  // loop that borrows it; null: it keeps its thread.
  explicit Billing(std::shared_ptr<Mailbox<BillingCommand>> inbox,
                   tlog::Suite suite = tlog::Suite::kEd25519Sha256, LentWork* work = nullptr);

  // False if the inbox is full or closed; the command is then untouched. Thread-safe.
  bool submit(BillingCommand& command) { return inbox_->try_push(command); }
  // For a loop that has borrowed the work and does a turn of it soon.
  bool submit_quietly(BillingCommand& command) { return inbox_->try_push_quietly(command); }
  LentWork* work() const { return work_; }

  // As receipts bind it.
  meter::Content content(std::string_view bytes) const;

 private:
  std::shared_ptr<Mailbox<BillingCommand>> inbox_;
  tlog::Suite suite_;
  LentWork* work_;
};

}  // namespace tg::gateway
