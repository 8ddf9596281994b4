// The ledger as the command line asks for it: one line in, one line of JSON out. The same commands
// are answered in-process when no server runs and through control.h when one does.
//
//   ensure ACCOUNT            make the ledger account if it is not there
//   show ACCOUNT              balance, held, spent, granted (nano-ST); with leases, how much of
//                             what is held gateways have leased, and since when they have not
//                             told what they spent
//   topup ACCOUNT NANO_ST     from the outside into the account
//   topup-money ACCOUNT MICRO_CREDIT   the same into the account's credits, for what is priced so
//   accounts OWNER            all that pays for the owner's requests: bundles, subscriptions, lines
//   sell OWNER PLAN PURCHASE  sells a plan; the same purchase (an ID) sells once
//   refund REQUEST AMOUNT     pays back part of a request, to the accounts that paid, last first
//   correct REQUEST AMOUNT    makes AMOUNT what the request cost; never more than it was
//   paid REQUEST              what the ledger posted for a request, and what was paid back
//   statement ACCOUNT BEFORE  up to 100 entries of an account before that position, 0: the newest
//   usage ACCOUNT|all [QUERY]  what was used, as usage_book.h reports it: {"report": text}
//   transfer ID               a transfer and, of a hold, what became of it
//   receipt ID                the buyer's file: the receipt with its proof, verbatim; with leases
//                             also of another gateway's request, once that has copied it
//   receipts AFTER            up to 500 receipts stored after that sequence number
//   log PATH                  a resource of the receipt log (tlog/tile.h), base64
//   audit                     re-derive every balance from the journal
//   audit-receipts            compare every receipt with its page and every page with the log
// ACCOUNT and ID are 32 hex digits. A failure is {"error": "..."}.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "env/clock.h"
#include "env/random.h"
#include "gateway/scribe.h"
#include "ledger/lease_service.h"
#include "ledger/service.h"
#include "market/funding/catalogue.h"
#include "meter/receipt.h"

namespace tg::gateway {

inline constexpr i64 kBooksLineBytesMax = 4'096;

class Bookkeeper;
class Cashier;

// kInvalid unless it is a whole number.
Result<u64> parse_count(std::string_view text);

// The accounts every directory has, made on first use.
u128 wash_account();        // the outside: top-ups come from here
u128 seller_account();      // what requests pay into
u128 money_wash_account();  // the same in credits
u128 money_seller_account();
u128 breakage_account();  // where what expired goes
u128 money_account(u128 owner);
market::FundingBooks standard_books();

class Books {
 public:
  // All borrowed; thread-safe as far as the ledger service is. Without a scribe, what concerns the
  // receipt log is refused.
  Books(ledger::Service& ledger, Clock& clock, Random& random, Scribe* scribe = nullptr)
      : ledger_(ledger), clock_(clock), random_(random), scribe_(scribe) {}

  // What can be sold. Before the first command.
  void offer(std::vector<market::Plan> plans) { plans_ = std::move(plans); }
  // Who must hear of new accounts; outlives the books' last command. Before the first one. With
  // leases there are two: who is paid from them, and who sweeps the accounts themselves.
  void tell(Cashier& cashier, Cashier* sweeper = nullptr) {
    cashier_ = &cashier;
    sweeper_ = sweeper;
  }
  // Who reports usage; outlives the books' last command. Before the first one.
  void ask_usage_of(Bookkeeper& bookkeeper) { bookkeeper_ = &bookkeeper; }

  // Requests are served from a ledger of this gateway's own, with leases on the accounts of the one
  // that the books are of. Their transfers and documents are there. Without `leases` nobody serves.
  // Both outlive the books' last command. Before the first one.
  void serve_from(ledger::Service& own, ledger::LeaseService* leases) {
    served_ = &own;
    leases_ = leases;
  }

  // Creates the operator's accounts if they are not there. kUnavailable if the ledger is away.
  Status prepare();
  // One line of JSON, no newline.
  std::string answer(std::string_view line);

 private:
  Result<std::string> dispatch(std::string_view line);
  Status ensure(u128 account);
  Result<std::string> show(u128 account);
  Result<std::string> top_up(u128 account, std::string_view amount);
  Result<std::string> top_up_money(u128 owner, std::string_view amount);
  Result<std::string> accounts(u128 owner);
  Result<std::string> sell(u128 owner, std::string_view plan, std::string_view purchase);
  Result<std::string> pay_back(u128 request, std::string_view amount, bool is_correction);
  Result<std::string> paid(u128 request);
  Result<std::string> statement(u128 account, std::string_view before);
  Result<std::string> usage(std::string_view account, std::string_view query);
  // The receipt's payments with what was paid back since; the number of pay-backs.
  struct Paid {
    market::Charged charged;
    u128 posted = 0;
    u32 paybacks = 0;
  };
  Result<Paid> paid_of(u128 request);
  struct Issued {
    meter::Receipt receipt;
    bool is_ours = false;  // Else another gateway's.
  };
  Result<Issued> receipt_of(u128 request);
  Status settle(u128 account);
  // What gateways have leased of an account, and when the first of them last settled.
  struct Leased {
    u128 amount = 0;
    Timestamp since;
  };
  Result<std::map<u128, Leased>> leased();
  Status announce(u128 account);
  Result<std::string> transfer(u128 id);
  Result<std::string> receipt(u128 id);
  Result<std::string> log_resource(std::string_view path);
  Result<std::string> audit_receipts();
  Result<std::string> ask_scribe(ScribeQuestion question);
  Result<std::string> receipts(std::string_view after);
  Result<std::string> audit();

  bool is_leased() const { return served_ != &ledger_; }

  ledger::Service& ledger_;
  ledger::Service* served_ = &ledger_;  // Where requests are served from.
  ledger::LeaseService* leases_ = nullptr;
  Clock& clock_;
  Random& random_;
  Scribe* scribe_;
  std::vector<market::Plan> plans_;
  Cashier* cashier_ = nullptr;
  Cashier* sweeper_ = nullptr;
  Bookkeeper* bookkeeper_ = nullptr;
};

}  // namespace tg::gateway
