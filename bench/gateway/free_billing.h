// Metering off: every hold is granted in full and nothing is kept, on a thread as the cashier's is.
#pragma once

#include <memory>
#include <thread>

#include "gateway/billing.h"

namespace tg::bench {

class FreeBilling {
 public:
  FreeBilling();
  ~FreeBilling();
  gateway::Billing billing() const { return gateway::Billing(inbox_); }

 private:
  void run();
  void obey(gateway::BillingCommand& command);

  u128 hold_next_ = 0;
  std::shared_ptr<Mailbox<gateway::BillingCommand>> inbox_;
  std::thread thread_;
};

}  // namespace tg::bench
