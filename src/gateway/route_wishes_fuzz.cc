// What a request wishes of routing and funds, as headers and as the body's "tokengrid" object, from
// any bytes: a value within its bounds, or a 400 that says what is wrong in valid JSON.
#include "base/assert.h"
#include "base/bytes.h"
#include "gateway/funds_terms.h"
#include "gateway/route_wishes.h"

namespace tg::gateway {
namespace {

constexpr std::string_view kNames[] = {"max-price", "ttft-ms", "tpot-ms", "energy-weight",
                                       "allow",     "deny",    "zone",    "receipt-id"};

void check(const ApiError& error) {
  TG_ASSERT(error.status == 400 && !error.message.empty());
  TG_ASSERT(is_utf8(error_json(error)));
}

// Lines of the input are headers: the first byte of each chooses its name.
std::vector<std::pair<std::string, std::string>> headers_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!text.empty() && out.size() < 32) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    std::size_t name = static_cast<unsigned char>(line[0]) % std::size(kNames);
    out.emplace_back(kNames[name], line.substr(1));
  }
  return out;
}

void check_wishes(RouteHeaders headers, std::string_view body) {
  ApiResult<RouteRequest> read = read_route_wishes(headers, body);
  if (const ApiError* error = std::get_if<ApiError>(&read)) return check(*error);
  const RouteRequest& route = std::get<RouteRequest>(read);
  TG_ASSERT(route.ttft_target_ns >= 0 && route.wishes.tpot_target_ns >= 0);
  TG_ASSERT(route.wishes.price_max_ucredit >= 0 && route.wishes.energy_weight >= 0);
}

void check_funds(std::string_view text) {
  Result<MaxCost> cost = parse_max_cost(text);
  if (cost.ok()) TG_ASSERT(cost->nano >= 0);
  for (std::string FundsHeaders::*field :
       {&FundsHeaders::max_cost, &FundsHeaders::hold, &FundsHeaders::quote}) {
    FundsHeaders headers;
    headers.*field = std::string(text);
    FundsTerms terms;
    if (Problem problem = read_funds_headers(headers, terms)) check(*problem);
  }
  dom::parser parser;
  dom::object body;
  if (parse_object(parser, text, body)) return;
  for (dom::key_value_pair field : body) {
    FundsTerms terms;
    if (Problem problem = read_funds_object(field.key, field.value, terms)) check(*problem);
  }
}

}  // namespace
}  // namespace tg::gateway

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace tg::gateway;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check_wishes(headers_of(text), "{}");
  check_wishes({}, text);
  check_funds(text);
  return 0;
}
