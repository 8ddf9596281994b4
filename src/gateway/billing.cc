#include "gateway/billing.h"

#include <utility>

namespace tg::gateway {

Billing::Billing(std::shared_ptr<Mailbox<BillingCommand>> inbox) : inbox_(std::move(inbox)) {
  TG_ASSERT(inbox_ != nullptr);
}

}  // namespace tg::gateway
