// Quantised layouts against plain dequantisation, written here from each format's definition: the
// codec's numbers must be the same bit for bit.
#include "model/huggingface/layout.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/bytes.h"
#include "env/random.h"
#include "isa/codec.h"
#include "model/huggingface/numbers.h"
#include "model/huggingface/shaping.h"

namespace tg::checkpoint {
namespace {

using SDType = safetensors::DType;

// Tensors with bytes of their own.
class Bench {
 public:
  const safetensors::Tensor& add(std::string name, SDType dtype, std::vector<i64> dims,
                                 std::vector<u8> bytes) {
    std::vector<u8>& kept = bytes_.emplace_back(std::move(bytes));
    return tensors_.emplace_back(
        safetensors::Tensor{std::move(name), dtype, std::move(dims), kept});
  }
  // Random bytes; of floats in f16 and bf16, small positive ones.
  const safetensors::Tensor& random(std::string name, SDType dtype, std::vector<i64> dims) {
    u64 count = 1;
    for (i64 dim : dims) count *= static_cast<u64>(dim);
    std::vector<u8> bytes;
    for (u64 i = 0; i < count; ++i) append_random(dtype, bytes);
    return add(std::move(name), dtype, std::move(dims), std::move(bytes));
  }
  u64 below(u64 bound) { return random_.below(bound); }

 private:
  void append_random(SDType dtype, std::vector<u8>& out) {
    f32 value = static_cast<f32>(0.001 + random_.uniform());
    if (dtype == SDType::kF16) return append_u16(out, isa::f16_from_f32(value));
    if (dtype == SDType::kBf16) return append_u16(out, isa::bf16_from_f32(value));
    if (dtype == SDType::kF32) return append_u32(out, std::bit_cast<u32>(value));
    if (dtype == SDType::kI32) return append_u32(out, static_cast<u32>(random_.next()));
    // 0x7F and 0xFF are the NaNs of e4m3, which equal nothing.
    append_u8(out, static_cast<u8>(random_.below(255) % 127 + random_.below(2) * 128));
  }

