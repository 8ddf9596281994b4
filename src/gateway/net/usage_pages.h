// What an account has used: reports, and its meters live.
#pragma once

#include <memory>
#include <string>

#include "gateway/net/completions.h"

namespace tg::gateway {

// GET /v1/usage?start=..&end=..&bucket=..&group_by=..&format=json|csv|focus (usage_book.h).
awaitable<Served> serve_usage(GatewayState* state, std::string target, KeyInfo key);

// GET /v1/usage/stream: server-sent events, one reading a second, until the client goes.
awaitable<Served> stream_meters(GatewayState* state, std::shared_ptr<Connection> connection,
                                bool is_chunked, KeyInfo key);

}  // namespace tg::gateway
