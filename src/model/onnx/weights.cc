// Repacking reads codes, scales and zeros through one view (Blocks) and writes through one loop per
// codec, so that which file layout meets which codec is a product, not a list of cases.
#include "model/onnx/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "isa/codec.h"

namespace tg::onnx {
namespace {

u64 bits_at(const Tensor& tensor, i64 i, u64 width) {
  u64 value = 0;
  std::span<const u8> data = tensor.data();
  for (u64 b = 0; b < width; ++b)
    value |= u64{data[static_cast<std::size_t>(i) * width + b]} << (8 * b);
  return value;
}

Result<isa::DType> codec_of(const Tensor& tensor) {
  switch (tensor.type) {
    case ElementType::kFloat: return isa::DType::kF32;
    case ElementType::kFloat16: return isa::DType::kF16;
    case ElementType::kBfloat16: return isa::DType::kBf16;
    default: break;
  }
  return Error{Code::kUnsupported, fmt::format("onnx: weight {} is of type {}, expected a float",
                                               quote(tensor.name), name(tensor.type))};
}

// Copies in[K,N] to out[N,K] by tiles: both sides are touched in short rows, because a column of a
// wide matrix falls on few lines of a cache.
template <typename T>
void transpose(std::span<const u8> in, std::span<u8> out, i64 k, i64 n) {
  constexpr i64 kSide = 64;
  T tile[kSide][kSide];
  for (i64 k0 = 0; k0 < k; k0 += kSide) {
    for (i64 n0 = 0; n0 < n; n0 += kSide) {
      i64 rows = std::min(kSide, k - k0);
      i64 columns = std::min(kSide, n - n0);
      for (i64 i = 0; i < rows; ++i) {
        T row[kSide];
        std::memcpy(row, in.data() + ((k0 + i) * n + n0) * i64{sizeof(T)},
                    static_cast<std::size_t>(columns) * sizeof(T));
        for (i64 j = 0; j < columns; ++j) tile[j][i] = row[j];
      }
      for (i64 j = 0; j < columns; ++j)
        std::memcpy(out.data() + ((n0 + j) * k + k0) * i64{sizeof(T)}, tile[j],
                    static_cast<std::size_t>(rows) * sizeof(T));
    }
  }
}

// What a BlockMatrix says, element by element. Sizes have been checked.
class Blocks {
 public:
  explicit Blocks(const BlockMatrix& m)
      : m_(m), per_row_((m.columns + m.block - 1) / m.block), codes_(m.codes->data()) {}

  i64 per_row() const { return per_row_; }
  int code(i64 row, i64 column) const {
    i64 at = row * per_row_ * m_.block + column;
    return packed(codes_, at);
  }
  // The bytes of 4-bit codes. REQUIRES: column and count are even.
  std::span<const u8> pairs(i64 row, i64 column, i64 count) const {
    i64 at = (row * per_row_ * m_.block + column) / 2;
    return codes_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count / 2));
  }
  f32 scale(i64 row, i64 block) const { return real_at(*m_.scales, row * per_row_ + block); }
  f32 zero(i64 row, i64 block) const {
    if (m_.zeros == nullptr) return m_.bits == 4 ? 8.0f : 128.0f;
    if (is_real(m_.zeros->type)) return real_at(*m_.zeros, row * per_row_ + block);
    // Rows of packed zeros start at whole bytes.
    i64 padded = m_.bits == 4 ? (per_row_ + 1) / 2 * 2 : per_row_;
    return static_cast<f32>(packed(m_.zeros->data(), row * padded + block));
  }

 private:
  int packed(std::span<const u8> bytes, i64 at) const {
    if (m_.bits == 8) return bytes[static_cast<std::size_t>(at)];
    return bytes[static_cast<std::size_t>(at / 2)] >> (at % 2 * 4) & 15;
  }

  const BlockMatrix& m_;
  i64 per_row_;
  std::span<const u8> codes_;
};

Error misfit(const Tensor& tensor, std::string_view what, i64 expected) {
  return Error{Code::kInvalid,
               fmt::format("onnx: {} {} is {}{}, expected {} elements", what, quote(tensor.name),
                           name(tensor.type), dims_text(tensor.dims), expected)};
}

