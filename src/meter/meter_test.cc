// Receipts: one canonical text, signatures, arithmetic that a buyer repeats, and the outcome table.
#include <gtest/gtest.h>

#include <array>

#include "base/bytes.h"
#include "meter/receipt.h"
#include "meter/signer.h"

namespace tg::meter {
namespace {

unit::CostMatrix small_cost() {
  unit::CostMatrix cost;
  cost.per_token[unit::kMmF16] = 2'000'000;
  cost.per_row[unit::kMmF16] = 500'000;
  cost.per_pass[unit::kWBytes] = 2'000'000;
  cost.head_bytes = 500'000;
  cost.windows = {{0, 4096, 0, 256}};
  return cost;
}

Receipt sample(Outcome outcome = Outcome::kCompleted) {
  Receipt r;
  r.log = "grid.example/2026";
  r.meter = "gw-1";
  r.device = "cpu_avx512";
  r.request = 0x0190a1f0c3;
  r.buyer = 7;
  r.seller = 22;
  r.model = "tiny";
  r.program = sha256("program");
  r.tariff = "list/1";
  r.factor_ppm = 418'000;
  r.time = Timestamp{1'767'225'600'120'000'000};
  r.prompt_tokens = 1834;
  r.cached_tokens = 512;
  r.output_tokens = {612, 3};
  r.outcome = outcome;
  unit::NominalWork work =
      unit::nominal_work(small_cost(), {.prompt = 1834, .cached = 512, .outputs = r.output_tokens})
          .value();
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = billable(outcome, work, 615).value;
  r.held = 3'000'000'000;
  r.billed = billed_amount(r.billable_nst, r.factor_ppm, r.held);
  r.hold = 9;
  r.post = r.billed > 0 ? 10 : 0;
  return r;
}

Signer signer() {
  std::array<u8, 32> seed{};
  seed[0] = 1;
  return Signer::create("gw-1", seed).value();
}

TEST(Receipt, RoundTripsThroughItsText) {
  std::string text = to_text(sample());
  Result<Receipt> back = parse_receipt(text);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(to_text(*back), text);
  EXPECT_EQ(back->time, sample().time);
}

TEST(Receipt, AcceptsOneEncodingOnly) {
  std::string text = to_text(sample());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string cut = text.substr(0, i);
    EXPECT_FALSE(parse_receipt(cut).ok()) << i;
  }
  EXPECT_FALSE(parse_receipt(text + "\n").ok());
  std::string zero = text;
  zero.replace(zero.find("in=1834"), 7, "in=01834");
  EXPECT_FALSE(parse_receipt(zero).ok());
  std::string upper = text;
  upper.replace(upper.find("COMPLETED"), 9, "completed");
  EXPECT_EQ(parse_receipt(upper).error().message, "receipt: line 9 is not a valid 'outcome' line");
}

TEST(Receipt, EverySingleBitChangeFailsVerification) {
  // I-24.
  Signer key = signer();
  std::string note = key.sign(to_text(sample()));
  ASSERT_TRUE(verify_note(parse_note(note).value(), key.public_key()));
  for (std::size_t i = 0; i < note.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = note;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      Result<Note> parsed = parse_note(changed);
      EXPECT_FALSE(parsed.ok() && verify_note(*parsed, key.public_key())) << i << "." << bit;
    }
  }
}

TEST(Receipt, ArithmeticNamesWhatDiffers) {
  Receipt good = sample();
  EXPECT_TRUE(check_arithmetic(good, small_cost()).ok());
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
    Status status = check_arithmetic(bad, small_cost());
    ASSERT_FALSE(status.ok()) << c.name;
    EXPECT_NE(status.error().message.find(c.name), std::string::npos) << status.error().message;
  }
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

TEST(Signer, Rfc8032KeyAndVerifierKeyRoundTrip) {
  // RFC 8032, test 1: the seed's public key.
  std::vector<u8> seed =
      from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").value();
  Signer key = Signer::create("rfc", seed).value();
  EXPECT_EQ(to_hex(key.public_key()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  std::string text = verifier_key("rfc", key.public_key());
  EXPECT_EQ(parse_verifier_key(text)->key, key.public_key());
  EXPECT_FALSE(parse_verifier_key(text.substr(0, text.size() - 4)).ok());
  EXPECT_FALSE(Signer::create("two words", seed).ok());
  EXPECT_FALSE(Signer::create("short", std::span<const u8>(seed).first(31)).ok());
}

TEST(Receipt, NamesAreMadeSafe) {
  EXPECT_EQ(receipt_name("my model\n"), "my_model_");
  EXPECT_EQ(receipt_name(""), "_");
}

}  // namespace
}  // namespace tg::meter
