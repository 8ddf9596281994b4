// Every kernel of every variant this machine supports, against plain double loops.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backend/cpu/half.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/variant.h"
#include "backend/tiny_llama.h"
#include "env/random.h"
#include "isa/codec.h"

namespace tg::backend::cpu {
namespace {

std::vector<isa::DType> weight_codecs() {
  std::vector<isa::DType> out;
  for (u8 i = 0; i < static_cast<u8>(isa::DType::kCount); ++i) {
    isa::DType codec = static_cast<isa::DType>(i);
    if (isa::is_weight_codec(codec)) out.push_back(codec);
  }
  return out;
}
const std::vector<isa::DType> kCodecs = weight_codecs();

TEST(Panels, there_is_a_form_for_every_weight_codec) {
  for (isa::DType codec : kCodecs) EXPECT_TRUE(panel_form(codec).has_value());
  EXPECT_EQ(kCodecs.size(), static_cast<std::size_t>(PanelForm::kCount));
  EXPECT_FALSE(panel_form(isa::DType::kE4m3).has_value());
}

std::vector<f32> noise(i64 n, u64 seed) {
  SeededRandom random(seed);
  std::vector<f32> out(static_cast<std::size_t>(n));
  for (f32& x : out) x = static_cast<f32>(random.uniform() * 2.0 - 1.0);
  return out;
}

// A random matrix: its canonical bytes, its exact values and its panels.
struct Matrix {
  PanelForm form;
  std::vector<f32> values;
  std::vector<u8> panels;

