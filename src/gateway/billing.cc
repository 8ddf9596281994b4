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

AccountRef budget_sink_account() {
  static const AccountRef account = ledger::id_from_name("budget/sink");
  return account;
}

}  // namespace tg::gateway
