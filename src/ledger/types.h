// The ledger's nouns: accounts, transfers, their flags, codes and outcomes. Double entry with
// two-phase transfers, the model that TigerBeetle made known; the layouts are fixed at 128 bytes.
// Every number here that reaches the disk keeps its meaning forever.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace tg::ledger {

// Amounts are whole units: on kMoney 1e-6 credit, on kStandard nano-ST (the receipts' unit).
namespace ledgers {
inline constexpr u32 kMoney = 1;
inline constexpr u32 kStandard = 2;
inline constexpr u32 kBudget = 3;             // nano-ST that somebody may use; no money.
inline constexpr u32 kVendorFirst = 100;      // 100 + v: vendor v's own units.
inline constexpr u32 kPositionFirst = 65536;  // 65,536 + p: positions of one product interval.
}  // namespace ledgers

namespace account_code {
inline constexpr u16 kWash = 100;  // The outside world: money and grants come from here.
inline constexpr u16 kBuyerBundle = 200;
inline constexpr u16 kBuyerMoney = 210;
inline constexpr u16 kSellerPending = 300;  // Earned, inside the dispute window.
inline constexpr u16 kSellerPayable = 310;
inline constexpr u16 kSellerMargin = 320;
inline constexpr u16 kBuyerMargin = 321;
inline constexpr u16 kClearing = 400;  // Zero after each settlement.
inline constexpr u16 kFee = 410;
inline constexpr u16 kRounding = 420;
inline constexpr u16 kBreakage = 430;
inline constexpr u16 kCongestion = 440;
inline constexpr u16 kGuaranteeFund = 450;
inline constexpr u16 kDisputeSuspense = 460;
inline constexpr u16 kLeaseBook = 470;  // A gateway's notes on what it leased; not money.
inline constexpr u16 kExchangePool = 500;
inline constexpr u16 kPosition = 600;
inline constexpr u16 kBudget = 700;      // Granted for a period; holds and posts repeat on it.
inline constexpr u16 kBudgetPool = 710;  // Where grants of budgets come from and charges go.
}  // namespace account_code

namespace transfer_code {
inline constexpr u16 kTopUp = 1;
inline constexpr u16 kGrant = 2;
inline constexpr u16 kExpire = 3;
inline constexpr u16 kHold = 10;
inline constexpr u16 kPostSlice = 11;
inline constexpr u16 kVoid = 12;
inline constexpr u16 kExpireHold = 13;
inline constexpr u16 kLease = 14;  // A gateway's share of an account; survives restarts.
inline constexpr u16 kFee = 20;
inline constexpr u16 kTradeQuantity = 30;
inline constexpr u16 kTradeCash = 31;
inline constexpr u16 kDeliver = 32;
inline constexpr u16 kImbalance = 33;
inline constexpr u16 kPenalty = 34;
inline constexpr u16 kBonus = 35;
inline constexpr u16 kResale = 36;
inline constexpr u16 kExchangeOut = 40;
inline constexpr u16 kExchangeIn = 41;
inline constexpr u16 kExchangeSpread = 42;
inline constexpr u16 kRefund = 50;
inline constexpr u16 kCorrect = 51;
inline constexpr u16 kDisputeHold = 52;
inline constexpr u16 kDisputeResolve = 53;
}  // namespace transfer_code

namespace account_flag {
// Refuse what would make debits_pending + debits_posted pass credits_posted.
inline constexpr u16 kDebitsMustNotExceedCredits = 1 << 0;
inline constexpr u16 kCreditsMustNotExceedDebits = 1 << 1;
// No new transfers; holds granted before still post, void and expire.
inline constexpr u16 kClosed = 1 << 2;
inline constexpr u16 kAll = (1 << 3) - 1;
}  // namespace account_flag

namespace transfer_flag {
// This transfer and the next one of the batch succeed or fail together.
inline constexpr u16 kLinked = 1 << 0;
inline constexpr u16 kPending = 1 << 1;
inline constexpr u16 kPostPending = 1 << 2;
inline constexpr u16 kVoidPending = 1 << 3;
inline constexpr u16 kAll = (1 << 4) - 1;
}  // namespace transfer_flag

// Balances are zero when given to create_account; the ledger alone changes them. `owner`,
// `expires_ns` and `product` are carried for the caller (burn order), not interpreted.
struct Account {
  u128 id = 0;
  u128 debits_pending = 0;
  u128 debits_posted = 0;
  u128 credits_pending = 0;
  u128 credits_posted = 0;
  u128 owner = 0;
  i64 expires_ns = 0;  // Unix nanoseconds; 0 = never.
  u32 ledger = 0;
  u32 product = 0;
  u16 code = 0;
  u16 flags = 0;
  i64 timestamp_ns = 0;  // When it was created; set by the ledger.
  friend bool operator==(const Account&, const Account&) = default;
};
static_assert(sizeof(Account) == 128);

