// Work of others that the server's loop does on its own thread: billing's and the pools', so that
// no thread stands between them and the loop. What they have for the loop is delivered in the same
// turn, by mailboxes that nobody watches.
#pragma once

#include "gateway/net/gateway_state.h"

namespace tg::gateway {

// Borrows the work and does it until the loop ends; nothing if it cannot be had.
awaitable<void> tend(GatewayState* state, Tended* tended);
// After something was handed over: a turn behind whatever else the loop has now.
void turn_soon(GatewayState& state, Tended* tended);
// The loop has ended.
void give_back(GatewayState& state);

}  // namespace tg::gateway
