#include "gateway/billing.h"

#include <utility>

#include "ledger/id.h"

namespace tg::gateway {

Billing::Billing(std::shared_ptr<Mailbox<BillingCommand>> inbox) : inbox_(std::move(inbox)) {
  TG_ASSERT(inbox_ != nullptr);
}

AccountRef budget_sink_account() {
  static const AccountRef account = ledger::id_from_name("budget/sink");
  return account;
}

}  // namespace tg::gateway