Status check_sizes(const BlockMatrix& m) {
  i64 blocks = m.rows * ((m.columns + m.block - 1) / m.block);
  i64 code_bytes = blocks * m.block * m.bits / 8;
  if (m.codes->type != ElementType::kUint8 || m.codes->elements() != code_bytes)
    return misfit(*m.codes, "quantised weight", code_bytes);
  if (!is_real(m.scales->type) || m.scales->elements() != blocks)
    return misfit(*m.scales, "scales", blocks);
  if (m.zeros == nullptr) return {};
  i64 per_row = blocks / m.rows;
  i64 packed = m.rows * (m.bits == 4 ? (per_row + 1) / 2 : per_row);
  bool is_good = is_real(m.zeros->type)
                     ? m.zeros->elements() == blocks
                     : m.zeros->type == ElementType::kUint8 && m.zeros->elements() == packed;
  return is_good ? Status() : Status(misfit(*m.zeros, "zero points", packed));
}

bool is_f16(f32 value) {
  return std::isfinite(value) && isa::f32_from_f16(isa::f16_from_f32(value)) == value;
}

// True if every block's scale is a binary16 and its zero an integer that `codec` can hold.
bool fits(const BlockMatrix& m, const Blocks& blocks) {
  if (m.block % 32 != 0 || m.columns % 32 != 0) return false;
  for (i64 row = 0; row < m.rows; ++row) {
    for (i64 j = 0; j < blocks.per_row(); ++j) {
      f32 zero = blocks.zero(row, j);
      if (!is_f16(blocks.scale(row, j)) || !(zero >= 0 && zero <= 255) || zero != std::rint(zero))
        return false;
    }
  }
  return true;
}

// q8_0 holds code - zero in 8 signed bits.
bool fits_signed_bytes(const BlockMatrix& m, const Blocks& blocks) {
  for (i64 row = 0; row < m.rows; ++row) {
    for (i64 c = 0; c < m.columns; ++c) {
      int value = blocks.code(row, c) - static_cast<int>(blocks.zero(row, c / m.block));
      if (value < -128 || value > 127) return false;
    }
  }
  return true;
}

isa::DType choose_codec(const BlockMatrix& m, const Blocks& blocks) {
  if (!fits(m, blocks)) return isa::DType::kF32;
  if (m.bits == 8) return fits_signed_bytes(m, blocks) ? isa::DType::kQ8_0 : isa::DType::kF32;
  bool is_wide = m.block % 128 == 0 && m.columns % 128 == 0;
  isa::DType codec = is_wide ? isa::DType::kI4G128 : isa::DType::kI4G32;
  return isa::can_dequantize(codec) ? codec : isa::DType::kF32;
}

// int4_g32 and int4_g128: f16 scale, zero, a byte of 0, codes two to a byte as they were.
void pack_int4(const BlockMatrix& m, const Blocks& blocks, i64 group, std::span<u8> out) {
  std::size_t at = 0;
  for (i64 row = 0; row < m.rows; ++row) {
    for (i64 first = 0; first < m.columns; first += group) {
      u16 scale = isa::f16_from_f32(blocks.scale(row, first / m.block));
      out[at++] = static_cast<u8>(scale);
      out[at++] = static_cast<u8>(scale >> 8);
      out[at++] = static_cast<u8>(blocks.zero(row, first / m.block));
      out[at++] = 0;
      std::span<const u8> pairs = blocks.pairs(row, first, group);
      std::copy(pairs.begin(), pairs.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
      at += pairs.size();
    }
  }
}

void pack_q8_0(const BlockMatrix& m, const Blocks& blocks, std::span<u8> out) {
  std::size_t at = 0;
  for (i64 row = 0; row < m.rows; ++row) {
    for (i64 first = 0; first < m.columns; first += 32) {
      u16 scale = isa::f16_from_f32(blocks.scale(row, first / m.block));
      int zero = static_cast<int>(blocks.zero(row, first / m.block));
      out[at++] = static_cast<u8>(scale);
      out[at++] = static_cast<u8>(scale >> 8);
      for (i64 c = first; c < first + 32; ++c)
        out[at++] = static_cast<u8>(blocks.code(row, c) - zero);
    }
  }
}

void pack_f32(const BlockMatrix& m, const Blocks& blocks, std::span<u8> out) {
  std::size_t at = 0;
  for (i64 row = 0; row < m.rows; ++row) {
    for (i64 c = 0; c < m.columns; ++c) {
      f32 code = static_cast<f32>(blocks.code(row, c));
      f32 value = (code - blocks.zero(row, c / m.block)) * blocks.scale(row, c / m.block);
      std::memcpy(&out[at], &value, sizeof value);
      at += sizeof value;
    }
  }
}

}  // namespace

