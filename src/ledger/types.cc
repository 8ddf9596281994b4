#include "ledger/types.h"

namespace tg::ledger {

#define TG_LEDGER_NAME(number, enumerator, text) \
  case Enum::enumerator: return text;

const char* name(AccountStatus status) {
  using Enum = AccountStatus;
  switch (status) { TG_LEDGER_ACCOUNT_STATUSES(TG_LEDGER_NAME) }
  return "unknown";
}

const char* name(TransferStatus status) {
  using Enum = TransferStatus;
  switch (status) { TG_LEDGER_TRANSFER_STATUSES(TG_LEDGER_NAME) }
  return "unknown";
}

const char* name(DocumentStatus status) {
  using Enum = DocumentStatus;
  switch (status) { TG_LEDGER_DOCUMENT_STATUSES(TG_LEDGER_NAME) }
  return "unknown";
}

#undef TG_LEDGER_NAME

const char* name(PendingState state) {
  switch (state) {
    case PendingState::kNone: return "none";
    case PendingState::kPending: return "pending";
    case PendingState::kPosted: return "posted";
    case PendingState::kVoided: return "voided";
    case PendingState::kExpired: return "expired";
  }
  return "unknown";
}

}  // namespace tg::ledger
