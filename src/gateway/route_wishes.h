// What a client asks of routing, beside the API it speaks: x-tokengrid-* headers, or the member
// "tokengrid" of the body for clients that set no headers. Headers win.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "fleet/supplier.h"
#include "gateway/api_error.h"

namespace tg::gateway {

struct RouteRequest {
  fleet::RouteWishes wishes;
  i64 ttft_target_ns = 0;  // 0: no wish
};

// Headers by lower-case name without "x-tokengrid-".
using RouteHeaders = std::span<const std::pair<std::string, std::string>>;

// 400 names the header or field and its value. Names that are not known are ignored in headers,
// which may be meant for others, and refused in the body.
ApiResult<RouteRequest> read_route_wishes(RouteHeaders headers, std::string_view body);

}  // namespace tg::gateway
