// The life of a completion request: prepare, hold, submit, deliver, settle, reply. See README.md
// for the order and why.
#pragma once

#include <memory>
#include <optional>

#include "gateway/chat_request.h"
#include "gateway/http.h"
#include "gateway/keys.h"
#include "gateway/net/gateway_state.h"

namespace tg::gateway {

struct Served {
  std::optional<HttpResponse> response;  // To be written; none if it was streamed already.
  bool keep_alive = true;
};

// Holds opened on the way are closed when it ends.
awaitable<Served> serve_completion(GatewayState* state, std::shared_ptr<Connection> connection,
                                   HttpRequest request, Api api, KeyInfo key);

}  // namespace tg::gateway
