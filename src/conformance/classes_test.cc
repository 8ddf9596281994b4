#include "conformance/classes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "conformance/allocation_watch.h"
#include "conformance/generators.h"
#include "isa/codec.h"

namespace tg::conformance {
namespace {

using isa::DType;

TEST(Ulp, of_each_type_and_at_the_edges) {
  EXPECT_EQ(ulp(DType::kF32, 1.0), 0x1p-23);
  EXPECT_EQ(ulp(DType::kF32, -1.99), 0x1p-23);
  EXPECT_EQ(ulp(DType::kF16, 2.0), 0x1p-9);
  EXPECT_EQ(ulp(DType::kBf16, 256.0), 0x1p1);
  EXPECT_EQ(ulp(DType::kF32, 0.0), 0x1p-149);
  EXPECT_EQ(ulp(DType::kF16, 1e-7), 0x1p-24);
}

ElementVerdict one(ErrorClass cls, f64 golden, f64 got, DType type, f64 magnitude) {
  return check_elements(cls, {.golden = {&golden, 1},
                              .naive = {&golden, 1},
                              .got = {&got, 1},
                              .magnitude = {&magnitude, 1},
                              .type = type});
}

TEST(Elements, E0_is_bits) {
  EXPECT_TRUE(one(ErrorClass::kE0, 0.5, 0.5, DType::kF32, 0).pass);
  EXPECT_FALSE(one(ErrorClass::kE0, 0.0, -0.0, DType::kF32, 0).pass);
  EXPECT_TRUE(one(ErrorClass::kE0, 1.0 + 0x1p-30, 1.0, DType::kBf16, 0).pass);
  EXPECT_TRUE(one(ErrorClass::kE0, 7, 7, DType::kI32, 0).pass);
  EXPECT_FALSE(one(ErrorClass::kE0, 7, 8, DType::kI32, 0).pass);
}

// |e| <= 0.5 (1 + 2^-6) ulp + gamma 2^-24 sum |x w|: both terms, and nothing more.
TEST(Elements, E3_has_two_terms) {
  EXPECT_TRUE(one(ErrorClass::kE3, 1, 1 + 0.5 * 0x1p-7, DType::kBf16, 0).pass);
  EXPECT_FALSE(one(ErrorClass::kE3, 1, 1 + 0.6 * 0x1p-7, DType::kBf16, 0).pass);
  EXPECT_TRUE(one(ErrorClass::kE3, 1, 1 + 31 * 0x1p-24 * 4, DType::kF32, 4).pass);
  EXPECT_FALSE(one(ErrorClass::kE3, 1, 1 + 33 * 0x1p-24 * 4, DType::kF32, 4).pass);
  EXPECT_TRUE(one(ErrorClass::kE3F16c, 1, 1 + 33 * 0x1p-24 * 4, DType::kF32, 4).pass);
  EXPECT_NEAR(one(ErrorClass::kE3, 1, 1 + 20 * 0x1p-24 * 4, DType::kF32, 4).gamma, 20, 1);
}

TEST(Elements, not_finite_fails_unless_the_type_overflows) {
  EXPECT_FALSE(one(ErrorClass::kE4, 1, NAN, DType::kF32, 0).pass);
  EXPECT_FALSE(one(ErrorClass::kE4, 1, INFINITY, DType::kF32, 0).pass);
  EXPECT_TRUE(one(ErrorClass::kE4, 1e6, INFINITY, DType::kF16, 0).pass);
}

// The table of isa.md 9.3: K = 1024, bf16 results. `spoil` makes a dot product wrong in one way.
struct Dots {
  std::vector<f64> golden, naive, magnitude;
  std::vector<f32> x, w;
};
constexpr i64 kTerms = 1'024, kDots = 2'500;

Dots make_dots() {
  Dots d;
  d.x.resize(kTerms * kDots);
  d.w.resize(kTerms);
  generate({.generator = Generator::kNormal, .seed = 1, .columns = kTerms}, d.x);
  generate({.generator = Generator::kNormal, .seed = 2, .columns = kTerms, .scale = 1.0 / 32}, d.w);
  for (i64 i = 0; i < kDots; ++i) {
    f64 exact = 0, sizes = 0;
    f32 sum = 0;
    for (i64 k = 0; k < kTerms; ++k) {
      f32 a = d.x[static_cast<std::size_t>(i * kTerms + k)], b = d.w[static_cast<std::size_t>(k)];
      exact += f64{a} * f64{b};
      sizes += std::fabs(f64{a} * f64{b});
      sum += a * b;
    }
    d.golden.push_back(exact);
    d.magnitude.push_back(sizes);
    d.naive.push_back(isa::round_to(DType::kBf16, sum));
  }
  return d;
}

struct Judged {
  ElementVerdict elements;
  PoolVerdict pool;
};
Judged judge(const Dots& d, const std::function<f64(i64)>& result) {
  std::vector<f64> got;
  for (i64 i = 0; i < kDots; ++i) got.push_back(result(i));
  Values values{.golden = d.golden,
                .naive = d.naive,
                .got = got,
                .magnitude = d.magnitude,
                .columns = 10,
                .type = DType::kBf16};
  Pool pool;
  pool.add(values);
  return {check_elements(ErrorClass::kE3, values), pool.judge(ErrorClass::kE3)};
}

TEST(Classes, E3_tells_the_table_of_isa_9_3_apart) {
  Dots d = make_dots();
  auto at = [&d](i64 i, i64 k) { return d.x[static_cast<std::size_t>(i * kTerms + k)]; };
  Judged naive = judge(d, [&](i64 i) { return d.naive[static_cast<std::size_t>(i)]; });
  EXPECT_TRUE(naive.elements.pass && naive.pool.pass) << naive.elements.failure;
  EXPECT_NEAR(naive.pool.rho, 1, 0.02);

  Judged f16 = judge(d, [&](i64 i) {
    f32 sum = 0;
    for (i64 k = 0; k < kTerms; ++k) {
      sum = isa::round_to(DType::kF16, sum + at(i, k) * d.w[static_cast<std::size_t>(k)]);
    }
    return f64{isa::round_to(DType::kBf16, sum)};
  });
  EXPECT_FALSE(f16.elements.pass);
  EXPECT_GT(f16.elements.gamma, 100);

  Judged cut = judge(d, [&](i64 i) {
    f64 y = d.golden[static_cast<std::size_t>(i)];
    f64 step = ulp(DType::kBf16, y);
    return std::trunc(y / step) * step;
  });
  EXPECT_FALSE(cut.elements.pass);
  EXPECT_FALSE(cut.pool.pass);

  // One of 2,500 off by 2 %: only the element's own bound sees it.
  Judged corrupted = judge(
      d, [&](i64 i) { return d.naive[static_cast<std::size_t>(i)] * (i == 700 ? 1.02 : 1.0); });
  EXPECT_FALSE(corrupted.elements.pass);
  EXPECT_LT(corrupted.pool.rho, 1.2);
}

// Leaning errors of one size with random ones: the same RMSE, another class.
TEST(Pool, E4_sees_a_lean_of_16_bit_results) {
  std::vector<f64> golden, naive, fair, leaning;
  for (i64 i = 0; i < 4'000; ++i) {
    f64 y = 1 + static_cast<f64>(i) / 5'000;
    f64 step = ulp(DType::kBf16, y);
    golden.push_back(y);
    naive.push_back(y + (i % 2 == 0 ? 0.4 : -0.4) * step);
    fair.push_back(y + (i % 3 == 0 ? 0.4 : i % 3 == 1 ? -0.4 : 0.0) * step);
    leaning.push_back(y - 0.4 * step);
  }
  auto verdict = [&](const std::vector<f64>& got) {
    Pool pool;
    pool.add({.golden = golden,
              .naive = naive,
              .got = got,
              .magnitude = {},
              .columns = 1,
              .type = DType::kBf16});
    return pool.judge(ErrorClass::kE4);
  };
  EXPECT_TRUE(verdict(fair).pass) << verdict(fair).failure;
  EXPECT_FALSE(verdict(leaning).pass);
  EXPECT_NE(verdict(leaning).failure.find("lean"), std::string::npos) << verdict(leaning).failure;
}

TEST(Pool, too_few_elements_are_not_judged) {
  f64 golden = 1, got = 2;
  Pool pool;
  pool.add({.golden = {&golden, 1}, .naive = {&golden, 1}, .got = {&got, 1}, .magnitude = {}});
  EXPECT_FALSE(pool.judge(ErrorClass::kE4).judged);
}

// What a seed gives is published: other numbers would be another suite.
TEST(Generators, first_numbers_stay) {
  EXPECT_EQ(seed_of("linear/normal/w"), 11'788'806'949'258'232'152u);
  std::vector<f32> a(8), b(8);
  generate({.generator = Generator::kWide, .seed = 3, .columns = 8, .span = 2}, a);
  generate({.generator = Generator::kWide, .seed = 3, .columns = 8, .span = 2}, b);
  EXPECT_EQ(a, b);
  for (f32 v : a) EXPECT_TRUE(std::fabs(v) >= 0.25f && std::fabs(v) < 8.0f) << v;
}

TEST(Generators, cancelling_pairs_cancel) {
  std::vector<f32> x(64), w(64);
  generate({.generator = Generator::kCancel, .seed = 1, .columns = 64}, x);
  generate({.generator = Generator::kCancel, .seed = 2, .columns = 64, .is_weight = true}, w);
  f64 sum = 0, sizes = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += f64{x[i]} * f64{w[i]};
    sizes += std::fabs(f64{x[i]} * f64{w[i]});
  }
  EXPECT_LT(std::fabs(sum), 1e-3 * sizes);
}

TEST(AllocationWatch, counts_what_other_objects_do) {
  if (!can_watch_allocations()) GTEST_SKIP() << "the sanitizer has its own allocator";
  arm_allocation_watch();
  // volatile, so that the compiler may not drop what it sees deleted: an array and its vector.
  std::vector<i32>* volatile grown = new std::vector<i32>(100);
  EXPECT_EQ(disarm_allocation_watch().backend, 2);
  delete grown;
  arm_allocation_watch();
  EXPECT_EQ(disarm_allocation_watch().backend, 0);
}

}  // namespace
}  // namespace tg::conformance
