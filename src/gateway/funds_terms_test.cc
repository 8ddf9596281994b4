// What may be said about what a request may cost.
#include "gateway/funds_terms.h"

#include <gtest/gtest.h>

namespace tg::gateway {
namespace {

TEST(FundsTerms, AmountsAreDecimalsWithAUnit) {
  struct Case {
    const char* text;
    i64 nano;
    MaxCost::Unit unit;
  };
  using Unit = MaxCost::Unit;
  for (Case c : {Case{"0", 0, Unit::kOwn}, Case{"12.5", 12'500'000'000, Unit::kOwn},
                 Case{"12.5 ST", 12'500'000'000, Unit::kStandard},
                 Case{"0.000000001 credit", 1, Unit::kCredit},
                 Case{"9223372036.854775807", INT64_MAX, Unit::kOwn}}) {
    Result<MaxCost> got = parse_max_cost(c.text);
    ASSERT_TRUE(got.ok()) << c.text;
    EXPECT_EQ(got->nano, c.nano) << c.text;
    EXPECT_EQ(got->unit, c.unit) << c.text;
  }
  for (const char* text : {"", " ", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000000001", "1 st",
                           "1  ST", "1 ST ", "9223372036.854775808", "99999999999", "x"})
    EXPECT_FALSE(parse_max_cost(text).ok()) << text;
}

FundsTerms of_body(std::string_view json, bool is_good = true) {
  dom::parser parser;
  dom::element value;
  EXPECT_EQ(parser.parse(json.data(), json.size()).get(value), simdjson::SUCCESS);
  FundsTerms out;
  Problem problem = read_funds_object("tokengrid", value, out);
  EXPECT_EQ(!problem.has_value(), is_good) << json << (problem ? problem->message : "");
  return out;
}

TEST(FundsTerms, TheBodySaysMoreThanTheHeaders) {
  FundsTerms terms = of_body(R"({"max_cost": "1.5 credit", "hold": "guaranteed", "quote": "q"})");
  EXPECT_EQ(terms.max_cost->nano, 1'500'000'000);
  EXPECT_EQ(terms.mode, market::HoldMode::kGuaranteed);
  FundsHeaders headers{.max_cost = "7", .hold = "best_effort", .quote = "r"};
  EXPECT_FALSE(read_funds_headers(headers, terms));
  EXPECT_EQ(terms.max_cost->nano, 1'500'000'000);
  EXPECT_EQ(terms.mode, market::HoldMode::kGuaranteed);
  EXPECT_EQ(terms.quote, "q");
  FundsTerms bare;
  EXPECT_FALSE(read_funds_headers(headers, bare));
  EXPECT_EQ(bare.max_cost->nano, 7'000'000'000);
  EXPECT_EQ(bare.mode, market::HoldMode::kBestEffort);
  EXPECT_EQ(bare.quote, "r");
  EXPECT_EQ(of_body(R"({"max_cost": 3})").max_cost->nano, 3'000'000'000);
}

TEST(FundsTerms, WhatIsNotKnownIsRefusedByName) {
  for (const char* json :
       {R"({"max_cost": 1.5})", R"({"max_cost": "a lot"})", R"({"hold": "loose"})", R"("1")"})
    of_body(json, false);
  FundsTerms out;
  Problem problem = read_funds_headers({.max_cost = "much"}, out);
  ASSERT_TRUE(problem.has_value());
  EXPECT_NE(problem->message.find("x-tokengrid-max-cost"), std::string::npos);
}

}  // namespace
}  // namespace tg::gateway
