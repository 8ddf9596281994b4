#include "gateway/billing.h"

#include <utility>

#include "ledger/id.h"

namespace tg::gateway {

Billing::Billing(std::shared_ptr<Mailbox<BillingCommand>> inbox, tlog::Suite suite, LentWork* work)
    : inbox_(std::move(inbox)), suite_(suite), work_(work) {
  TG_ASSERT(inbox_ != nullptr);
}

meter::Content Billing::content(std::string_view bytes) const {
  thread_local tlog::Hasher hasher(suite_);
  if (hasher.suite() != suite_) hasher = tlog::Hasher(suite_);
  return {.digest = hasher.of(bytes), .bytes = static_cast<i64>(bytes.size())};
}

BillingReply with_status(BillingReply::Status status, std::string message) {
  BillingReply reply;
  reply.status = status;
  reply.message = std::move(message);
  return reply;
}

BillingReply failed(std::string message) {
  return with_status(BillingReply::Status::kFailed, std::move(message));
}

AccountRef budget_sink_account() {
  static const AccountRef account = ledger::id_from_name("budget/sink");
  return account;
}

}  // namespace tg::gateway
