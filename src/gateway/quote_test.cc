// A quote's text, its signature and its end.
#include "gateway/quote.h"

#include <gtest/gtest.h>

#include "gateway/testing/till_desk.h"

namespace tg::gateway {
namespace {

Quote sample() {
  Quote q;
  q.account = 7;
  q.model = "m";
  q.program = sha256("p");
  q.prompt_tokens = 100;
  q.output_tokens_max = 10;
  q.pricing = {.card = "r", .version = 1, .digest = sha256("card"), .segments = {{}}};
  q.pricing.segments[0].prices[meter::RatedClass::kOutput] = 5'000'000;
  q.maximum = 50;
  q.expires = Timestamp{30'000'000'000};
  return q;
}

tlog::NoteSigner signer(u8 seed) {
  return tlog::NoteSigner::create("meter-1", tlog::Suite::kEd25519Sha256, std::vector<u8>(32, seed))
      .value();
}

TEST(Quote, HasOneEncodingAndASignature) {
  std::string text = to_text(sample());
  EXPECT_EQ(to_text(parse_quote(text).value()), text);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] ^= 1;
    Result<Quote> parsed = parse_quote(changed);
    EXPECT_TRUE(!parsed.ok() || to_text(*parsed) == changed);
  }
  std::string token = sign(sample(), signer(1));
  EXPECT_TRUE(open_quote(token, signer(1).verifier(), Timestamp{30'000'000'000}).ok());
  EXPECT_EQ(open_quote(token, signer(1).verifier(), Timestamp{30'000'000'001}).error().message,
            "quote: it has expired");
  EXPECT_FALSE(open_quote(token, signer(2).verifier(), Timestamp{1}).ok());
  EXPECT_FALSE(open_quote(token + "A", signer(1).verifier(), Timestamp{1}).ok());
  EXPECT_FALSE(open_quote("", signer(1).verifier(), Timestamp{1}).ok());
}

// The price of a quarter hour is promised over its end.
TEST(Quote, ItsPricesHoldWhenTheTariffHasChanged) {
  DeskLedger ledger;
  ledger.grant(DeskLedger::kBuyer, 1'000'000);
  market::RateRule cheap;
  cheap.prices[market::RatedClass::kOutput] = 1'000'000;
  cheap.to_minute = 15;  // Of every day; the desk's day begins at midnight.
  market::RateRule dear = cheap;
  dear.prices[market::RatedClass::kOutput] = 9'000'000;
  dear.to_minute = market::kMinutesPerDay;
  market::RateCard card{.name = "r",
                        .version = 1,
                        .unit = market::RateUnit::kNanoStandard,
                        .valid_from_s = 0,
                        .rules = {cheap, dear}};
  TillOptions options;
  options.seller = DeskLedger::kSeller;
  options.contracts["m"] = {.device = "d", .model = "m"};
  options.rates = market::RateBook::make({card}).value();
  options.signer = signer(1);
  TillDesk desk(ledger, options);
  ledger.now.ns += 890'000'000'000;  // Ten seconds before a quarter past.
  QuoteRead ask{.account = DeskLedger::kBuyer, .model = "m"};
  ask.prompt_tokens = 100;
  ask.output_tokens_max = 10;
  ask.output_tokens_expected = 4;
  BillingReply quoted = desk.ask(ask);
  ASSERT_EQ(quoted.status, BillingReply::Status::kOk) << quoted.message;
  EXPECT_EQ(quoted.quote.expected, 4);
  EXPECT_EQ(quoted.quote.maximum, 10);
  ledger.now.ns += 20'000'000'000;
  HoldOpen open = desk.question(100, 10);
  BillingReply dearer = desk.ask(open);
  EXPECT_EQ(desk.close(dearer.hold, Outcome::kLength, 10).settlement.charged, 90);
  open = desk.question(100, 10);
  open.funds.quote = quoted.quote.token;
  BillingReply promised = desk.ask(open);
  ASSERT_EQ(promised.status, BillingReply::Status::kOk) << promised.message;
  EXPECT_EQ(desk.close(promised.hold, Outcome::kLength, 10).settlement.charged, 10);
  // Not for another request, and not for ever.
  open = desk.question(101, 10);
  open.funds.quote = quoted.quote.token;
  EXPECT_EQ(desk.ask(open).status, BillingReply::Status::kInvalid);
  ledger.now.ns += 20'000'000'000;
  open = desk.question(100, 10);
  open.funds.quote = quoted.quote.token;
  EXPECT_EQ(desk.ask(open).status, BillingReply::Status::kInvalid);
}

}  // namespace
}  // namespace tg::gateway