  Matrix(isa::DType codec, i64 n, i64 k) : form(*panel_form(codec)) {
    std::vector<f32> wanted = noise(n * k, 11);
    std::size_t row = static_cast<std::size_t>(isa::row_bytes(codec, k));
    std::vector<u8> bytes(row * static_cast<std::size_t>(n));
    values.resize(wanted.size());
    for (std::size_t r = 0; r < static_cast<std::size_t>(n); ++r) {
      std::size_t columns = static_cast<std::size_t>(k);
      std::span<u8> packed = std::span(bytes).subspan(r * row, row);
      isa::quantize_row(codec, std::span(wanted).subspan(r * columns, columns), packed);
      isa::dequantize_row(codec, packed, std::span(values).subspan(r * columns, columns));
    }
    panels.resize(static_cast<std::size_t>(panel_count(n) * panel_bytes(form, k)));
    pack_panels(codec, bytes.data(), n, k, panels.data());
  }
};

struct LinearCase {
  i64 tokens, n, k;
  bool bias;
};

std::vector<f32> run_linear(const Kernels& kernels, const Matrix& w, const std::vector<f32>& x,
                            const std::vector<f32>& bias, const LinearCase& c, i32 parts) {
  std::vector<f32> y(static_cast<std::size_t>(c.tokens * c.n), NAN);
  std::vector<f32> scratch(static_cast<std::size_t>(parts * linear_scratch(c.k)));
  LinearArgs args{.form = w.form,
                  .w = w.panels.data(),
                  .x = x.data(),
                  .bias = c.bias ? bias.data() : nullptr,
                  .y = y.data(),
                  .scratch = scratch.data(),
                  .tokens = c.tokens,
                  .n = c.n,
                  .k = c.k,
                  .x_stride = c.k,
                  .y_stride = c.n};
  for (i32 part = 0; part < parts; ++part) kernels.linear(args, part, parts);
  return y;
}

// isa.md 9.3, E3.f32: half an ulp of the output and gamma = 32 units of 2^-24 of the sum of
// magnitudes.
void expect_e3(const std::vector<f32>& y, const Matrix& w, const std::vector<f32>& x,
               const std::vector<f32>& bias, const LinearCase& c, const char* name) {
  for (i64 t = 0; t < c.tokens; ++t) {
    for (i64 r = 0; r < c.n; ++r) {
      f64 exact = c.bias ? bias[static_cast<std::size_t>(r)] : 0.0;
      f64 magnitude = std::fabs(exact);
      for (i64 i = 0; i < c.k; ++i) {
        f64 product = f64{x[static_cast<std::size_t>(t * c.k + i)]} *
                      w.values[static_cast<std::size_t>(r * c.k + i)];
        exact += product;
        magnitude += std::fabs(product);
      }
      f64 bound = std::fabs(exact) * 0x1p-24 * 1.02 + 32 * 0x1p-24 * magnitude;
      f64 error = std::fabs(y[static_cast<std::size_t>(t * c.n + r)] - exact);
      ASSERT_LE(error, bound) << name << " t=" << t << " n=" << r << " k=" << c.k;
    }
  }
}

TEST(Linear, E3_for_every_codec_variant_and_shape) {
  const LinearCase blocks[] = {{1, 48, 512, false}, {17, 37, 256, true}, {33, 16, 768, false}};
  const LinearCase dense[] = {{1, 1, 1, true}, {17, 5, 33, false}, {257, 19, 100, true}};
  for (const Kernels* kernels : supported_variants()) {
    for (isa::DType codec : kCodecs) {
      bool is_dense = isa::info(codec).block_elements == 1;
      for (const LinearCase& c : is_dense ? dense : blocks) {
        Matrix w(codec, c.n, c.k);
        std::vector<f32> x = noise(c.tokens * c.k, 5);
        std::vector<f32> bias = noise(c.n, 6);
        std::vector<f32> y = run_linear(*kernels, w, x, bias, c, 1);
        expect_e3(y, w, x, bias, c, kernels->name);
        EXPECT_EQ(run_linear(*kernels, w, x, bias, c, 3), y) << "split in three";
      }
    }
  }
}

TEST(Linear, D2_each_token_has_the_bits_it_has_alone) {
  for (const Kernels* kernels : supported_variants()) {
    for (isa::DType codec : kCodecs) {
      LinearCase all{47, 40, 512, false};
      LinearCase one = all;
      one.tokens = 1;
      Matrix w(codec, all.n, all.k);
      std::vector<f32> x = noise(all.tokens * all.k, 5);
      std::vector<f32> y = run_linear(*kernels, w, x, {}, all, 1);
      for (i64 t = 0; t < all.tokens; ++t) {
        std::vector<f32> row(x.begin() + t * all.k, x.begin() + (t + 1) * all.k);
        std::vector<f32> alone = run_linear(*kernels, w, row, {}, one, 2);
        EXPECT_EQ(alone, std::vector<f32>(y.begin() + t * all.n, y.begin() + (t + 1) * all.n));
      }
    }
  }
}

TEST(Variants, all_with_fused_multiply_add_agree_to_the_bit) {
  const Kernels& best = *supported_variants()[0];
  for (const Kernels* kernels : supported_variants()) {
    if (std::string_view(kernels->name) == "base") continue;
    for (isa::DType codec : kCodecs) {
      LinearCase c{9, 33, 512, false};
      Matrix w(codec, c.n, c.k);
      std::vector<f32> x = noise(c.tokens * c.k, 5);
      EXPECT_EQ(run_linear(*kernels, w, x, {}, c, 1), run_linear(best, w, x, {}, c, 1))
          << kernels->name;
    }
  }
}

TEST(Embed, E0_rows_are_the_codecs_exact_values) {
  for (const Kernels* kernels : supported_variants()) {
    for (isa::DType codec : kCodecs) {
      i64 n = 37, k = isa::info(codec).block_elements == 1 ? 45 : 512;
      Matrix table(codec, n, k);
      std::vector<i32> ids = {0, 36, 15, 16, 17, 36};
      std::vector<f32> y(ids.size() * static_cast<std::size_t>(k));
      EmbedArgs args{.form = table.form,
                     .table = table.panels.data(),
                     .ids = ids.data(),
                     .y = y.data(),
                     .tokens = static_cast<i64>(ids.size()),
                     .k = k};
      for (i32 part = 0; part < 2; ++part) kernels->embed(args, part, 2);
      for (std::size_t t = 0; t < ids.size(); ++t) {
        EXPECT_EQ(std::memcmp(&y[t * static_cast<std::size_t>(k)],
                              &table.values[static_cast<std::size_t>(ids[t] * k)],
                              static_cast<std::size_t>(k) * 4),
                  0)
            << kernels->name << " " << isa::info(codec).name << " row " << ids[t];
      }
    }
  }
}

TEST(RmsNorm, rows_groups_and_odd_widths) {
  for (const Kernels* kernels : supported_variants()) {
    for (i64 n : {1, 16, 33, 257}) {
      i64 rows = 6;
      std::vector<f32> x = noise(rows * n, 1), w = noise(2 * n, 2), y(x.size());
      RmsNormArgs args{.x = x.data(),
                       .w = w.data(),
                       .y = y.data(),
                       .rows = rows,
                       .group = n,
                       .w_groups = 2,
                       .eps = 1e-5f,
                       .woff = 1.0f};
      for (i32 part = 0; part < 2; ++part) kernels->rms_norm(args, part, 2);
      for (i64 r = 0; r < rows; ++r) {
        f64 squares = 0;
        for (i64 i = 0; i < n; ++i) squares += std::pow(x[static_cast<std::size_t>(r * n + i)], 2);
        f64 inverse = 1.0 / std::sqrt(squares / static_cast<f64>(n) + 1e-5);
        for (i64 i = 0; i < n; ++i) {
          std::size_t at = static_cast<std::size_t>(r * n + i);
          f64 expected = x[at] * inverse * (1.0 + w[static_cast<std::size_t>(r % 2 * n + i)]);
          EXPECT_NEAR(y[at], expected, 4e-7 * std::fabs(expected) + 1e-9);
        }
      }
    }
  }
}

// x / (1 + exp(-exponent)) is what every gate but relu is.
struct Gate {
  f64 value;
  f64 exponent;
};

Gate reference_gate(GluAct act, f64 g, f64 u) {
  f64 z = 2 * 0.7978845608 * (g + 0.044715 * g * g * g);
  f64 clamped = std::min(g, 7.0);
  switch (act) {
    case GluAct::kSilu: return {g / (1 + std::exp(-g)) * u, g};
    case GluAct::kGeluTanh: return {g / (1 + std::exp(-z)) * u, z};
    case GluAct::kRelu: return {std::max(g, 0.0) * u, 0};
    case GluAct::kSwigluOai:
      return {clamped / (1 + std::exp(-1.702 * clamped)) * (std::clamp(u, -7.0, 7.0) + 1),
              1.702 * clamped};
  }
  return {};
}

// Also the test of the vector exp: gates up to 100 in magnitude. An error of the exponent in its
// last bits is one of the result in proportion to the exponent.
TEST(Glu, every_activation_over_a_wide_range) {
  for (const Kernels* kernels : supported_variants()) {
    for (GluAct act : {GluAct::kSilu, GluAct::kGeluTanh, GluAct::kRelu, GluAct::kSwigluOai}) {
      i64 rows = 3, n = 1'001;
      std::vector<f32> x = noise(rows * 2 * n, 3), y(static_cast<std::size_t>(rows * n));
      for (std::size_t i = 0; i < x.size(); i += 3) x[i] *= 100.0f;
      GluArgs args{.g = x.data(),
                   .u = x.data() + n,
                   .y = y.data(),
                   .rows = rows,
                   .n = n,
                   .stride = 2 * n,
                   .alpha = 1.702f,
                   .limit = 7.0f,
                   .act = act};
      for (i32 part = 0; part < 2; ++part) kernels->glu(args, part, 2);
      for (i64 r = 0; r < rows; ++r) {
        for (i64 i = 0; i < n; ++i) {
          f64 g = x[static_cast<std::size_t>(r * 2 * n + i)];
          f64 u = x[static_cast<std::size_t>(r * 2 * n + n + i)];
          Gate expected = reference_gate(act, g, u);
          // exp saturates at 88: below that a gate is nothing in either arithmetic.
          f64 bound = (1e-6 + 3e-7 * std::fabs(expected.exponent)) * std::fabs(expected.value);
          if (expected.exponent < -85) bound = 1e-33;
          EXPECT_NEAR(y[static_cast<std::size_t>(r * n + i)], expected.value, bound)
              << kernels->name << " act " << static_cast<int>(act) << " g=" << g;
        }
      }
    }
  }
}

TEST(Binary, sums_products_scales_and_broadcast_rows) {
  i64 rows = 5, n = 37;
  std::vector<f32> a = noise(rows * n, 1), b = noise(rows * n, 2), y(a.size());
  for (const Kernels* kernels : supported_variants()) {
    for (i64 b_rows : {i64{1}, rows}) {
      for (bool multiply : {false, true}) {
        BinaryArgs args{.a = a.data(),
                        .b = b.data(),
                        .y = y.data(),
                        .rows = rows,
                        .n = n,
                        .b_rows = b_rows,
                        .alpha = 0.5f,
                        .beta = 3.0f,
                        .multiply = multiply};
        for (i32 part = 0; part < 2; ++part) kernels->binary(args, part, 2);
        for (std::size_t i = 0; i < y.size(); ++i) {
          f32 right = b[b_rows == 1 ? i % static_cast<std::size_t>(n) : i];
          EXPECT_EQ(y[i], multiply ? 0.5f * a[i] * right : 0.5f * a[i] + 3.0f * right);
        }
      }
    }
    BinaryArgs scale{.a = a.data(),
                     .y = y.data(),
                     .rows = rows,
                     .n = n,
                     .b_rows = 1,
                     .alpha = -2.0f,
                     .multiply = true};
    kernels->binary(scale, 0, 1);
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], -2.0f * a[i]);
  }
}

