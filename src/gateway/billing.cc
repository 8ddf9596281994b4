#include "gateway/billing.h"

#include <utility>

#include "ledger/id.h"

namespace tg::gateway {

Billing::Billing(std::shared_ptr<Mailbox<BillingCommand>> inbox, tlog::Suite suite)
    : inbox_(std::move(inbox)), suite_(suite) {
  TG_ASSERT(inbox_ != nullptr);
}

meter::Content Billing::content(std::string_view bytes) const {
  return {.digest = tlog::Hasher(suite_).of(bytes), .bytes = static_cast<i64>(bytes.size())};
}

AccountRef budget_sink_account() {
  static const AccountRef account = ledger::id_from_name("budget/sink");
  return account;
}

}  // namespace tg::gateway
