// The codec keeps elements i and i+16 of a block in one byte, these files 2i and 2i+1.
#include "model/huggingface/mxfp4.h"

#include "model/huggingface/numbers.h"

namespace tg::checkpoint {
namespace {

constexpr i64 kHalf = 16;  // of a block's elements

u8 code_at(const u8* codes, i64 i) {
  return static_cast<u8>(i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4);
}

}  // namespace

Result<Stored> read_mxfp4(const safetensors::Tensor& blocks, const safetensors::Tensor& scales) {
  bool is_fit = blocks.dtype == safetensors::DType::kU8 &&
                scales.dtype == safetensors::DType::kU8 && blocks.dims.size() >= 3 &&
                blocks.dims.back() == kHalf && !blocks.data.empty() &&
                scales.dims == std::vector<i64>(blocks.dims.begin(), blocks.dims.end() - 1);
  if (!is_fit)
    return Error{Code::kInvalid, describe(scales) + ", which does not fit " + describe(blocks)};
  Stored out{.codec = isa::DType::kMxfp4, .dims = scales.dims};
  out.dims.back() *= 2 * kHalf;
  out.owned.reserve(blocks.data.size() + scales.data.size());
  for (std::size_t b = 0; b < scales.data.size(); ++b) {
    const u8* codes = blocks.data.data() + b * kHalf;
    out.owned.push_back(scales.data[b]);
    for (i64 i = 0; i < kHalf; ++i)
      out.owned.push_back(static_cast<u8>(code_at(codes, i) | code_at(codes, i + kHalf) << 4));
  }
  out.bytes = out.owned;
  return out;
}

}  // namespace tg::checkpoint
