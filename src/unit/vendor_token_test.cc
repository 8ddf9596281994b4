// ST2, ST12, ST13: vendor tokens, yield and CPUT are exact ratios that add up.
#include "unit/vendor_token.h"

#include <gtest/gtest.h>

#include "unit/efficiency.h"

namespace tg::unit {
namespace {

// TG-R1 (ST1): all 16 bits.
CostMatrix reference_model() {
  constexpr u64 kLayers = 32, kWidth = 4'096, kKv = 1'024, kFfn = 14'336, kVocabulary = 32'000;
  constexpr u64 kBody = kLayers * (2 * kWidth * kWidth + 2 * kKv * kWidth + 3 * kFfn * kWidth);
  CostMatrix m;
  m.per_token[kMmF16] = 2 * kBody;
  m.per_token[kKvWr] = kLayers * kKv * 2 * 2;
  m.per_row[kMmF16] = 2 * kVocabulary * kWidth;
  m.per_pass[kWBytes] = 2 * kBody;
  m.head_bytes = 2 * kVocabulary * kWidth;
  m.windows = {{.window = 0,
                .attn_flops_per_pair = kLayers * 32 * 2 * 256,
                .kv_rd_bytes_per_key = kLayers * kKv * 4}};
  return m;
}

TEST(VendorToken, OutputOfTheReferenceModelIsOneSt) {
  Ratio rate =
      vendor_token(reference_model(), {.direction = Direction::kOutput, .context = 2'047}).value();
  EXPECT_EQ(to_decimal(rate, 6), "1.000000");
  EXPECT_NEAR(static_cast<f64>(to_nano_st(1'000'000, rate).value().value), 1e15, 1e9);
}

TEST(VendorToken, InputIsTheAverageOfAPrompt) {
  CostMatrix m = reference_model();
  Ratio rate = vendor_token(m, {.direction = Direction::kInput, .context = 2'048}).value();
  Result<NanoSt> whole = to_nano_st(2'048, rate);
  ASSERT_TRUE(whole.ok()) << whole.error().message << " " << to_text(rate);
  NanoSt prompt = nominal_work(m, {.prompt = 2'048}).value().total;
  EXPECT_EQ(*whole, prompt);  // no rounding is lost on the way
}

TEST(VendorToken, ThereAndBackIsExactToHalfAUnit) {
  for (i64 context : {1, 17, 2'048, 131'072}) {
    Ratio rate =
        vendor_token(reference_model(), {.direction = Direction::kOutput, .context = context})
            .value();
    for (u64 tokens : {u64{1}, u64{999}, u64{100'000'007}}) {
      NanoSt amount = to_nano_st(tokens, rate).value();
      EXPECT_EQ(static_cast<u64>(to_vendor_tokens(amount, rate).value()), tokens) << context;
    }
  }
}

TEST(VendorToken, BadTermsAreRefused) {
  EXPECT_EQ(vendor_token(reference_model(), {.context = 0}).error().message,
            "vendor token: context 0");
  EXPECT_FALSE(to_nano_st(~u128{0}, Ratio{1, 1}).ok());
  EXPECT_FALSE(to_vendor_tokens(NanoSt(-1), Ratio{1, 1}).ok());
  EXPECT_EQ(to_vendor_tokens(NanoSt(1), Ratio{0, 1}).error().message, "ratio: 1 over 0");
}

TEST(VendorToken, FitFindsTheRatesAndTheirInterval) {
  std::vector<VendorSample> samples;
  for (int i = 1; i <= 40; ++i) {
    f64 input = 100.0 * i;
    f64 output = 37.0 * ((i * 7) % 11 + 1);
    f64 noise = (i % 2 == 0 ? 1.0 : -1.0) * 0.5;
    samples.push_back({input, output, 0.1 * input + 1.25 * output + noise});
  }
  VendorFit fit = fit_vendor_token(samples).value();
  EXPECT_NEAR(fit.input, 0.1, fit.input_half_width);
  EXPECT_NEAR(fit.output, 1.25, fit.output_half_width);
  EXPECT_GT(fit.output_half_width, 0);
  EXPECT_LT(fit.output_half_width, 0.01);
}

TEST(VendorToken, FitNeverGoesBelowZero) {
  std::vector<VendorSample> samples = {{100, 10, 5}, {200, 10, 4}, {300, 20, 9}, {50, 20, 12}};
  VendorFit fit = fit_vendor_token(samples).value();
  EXPECT_EQ(fit.input, 0);
  EXPECT_NEAR(fit.output, 0.51, 1e-9);  // (50+40+180+240)/(100+100+400+400)
}

TEST(VendorToken, SamplesThatSayNothingAreRefused) {
  std::vector<VendorSample> two = {{1, 2, 3}, {2, 2, 4}};
  EXPECT_FALSE(fit_vendor_token(two).ok());
  std::vector<VendorSample> one_mix = {{1, 2, 3}, {2, 4, 6}, {3, 6, 9}};
  EXPECT_EQ(fit_vendor_token(one_mix).error().message,
            "vendor token: the samples do not tell input from output");
  std::vector<VendorSample> negative = {{1, 2, 3}, {-2, 4, 6}, {3, 6, 9}};
  EXPECT_FALSE(fit_vendor_token(negative).ok());
}

TEST(Ratio, IsInLowestTermsAndRoundsHalfToEven) {
  Ratio half = make_ratio(6, 12).value();
  EXPECT_EQ(to_text(half), "1/2");
  EXPECT_EQ(static_cast<u64>(scale(5, half).value()), 2u);
  EXPECT_EQ(static_cast<u64>(scale(7, half).value()), 4u);
  EXPECT_EQ(to_decimal(make_ratio(1, 8).value(), 2), "0.12");
  EXPECT_EQ(to_decimal(make_ratio(25, 2).value(), 0), "12");
  EXPECT_EQ(multiply({~u128{0}, 1}, {1, ~u128{0}}).value(), (Ratio{1, 1}));
  EXPECT_FALSE(multiply({~u128{0}, 1}, {3, 2}).ok());
  EXPECT_FALSE(make_ratio(1, 0).ok());
}

TEST(Efficiency, YieldAndCputOfASumAreThoseOfTheSums) {
  Efficiency a{.nominal_nano_st = 3'000'000'000,
               .actual_atto_st = u128{2'000'000'000} * kAttoPerNano,
               .spent = 12};
  Efficiency wasted{
      .nominal_nano_st = 0, .actual_atto_st = u128{1'000'000'000} * kAttoPerNano, .spent = 6};
  EXPECT_EQ(yield_of(a).value(), (Ratio{3, 2}));
  EXPECT_EQ(cost_per_useful_token(a).value(), (Ratio{4, 1}));
  Efficiency sum = add(a, wasted).value();
  EXPECT_EQ(yield_of(sum).value(), (Ratio{1, 1}));
  EXPECT_EQ(cost_per_useful_token(sum).value(), (Ratio{6, 1}));
  EXPECT_EQ(cost_per_useful_token(wasted).error().message,
            "cost per useful token: nothing useful was delivered");
  EXPECT_FALSE(yield_of({}).ok());
}

}  // namespace
}  // namespace tg::unit
