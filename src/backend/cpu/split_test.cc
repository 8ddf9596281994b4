// Products with bf16 weights of activations rounded to bf16, and of f32 ones in three parts, on
// variants that have them: as exact as products in f32, and a row's bits are its own.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu/half.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/variant.h"
#include "env/random.h"
#include "isa/codec.h"

namespace tg::backend::cpu {
namespace {

struct Weight {
  i64 n, k;
  std::vector<f32> values;
  std::vector<u8> panels;

  Weight(i64 rows, i64 columns) : n(rows), k(columns) {
    SeededRandom random(7);
    std::vector<u8> bytes(static_cast<std::size_t>(n * k * 2));
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
      u16 bits = isa::bf16_from_f32(static_cast<f32>(random.uniform() * 2.0 - 1.0));
      values.push_back(isa::f32_from_bf16(bits));
      bytes[i] = static_cast<u8>(bits);
      bytes[i + 1] = static_cast<u8>(bits >> 8);
    }
    panels.resize(static_cast<std::size_t>(panel_count(n) * panel_bytes(PanelForm::kBf16, k)));
    pack_panels(isa::DType::kBf16, bytes.data(), n, k, panels.data());
  }
};

std::vector<f32> inputs(i64 count) {
  SeededRandom random(8);
  std::vector<f32> out;
  for (i64 i = 0; i < count; ++i) {
    f64 value = random.uniform() * 2.0 - 1.0;
    out.push_back(static_cast<f32>(std::ldexp(value, static_cast<int>(random.below(24)))));
  }
  return out;
}

// The kinds of rows that a variant has.
std::vector<i64> kinds_of(const Kernels& kernels) {
  if (!kernels.split.task) return {};
  return kernels.splits_f32 ? std::vector<i64>{1, kSplitParts} : std::vector<i64>{1};
}

std::vector<f32> product(const Kernels& kernels, const Weight& w, std::span<const f32> x, i64 each,
                         i32 shares) {
  i64 tokens = static_cast<i64>(x.size()) / w.k;
  std::vector<u8> memory(static_cast<std::size_t>(split_bytes(tokens, w.k, each)));
  SplitArgs parts{.x = x.data(),
                  .tokens = tokens,
                  .k = w.k,
                  .x_stride = w.k,
                  .rows = split_rows_at(memory.data(), tokens, each)};
  std::vector<f32> y(static_cast<std::size_t>(tokens * w.n), NAN);
  LinearArgs args{.form = PanelForm::kBf16,
                  .w = w.panels.data(),
                  .split = parts.rows,
                  .y = y.data(),
                  .tokens = tokens,
                  .n = w.n,
                  .k = w.k,
                  .y_stride = w.n};
  for (i32 share = 0; share < shares; ++share) kernels.split(parts, share, shares);
  for (i32 share = 0; share < shares; ++share) kernels.linear_split(args, share, shares);
  return y;
}

struct Shape {
  i64 tokens, n, k;
};

f64 as_multiplied(f32 x, i64 each) {
  return each == 1 ? isa::round_to(isa::DType::kBf16, x) : x;
}

void expect_e3(const Kernels& kernels, const Shape& s, i64 each) {
  Weight w(s.n, s.k);
  std::vector<f32> x = inputs(s.tokens * s.k);
  std::vector<f32> y = product(kernels, w, x, each, 1);
  for (i64 t = 0; t < s.tokens; ++t) {
    for (i64 r = 0; r < s.n; ++r) {
      f64 exact = 0, magnitude = 0;
      for (i64 c = 0; c < s.k; ++c) {
        f64 term = as_multiplied(x[static_cast<std::size_t>(t * s.k + c)], each) *
                   w.values[static_cast<std::size_t>(r * s.k + c)];
        exact += term;
        magnitude += std::fabs(term);
      }
      f64 bound = std::fabs(exact) * 0x1p-24 * 1.02 + 32 * 0x1p-24 * magnitude;
      ASSERT_NEAR(y[static_cast<std::size_t>(t * s.n + r)], exact, bound)
          << s.tokens << "x" << s.n << "x" << s.k << " t=" << t << " n=" << r << " of " << each;
    }
  }
}

TEST(Split, E3_for_every_shape) {
  for (const Kernels* kernels : supported_variants()) {
    for (i64 each : kinds_of(*kernels)) {
      for (const Shape& s : {Shape{1, 1, 1}, Shape{1, 48, 512}, Shape{5, 37, 33},
                             Shape{16, 16, 100}, Shape{40, 80, 256}}) {
        expect_e3(*kernels, s, each);
      }
    }
  }
}

TEST(Split, D2_each_row_has_the_bits_it_has_alone) {
  for (const Kernels* kernels : supported_variants()) {
    for (i64 each : kinds_of(*kernels)) {
      Weight w(200, 300);
      std::vector<f32> x = inputs(100 * w.k);
      std::vector<f32> all = product(*kernels, w, x, each, 1);
      EXPECT_EQ(product(*kernels, w, x, each, 3), all);
      i64 first = 0;
      for (i64 tokens : {1, 2, 7, 16, 17, 33}) {
        std::span<const f32> part = std::span(x).subspan(static_cast<std::size_t>(first * w.k),
                                                         static_cast<std::size_t>(tokens * w.k));
        EXPECT_EQ(product(*kernels, w, part, each, 2),
                  std::vector<f32>(all.begin() + first * w.n, all.begin() + (first + tokens) * w.n))
            << tokens << " rows";
        first += tokens;
      }
    }
  }
}

// What the rows hold is to the bit what the reference's rounding makes.
TEST(Split, rounding_is_to_nearest_even) {
  std::vector<f32> x = inputs(64);
  const u32 patterns[] = {0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7FFFFF, 0x7F800000,
                          0xFF800000, 0x7F800001, 0xFFC00000, 0x00000001, 0x00008000, 0x80000000};
  for (std::size_t i = 0; i < std::size(patterns); ++i) x[i] = bits_to_float(patterns[i]);
  for (const Kernels* kernels : supported_variants()) {
    if (kinds_of(*kernels).empty()) continue;
    std::vector<u8> memory(static_cast<std::size_t>(split_bytes(1, 64, 1)));
    SplitArgs args{.x = x.data(),
                   .tokens = 1,
                   .k = 64,
                   .x_stride = 64,
                   .rows = split_rows_at(memory.data(), 1, 1)};
    kernels->split(args, 0, 1);
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(args.rows.parts[i], isa::bf16_from_f32(x[i])) << float_to_bits(x[i]);
    }
  }
}

}  // namespace
}  // namespace tg::backend::cpu