// Moves `amount` from credit of debit_account to credit of credit_account.
// kPending reserves only, until posted, voided or timeout_ms after it was applied (0 = no timeout).
// kPostPending moves `amount` <= the hold (0 is allowed) and releases the rest; kVoidPending
// releases all (amount 0, or the hold's). For both, accounts and ledger may be 0 = "the hold's".
struct Transfer {
  u128 id = 0;
  u128 debit_account = 0;
  u128 credit_account = 0;
  u128 amount = 0;
  u128 pending_id = 0;   // The hold that kPostPending or kVoidPending resolves.
  u128 correlation = 0;  // A request's or order's id; not interpreted.
  u64 reference = 0;     // A tariff's or table's version; not interpreted.
  u32 timeout_ms = 0;
  u32 ledger = 0;
  u16 code = 0;
  u16 flags = 0;
  u32 sequence = 0;      // The slice's number; not interpreted.
  i64 timestamp_ns = 0;  // When it was applied; set by the ledger, ignored on input.
  friend bool operator==(const Transfer&, const Transfer&) = default;
};
static_assert(sizeof(Transfer) == 128);

// What create_account answers: the first of these that is true, in this order.
#define TG_LEDGER_ACCOUNT_STATUSES(X)                                 \
  X(0, kOk, "ok")                                                     \
  X(10, kReservedFlag, "reserved_flag")                               \
  X(11, kIdMustNotBeZero, "id_must_not_be_zero")                      \
  X(12, kFlagsMutuallyExclusive, "flags_mutually_exclusive")          \
  X(13, kBalancesMustBeZero, "balances_must_be_zero")                 \
  X(14, kLedgerMustNotBeZero, "ledger_must_not_be_zero")              \
  X(15, kCodeMustNotBeZero, "code_must_not_be_zero")                  \
  X(30, kExistsWithDifferentFlags, "exists_with_different_flags")     \
  X(31, kExistsWithDifferentOwner, "exists_with_different_owner")     \
  X(32, kExistsWithDifferentExpiry, "exists_with_different_expiry")   \
  X(33, kExistsWithDifferentLedger, "exists_with_different_ledger")   \
  X(34, kExistsWithDifferentProduct, "exists_with_different_product") \
  X(35, kExistsWithDifferentCode, "exists_with_different_code")       \
  X(40, kExists, "exists")                                            \
  X(50, kNotFound, "not_found")

// What a transfer answers: the first of these that is true, in this order. From 50 on the answer
// depends on the state of the ledger; such a failure burns the id: every retry is
// id_already_failed, so that what was declined cannot succeed silently later.
#define TG_LEDGER_TRANSFER_STATUSES(X)                                             \
  X(0, kOk, "ok")                                                                  \
  X(1, kLinkedEventFailed, "linked_event_failed")                                  \
  X(2, kLinkedEventChainOpen, "linked_event_chain_open")                           \
  X(10, kReservedFlag, "reserved_flag")                                            \
  X(11, kIdMustNotBeZero, "id_must_not_be_zero")                                   \
  X(12, kFlagsMutuallyExclusive, "flags_mutually_exclusive")                       \
  X(13, kPendingIdMustBeZero, "pending_id_must_be_zero")                           \
  X(14, kPendingIdMustNotBeZero, "pending_id_must_not_be_zero")                    \
  X(15, kPendingIdMustBeDifferent, "pending_id_must_be_different")                 \
  X(16, kTimeoutReservedForPending, "timeout_reserved_for_pending")                \
  X(17, kDebitAccountMustNotBeZero, "debit_account_must_not_be_zero")              \
  X(18, kCreditAccountMustNotBeZero, "credit_account_must_not_be_zero")            \
  X(19, kAccountsMustBeDifferent, "accounts_must_be_different")                    \
  X(20, kAmountMustNotBeZero, "amount_must_not_be_zero")                           \
  X(21, kLedgerMustNotBeZero, "ledger_must_not_be_zero")                           \
  X(22, kCodeMustNotBeZero, "code_must_not_be_zero")                               \
  X(30, kExistsWithDifferentFlags, "exists_with_different_flags")                  \
  X(31, kExistsWithDifferentPendingId, "exists_with_different_pending_id")         \
  X(32, kExistsWithDifferentTimeout, "exists_with_different_timeout")              \
  X(33, kExistsWithDifferentDebitAccount, "exists_with_different_debit_account")   \
  X(34, kExistsWithDifferentCreditAccount, "exists_with_different_credit_account") \
  X(35, kExistsWithDifferentAmount, "exists_with_different_amount")                \
  X(36, kExistsWithDifferentCorrelation, "exists_with_different_correlation")      \
  X(37, kExistsWithDifferentReference, "exists_with_different_reference")          \
  X(38, kExistsWithDifferentLedger, "exists_with_different_ledger")                \
  X(39, kExistsWithDifferentCode, "exists_with_different_code")                    \
  X(40, kExistsWithDifferentSequence, "exists_with_different_sequence")            \
  X(41, kExists, "exists")                                                         \
  X(42, kIdAlreadyFailed, "id_already_failed")                                     \
  X(50, kDebitAccountNotFound, "debit_account_not_found")                          \
  X(51, kCreditAccountNotFound, "credit_account_not_found")                        \
  X(52, kAccountsOnDifferentLedgers, "accounts_on_different_ledgers")              \
  X(53, kWrongLedger, "wrong_ledger")                                              \
  X(54, kDebitAccountClosed, "debit_account_closed")                               \
  X(55, kCreditAccountClosed, "credit_account_closed")                             \
  X(60, kPendingNotFound, "pending_not_found")                                     \
  X(61, kNotPending, "not_pending")                                                \
  X(62, kPendingHasDifferentDebitAccount, "pending_has_different_debit_account")   \
  X(63, kPendingHasDifferentCreditAccount, "pending_has_different_credit_account") \
  X(64, kPendingHasDifferentLedger, "pending_has_different_ledger")                \
  X(65, kAlreadyPosted, "already_posted")                                          \
  X(66, kAlreadyVoided, "already_voided")                                          \
  X(67, kExpired, "expired")                                                       \
  X(68, kExceedsPendingAmount, "exceeds_pending_amount")                           \
  X(69, kPendingHasDifferentAmount, "pending_has_different_amount")                \
  X(80, kOverflow, "overflow")                                                     \
  X(81, kExceedsCredits, "exceeds_credits")                                        \
  X(82, kExceedsDebits, "exceeds_debits")

