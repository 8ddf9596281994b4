// The admin API's way from a connection to admin/api.h and back.
#pragma once

#include "gateway/http.h"
#include "gateway/net/completions.h"

namespace tg::gateway {

ApiError bad_key(bool is_missing);

// 401 and 403 unless the key has the scope that the method needs. Changes are in force for the next
// request when it returns.
awaitable<Served> serve_admin(GatewayState* state, std::string request_id, HttpRequest request);

}  // namespace tg::gateway