f32 real_at(const Tensor& tensor, i64 i) {
  if (tensor.type == ElementType::kFloat)
    return std::bit_cast<f32>(static_cast<u32>(bits_at(tensor, i, 4)));
  u16 half = static_cast<u16>(bits_at(tensor, i, 2));
  return tensor.type == ElementType::kFloat16 ? isa::f32_from_f16(half) : isa::f32_from_bf16(half);
}

i64 integer_at(const Tensor& tensor, i64 i) {
  if (tensor.type == ElementType::kInt64) return static_cast<i64>(bits_at(tensor, i, 8));
  return static_cast<i32>(static_cast<u32>(bits_at(tensor, i, 4)));
}

Result<std::span<u8>> WeightStore::allocate(const Tensor& source, u64 bytes) {
  if (bytes > derived_left_)
    return Error{Code::kLimit,
                 fmt::format("onnx: weight {} needs {} bytes more than its files warrant",
                             quote(source.name), bytes - derived_left_)};
  derived_left_ -= bytes;
  buffers_.emplace_back(static_cast<std::size_t>(bytes));
  return std::span<u8>(buffers_.back());
}

Result<i32> WeightStore::add(Weight weight) {
  weights_.push_back(std::move(weight));
  return static_cast<i32>(weights_.size()) - 1;
}

Result<i32> WeightStore::plain(const Tensor& tensor, std::vector<i64> dims) {
  std::pair<const Tensor*, std::vector<i64>> key(&tensor, dims);
  if (plain_.contains(key)) return plain_[key];
  TG_ASSIGN(isa::DType codec, codec_of(tensor));
  std::span<const u8> bytes = tensor.data();
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kWeightAlignment != 0) {
    TG_ASSIGN(std::span<u8> copy, allocate(tensor, bytes.size()));
    std::copy(bytes.begin(), bytes.end(), copy.begin());
    bytes = copy;
  }
  TG_ASSIGN(i32 index, add({std::string(tensor.name), codec, std::move(dims), bytes}));
  plain_[key] = index;
  return index;
}

Result<i32> WeightStore::transposed(const Tensor& tensor) {
  TG_ASSERT(tensor.dims.size() == 2);
  if (transposed_.contains(&tensor)) return transposed_[&tensor];
  TG_ASSIGN(isa::DType codec, codec_of(tensor));
  TG_ASSIGN(std::span<u8> out, allocate(tensor, tensor.data().size()));
  if (codec == isa::DType::kF32) {
    transpose<u32>(tensor.data(), out, tensor.dims[0], tensor.dims[1]);
  } else {
    transpose<u16>(tensor.data(), out, tensor.dims[0], tensor.dims[1]);
  }
  TG_ASSIGN(i32 index,
            add({std::string(tensor.name), codec, {tensor.dims[1], tensor.dims[0]}, out}));
  transposed_[&tensor] = index;
  return index;
}

Result<i32> WeightStore::blocks(const BlockMatrix& matrix) {
  if (blocks_.contains(matrix)) return blocks_[matrix];
  TG_ASSERT(matrix.rows > 0 && matrix.columns > 0 && matrix.block > 0);
  TG_TRY(check_sizes(matrix));
  TG_ASSIGN(i32 index, repack(matrix));
  blocks_[matrix] = index;
  return index;
}

Result<i32> WeightStore::repack(const BlockMatrix& m) {
  Blocks blocks(m);
  isa::DType codec = choose_codec(m, blocks);
  u64 bytes = static_cast<u64>(m.rows) * static_cast<u64>(isa::row_bytes(codec, m.columns));
  TG_ASSIGN(std::span<u8> out, allocate(*m.codes, bytes));
  switch (codec) {
    case isa::DType::kI4G32: pack_int4(m, blocks, 32, out); break;
    case isa::DType::kI4G128: pack_int4(m, blocks, 128, out); break;
    case isa::DType::kQ8_0: pack_q8_0(m, blocks, out); break;
    default: pack_f32(m, blocks, out); break;
  }
  if (codec == isa::DType::kF32)
    notes_.push_back(fmt::format("{}: {}-bit blocks of {} have no codec here and became f32",
                                 quote(m.codes->name), m.bits, m.block));
  return add({std::string(m.codes->name), codec, {m.rows, m.columns}, out});
}

}  // namespace tg::onnx
