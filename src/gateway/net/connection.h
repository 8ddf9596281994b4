// One client connection from accept to close: read a request within limits, answer it, again.
#pragma once

#include <memory>

#include "gateway/net/gateway_state.h"

namespace tg::gateway {

awaitable<void> serve_connection(GatewayState* state, std::shared_ptr<Connection> connection);

}  // namespace tg::gateway
