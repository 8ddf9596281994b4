// Products with int8 activations: every codec and variant against plain loops, and that a row's
// bits depend on nothing but the row.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu/pack.h"
#include "backend/cpu/variant.h"
#include "env/random.h"
#include "isa/codec.h"

namespace tg::backend::cpu {
namespace {

std::vector<isa::DType> integer_codecs() {
  std::vector<isa::DType> out;
  for (u8 i = 0; i < static_cast<u8>(isa::DType::kCount); ++i) {
    isa::DType codec = static_cast<isa::DType>(i);
    if (isa::is_weight_codec(codec) && has_codes(*panel_form(codec))) out.push_back(codec);
  }
  return out;
}
const std::vector<isa::DType> kCodecs = integer_codecs();

std::vector<f32> noise(i64 n, u64 seed) {
  SeededRandom random(seed);
  std::vector<f32> out(static_cast<std::size_t>(n));
  for (f32& x : out) x = static_cast<f32>(random.uniform() * 2.0 - 1.0);
  return out;
}

struct Matrix {
  PanelForm form;
  i64 n, k;
  std::vector<f32> values;
  std::vector<u8> panels;

  Matrix(isa::DType codec, i64 rows, i64 columns)
      : form(*panel_form(codec)), n(rows), k(columns), values(noise(n * k, 11)) {
    std::size_t width = static_cast<std::size_t>(k);
    std::size_t row = static_cast<std::size_t>(isa::row_bytes(codec, k));
    std::vector<u8> bytes(row * static_cast<std::size_t>(n));
    for (std::size_t r = 0; r < static_cast<std::size_t>(n); ++r) {
      std::span<u8> packed = std::span(bytes).subspan(r * row, row);
      std::span<f32> whole = std::span(values).subspan(r * width, width);
      isa::quantize_row(codec, whole, packed);
      isa::dequantize_row(codec, packed, whole);
    }
    panels.resize(static_cast<std::size_t>(panel_count(n) * panel_bytes(form, k)));
    pack_panels(codec, bytes.data(), n, k, panels.data());
  }
};

struct Quantized {
  std::vector<u8> memory;
  Int8Rows rows;
};

Quantized quantize(const Kernels& kernels, const Matrix& w, const std::vector<f32>& x, bool whole) {
  i64 tokens = static_cast<i64>(x.size()) / w.k;
  Quantized out{.memory = std::vector<u8>(static_cast<std::size_t>(int8_bytes(tokens, w.k)))};
  out.rows = int8_rows_at(out.memory.data(), tokens, w.k);
  QuantizeArgs args{.form = w.form,
                    .x = x.data(),
                    .tokens = tokens,
                    .k = w.k,
                    .x_stride = w.k,
                    .whole_rows = whole,
                    .rows = out.rows};
  for (i32 part = 0; part < 2; ++part) kernels.quantize(args, part, 2);
  return out;
}

std::vector<f32> product(const Kernels& kernels, const Matrix& w, const std::vector<f32>& x,
                         bool whole = false, i32 parts = 1, const f32* bias = nullptr) {
  i64 tokens = static_cast<i64>(x.size()) / w.k;
  Quantized codes = quantize(kernels, w, x, whole);
  std::vector<f32> y(static_cast<std::size_t>(tokens * w.n), NAN);
  LinearArgs args{.form = w.form,
                  .w = w.panels.data(),
                  .x8 = codes.rows,
                  .bias = bias,
                  .y = y.data(),
                  .tokens = tokens,
                  .n = w.n,
                  .k = w.k,
                  .y_stride = w.n};
  for (i32 part = 0; part < parts; ++part) kernels.linear(args, part, parts);
  return y;
}

// isa.md 3: what x stands for after rounding, exactly.
std::vector<f64> rounded(const std::vector<f32>& x, i64 k, bool whole) {
  std::vector<f64> out(x.size());
  i64 block = whole ? k : 32;
  for (std::size_t first = 0; first < x.size(); first += static_cast<std::size_t>(block)) {
    f32 top = 0;
    for (std::size_t i = first; i < first + static_cast<std::size_t>(block); ++i) {
      top = std::max(top, std::fabs(x[i]));
    }
    f64 scale = top / 127.0f;
    for (std::size_t i = first; i < first + static_cast<std::size_t>(block); ++i) {
      out[i] = scale == 0 ? 0.0 : std::nearbyint(x[i] / scale) * scale;
    }
  }
  return out;
}

// isa.md 10, E3.xq8; with an offset, magnitudes are the largest of 16 weights.
void expect_e3(const std::vector<f32>& y, const Matrix& w, const std::vector<f64>& x,
               const std::string& what) {
  i64 tokens = static_cast<i64>(y.size()) / w.n;
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 r = 0; r < w.n; ++r) {
      f64 exact = 0, magnitude = 0;
      for (i64 c = 0; c < w.k; c += 16) {
        f64 largest = 0, inputs = 0;
        for (i64 i = c; i < c + 16; ++i) {
          f64 weight = w.values[static_cast<std::size_t>(r * w.k + i)];
          f64 input = x[static_cast<std::size_t>(t * w.k + i)];
          exact += weight * input;
          largest = std::max(largest, std::fabs(weight));
          inputs += std::fabs(input);
        }
        magnitude += largest * inputs;
      }
      f64 bound = std::fabs(exact) * 0x1p-24 * 1.02 + 32 * 0x1p-24 * magnitude;
      f64 error = std::fabs(y[static_cast<std::size_t>(t * w.n + r)] - exact);
      ASSERT_LE(error, bound) << what << " t=" << t << " n=" << r;
    }
  }
}

