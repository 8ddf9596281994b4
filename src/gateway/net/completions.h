// The life of a completion request: prepare, hold, submit, deliver, settle, reply. See README.md
// for the order and why.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "gateway/completion_request.h"
#include "gateway/http.h"
#include "gateway/keys.h"
#include "gateway/net/boxed.h"
#include "gateway/net/gateway_state.h"
#include "gateway/prompt.h"

namespace tg::gateway {

// What is to be written: a response, or a refusal in the API's own shape, or nothing if the reply
// was streamed already.
struct Served {
  Boxed<HttpResponse> response;
  Boxed<ApiError> error;
  bool keep_alive = true;
};

// Whether a request may be worked on now: content type, draining, requests open per key.
std::optional<ApiError> check_admission(const GatewayState& state, const HttpRequest& request,
                                        const KeyInfo& key);

// Above this, parsing, templating and tokenizing would hold up the loop for over a millisecond.
inline constexpr std::size_t kOffloadBytes = 16 * 1024;

PrepareOptions prepare_options(GatewayState& state);

// Awaits `work`, on a pool if one is given. What it uses must not change meanwhile.
template <typename T>
awaitable<T> maybe_elsewhere(asio::thread_pool* pool, awaitable<T> work) {
  if (pool != nullptr) {
    T result = co_await asio::co_spawn(*pool, std::move(work), asio::use_awaitable);
    co_return result;
  }
  T result = co_await std::move(work);
  co_return result;
}

// Holds opened on the way are closed when it ends. `once`: null without an idempotency key.
awaitable<Served> serve_completion(GatewayState* state, std::shared_ptr<Connection> connection,
                                   Boxed<HttpRequest> request, Api api, KeyInfo key,
                                   std::shared_ptr<Once> once);

// Looks from now on whether clients are still there whose requests have lasted for a few
// milliseconds; most end before. To be called every few milliseconds.
void watch_lasting(GatewayState& state);

// Where the completion in the body would go and why, as JSON; nothing runs.
awaitable<Served> explain_route(GatewayState* state, HttpRequest request, KeyInfo key);

}  // namespace tg::gateway
