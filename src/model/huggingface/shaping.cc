#include "model/huggingface/shaping.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "isa/codec.h"
#include "model/gguf/format.h"
#include "model/huggingface/numbers.h"

namespace tg::checkpoint {
namespace {

constexpr i64 kFp8Block = 128;
constexpr i64 kFp8BlockBytes = 132;

Stored owning(isa::DType codec, std::vector<i64> dims, std::vector<u8> bytes) {
  Stored out{.codec = codec, .dims = std::move(dims), .owned = std::move(bytes)};
  out.bytes = out.owned;
  return out;
}

bool is_half(isa::DType codec) {
  return codec == isa::DType::kF16 || codec == isa::DType::kBf16;
}

std::vector<f32> floats_of(const Stored& stored) {
  i64 elements = 1;
  for (i64 dim : stored.dims) elements *= dim;
  std::vector<f32> out(static_cast<std::size_t>(elements));
  isa::dequantize_row(stored.codec, stored.bytes, out);
  return out;
}

Stored from_floats(const std::vector<f32>& values, std::vector<i64> dims) {
  std::vector<u8> bytes(4 * values.size());
  for (std::size_t i = 0; i < values.size(); ++i) put_float(bytes.data() + 4 * i, values[i]);
  return owning(isa::DType::kF32, std::move(dims), std::move(bytes));
}

std::string make_of(const Stored& stored) {
  return std::string(isa::info(stored.codec).name) + gguf::dims_text(stored.dims);
}

// out[j][i] = in[i][j], elements of `bytes` bytes. in: [rows,columns]
void transpose(const u8* in, i64 rows, i64 columns, i64 bytes, u8* out) {
  for (i64 i = 0; i < rows; ++i)
    for (i64 j = 0; j < columns; ++j)
      std::memcpy(out + (j * rows + i) * bytes, in + (i * columns + j) * bytes,
                  static_cast<std::size_t>(bytes));
}

// The same for rows of fp8_b128 blocks: exact if the blocks of a column have one scale within every
// 128 rows, as they have where scales are of 128x128 blocks that begin there.
Status transpose_fp8(const u8* in, i64 rows, i64 columns, u8* out) {
  i64 in_row = columns / kFp8Block * kFp8BlockBytes;
  for (i64 j = 0; j < columns; ++j) {
    const u8* column = in + j / kFp8Block * kFp8BlockBytes;
    for (i64 i = 0; i < rows; i += kFp8Block, out += kFp8BlockBytes) {
      std::memcpy(out, column + i * in_row, 4);
      for (i64 k = 0; k < kFp8Block; ++k) {
        const u8* block = column + (i + k) * in_row;
        if (std::memcmp(out, block, 4) != 0)
          return Error{Code::kUnsupported, "blocks of kv_b_proj with scales of single rows"};
        out[4 + k] = block[4 + j % kFp8Block];
      }
    }
  }
  return {};
}

Status check_latent(const Stored& stored, const LatentHeads& h) {
  // By division, for the product of what a configuration states may not fit.
  i64 rows = h.nope + h.value;
  bool is_fit =
      stored.dims.size() == 2 && stored.dims[0] % rows == 0 && stored.dims[0] / rows == h.heads;
  if (!is_fit)
    return Error{Code::kInvalid, fmt::format("kv_b_proj is {}, expected {} heads of {}+{} rows",
                                             make_of(stored), h.heads, h.nope, h.value)};
  bool is_fp8 = stored.codec == isa::DType::kFp8B128 && h.nope % kFp8Block == 0;
  bool is_plain = stored.codec == isa::DType::kF32 || is_half(stored.codec);
  if (is_fp8 || is_plain) return {};
  return Error{Code::kUnsupported,
               fmt::format("kv_b_proj is {}, which is not supported", make_of(stored))};
}

}  // namespace

Stored widened(Stored stored) {
  return is_half(stored.codec) ? from_floats(floats_of(stored), stored.dims) : std::move(stored);
}

Stored plus_one(const Stored& stored) {
  std::vector<f32> values = floats_of(stored);
  for (f32& value : values) value += 1;
  return from_floats(values, stored.dims);
}

Result<Stored> stacked(const std::vector<Stored>& experts) {
  TG_ASSERT(!experts.empty());
  const Stored& first = experts[0];
  std::vector<u8> bytes;
  bytes.reserve(first.bytes.size() * experts.size());
  for (std::size_t e = 0; e < experts.size(); ++e) {
    if (experts[e].codec != first.codec || experts[e].dims != first.dims)
      return Error{Code::kInvalid, fmt::format("expert {} is {}, expert 0 is {}", e,
                                               make_of(experts[e]), make_of(first))};
    bytes.insert(bytes.end(), experts[e].bytes.begin(), experts[e].bytes.end());
  }
  std::vector<i64> dims = first.dims;
  dims.insert(dims.begin(), static_cast<i64>(experts.size()));
  return owning(first.codec, std::move(dims), std::move(bytes));
}

Result<KeyValueUp> split_key_value_up(const Stored& stored, const LatentHeads& h) {
  TG_TRY(check_latent(stored, h));
  i64 rank = stored.dims[1];
  i64 row = isa::row_bytes(stored.codec, rank);
  i64 transposed_row = isa::row_bytes(stored.codec, h.nope);
  std::vector<u8> keys(static_cast<std::size_t>(h.heads * rank * transposed_row));
  std::vector<u8> values;
  values.reserve(static_cast<std::size_t>(h.heads * h.value * row));
  for (i64 head = 0; head < h.heads; ++head) {
    const u8* in = stored.bytes.data() + head * (h.nope + h.value) * row;
    u8* out = keys.data() + head * rank * transposed_row;
    if (stored.codec == isa::DType::kFp8B128) {
      TG_TRY(transpose_fp8(in, h.nope, rank, out));
    } else {
      transpose(in, h.nope, rank, row / rank, out);
    }
    values.insert(values.end(), in + h.nope * row, in + (h.nope + h.value) * row);
  }
  return KeyValueUp{.key = owning(stored.codec, {h.heads, rank, h.nope}, std::move(keys)),
                    .value = owning(stored.codec, {h.heads, h.value, rank}, std::move(values))};
}

Result<std::pair<Stored, Stored>> split_interleaved(const Stored& stored) {
  TG_ASSERT(stored.dims.size() == 2 || stored.dims.size() == 3);
  if (stored.dims[1] % 2 != 0)
    return Error{Code::kInvalid, fmt::format("gate_up_proj is {}, expected an even number of rows",
                                             make_of(stored))};
  std::size_t rows = static_cast<std::size_t>(stored.dims[0] * stored.dims[1]);
  std::size_t row = stored.bytes.size() / rows;
  std::vector<u8> halves[2];
  for (std::size_t r = 0; r < rows; ++r) {
    const u8* in = stored.bytes.data() + r * row;
    halves[r % 2].insert(halves[r % 2].end(), in, in + row);
  }
  std::vector<i64> dims = stored.dims;
  dims[1] /= 2;
  return std::pair(owning(stored.codec, dims, std::move(halves[0])),
                   owning(stored.codec, dims, std::move(halves[1])));
}

}  // namespace tg::checkpoint