TEST(Int8, codes_are_the_definitions_near_ties_too) {
  Matrix w(isa::DType::kQ8_0, 16, 64);
  std::vector<f32> x = noise(64 * 3'000, 3);
  SeededRandom random(4);
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Blocks of all magnitudes; in every other one, halves of the scale and their neighbours.
    f32 magnitude = std::ldexp(1.0f, static_cast<int>(i / 32 % 250) - 125);
    i64 step = static_cast<i64>(random.next() % 254) - 127;
    bool is_tie = i % 64 < 32 && i % 32 != 0;
    f32 tie = (static_cast<f32>(step) + 0.5f) * (magnitude / 127.0f);
    if (is_tie) x[i] = random.next() % 3 == 0 ? std::nextafter(tie, 0.0f) : tie;
    if (is_tie) x[i] = std::clamp(x[i], -magnitude, magnitude);
    if (!is_tie) x[i] = i % 32 == 0 ? magnitude : x[i] * magnitude;
  }
  std::fill_n(x.begin() + 640, 64, 0.0f);
  std::vector<f64> expected = rounded(x, 64, false);
  for (const Kernels* kernels : supported_variants()) {
    Quantized codes = quantize(*kernels, w, x, false);
    i64 rows = codes.rows.tile_rows;
    for (i64 i = 0; i < static_cast<i64>(x.size()); ++i) {
      i64 row = i / 64;
      i64 at = (row / rows * 2 + i % 64 / 32) * rows + row % rows;
      f64 value = f64{codes.rows.scale[at]} * codes.rows.q[at * 32 + i % 32];
      ASSERT_EQ(value, expected[static_cast<std::size_t>(i)]) << kernels->name << " " << i;
    }
  }
}

