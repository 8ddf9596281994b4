#include "market/rating/rate_card.h"

#include <gtest/gtest.h>

namespace tg::market {
namespace {

constexpr std::string_view kExample = R"(
name = "list"
version = 3
unit = "ucredit"
valid_from = 1767225600

[[rule]]                       # long prompts of one model
model = "gemini-2.5-pro"
input_from = 200_001
price = { uncached_input = "2.5", cached_input = "0.625", output = "15", reasoning = "15" }

[[rule]]                       # nights and weekends
model = "gemini-*"
days = ["mon", "tue", "wed", "thu", "fri"]
hours = "22:00-06:00"
price = { uncached_input = 600_000, output = "5" }

[[rule]]
price = { uncached_input = "1.25", output = "10", work = "2" }
)";

// 2026-11-20 was a Friday.
constexpr i64 kFridayMidnightS = 1'795'132'800;
Timestamp friday(i64 hour, i64 minute = 0) {
  return Timestamp{(kFridayMidnightS + hour * 3600 + minute * 60) * 1'000'000'000};
}

RateCard example() {
  Result<RateCard> card = parse_rate_card_toml(kExample, "rates.toml");
  EXPECT_TRUE(card.ok()) << (card.ok() ? "" : card.error().message);
  return card.ok() ? *card : RateCard{};
}

i64 rule_number(const RateCard& card, const RateQuery& query) {
  const RateRule* rule = find_rule(card, query);
  return rule == nullptr ? 0 : rule - card.rules.data() + 1;
}

TEST(RateCard, FirstMatchingRuleWins) {
  RateCard card = example();
  ASSERT_EQ(card.rules.size(), 3u);
  struct Case {
    RateQuery query;
    i64 rule;
  };
  const Case cases[] = {
      {{.model = "gemini-2.5-pro", .at = friday(12), .input_tokens = 200'001}, 1},
      {{.model = "gemini-2.5-pro", .at = friday(12), .input_tokens = 200'000}, 3},
      {{.model = "gemini-2.5-pro", .at = friday(22), .input_tokens = 200'000}, 2},
      {{.model = "gemini-2.5-pro", .at = friday(21, 59)}, 3},
      {{.model = "gemini-2.5-pro", .at = friday(24 + 5, 59)}, 2},  // Began on Friday.
      {{.model = "gemini-2.5-pro", .at = friday(24 + 6)}, 3},
      {{.model = "gemini-2.5-pro", .at = friday(24 + 22)}, 3},      // Saturday.
      {{.model = "gemini-2.5-pro", .at = friday(48 + 24 + 1)}, 3},  // Monday's small hours: Sunday.
      {{.model = "gemini-2.5-pro", .at = friday(48 + 48 + 1)}, 2},
      {{.model = "gemini", .at = friday(23)}, 3},
      {{.model = "other", .at = Timestamp{0}}, 0},  // Not yet valid.
  };
  for (const Case& c : cases)
    EXPECT_EQ(rule_number(card, c.query), c.rule) << c.query.model << " " << to_rfc3339(c.query.at);
}

TEST(RateCard, PricesAreExactDecimals) {
  RateCard card = example();
  EXPECT_EQ(card.rules[0].prices[RatedClass::kUncachedInput], 2'500'000);
  EXPECT_EQ(card.rules[0].prices[RatedClass::kCachedInput], 625'000);
  EXPECT_EQ(card.rules[1].prices[RatedClass::kUncachedInput], 600'000);
  EXPECT_EQ(card.rules[2].prices[RatedClass::kWork], 2'000'000);
}

// Public bug, gateways.md §4 (LiteLLM PR #40002): a request above 272k tokens was reserved at the
// lower tier's price. Hold and capture ask the same function with the same prompt (I-16).
TEST(Regression, HoldAndCaptureUseTheSameTier) {
  RateCard card = example();
  RateQuery query{.model = "gemini-2.5-pro", .at = friday(12), .input_tokens = 272'000};
  const RateRule* at_hold = find_rule(card, query);
  query.at = friday(12, 14);
  EXPECT_EQ(at_hold, find_rule(card, query));
  EXPECT_EQ(at_hold, &card.rules[0]);
}

TEST(RateCard, CanonicalTextIsOneEncoding) {
  RateCard card = example();
  std::string text = to_text(card);
  Result<RateCard> again = parse_rate_card(text);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(to_text(*again), text);
  EXPECT_EQ(digest(*again), digest(card));
  EXPECT_NE(rate_reference(card), 0u);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    Result<RateCard> parsed = parse_rate_card(damaged);
    if (parsed.ok()) {
      EXPECT_NE(digest(*parsed), digest(card)) << "byte " << i;
    }
  }
}

TEST(RateCard, CanonicalTextStaysAsVersionOneWroteIt) {
  RateCard card = example();
  card.rules.resize(1);
  EXPECT_EQ(to_text(card),
            "tokengrid-rates/1\nname list\nversion 3\nunit ucredit\nvalid_from 1767225600\n"
            "rule model=gemini-2.5-pro class=* zone=* days=127 from=0 to=1440 input_from=200001 "
            "uncached_input=2500000 cached_input=625000 cache_write=0 output=15000000 "
            "reasoning=15000000 residency_device=0 residency_host=0 residency_disk=0 work=0\n");
}

TEST(RateCard, CanonicalTextErrorsNameTheLine) {
  std::string text = to_text(example());
  std::size_t at = text.find("input_from=200001");
  std::string damaged = text;
  damaged.replace(at, 17, "input_from=20000x");
  EXPECT_EQ(parse_rate_card(damaged).error().message, "rates: line 6: input_from is '20000x'");
  damaged = text;
  damaged.replace(text.find("version 3"), 9, "version 03");
  EXPECT_EQ(parse_rate_card(damaged).error().message, "rates: not in canonical form");
  EXPECT_FALSE(parse_rate_card(text.substr(0, text.size() - 1)).ok());
  EXPECT_FALSE(parse_rate_card(text + "\n").ok());
}

TEST(RateCard, TomlErrorsNameLineFieldAndValue) {
  struct Case {
    const char* toml;
    const char* message;
  };
  const Case cases[] = {
      {"name = 3\n", "r.toml, line 1: name must be a string"},
      {"version = 0\n", "r.toml, line 1: version is 0, not within 1..9223372036854775807"},
      {"\nunit = \"usd\"\n", "r.toml, line 2: unit is \"usd\", not \"ucredit\" or \"nano_st\""},
      {"nome = \"x\"\n", "r.toml, line 1: nome is no field of a rate card"},
      {"[[rule]]\nmodl = \"x\"\n", "r.toml, line 2: modl is no field of a rule"},
      {"[[rule]]\nmodel = \"x\"\n", "r.toml, line 1: rule 1 has no price"},
      {"[[rule]]\nprice = { outptu = 1 }\n", "r.toml, line 2: price.outptu is no class of use"},
      {"[[rule]]\nprice = { output = -1 }\n",
       "r.toml, line 2: price.output is -1, not within 0..9223372036854775807"},
      {"[[rule]]\nprice = { output = 0.5 }\n",
       "r.toml, line 2: price.output must be a whole number or a decimal in quotes"},
      {"[[rule]]\nprice = { output = \"0.0000001\" }\n",
       "r.toml, line 2: price.output is \"0.0000001\", not a decimal of at most 6 places in range"},
      {"[[rule]]\nprice = { output = \"-0\" }\n",
       "r.toml, line 2: price.output is \"-0\", not a decimal of at most 6 places in range"},
      {"[[rule]]\nprice = { residency_host = 1000000000000001 }\n",
       "r.toml, line 2: price has a price of residency_host is 1000000000000001, above "
       "1000000000000000"},
      {"[[rule]]\nhours = \"08:10-20:00\"\nprice = { output = 1 }\n",
       "r.toml, line 2: hours is \"08:10-20:00\", not HH:MM-HH:MM (UTC) on different quarter "
       "hours"},
      {"[[rule]]\ndays = [\"monday\"]\nprice = { output = 1 }\n",
       "r.toml, line 2: days has 'monday', not mon to sun"},
      {"version = 1\n[[rule]]\nprice = { output = 1 }\n", "r.toml: rates: name is ''"},
      {"name = \"a b\"\nversion = 1\n[[rule]]\nprice = { output = 1 }\n",
       "r.toml: rates: name is 'a b'"},
      {"name = \"a\"\nversion = 1\n", "r.toml: rates: 0 rules, not within 1..4096"},
  };
  for (const Case& c : cases) {
    Result<RateCard> card = parse_rate_card_toml(c.toml, "r.toml");
    ASSERT_FALSE(card.ok()) << c.toml;
    EXPECT_EQ(card.error().message, c.message);
  }
  EXPECT_FALSE(parse_rate_card_toml("[[rule", "r.toml").ok());
}

TEST(RateCard, PricesAreLockedToTheNextQuarterHour) {
  EXPECT_EQ(price_locked_until(friday(12)), friday(12, 15));
  EXPECT_EQ(price_locked_until(Timestamp{friday(12, 15).ns - 1}), friday(12, 15));
  EXPECT_EQ(price_locked_until(friday(23, 45)), friday(24));
}

}  // namespace
}  // namespace tg::market
