// Receipts: one canonical text, arithmetic that a buyer repeats, registers, and the outcome table.
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "meter/receipt_testing.h"

namespace tg::meter {
namespace {

void expect_one_encoding(const std::string& text, bool (*parses)(std::string_view)) {
  EXPECT_TRUE(parses(text)) << text;
  for (std::size_t i = 0; i < text.size(); ++i) EXPECT_FALSE(parses(text.substr(0, i))) << i;
  EXPECT_FALSE(parses(text + "\n"));
  for (const char* field : {" in=", " amount=", " steps=", " ppm="}) {
    std::string changed = text;
    changed.insert(changed.find(field) + std::string_view(field).size(), "0");
    EXPECT_FALSE(parses(changed)) << field;
  }
  for (const char* field : {"\nrequest ", " out=", "\nbilled "}) {
    std::string changed = text;
    changed.insert(changed.find(field) + 1, " ");
    EXPECT_FALSE(parses(changed)) << field;
  }
}

TEST(Receipt, EveryFormHasOneEncoding) {
  auto receipt = [](std::string_view text) { return parse_receipt(text).ok(); };
  auto draft = [](std::string_view text) { return parse_draft(text).ok(); };
  expect_one_encoding(to_text(sample_version_1()), receipt);
  expect_one_encoding(to_text(sample_page()), receipt);
  expect_one_encoding(to_text(sample_page_3()), receipt);
  expect_one_encoding(to_text(sample_draft()), draft);
  expect_one_encoding(to_text(sample_draft({}, tlog::Suite::kEd25519Sha256, 2)), draft);
  EXPECT_FALSE(draft(to_text(sample_page()))) << "a page is no draft";
  EXPECT_FALSE(receipt(to_text(sample_draft()))) << "nor a draft a page";
}

TEST(Receipt, RoundTripsThroughItsText) {
  for (const Receipt& r : {sample_version_1(), sample_page(), sample_page_3()}) {
    std::string text = to_text(r);
    Receipt back = parse_receipt(text).value();
    EXPECT_EQ(to_text(back), text);
    EXPECT_EQ(back.time, r.time);
    EXPECT_EQ(back.version, r.version);
    EXPECT_EQ(back.end, r.end);
  }
  std::string wrong = to_text(sample_version_1());
  wrong.replace(wrong.find("COMPLETED"), 9, "completed");
  EXPECT_EQ(parse_receipt(wrong).error().message, "receipt: line 9 is not a valid 'outcome' line");
}

// Bytes that were signed before there was a log: they parse and print the same forever.
TEST(Receipt, Version1TextIsWhatItWas) {
  constexpr std::string_view kText =
      "tokengrid-receipt/1\n"
      "log grid.example/2026\n"
      "meter gw-1 device=cpu_avx512\n"
      "request 00000000000000000000000190a1f0c3 buyer=00000000000000000000000000000007 "
      "seller=00000000000000000000000000000016\n"
      "model tiny program=sha256:9f04e10c95a2ae1dffe04ab1af0e1a4b1e1b8bb9ef1f6b4f3a5c4a2f5ed0c2a1\n"
      "tables st=1 tariff=list/1 ppm=418000\n"
      "time 2026-01-01T00:00:00.120Z\n"
      "reading in=1834 cached=512 out=612,3\n"
      "outcome COMPLETED\n"
      "work nominal_nst=1 input_nst=2 output_nst=3 billable_nst=4 actual_nst=5\n"
      "timing steps=6 device_us=7 queue_us=8 ttft_us=9 total_us=10\n"
      "hold 00000000000000000000000000000009 amount=3000000000\n"
      "billed 11 post=0000000000000000000000000000000a\n";
  Receipt r = parse_receipt(kText).value();
  EXPECT_EQ(r.version, 1);
  EXPECT_EQ(to_text(r), kText);
}

TEST(Receipt, Version2TextIsWhatItWas) {
  constexpr std::string_view kHead =
      "tokengrid-receipt/2\n"
      "log grid.example/2026 suite=ed25519-sha256\n"
      "meter gw-1 device=cpu_avx512 page=7 nonce=000102030405060708090a0b0c0d0e0f\n";
  constexpr std::string_view kDraftHead =
      "tokengrid-draft/2\n"
      "log suite=ed25519-sha256\n"
      "meter device=cpu_avx512\n";
  constexpr std::string_view kProduct =
      "request 00000000000000000000000190a1f0c3 buyer=00000000000000000000000000000007 "
      "seller=00000000000000000000000000000016\n"
      "model tiny program=sha256:9f04e10c95a2ae1dffe04ab1af0e1a4b1e1b8bb9ef1f6b4f3a5c4a2f5ed0c2a1\n"
      "tables st=1 tariff=list/1 ppm=418000\n"
      "time 2026-01-01T00:00:00.120Z\n";
  constexpr std::string_view kRegisters =
      "begin nominal_nst=1 billed=2 in=3 cached=4 out=5\n"
      "end nominal_nst=2 billed=13 in=1837 cached=516 out=620\n";
  constexpr std::string_view kRest =
      "reading in=1834 cached=512 out=612,3\n"
      "outcome COMPLETED\n"
      "work nominal_nst=1 input_nst=2 output_nst=3 billable_nst=4 actual_nst=5\n"
      "timing steps=6 device_us=7 queue_us=8 ttft_us=9 total_us=10\n"
      "hold 00000000000000000000000000000009 amount=3000000000\n"
      "billed 11 post=0000000000000000000000000000000a\n"
      "bind in=- bytes=0 out=- bytes=0\n";
  auto joined = [](std::initializer_list<std::string_view> parts) {
    std::string out;
    for (std::string_view part : parts) out += part;
    return out;
  };
  std::string page = joined({kHead, kProduct, kRegisters, kRest});
  Receipt r = parse_receipt(page).value();
  EXPECT_EQ(r.version, 2);
  EXPECT_EQ(to_text(r), page);
  EXPECT_TRUE(check_registers(r).ok());
  std::string salt = "salt " + std::string(64, 'a') + "\n";
  std::string draft = joined({kDraftHead, kProduct, kRest, salt});
  EXPECT_EQ(to_text(parse_draft(draft).value()), draft);
}

// What was paid under version 3: every figure of the bill follows from the readings and the prices.
TEST(Receipt, Version3ArithmeticNamesWhatDiffers) {
  Receipt good = sample_page_3();
  Status status = check_arithmetic(good, sample_cost());
  ASSERT_TRUE(status.ok()) << status.error().message;
  auto fails = [&](auto change, const char* with) {
    Receipt bad = good;
    change(bad);
    Status bad_status = check_arithmetic(bad, sample_cost());
    ASSERT_FALSE(bad_status.ok()) << with;
    EXPECT_NE(bad_status.error().message.find(with), std::string::npos)
        << bad_status.error().message;
  };
  fails([](Receipt& r) { r.billed += 1; }, "billed is");
  fails([](Receipt& r) { r.paid[1].amount -= 1; }, "billed is");
  fails([](Receipt& r) { r.paid[1].amount = INT64_MAX; }, "too large");
  fails([](Receipt& r) { r.reasoning_tokens += 100; }, "billed is");
  fails([](Receipt& r) { r.written_tokens += 1'000; }, "billed is");
  fails([](Receipt& r) { r.pricing.segments[1].output_from += 20; }, "billed is");
  fails([](Receipt& r) { r.pricing.segments[0].prices[RatedClass::kWork] += 1'000'000'000'000; },
        "billed is");
  fails([](Receipt& r) { r.max_cost = r.held - 1; }, "above max_cost");
  fails([](Receipt& r) { r.cached_tokens = r.prompt_tokens; }, "nominal_nst is");
  fails([](Receipt& r) { r.is_embedding = true; }, "nominal_nst is");
}

TEST(Receipt, AnEmbeddingIsPrefillAlone) {
  Receipt r = sample_page_3();
  r.is_embedding = true;
  r.output_tokens = {1};
  r.reasoning_tokens = 0;
  r.pricing.segments.resize(1);
  unit::NominalWork work =
      unit::nominal_work(
          sample_cost(),
          {.prompt = r.prompt_tokens, .cached = r.cached_tokens, .outputs = {}, .embedding = true})
          .value();
  r.nominal_nst = r.input_nst = r.billable_nst = work.total.value;
  r.output_nst = 0;
  r.billed = charge_of(r, sample_cost()).value();
  EXPECT_GT(r.billed, 0);
  r.paid = {{.account = 33, .amount = r.billed}};
  Status status = check_arithmetic(r, sample_cost());
  EXPECT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(output_tokens(r), 0);
  r.output_tokens = {0};  // No vector, no bill.
  EXPECT_EQ(charge_of(r, sample_cost()).value(), 0);
}

TEST(Receipt, ArithmeticNamesWhatDiffers) {
  Receipt good = sample_page();
  EXPECT_TRUE(check_arithmetic(good, sample_cost()).ok());
  struct Case {
    i64 Receipt::*field;
    const char* name;
  };
  for (Case c :
       {Case{&Receipt::nominal_nst, "nominal_nst"}, Case{&Receipt::input_nst, "input_nst"},
        Case{&Receipt::output_nst, "output_nst"}, Case{&Receipt::billable_nst, "billable_nst"},
        Case{&Receipt::billed, "billed"}, Case{&Receipt::prompt_tokens, "nominal_nst"}}) {
    Receipt bad = good;
    bad.*c.field += 1;
    Status status = check_arithmetic(bad, sample_cost());
    ASSERT_FALSE(status.ok()) << c.name;
    EXPECT_NE(status.error().message.find(c.name), std::string::npos) << status.error().message;
  }
}

TEST(Receipt, RegistersAreTheSumOfPages) {
  Receipt first = sample_page();
  EXPECT_TRUE(check_registers(first).ok());
  struct Case {
    u128 Registers::*field;
  };
  for (Case c :
       {Case{&Registers::nominal_nst}, Case{&Registers::billed}, Case{&Registers::prompt_tokens},
        Case{&Registers::cached_tokens}, Case{&Registers::output_tokens}}) {
    Receipt bad = first;
    bad.end.*c.field += 1;
    EXPECT_FALSE(check_registers(bad).ok());
    bad.begin.*c.field += 1;
    EXPECT_FALSE(check_registers(bad).ok()) << "page 1 begins at zero";
    bad.page = 2;
    EXPECT_TRUE(check_registers(bad).ok()) << "page 2 need not";
    EXPECT_FALSE(check_continuity(first, bad).ok()) << "but must begin where page 1 ended";
    Receipt next = first;
    next.page = 2;
    next.begin = first.end;
    next.end = advance(next.begin, next).value();
    EXPECT_TRUE(check_continuity(first, next).ok());
    EXPECT_FALSE(check_continuity(next, first).ok());
    next.page = 9;
    EXPECT_TRUE(check_continuity(first, next).ok());
    next.begin.*c.field += 5;
    EXPECT_TRUE(check_continuity(first, next).ok()) << "others came in between";
    next.begin.*c.field -= 6;
    EXPECT_FALSE(check_continuity(first, next).ok()) << "registers never shrink";
  }
  Registers full;
  full.billed = ~u128{0};
  EXPECT_FALSE(advance(full, first).has_value());
}

TEST(Receipt, BillsAtMostTheHold) {
  EXPECT_EQ(billed_amount(1'000, 1'500'000, 10'000), 1'500);
  EXPECT_EQ(billed_amount(1'000, 1'500'000, 1'200), 1'200);
  EXPECT_EQ(billed_amount(3, 500'000, 10), 1);
}

TEST(Outcome, TableOfWhatIsBilled) {
  unit::NominalWork work{unit::NanoSt(100), unit::NanoSt(60), unit::NanoSt(40)};
  struct Case {
    Outcome outcome;
    i64 none;
    i64 some;
  };
  for (Case c : {Case{Outcome::kCompleted, 0, 100}, Case{Outcome::kLength, 0, 100},
                 Case{Outcome::kBudget, 0, 100}, Case{Outcome::kBuyerAbort, 0, 100},
                 Case{Outcome::kSellerFault, 0, 40}, Case{Outcome::kPreempted, 0, 100},
                 Case{Outcome::kEmpty, 0, 0}, Case{Outcome::kRejected, 0, 0},
                 Case{Outcome::kExpired, 0, 0}}) {
    EXPECT_EQ(billable(c.outcome, work, 0).value, c.none) << name(c.outcome);
    EXPECT_EQ(billable(c.outcome, work, 5).value, c.some) << name(c.outcome);
    EXPECT_EQ(outcome_by_name(name(c.outcome)), c.outcome);
  }
}

TEST(Receipt, NamesAreMadeSafe) {
  EXPECT_EQ(receipt_name("my model\n"), "my_model_");
  EXPECT_EQ(receipt_name(""), "_");
}

}  // namespace
}  // namespace tg::meter
