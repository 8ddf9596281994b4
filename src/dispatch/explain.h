// Why a request went where it went: the header that travels with the answer, and for a dry run
// every supplier with its forecast or the reason why it was left out.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dispatch/choose.h"

namespace tg::dispatch {

struct Candidate {
  u32 supplier = kNobody;
  Excluded excluded = Excluded::kNo;
  Forecast forecast;  // if it was not
};

struct Explanation {
  Policy policy = Policy::kPredicted;
  Choice choice;
  std::vector<Candidate> candidates;  // by supplier
};

// Decides and keeps all of it: for dry runs.
Explanation explain(Policy policy, const RouteRequest& request, const PoolView& pool,
                    const CachedPrefix& cached, const RouteSettings& settings,
                    const Moment& moment);

// One line for `x-tokengrid-route`: "supplier=a; policy=predicted; ttft_ms=12; ..." Names by
// supplier index; names are cut to printable ASCII without ';'.
std::string route_header(Policy policy, const Choice& choice, std::span<const std::string> names);
// One JSON object.
std::string to_json(const Explanation& explanation, std::span<const std::string> names);

}  // namespace tg::dispatch
