// Each layout is three small questions: the code at (row, column), the scale and the zero point of
// a (group, row). One loop asks them and writes blocks.
#include "model/huggingface/int4.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "model/huggingface/numbers.h"

namespace tg::checkpoint {
namespace {

using safetensors::Tensor;

struct Shape {
  i64 rows = 0;     // N
  i64 columns = 0;  // K
  i64 group = 0;
};

// In AWQ's words nibble i is column kAwqOrder[i] of eight; this is the way back.
constexpr std::array<int, 8> kAwqNibble = {0, 4, 1, 5, 2, 6, 3, 7};

Error misfit(const Tensor& tensor, const Tensor& other) {
  return Error{Code::kInvalid, describe(tensor) + ", which does not fit " + describe(other)};
}

Status check_words(const Tensor& tensor) {
  bool is_fit =
      tensor.dtype == safetensors::DType::kI32 && tensor.dims.size() == 2 && !tensor.data.empty();
  return is_fit ? Status()
                : Status(Error{Code::kUnsupported, describe(tensor) + ", expected I32 in two "
                                                                      "dimensions"});
}

Status check_scales(const Tensor& tensor) {
  bool is_fit = is_float(tensor.dtype) && tensor.dims.size() == 2 && !tensor.data.empty();
  return is_fit ? Status()
                : Status(Error{Code::kUnsupported, describe(tensor) + ", expected floats in two "
                                                                      "dimensions"});
}

Result<i64> group_size(const Tensor& codes, i64 columns, i64 groups) {
  if (columns % groups != 0 || columns / groups % 32 != 0)
    return Error{Code::kUnsupported,
                 fmt::format("{}: {} columns in {} groups are not whole blocks of 32",
                             describe(codes), columns, groups)};
  return columns / groups;
}

Result<u16> exact_half(const Tensor& scales, i64 index) {
  if (scales.dtype == safetensors::DType::kF16) return half_at(scales, index);
  f32 value = float_at(scales, index);
  u16 half = isa::f16_from_f32(value);
  if (isa::f32_from_f16(half) == value) return half;
  return Error{Code::kUnsupported,
               fmt::format("{}, and its element {} is not exact in f16", describe(scales), index)};
}

// code(row, column) in 0..15, zero(group, row) in 0..16, scale(group, row) as an index of `scales`.
template <typename CodeAt, typename ZeroAt, typename ScaleAt>
Result<Stored> write_blocks(const Shape& shape, const Tensor& scales, CodeAt code, ZeroAt zero,
                            ScaleAt scale) {
  bool is_wide = shape.group % 128 == 0;
  i64 width = is_wide ? 128 : 32;
  i64 block_bytes = 4 + width / 2;
  i64 blocks = shape.columns / width;
  Stored out{.codec = is_wide ? isa::DType::kI4G128 : isa::DType::kI4G32,
             .dims = {shape.rows, shape.columns}};
  out.owned.resize(static_cast<std::size_t>(shape.rows * blocks * block_bytes));
  // Blocks of neighbouring rows read neighbouring words, so rows are the inner loop.
  for (i64 b = 0; b < blocks; ++b) {
    i64 group = b * width / shape.group;
    for (i64 row = 0; row < shape.rows; ++row) {
      u8* block = out.owned.data() + (row * blocks + b) * block_bytes;
      TG_ASSIGN(u16 half, exact_half(scales, scale(group, row)));
      put_half(block, half);
      block[2] = static_cast<u8>(zero(group, row));
      for (i64 i = 0; i < width / 2; ++i) {
        u32 low = code(row, b * width + 2 * i);
        u32 high = code(row, b * width + 2 * i + 1);
        block[4 + i] = static_cast<u8>(low | high << 4);
      }
    }
  }
  out.bytes = out.owned;
  return out;
}

Status check_columns(const PackedColumns& parts, const Shape& shape) {
  i64 groups = parts.scales.dims[0];
  if (parts.scales.dims[1] != shape.rows) return misfit(parts.scales, parts.codes);
  if (parts.zeros.dims != std::vector<i64>{groups, shape.rows / 8} || shape.rows % 8 != 0)
    return misfit(parts.zeros, parts.codes);
  return {};
}

Result<Shape> columns_shape(const PackedColumns& parts, i64 rows, i64 columns) {
  Shape shape{.rows = rows, .columns = columns};
  TG_ASSIGN(shape.group, group_size(parts.codes, columns, parts.scales.dims[0]));
  TG_TRY(check_columns(parts, shape));
  return shape;
}

Status check_parts(const PackedColumns& parts) {
  TG_TRY(check_words(parts.codes));
  TG_TRY(check_words(parts.zeros));
  return check_scales(parts.scales);
}

// Rows that were sorted before they were grouped ("desc_act") have no place in blocks.
Status check_order(const Tensor& order, const Shape& shape) {
  if (order.dtype != safetensors::DType::kI32 || order.dims != std::vector<i64>{shape.columns})
    return Error{Code::kInvalid,
                 fmt::format("{}, expected I32[{}]", describe(order), shape.columns)};
  for (i64 k = 0; k < shape.columns; ++k) {
    if (word_at(order, k) == static_cast<u32>(k / shape.group)) continue;
    return Error{Code::kUnsupported,
                 fmt::format("{}, and its element {} is {}: rows out of order are not supported",
                             describe(order), k, static_cast<i32>(word_at(order, k)))};
  }
  return {};
}

}  // namespace

Result<Stored> read_awq(const PackedColumns& parts) {
  TG_TRY(check_parts(parts));
  i64 words = parts.codes.dims[1];
  TG_ASSIGN(Shape shape, columns_shape(parts, words * 8, parts.codes.dims[0]));
  auto nibble = [words](const Tensor& tensor, i64 line, i64 row) {
    int shift = 4 * kAwqNibble[static_cast<std::size_t>(row % 8)];
    return word_at(tensor, line * words + row / 8) >> shift & 15;
  };
  return write_blocks(
      shape, parts.scales, [&](i64 row, i64 column) { return nibble(parts.codes, column, row); },
      [&](i64 group, i64 row) { return nibble(parts.zeros, group, row); },
      [&](i64 group, i64 row) { return group * shape.rows + row; });
}

Result<Stored> read_gptq(const PackedColumns& parts, const Tensor* order, i32 zero_offset) {
  TG_TRY(check_parts(parts));
  TG_ASSIGN(Shape shape, columns_shape(parts, parts.codes.dims[1], parts.codes.dims[0] * 8));
  if (order != nullptr) TG_TRY(check_order(*order, shape));
  i64 rows = shape.rows;
  return write_blocks(
      shape, parts.scales,
      [&](i64 row, i64 column) {
        return word_at(parts.codes, column / 8 * rows + row) >> (4 * (column % 8)) & 15;
      },
      [&](i64 group, i64 row) {
        u32 stored = word_at(parts.zeros, group * (rows / 8) + row / 8) >> (4 * (row % 8)) & 15;
        return stored + static_cast<u32>(zero_offset);
      },
      [&](i64 group, i64 row) { return group * rows + row; });
}

Result<Stored> read_compressed_int4(const Tensor& codes, const Tensor& scale) {
  TG_TRY(check_words(codes));
  TG_TRY(check_scales(scale));
  Shape shape{.rows = codes.dims[0], .columns = codes.dims[1] * 8};
  if (scale.dims[0] != shape.rows) return misfit(scale, codes);
  i64 groups = scale.dims[1];
  TG_ASSIGN(shape.group, group_size(codes, shape.columns, groups));
  return write_blocks(
      shape, scale,
      [&](i64 row, i64 column) {
        return word_at(codes, row * (shape.columns / 8) + column / 8) >> (4 * (column % 8)) & 15;
      },
      [](i64, i64) { return 8u; }, [&](i64 group, i64 row) { return row * groups + group; });
}

}  // namespace tg::checkpoint
