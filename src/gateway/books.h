// The ledger as the command line asks for it: one line in, one line of JSON out. The same commands
// are answered in-process when no server runs and through control.h when one does.
//
//   ensure ACCOUNT            make the ledger account if it is not there
//   show ACCOUNT              balance, held, spent, granted (nano-ST)
//   topup ACCOUNT NANO_ST     from the outside into the account
//   transfer ID               a transfer and, of a hold, what became of it
//   receipt ID                the buyer's file: the receipt with its proof, verbatim
//   receipts AFTER            up to 500 receipts stored after that sequence number
//   log PATH                  a resource of the receipt log (tlog/tile.h), base64
//   audit                     re-derive every balance from the journal
//   audit-receipts            compare every receipt with its page and every page with the log
// ACCOUNT and ID are 32 hex digits. A failure is {"error": "..."}.
#pragma once

#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/random.h"
#include "gateway/scribe.h"
#include "ledger/service.h"

namespace tg::gateway {

inline constexpr i64 kBooksLineBytesMax = 4'096;

// The accounts every directory has, made on first use.
u128 wash_account();    // the outside: top-ups come from here
u128 seller_account();  // what requests pay into

class Books {
 public:
  // All borrowed; thread-safe as far as the ledger service is. Without a scribe, what concerns the
  // receipt log is refused.
  Books(ledger::Service& ledger, Clock& clock, Random& random, Scribe* scribe = nullptr)
      : ledger_(ledger), clock_(clock), random_(random), scribe_(scribe) {}

  // Creates wash and seller accounts if they are not there.
  Status prepare();
  // One line of JSON, no newline.
  std::string answer(std::string_view line);

 private:
  Result<std::string> dispatch(std::string_view line);
  Status ensure(u128 account);
  Result<std::string> show(u128 account);
  Result<std::string> top_up(u128 account, std::string_view amount);
  Result<std::string> transfer(u128 id);
  Result<std::string> receipt(u128 id);
  Result<std::string> log_resource(std::string_view path);
  Result<std::string> audit_receipts();
  Result<std::string> ask_scribe(ScribeQuestion question);
  Result<std::string> receipts(std::string_view after);
  Result<std::string> audit();

  ledger::Service& ledger_;
  Clock& clock_;
  Random& random_;
  Scribe* scribe_;
};

}  // namespace tg::gateway
