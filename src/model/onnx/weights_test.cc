// What initializers become: transposes, codecs chosen, memory bounded; and frequencies out of
// rotary tables.
#include "model/onnx/weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "base/bytes.h"
#include "isa/codec.h"
#include "model/onnx/rotary_cache.h"

namespace tg::onnx {
namespace {

Tensor floats(std::vector<i64> dims, const std::vector<f32>& values,
              ElementType type = ElementType::kFloat) {
  Tensor out{.name = "t", .type = type, .dims = std::move(dims)};
  for (f32 value : values) {
    if (type == ElementType::kFloat) append_u32(out.decoded, std::bit_cast<u32>(value));
    if (type == ElementType::kFloat16) append_u16(out.decoded, isa::f16_from_f32(value));
    if (type == ElementType::kBfloat16) append_u16(out.decoded, isa::bf16_from_f32(value));
  }
  return out;
}

Tensor codes(std::vector<i64> dims, std::vector<u8> bytes) {
  Tensor out{.name = "c", .type = ElementType::kUint8, .dims = std::move(dims)};
  out.decoded = std::move(bytes);
  return out;
}

std::vector<f32> row_of(const Weight& weight) {
  std::vector<f32> out(static_cast<std::size_t>(weight.dims.back()));
  isa::dequantize_row(weight.codec,
                      weight.bytes.subspan(0, static_cast<std::size_t>(isa::row_bytes(
                                                  weight.codec, weight.dims.back()))),
                      out);
  return out;
}

TEST(Weights, MatricesAreTransposedOnce) {
  std::vector<f32> values;
  for (int i = 0; i < 35 * 67; ++i) values.push_back(static_cast<f32>(i));
  Tensor tensor = floats({35, 67}, values);
  WeightStore store(tensor.decoded.size());
  EXPECT_EQ(store.transposed(tensor).value(), 0);
  EXPECT_EQ(store.transposed(tensor).value(), 0);
  const Weight& weight = store.all()[0];
  EXPECT_EQ(weight.dims, (std::vector<i64>{67, 35}));
  for (u32 n = 0; n < 67; ++n) {
    for (u32 k = 0; k < 35; ++k) {
      f32 value = 0;
      std::memcpy(&value, &weight.bytes[(n * 35 + k) * 4], 4);
      ASSERT_EQ(value, static_cast<f32>(k * 67 + n));
    }
  }
}

TEST(Weights, AlignedDataStaysWhereItIs) {
  Tensor tensor = floats({4}, {1, 2, 3, 4});
  WeightStore store(16);
  store.plain(tensor, {4}).value();
  EXPECT_EQ(store.all()[0].bytes.data(), tensor.decoded.data());
  Tensor shifted{.name = "s", .type = ElementType::kFloat, .dims = {3}};
  shifted.raw = std::span<const u8>(tensor.decoded).subspan(4);
  store.plain(shifted, {3}).value();
  EXPECT_NE(store.all()[1].bytes.data(), shifted.raw.data());
  EXPECT_TRUE(std::equal(shifted.raw.begin(), shifted.raw.end(), store.all()[1].bytes.begin()));
}

TEST(Weights, ManySmallNamesDoNotFillTheMemory) {
  Tensor tensor = floats({1'024, 1'024}, std::vector<f32>(1'024 * 1'024));
  std::vector<Tensor> same(9, tensor);
  WeightStore store(1'000);
  Status status;
  for (const Tensor& t : same) {
    Result<i32> index = store.transposed(t);
    if (!index.ok()) status = index.error();
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kLimit);
}

// One row of one block of 32 codes.
struct BlockCase {
  i64 bits;
  u8 byte;  // of every code, or pair of codes
  f32 scale;
  f32 zero;  // as a float zero point
  isa::DType codec;
  f32 first;  // element 0, dequantised
};

TEST(Weights, BlocksTakeTheCodecThatHoldsThem) {
  using isa::DType;
  const BlockCase cases[] = {
      {4, 0x2B, 0.5f, 8, DType::kI4G32, 1.5f},     {4, 0x2B, 0.5f, 3.5f, DType::kF32, 3.75f},
      {4, 0x2B, 0.5f, 300, DType::kF32, -144.5f},  {4, 0x2B, 0.1f, 8, DType::kF32, 0.3f},
      {4, 0x2B, 1e30f, 8, DType::kF32, 3e30f},     {8, 200, 0.5f, 128, DType::kQ8_0, 36.0f},
      {8, 0, 0.5f, 128, DType::kQ8_0, -64.0f},     {8, 255, 0.5f, 3, DType::kF32, 126.0f},
      {8, 255, 0.5f, 128.5f, DType::kF32, 63.25f},
  };
  for (const BlockCase& c : cases) {
    Tensor b =
        codes({1, 1, 4 * c.bits}, std::vector<u8>(static_cast<std::size_t>(4 * c.bits), c.byte));
    Tensor scales = floats({1}, {c.scale});
    Tensor zeros = floats({1}, {c.zero});
    WeightStore store(64);
    BlockMatrix m{&b, &scales, &zeros, 1, 32, c.bits, 32};
    const i32 index = store.blocks(m).value();
    const Weight& weight = store.all()[static_cast<std::size_t>(index)];
    EXPECT_EQ(isa::info(weight.codec).name, isa::info(c.codec).name) << c.scale << " " << c.zero;
    EXPECT_FLOAT_EQ(row_of(weight)[0], c.first);
    EXPECT_EQ(store.notes().size(), weight.codec == DType::kF32 ? 1u : 0u);
  }
}

struct TableCase {
  ElementType type;
  i64 positions;
  f64 base;
  f64 factor;  // divides the frequencies of the upper half
  f64 magnitude;
  f64 tolerance;  // of a frequency, relative to it
};

RotaryTable recovered(const TableCase& c, const std::vector<f32>& frequencies) {
  std::vector<f32> cos, sin;
  for (i64 p = 0; p < c.positions; ++p) {
    for (f32 f : frequencies) {
      f32 angle = static_cast<f32>(p) * f;
      cos.push_back(std::cos(angle) * static_cast<f32>(c.magnitude));
      sin.push_back(std::sin(angle) * static_cast<f32>(c.magnitude));
    }
  }
  std::vector<i64> dims = {c.positions, static_cast<i64>(frequencies.size())};
  Result<RotaryTable> table = recover_rotary(floats(dims, cos, c.type), floats(dims, sin, c.type));
  EXPECT_TRUE(table.ok()) << table.error().message;
  return table.ok() ? *table : RotaryTable{};
}

TEST(Rotary, FrequenciesComeBack) {
  constexpr ElementType kF32 = ElementType::kFloat;
  constexpr ElementType kF16 = ElementType::kFloat16;
  constexpr ElementType kBf16 = ElementType::kBfloat16;
  const TableCase cases[] = {
      {kF32, 2, 1e4, 1, 1, 1e-6},        {kF32, 4'096, 1e4, 1, 1, 0},
      {kF32, 4'096, 5e5, 1, 1, 0},       {kF16, 4'096, 1e4, 1, 1, 0},
      {kF16, 8'192, 5e5, 1, 1, 0},       {kBf16, 8'192, 1e6, 1, 1, 0},
      {kF32, 4'096, 5e5, 8, 1, 1e-6},    {kF16, 16'384, 5e5, 8, 1, 1e-3},
      {kF32, 4'096, 1e4, 1, 1.25, 1e-6},
  };
  for (const TableCase& c : cases) {
    std::vector<f32> frequencies;
    for (int i = 0; i < 32; ++i) {
      f64 f = std::pow(c.base, -i / 32.0);
      frequencies.push_back(static_cast<f32>(i < 16 ? f : f / c.factor));
    }
    RotaryTable table = recovered(c, frequencies);
    ASSERT_EQ(table.inverse_frequencies.size(), 32u);
    EXPECT_EQ(table.magnitude, static_cast<f32>(c.magnitude));
    EXPECT_EQ(table.positions, c.positions);
    for (std::size_t i = 0; i < 32; ++i)
      EXPECT_NEAR(table.inverse_frequencies[i], frequencies[i], c.tolerance * f64{frequencies[i]})
          << onnx::name(c.type) << " " << c.base << " " << i;
  }
}

TEST(Rotary, OtherTablesAreRefused) {
  std::vector<f32> cos(64 * 4, 1.0f);
  std::vector<f32> sin(64 * 4, 0.0f);
  EXPECT_TRUE(recover_rotary(floats({64, 4}, cos), floats({64, 4}, sin)).ok());
  cos[17 * 4 + 2] = 0.9f;
  EXPECT_EQ(recover_rotary(floats({64, 4}, cos), floats({64, 4}, sin)).error().message,
            "onnx: the rotary tables are not cos and sin of position times a frequency: off by 0.1 "
            "at position 17, pair 2");
  EXPECT_EQ(recover_rotary(floats({4}, {1, 1, 1, 1}), floats({4}, {0, 0, 0, 0})).error().message,
            "onnx: rotary tables are float[4] and float[4]");
}

}  // namespace
}  // namespace tg::onnx
