#include "gateway/route_wishes.h"

#include <gtest/gtest.h>

namespace tg::gateway {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

std::string refusal_of(const Headers& headers, std::string_view body) {
  ApiResult<RouteRequest> read = read_route_wishes(headers, body);
  const ApiError* error = std::get_if<ApiError>(&read);
  return error == nullptr ? "" : error->message;
}

TEST(RouteWishes, FromHeadersAndBody) {
  Headers headers = {{"max-price", "0.25"}, {"ttft-ms", "300"},    {"allow", "a, b ,,c"},
                     {"deny", "d"},         {"zone", "west"},      {"receipt-id", "whatever"},
                     {"tpot-ms", "12.5"},   {"energy-weight", "3"}};
  RouteRequest route = std::get<RouteRequest>(read_route_wishes(headers, "{}"));
  EXPECT_EQ(route.wishes.price_max_ucredit, 250'000);
  EXPECT_EQ(route.ttft_target_ns, 300'000'000);
  EXPECT_EQ(route.wishes.tpot_target_ns, 12'500'000);
  EXPECT_EQ(route.wishes.energy_weight, 3);
  EXPECT_EQ(route.wishes.zone, "west");
  EXPECT_EQ(route.wishes.allow, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(route.wishes.deny, (std::vector<std::string>{"d"}));
  const char* body =
      R"({"model":"m","tokengrid":{"max_price":0.25,"ttft_ms":300,"allow":["a","b","c"],)"
      R"("deny":"d","zone":"east","tpot_ms":12.5,"energy_weight":3}})";
  Headers zone = {{"zone", "west"}};
  EXPECT_EQ(std::get<RouteRequest>(read_route_wishes(zone, body)).wishes, route.wishes);
}

TEST(RouteWishes, RefusalsNameWhatIsWrong) {
  EXPECT_EQ(refusal_of({{"ttft-ms", "soon"}}, ""),
            "'x-tokengrid-ttft-ms' must be milliseconds above 0, not 'soon'");
  EXPECT_NE(refusal_of({{"max-price", "-1"}}, ""), "");
  EXPECT_NE(refusal_of({{"max-price", "nan"}}, ""), "");
  EXPECT_EQ(refusal_of({}, R"({"tokengrid":{"speed":1}})"), "'tokengrid.speed' is not known");
  EXPECT_EQ(refusal_of({}, R"({"tokengrid":[]})"), "'tokengrid' must be an object");
  EXPECT_NE(refusal_of({}, R"({"tokengrid":{"allow":[1]}})"), "");
  EXPECT_NE(refusal_of({}, R"({"tokengrid":{"allow":{}}})"), "");
  // Neither is ours.
  EXPECT_EQ(refusal_of({}, R"({"x":"\"tokengrid\""})"), "");
  EXPECT_EQ(refusal_of({}, R"({"tokengrid")"), "");
}

}  // namespace
}  // namespace tg::gateway