TEST(Int8, E3_for_every_codec_variant_and_number_of_rows) {
  for (const Kernels* kernels : supported_variants()) {
    for (isa::DType codec : kCodecs) {
      for (i64 tokens : {1, 7, 21, 64}) {
        Matrix w(codec, tokens == 7 ? 37 : 16, tokens == 21 ? 1'280 : 256);
        std::vector<f32> x = noise(tokens * w.k, 5);
        for (bool whole : {false, true}) {
          std::string what = std::string(kernels->name) + " " + std::string(isa::info(codec).name) +
                             " rows " + std::to_string(tokens);
          expect_e3(product(*kernels, w, x, whole), w, rounded(x, w.k, whole), what);
        }
      }
    }
  }
}

TEST(Int8, D2_each_row_has_the_bits_it_has_alone) {
  for (const Kernels* kernels : supported_variants()) {
    for (isa::DType codec : kCodecs) {
      Matrix w(codec, 40, 1'280);
      std::vector<f32> bias = noise(w.n, 9);
      std::vector<f32> x = noise(300 * w.k, 5);
      std::vector<f32> all = product(*kernels, w, x, false, 1, bias.data());
      EXPECT_EQ(product(*kernels, w, x, false, 3, bias.data()), all) << kernels->name;
      i64 first = 0;
      for (i64 tokens : {1, 2, 3, 4, 5, 8, 13, 16, 17, 33, 100}) {
        std::vector<f32> part(x.begin() + first * w.k, x.begin() + (first + tokens) * w.k);
        EXPECT_EQ(product(*kernels, w, part, false, 2, bias.data()),
                  std::vector<f32>(all.begin() + first * w.n, all.begin() + (first + tokens) * w.n))
            << kernels->name << " " << isa::info(codec).name << " rows " << tokens;
        first += tokens;
      }
    }
  }
}

TEST(Int8, all_variants_with_fused_multiply_add_agree_to_the_bit) {
  for (isa::DType codec : kCodecs) {
    Matrix w(codec, 33, 512);
    std::vector<f32> x = noise(19 * w.k, 5);
    const Kernels& best = *supported_variants()[0];
    for (const Kernels* kernels : supported_variants()) {
      if (std::string_view(kernels->name) == "base") continue;
      EXPECT_EQ(product(*kernels, w, x), product(best, w, x))
          << kernels->name << " " << isa::info(codec).name;
    }
  }
}

TEST(Int8, experts_rows_are_those_of_the_plain_product) {
  constexpr i64 kExperts = 3, kTokens = 41;
  for (const Kernels* kernels : supported_variants()) {
    Matrix w(isa::DType::kQ4K, kExperts * 32, 512);
    std::vector<f32> x = noise(kTokens * w.k, 5);
    std::vector<f32> all = product(*kernels, w, x);
    std::vector<i32> order(kTokens);
    for (i32 t = 0; t < kTokens; ++t) order[static_cast<std::size_t>(t)] = (t * 7) % i32{kTokens};
    std::vector<i32> begin = {0, 2, 2, kTokens};
    std::vector<f32> y(kTokens * 32), rows(static_cast<std::size_t>(2 * grouped_scratch(w.k)));
    std::vector<f32> sums(static_cast<std::size_t>(2 * linear_scratch(w.k)));
    LinearArgs linear{.form = w.form,
                      .w = w.panels.data(),
                      .y = y.data(),
                      .scratch = sums.data(),
                      .n = 32,
                      .k = w.k,
                      .y_stride = 32};
    GroupedArgs args{.linear = linear,
                     .expert_bytes = 2 * panel_bytes(w.form, w.k),
                     .experts = kExperts,
                     .begin = begin.data(),
                     .order = order.data(),
                     .x = x.data(),
                     .ranks = 1,
                     .rounding = Int8Rounding::kBlock,
                     .rows = rows.data()};
    for (i32 part = 0; part < 2; ++part) kernels->grouped(args, part, 2);
    for (i64 i = 0; i < kTokens; ++i) {
      i64 t = order[static_cast<std::size_t>(i)];
      i64 expert = i < 2 ? 0 : 2;
      for (i64 c = 0; c < 32; ++c) {
        EXPECT_EQ(y[static_cast<std::size_t>(t * 32 + c)],
                  all[static_cast<std::size_t>(t * w.n + expert * 32 + c)])
            << kernels->name;
      }
    }
  }
}

}  // namespace
}  // namespace tg::backend::cpu
