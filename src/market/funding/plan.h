// Ledger transfers of funding, as values: grants, refills, expiry, credit lines, refunds and
// corrections. Nothing is edited; every change is a new entry with an id that follows from what it
// is for, so that doing it twice is doing it once (I-6).
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "ledger/types.h"
#include "market/funding/source.h"

namespace tg::market {

using Chain = std::vector<ledger::Transfer>;

// Makes the transfers one all-or-none chain.
void link(Chain& chain);

// The operator's accounts that funding moves against, all on one ledger.
struct FundingBooks {
  u32 ledger = ledger::ledgers::kStandard;
  u128 wash = 0;      // Where grants come from: the outside.
  u128 breakage = 0;  // Where what expired goes.
};

// A grant named by what was bought: the same purchase grants once. `code` is kTopUp or kGrant.
struct Grant {
  u128 account = 0;
  u128 amount = 0;  // > 0
  u128 purchase = 0;
  u16 code = ledger::transfer_code::kGrant;
};
Chain grant_chain(const FundingBooks& books, const Grant& grant);

// Moves what an expired or lapsed source still has to breakage; what is held then stays held, and
// a later sweep takes what is released of it. `sweep` numbers the sweeps of a source, for example
// by quarter hour. Empty if there is nothing to take.
struct Sweep {
  u64 number = 0;
  u32 attempt = 0;  // See `judge`.
};
Chain expiry_chain(const FundingBooks& books, const FundingSource& source, Sweep sweep);

// A new period of a subscription: what is left above `rollover_max` breaks, then the period's
// amount is granted, in one chain. `period` counts from 0; each is granted once.
struct Refill {
  u128 amount = 0;  // > 0
  u128 rollover_max = 0;
  u64 period = 0;
  u32 attempt = 0;
};
Chain refill_chain(const FundingBooks& books, const FundingSource& source, const Refill& refill);

// A plan made from an old view can be refused, which burns its ids. The caller starts at attempt 0,
// also after a crash, and follows the verdict on the ledger's answer:
enum class Verdict : u8 {
  kDone,    // In the ledger, by this attempt or by an earlier one that a crash hid.
  kAgain,   // Take a new view and plan attempt + 1.
  kFailed,  // Not for lack of funds: a person must look.
};
Verdict judge(std::span<const ledger::TransferStatus> statuses);

// A credit line is a source whose limit was granted in advance; repaying grants it again. Raising
// grants the difference; lowering takes it back, which the ledger refuses if it is in use.
struct CreditChange {
  u128 account = 0;
  u128 from = 0;
  u128 to = 0;
  u128 change = 0;  // Names the change.
};
Chain credit_chain(const FundingBooks& books, const CreditChange& change);
// Used of a credit line with that limit, held parts included. REQUIRES: limit is what was granted
// by credit_chain.
u128 owed(const ledger::Account& account, u128 limit);

// What a request took, in the order it burned.
struct Charged {
  u128 request = 0;
  u128 seller = 0;
  u32 ledger = ledger::ledgers::kStandard;
  u64 reference = 0;
  std::vector<Draw> draws;
  u128 refunded = 0;  // By earlier refunds and corrections.
};
// Pays back `amount`, last burned first, to the accounts it came from (I-18). `number` counts the
// request's refunds from 0. kInvalid if more than is left of the charge, or nothing.
Result<Chain> refund_chain(const Charged& charged, u128 amount, u32 number);
// Makes `right` the charge: a refund of the rest under the code of corrections. A charge is never
// raised afterwards, because nothing above what was authorised may be taken (I-13): kInvalid.
Result<Chain> correction_chain(const Charged& charged, u128 right, u32 number);

}  // namespace tg::market
