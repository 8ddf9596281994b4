#include "ledger/checks.h"

namespace tg::ledger {

AccountStatus check_form(const Account& a) {
  constexpr u16 kBothLimits =
      account_flag::kDebitsMustNotExceedCredits | account_flag::kCreditsMustNotExceedDebits;
  if ((a.flags & ~account_flag::kAll) != 0) return AccountStatus::kReservedFlag;
  if (a.id == 0) return AccountStatus::kIdMustNotBeZero;
  if ((a.flags & kBothLimits) == kBothLimits) return AccountStatus::kFlagsMutuallyExclusive;
  if ((a.debits_pending | a.debits_posted | a.credits_pending | a.credits_posted) != 0)
    return AccountStatus::kBalancesMustBeZero;
  if (a.ledger == 0) return AccountStatus::kLedgerMustNotBeZero;
  if (a.code == 0) return AccountStatus::kCodeMustNotBeZero;
  return AccountStatus::kOk;
}

static TransferStatus check_resolution_form(const Transfer& t) {
  if (t.pending_id == 0) return TransferStatus::kPendingIdMustNotBeZero;
  if (t.pending_id == t.id) return TransferStatus::kPendingIdMustBeDifferent;
  if (t.timeout_ms != 0) return TransferStatus::kTimeoutReservedForPending;
  if (t.debit_account != 0 && t.debit_account == t.credit_account)
    return TransferStatus::kAccountsMustBeDifferent;
  if (t.code == 0) return TransferStatus::kCodeMustNotBeZero;
  return TransferStatus::kOk;
}

static TransferStatus check_movement_form(const Transfer& t) {
  if (t.pending_id != 0) return TransferStatus::kPendingIdMustBeZero;
  if (t.timeout_ms != 0 && !is_pending(t)) return TransferStatus::kTimeoutReservedForPending;
  if (t.debit_account == 0) return TransferStatus::kDebitAccountMustNotBeZero;
  if (t.credit_account == 0) return TransferStatus::kCreditAccountMustNotBeZero;
  if (t.debit_account == t.credit_account) return TransferStatus::kAccountsMustBeDifferent;
  if (t.amount == 0) return TransferStatus::kAmountMustNotBeZero;
  if (t.ledger == 0) return TransferStatus::kLedgerMustNotBeZero;
  if (t.code == 0) return TransferStatus::kCodeMustNotBeZero;
  return TransferStatus::kOk;
}

TransferStatus check_form(const Transfer& t) {
  if ((t.flags & ~transfer_flag::kAll) != 0) return TransferStatus::kReservedFlag;
  if (t.id == 0) return TransferStatus::kIdMustNotBeZero;
  if (is_pending(t) + is_post(t) + is_void(t) > 1) return TransferStatus::kFlagsMutuallyExclusive;
  return is_resolution(t) ? check_resolution_form(t) : check_movement_form(t);
}

AccountStatus compare_fields(const Account& given, const Account& known) {
  // Closing is a later event, not a property that a retry would know.
  constexpr u16 kCompared = account_flag::kAll & ~account_flag::kClosed;
  if ((given.flags & kCompared) != (known.flags & kCompared))
    return AccountStatus::kExistsWithDifferentFlags;
  if (given.owner != known.owner) return AccountStatus::kExistsWithDifferentOwner;
  if (given.expires_ns != known.expires_ns) return AccountStatus::kExistsWithDifferentExpiry;
  if (given.ledger != known.ledger) return AccountStatus::kExistsWithDifferentLedger;
  if (given.product != known.product) return AccountStatus::kExistsWithDifferentProduct;
  if (given.code != known.code) return AccountStatus::kExistsWithDifferentCode;
  return AccountStatus::kExists;
}

TransferStatus compare_fields(const Transfer& given, const Transfer& known) {
  bool inherits = is_resolution(known);
  auto differs = [&](auto a, auto b) { return a != b && !(inherits && a == 0); };
  if (given.flags != known.flags) return TransferStatus::kExistsWithDifferentFlags;
  if (given.pending_id != known.pending_id) return TransferStatus::kExistsWithDifferentPendingId;
  if (given.timeout_ms != known.timeout_ms) return TransferStatus::kExistsWithDifferentTimeout;
  if (differs(given.debit_account, known.debit_account))
    return TransferStatus::kExistsWithDifferentDebitAccount;
  if (differs(given.credit_account, known.credit_account))
    return TransferStatus::kExistsWithDifferentCreditAccount;
  if (given.amount != known.amount && !(is_void(known) && given.amount == 0))
    return TransferStatus::kExistsWithDifferentAmount;
  if (given.correlation != known.correlation)
    return TransferStatus::kExistsWithDifferentCorrelation;
  if (given.reference != known.reference) return TransferStatus::kExistsWithDifferentReference;
  if (differs(given.ledger, known.ledger)) return TransferStatus::kExistsWithDifferentLedger;
  if (given.code != known.code) return TransferStatus::kExistsWithDifferentCode;
  if (given.sequence != known.sequence) return TransferStatus::kExistsWithDifferentSequence;
  return TransferStatus::kExists;
}

}  // namespace tg::ledger
