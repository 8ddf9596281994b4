// Between Asio and the mailboxes of other threads: pumps that wait on a mailbox's eventfd and hand
// each value to whoever waits for it, and "ask billing, await the answers".
#pragma once

#include <variant>
#include <vector>

#include "gateway/net/gateway_state.h"

namespace tg::gateway {

// Run until the loop ends.
awaitable<void> pump_supplier_events(GatewayState* state);
awaitable<void> pump_billing_replies(GatewayState* state);

// Hands out what work that is done on the loop has left for it.
void deliver_near(GatewayState& state);

// False if billing takes no more now. The command is given where its answer goes.
bool submit_to_billing(GatewayState& state, BillingCommand& command);

using BillingQuestion = decltype(BillingCommand::what);

enum class Patience : u8 {
  kLimited,  // ServerLimits::billing_ms
  kEndless,  // Until the server stops.
};

// Sends all questions, then waits for all answers, which come in the questions' order. A question
// that cannot be sent or is not answered in time gets kFailed; a HoldClose is sent however long it
// takes. A hold granted too late is closed as REJECTED.
awaitable<std::vector<BillingReply>> ask_billing(GatewayState* state,
                                                 std::vector<BillingQuestion> questions,
                                                 Patience patience = Patience::kLimited);

}  // namespace tg::gateway
