// What a completion request must pass before money is reserved for it: scopes, allow-lists, limits
// of four levels, its budgets' accounts, and its turn.
#pragma once

#include "gateway/net/admitted.h"
#include "gateway/net/exchange.h"
#include "gateway/net/gateway_state.h"

namespace tg::gateway {

std::optional<KeyInfo> authenticate(GatewayState& state, std::string_view credential);

// 403 naming what is missing: a scope, or a level that is suspended.
std::optional<ApiError> check_scope(const KeyInfo& key, Scope scope);
// 404 as for a model that is not there: an allow-list tells nothing about what else is served.
std::optional<ApiError> check_model(const KeyInfo& key, const ServedModel& model);

// Counts the request against its limits until the exchange ends; 429 with Retry-After names the
// level and the limit. Sets the connection's x-ratelimit-* headers either way. May lower max_tokens
// that the client did not name.
std::optional<ApiError> admit(GatewayState& state, Connection& connection, const KeyInfo& key,
                              Job& job, std::unique_ptr<Admission>& admission);

// Queues for the model; false if it must wait.
bool take_turn(GatewayState& state, Exchange& exchange);
// Until the model has room for it. Sets the exchange's error, or aborts it, if none came in time.
awaitable<void> wait_for_turn(GatewayState* state, std::shared_ptr<Exchange> exchange);

// The accounts of all budgets that the exchange counts against, if all are open; false if not.
bool take_budgets(GatewayState& state, Exchange& exchange);
// Opens those that are not; the exchange's error is set if that failed.
awaitable<void> open_budgets(GatewayState* state, std::shared_ptr<Exchange> exchange);

}  // namespace tg::gateway