TEST(Rope, both_styles_partial_and_offset) {
  for (const Kernels* kernels : supported_variants()) {
    for (bool neox : {true, false}) {
      i64 tokens = 3, heads = 2, d = 50, rot = 36, offset = 4, half = rot / 2;
      std::vector<f32> x = noise(tokens * heads * d, 1), y(x.size());
      std::vector<f32> cos = noise(tokens * half, 2), sin = noise(tokens * half, 3);
      RopeArgs args{.x = x.data(),
                    .cos = cos.data(),
                    .sin = sin.data(),
                    .y = y.data(),
                    .tokens = tokens,
                    .heads = heads,
                    .d = d,
                    .rot = rot,
                    .offset = offset,
                    .neox = neox};
      for (i32 part = 0; part < 2; ++part) kernels->rope(args, part, 2);
      std::vector<f32> expected = x;
      for (i64 row = 0; row < tokens * heads; ++row) {
        for (i64 i = 0; i < half; ++i) {
          std::size_t first = static_cast<std::size_t>(row * d + offset + (neox ? i : 2 * i));
          std::size_t second = first + static_cast<std::size_t>(neox ? half : 1);
          std::size_t angle = static_cast<std::size_t>(row / heads * half + i);
          expected[first] = x[first] * cos[angle] - x[second] * sin[angle];
          expected[second] = x[second] * cos[angle] + x[first] * sin[angle];
        }
      }
      EXPECT_EQ(y, expected);
    }
  }
}

TEST(Half, conversions_are_the_specifications) {
  for (u32 h = 0; h < 0x10000; ++h) {
    u16 bits = static_cast<u16>(h);
    EXPECT_EQ(float_to_bits(half_to_float(bits)), float_to_bits(isa::f32_from_f16(bits)));
  }
  SeededRandom random(1);
  for (int i = 0; i < 200'000; ++i) {
    f32 x = bits_to_float(static_cast<u32>(random.next()));
    EXPECT_EQ(float_to_half(x), isa::f16_from_f32(x)) << float_to_bits(x);
    EXPECT_EQ(float_to_bfloat(x), isa::bf16_from_f32(x)) << float_to_bits(x);
  }
}

}  // namespace
}  // namespace tg::backend::cpu