  SeededRandom random_{7};
  std::deque<std::vector<u8>> bytes_;
  std::deque<safetensors::Tensor> tensors_;
};

std::vector<f32> numbers(const Stored& stored) {
  i64 count = 1;
  for (i64 dim : stored.dims) count *= dim;
  std::vector<f32> out(static_cast<std::size_t>(count));
  isa::dequantize_row(stored.codec, stored.bytes, out);
  return out;
}

u32 nibble(u32 word, i64 i) {
  return word >> (4 * i) & 15;
}

Quantization packed(Packing packing, i32 offset = 1) {
  return {.packing = packing, .gptq_zero_offset = offset};
}

// E4M3: sign, four bits of exponent (bias 7), three of fraction; no infinities.
f32 e4m3(u8 code) {
  i32 exponent = code >> 3 & 15;
  f32 fraction = static_cast<f32>(code & 7) / 8;
  f32 magnitude = exponent == 0 ? std::ldexp(fraction, -6) : std::ldexp(1 + fraction, exponent - 7);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

struct Fp8Case {
  std::string_view scale_name;
  SDType scale_type;
  std::vector<i64> scale_dims;
  i64 rows_per_scale, step, stride;
};

TEST(Layout, Fp8IsItsScaleTimesItsCode) {
  const Fp8Case cases[] = {
      {"weight_scale_inv", SDType::kF32, {2, 3}, 128, 1, 3},
      {"weight_scale_inv", SDType::kBf16, {2, 3}, 128, 1, 3},
      {"weight_scale", SDType::kF32, {}, 1, 0, 0},
      {"weight_scale", SDType::kBf16, {1}, 1, 0, 0},
      {"weight_scale", SDType::kF32, {200}, 1, 0, 1},
      {"weight_scale", SDType::kF16, {200, 1}, 1, 0, 1},
  };
  for (const Fp8Case& c : cases) {
    Bench bench;
    const safetensors::Tensor& weight = bench.random("w", SDType::kE4m3, {200, 384});
    const safetensors::Tensor& scale = bench.random("s", c.scale_type, c.scale_dims);
    Stored stored = read_weight({{"weight", &weight}, {c.scale_name, &scale}}, {}).value();
    EXPECT_EQ(stored.codec, isa::DType::kFp8B128);
    EXPECT_EQ(stored.dims, weight.dims);
    std::vector<f32> found = numbers(stored);
    for (i64 n = 0; n < 200; ++n)
      for (i64 k = 0; k < 384; ++k)
        ASSERT_EQ(found[static_cast<std::size_t>(n * 384 + k)],
                  float_at(scale, n / c.rows_per_scale * c.stride + k / 128 * c.step) *
                      e4m3(weight.data[static_cast<std::size_t>(n * 384 + k)]))
            << n << " " << k;
  }
}

// AutoAWQ's GEMM form: nibble i of a word is column 0,2,4,6,1,3,5,7 of its eight.
TEST(Layout, AwqIsItsDefinition) {
  constexpr i64 kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (i64 group : {32, 64, 128, 256}) {
    Bench bench;
    constexpr i64 kK = 256;
    constexpr i64 kN = 24;
    const safetensors::Tensor& codes = bench.random("q", SDType::kI32, {kK, kN / 8});
    const safetensors::Tensor& zeros = bench.random("z", SDType::kI32, {kK / group, kN / 8});
    const safetensors::Tensor& scales = bench.random("s", SDType::kF16, {kK / group, kN});
    Stored stored = read_weight({{"qweight", &codes}, {"qzeros", &zeros}, {"scales", &scales}},
                                packed(Packing::kAwq))
                        .value();
    EXPECT_EQ(stored.codec, group % 128 == 0 ? isa::DType::kI4G128 : isa::DType::kI4G32);
    EXPECT_EQ(stored.dims, (std::vector<i64>{kN, kK}));
    std::vector<f32> found = numbers(stored);
    for (i64 k = 0; k < kK; ++k) {
      for (i64 word = 0; word < kN / 8; ++word) {
        for (i64 i = 0; i < 8; ++i) {
          i64 n = 8 * word + kOrder[i];
          i32 q = static_cast<i32>(nibble(word_at(codes, k * kN / 8 + word), i));
          i32 z = static_cast<i32>(nibble(word_at(zeros, k / group * kN / 8 + word), i));
          ASSERT_EQ(found[static_cast<std::size_t>(n * kK + k)],
                    static_cast<f32>(q - z) * float_at(scales, k / group * kN + n));
        }
      }
    }
  }
}

TEST(Layout, GptqIsItsDefinition) {
  for (i32 offset : {0, 1}) {
    for (i64 group : {32, 64, 128, 384}) {
      Bench bench;
      constexpr i64 kK = 384;
      constexpr i64 kN = 16;
      const safetensors::Tensor& codes = bench.random("q", SDType::kI32, {kK / 8, kN});
      const safetensors::Tensor& zeros = bench.random("z", SDType::kI32, {kK / group, kN / 8});
      const safetensors::Tensor& scales = bench.random("s", SDType::kF16, {kK / group, kN});
      std::vector<u8> order;
      for (i64 k = 0; k < kK; ++k) append_u32(order, static_cast<u32>(k / group));
      const safetensors::Tensor& g_idx = bench.add("g", SDType::kI32, {kK}, order);
      Parts parts = {
          {"qweight", &codes}, {"qzeros", &zeros}, {"scales", &scales}, {"g_idx", &g_idx}};
      Stored stored = read_weight(parts, packed(Packing::kGptq, offset)).value();
      EXPECT_EQ(stored.dims, (std::vector<i64>{kN, kK}));
      std::vector<f32> found = numbers(stored);
      for (i64 n = 0; n < kN; ++n) {
        for (i64 k = 0; k < kK; ++k) {
          i32 q = static_cast<i32>(nibble(word_at(codes, k / 8 * kN + n), k % 8));
          i32 z = offset +
                  static_cast<i32>(nibble(word_at(zeros, k / group * (kN / 8) + n / 8), n % 8));
          ASSERT_EQ(found[static_cast<std::size_t>(n * kK + k)],
                    static_cast<f32>(q - z) * float_at(scales, k / group * kN + n));
        }
      }
      std::vector<u8> swapped = order;
      swapped[4] = static_cast<u8>(swapped[4] + 1);
      parts["g_idx"] = &bench.add("g", SDType::kI32, {kK}, swapped);
      EXPECT_EQ(read_weight(parts, packed(Packing::kGptq)).error().message,
                "tensor 'g' is I32[384], and its element 1 is 1: rows out of order are not "
                "supported");
    }
  }
}

TEST(Layout, CompressedInt4IsItsDefinition) {
  Bench bench;
  const safetensors::Tensor& codes = bench.random("q", SDType::kI32, {6, 16});
  const safetensors::Tensor& scales = bench.random("s", SDType::kBf16, {6, 4});
  Parts parts = {{"weight_packed", &codes}, {"weight_scale", &scales}};
  Stored stored = read_weight(parts, {}).value();
  EXPECT_EQ(stored.codec, isa::DType::kI4G32);
  std::vector<f32> found = numbers(stored);
  for (i64 n = 0; n < 6; ++n)
    for (i64 k = 0; k < 128; ++k)
      ASSERT_EQ(
          found[static_cast<std::size_t>(n * 128 + k)],
          static_cast<f32>(static_cast<i32>(nibble(word_at(codes, n * 16 + k / 8), k % 8)) - 8) *
              float_at(scales, n * 4 + k / 32));
  parts["weight_zero_point"] = &scales;
  EXPECT_EQ(read_weight(parts, {}).error().message,
            "tensor 's' is BF16[6,4], which is not supported");
}

TEST(Layout, Mxfp4KeepsEveryCode) {
  constexpr f32 kLevels[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  Bench bench;
  const safetensors::Tensor& blocks = bench.random("b", SDType::kU8, {2, 3, 2, 16});
  std::vector<u8> exponents;
  for (int i = 0; i < 12; ++i) exponents.push_back(static_cast<u8>(120 + bench.below(10)));
  const safetensors::Tensor& scales = bench.add("s", SDType::kU8, {2, 3, 2}, exponents);
  Stored stored = read_weight({{"blocks", &blocks}, {"scales", &scales}}, {}).value();
  EXPECT_EQ(stored.dims, (std::vector<i64>{2, 3, 64}));
  std::vector<f32> found = numbers(stored);
  for (std::size_t i = 0; i < found.size(); ++i) {
    u8 code = static_cast<u8>(blocks.data[i / 2] >> (4 * (i % 2)) & 15);
    f32 magnitude = std::ldexp(kLevels[code & 7], exponents[i / 32] - 127);
    ASSERT_EQ(found[i], (code & 8) != 0 ? -magnitude : magnitude) << i;
  }
}

TEST(Layout, EveryMisfitGivesItsOneLine) {
  Bench b;
  const safetensors::Tensor& fp8 = b.random("w", SDType::kE4m3, {4, 128});
  const safetensors::Tensor& narrow = b.random("w", SDType::kE4m3, {4, 96});
  const safetensors::Tensor& vector = b.random("w", SDType::kE4m3, {128});
  const safetensors::Tensor& one = b.random("s", SDType::kF32, {1});
  const safetensors::Tensor& three = b.random("s", SDType::kF32, {3});
  const safetensors::Tensor& ints = b.random("s", SDType::kI32, {1});
  const safetensors::Tensor& codes = b.random("q", SDType::kI32, {32, 2});
  const safetensors::Tensor& zeros = b.random("z", SDType::kI32, {1, 2});
  const safetensors::Tensor& scales = b.random("s", SDType::kF16, {1, 16});
  const safetensors::Tensor& two_groups = b.random("s", SDType::kF16, {2, 16});
  const safetensors::Tensor& wide = b.random("s", SDType::kF16, {1, 24});
  const safetensors::Tensor& inexact = b.add("s", SDType::kF32, {1, 16}, std::vector<u8>(64, 0x3F));
  const safetensors::Tensor& wrong = b.random("w", SDType::kI64, {1});
  const safetensors::Tensor& scalar = b.random("w", SDType::kF32, {});
  const safetensors::Tensor& bits = b.random("b", SDType::kU8, {2, 2, 16});
  const safetensors::Tensor& bits_scales = b.random("s", SDType::kU8, {2, 3});
  struct Case {
    Parts parts;
    Packing packing;
    std::string_view error;
  };
  const Case cases[] = {
      {{{"weight", &fp8}}, {}, "tensor 'w' has no weight_scale beside it"},
      {{{"weight", &fp8}, {"weight_scale", &three}},
       {},
       "tensor 's' is F32[3], which does not fit tensor 'w' is F8_E4M3[4,128]"},
      {{{"weight", &fp8}, {"weight_scale", &ints}},
       {},
       "tensor 's' is I32[1], which is not supported"},
      {{{"weight", &narrow}, {"weight_scale", &one}},
       {},
       "tensor 'w' is F8_E4M3[4,96], expected rows of whole blocks of 128"},
      {{{"weight", &vector}, {"weight_scale", &one}},
       {},
       "tensor 'w' is F8_E4M3[128], expected rows and columns"},
      {{{"weight", &wrong}}, {}, "tensor 'w' is I64[1], which is not supported"},
      {{{"weight", &scalar}}, {}, "tensor 'w' is F32[], expected elements in rows"},
      {{{"scales", &scales}}, {}, "tensor 's' is F16[1,16], but the weight beside it is missing"},
      {{{"qweight", &codes}}, {}, "tensor 'q' has no scales beside it"},
      {{{"qweight", &codes}, {"scales", &scales}}, {}, "tensor 'q' has no qzeros beside it"},
      {{{"qweight", &codes}, {"scales", &scales}, {"qzeros", &zeros}},
       {},
       "tensor 'q' is I32[32,2], but config.json has no quantization_config that says how"},
      {{{"qweight", &codes}, {"scales", &two_groups}, {"qzeros", &zeros}},
       Packing::kAwq,
       "tensor 'q' is I32[32,2]: 32 columns in 2 groups are not whole blocks of 32"},
      {{{"qweight", &codes}, {"scales", &wide}, {"qzeros", &zeros}},
       Packing::kAwq,
       "tensor 's' is F16[1,24], which does not fit tensor 'q' is I32[32,2]"},
      {{{"qweight", &codes}, {"scales", &scales}, {"qzeros", &codes}},
       Packing::kAwq,
       "tensor 'q' is I32[32,2], which does not fit tensor 'q' is I32[32,2]"},
      {{{"qweight", &codes}, {"scales", &zeros}, {"qzeros", &zeros}},
       Packing::kAwq,
       "tensor 'z' is I32[1,2], expected floats in two dimensions"},
      {{{"qweight", &scales}, {"scales", &scales}, {"qzeros", &zeros}},
       Packing::kGptq,
       "tensor 's' is F16[1,16], expected I32 in two dimensions"},
      {{{"qweight", &codes}, {"scales", &inexact}, {"qzeros", &zeros}},
       Packing::kAwq,
       "tensor 's' is F32[1,16], and its element 0 is not exact in f16"},
      {{{"blocks", &bits}}, {}, "tensor 'b' has no scales beside it"},
      {{{"blocks", &bits}, {"scales", &bits_scales}},
       {},
       "tensor 's' is U8[2,3], which does not fit tensor 'b' is U8[2,2,16]"},
  };
  for (const Case& c : cases) {
    Result<Stored> stored = read_weight(c.parts, packed(c.packing));
    EXPECT_EQ(stored.ok() ? "ok" : stored.error().message, c.error);
  }
}

TEST(Layout, BytesStayMappedUnlessTheyLieCrooked) {
  alignas(8) static constexpr u8 kBytes[40] = {1, 2, 3};
  safetensors::Tensor tensor{"w", SDType::kF32, {2, 4}, std::span(kBytes).first(32)};
  EXPECT_EQ(read_plain(tensor).value().bytes.data(), kBytes);
  tensor.data = std::span(kBytes).subspan(2, 32);
  Stored moved = read_plain(tensor).value();
  EXPECT_EQ(moved.owned.size(), 32u);
  EXPECT_EQ(moved.bytes.data(), moved.owned.data());
  EXPECT_EQ(moved.bytes[0], 3);
}

// Each head's keys transposed, its values as they are; in plain floats and in FP8 blocks.
TEST(Shaping, SplitsLatentAttentionsUpProjection) {
  constexpr i64 kHeads = 2, kNope = 128, kValue = 64, kRank = 256;
  const LatentHeads heads{.heads = kHeads, .nope = kNope, .value = kValue};
  Bench bench;
  const safetensors::Tensor& plain = bench.random("w", SDType::kBf16, {384, kRank});
  const safetensors::Tensor& fp8 = bench.random("w", SDType::kE4m3, {384, kRank});
  const safetensors::Tensor& one = bench.random("s", SDType::kF32, {1});
  const safetensors::Tensor& rows = bench.random("s", SDType::kF32, {384});
  const Parts cases[] = {{{"weight", &plain}}, {{"weight", &fp8}, {"weight_scale", &one}}};
  for (const Parts& parts : cases) {
    Stored stored = read_weight(parts, {}).value();
    KeyValueUp split = split_key_value_up(stored, heads).value();
    EXPECT_EQ(split.key.dims, (std::vector<i64>{kHeads, kRank, kNope}));
    EXPECT_EQ(split.value.dims, (std::vector<i64>{kHeads, kValue, kRank}));
    std::vector<f32> all = numbers(stored), keys = numbers(split.key),
                     values = numbers(split.value);
    for (i64 h = 0; h < kHeads; ++h) {
      i64 first = h * (kNope + kValue);
      for (i64 r = 0; r < kRank; ++r) {
        for (i64 i = 0; i < kNope; ++i)
          ASSERT_EQ(keys[static_cast<std::size_t>((h * kRank + r) * kNope + i)],
                    all[static_cast<std::size_t>((first + i) * kRank + r)]);
        for (i64 i = 0; i < kValue; ++i)
          ASSERT_EQ(values[static_cast<std::size_t>((h * kValue + i) * kRank + r)],
                    all[static_cast<std::size_t>((first + kNope + i) * kRank + r)]);
      }
    }
  }
  Stored crooked = read_weight({{"weight", &fp8}, {"weight_scale", &rows}}, {}).value();
  EXPECT_EQ(split_key_value_up(crooked, heads).error().message,
            "blocks of kv_b_proj with scales of single rows");
  EXPECT_EQ(split_key_value_up(crooked, {.heads = 3, .nope = 128, .value = 64}).error().message,
            "kv_b_proj is fp8_b128[384,256], expected 3 heads of 128+64 rows");
}

TEST(Shaping, StacksSplitsAndWidens) {
  Bench bench;
  Stored a = read_plain(bench.random("a", SDType::kF16, {2, 4})).value();
  Stored b = read_plain(bench.random("b", SDType::kF16, {2, 4})).value();
  Stored c = read_plain(bench.random("c", SDType::kF32, {2, 4})).value();
  Stored both = stacked({a, b}).value();
  EXPECT_EQ(both.dims, (std::vector<i64>{2, 2, 4}));
  std::vector<f32> expected = numbers(a), rest = numbers(b);
  expected.insert(expected.end(), rest.begin(), rest.end());
  EXPECT_EQ(numbers(both), expected);
  EXPECT_EQ(stacked({a, c}).error().message, "expert 1 is f32[2,4], expert 0 is f16[2,4]");
  Stored wide = widened(std::move(both));
  EXPECT_EQ(wide.codec, isa::DType::kF32);
  EXPECT_EQ(numbers(wide), expected);
  std::vector<f32> more = numbers(plus_one(a));
  for (std::size_t i = 0; i < more.size(); ++i) EXPECT_EQ(more[i], numbers(a)[i] + 1);
  std::pair<Stored, Stored> halves = split_interleaved(wide).value();
  EXPECT_EQ(halves.first.dims, (std::vector<i64>{2, 1, 4}));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(numbers(halves.first)[i], expected[i]);
    EXPECT_EQ(numbers(halves.first)[4 + i], expected[8 + i]);
    EXPECT_EQ(numbers(halves.second)[i], expected[4 + i]);
  }
}

}  // namespace
}  // namespace tg::checkpoint