#define TG_LEDGER_DOCUMENT_STATUSES(X)                            \
  X(0, kOk, "ok")                                                 \
  X(1, kNotStored, "not_stored")                                  \
  X(30, kExistsWithDifferentBytes, "exists_with_different_bytes") \
  X(40, kExists, "exists")

#define TG_LEDGER_ENUMERATOR(number, enumerator, text) enumerator = number,
enum class AccountStatus : u16 { TG_LEDGER_ACCOUNT_STATUSES(TG_LEDGER_ENUMERATOR) };
enum class TransferStatus : u16 { TG_LEDGER_TRANSFER_STATUSES(TG_LEDGER_ENUMERATOR) };
enum class DocumentStatus : u16 { TG_LEDGER_DOCUMENT_STATUSES(TG_LEDGER_ENUMERATOR) };
#undef TG_LEDGER_ENUMERATOR

// The status in snake_case, stable; "unknown" for a number outside the enumeration.
const char* name(AccountStatus status);
const char* name(TransferStatus status);
const char* name(DocumentStatus status);

// True if the thing is in the ledger now, whether it was made by this call or an earlier one.
constexpr bool succeeded(AccountStatus s) {
  return s == AccountStatus::kOk || s == AccountStatus::kExists;
}
constexpr bool succeeded(TransferStatus s) {
  return s == TransferStatus::kOk || s == TransferStatus::kExists;
}
constexpr bool succeeded(DocumentStatus s) {
  return s == DocumentStatus::kOk || s == DocumentStatus::kExists;
}
// True if this failure burns the transfer's id.
constexpr bool burns_id(TransferStatus s) {
  return s >= TransferStatus::kDebitAccountNotFound;
}

// Opaque bytes stored with transfers, for example a signed receipt. The first bytes under an id
// stay; a retry with the same bytes is `exists`.
struct Document {
  u128 id = 0;
  std::string bytes;
};

// What became of a pending transfer.
enum class PendingState : u8 { kNone = 0, kPending = 1, kPosted = 2, kVoided = 3, kExpired = 4 };
const char* name(PendingState state);

enum class EntryKind : u8 {
  kTransfer = 0,  // Applied.
  kFailedId = 1,  // Refused with a status that burns its id; no effect on balances.
  kRelease = 2,   // A hold that the ledger itself voided (timeout or crash): id 0, pending_id set.
};

// One line of the journal, the ledger's truth. Its position, from 1 on, is its place. Of a posted
// or voided hold, accounts and ledger are filled in; of a void, also the released amount.
struct JournalEntry {
  Transfer transfer;
  u32 debit_previous = 0;    // The entry before this one on the debit account; 0 = none.
  u32 credit_previous = 0;   // The same on the credit account.
  u32 pending_position = 0;  // The hold that this entry resolves; 0 = none.
  TransferStatus status = TransferStatus::kOk;
  EntryKind kind = EntryKind::kTransfer;
  PendingState state = PendingState::kNone;  // Of a hold: what became of it.
  friend bool operator==(const JournalEntry&, const JournalEntry&) = default;
};
static_assert(sizeof(JournalEntry) == 144);

// Pages backwards through one account's entries, newest first.
struct StatementQuery {
  u128 account = 0;
  u64 before = 0;  // Only entries before this position; 0 = from the newest.
  i64 limit = 100;
};
struct StatementLine {
  u64 position = 0;
  JournalEntry entry;
};
struct Statement {
  std::vector<StatementLine> lines;
  u64 next_before = 0;  // For the next page's `before`; 0 = no more.
};

// What a debit-limited account can still spend: credits posted less debits posted and pending; 0
// if negative.
constexpr u128 available(const Account& a) {
  u128 used = a.debits_pending + a.debits_posted;
  return a.credits_posted > used ? a.credits_posted - used : 0;
}

}  // namespace tg::ledger
