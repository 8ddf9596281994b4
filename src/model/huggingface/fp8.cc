// A block of fp8_b128 never crosses a block of scales: both are 128 elements of a row.
#include "model/huggingface/fp8.h"

#include <algorithm>

#include "model/huggingface/numbers.h"

namespace tg::checkpoint {
namespace {

constexpr i64 kBlock = 128;
constexpr i64 kBlockBytes = 132;

// Where the scale of block `b` of row `r` stands: r / rows_per_scale * stride + b * step.
struct ScalePlan {
  i64 rows_per_scale = 1;
  i64 stride = 0;
  i64 step = 0;
};

i64 blocks_of(i64 elements) {
  return (elements + kBlock - 1) / kBlock;
}

Result<ScalePlan> plan_scales(const safetensors::Tensor& weight, const safetensors::Tensor& scale) {
  i64 rows = weight.dims[0];
  i64 blocks = blocks_of(weight.dims[1]);
  const std::vector<i64>& dims = scale.dims;
  i64 count = 1;
  for (i64 dim : dims) count *= dim;
  if (dims == std::vector<i64>{blocks_of(rows), blocks})
    return ScalePlan{.rows_per_scale = kBlock, .stride = blocks, .step = 1};
  if (count == 1) return ScalePlan{};
  if (dims == std::vector<i64>{rows} || dims == std::vector<i64>{rows, 1})
    return ScalePlan{.stride = 1};
  return Error{Code::kInvalid, describe(scale) + ", which does not fit " + describe(weight)};
}

}  // namespace

Result<Stored> read_fp8(const safetensors::Tensor& weight, const safetensors::Tensor& scale) {
  if (weight.dims.size() != 2 || weight.data.empty())
    return Error{Code::kUnsupported, describe(weight) + ", expected rows and columns"};
  if (!is_float(scale.dtype) || scale.data.empty())
    return Error{Code::kUnsupported, describe(scale) + ", which is not supported"};
  TG_ASSIGN(ScalePlan plan, plan_scales(weight, scale));
  i64 rows = weight.dims[0];
  i64 blocks = weight.dims[1] / kBlock;
  if (weight.dims[1] % kBlock != 0)
    return Error{Code::kUnsupported, describe(weight) + ", expected rows of whole blocks of 128"};
  Stored out{.codec = isa::DType::kFp8B128, .dims = weight.dims};
  out.owned.resize(static_cast<std::size_t>(rows * blocks * kBlockBytes));
  const u8* codes = weight.data.data();
  u8* block = out.owned.data();
  for (i64 row = 0; row < rows; ++row) {
    i64 first_scale = row / plan.rows_per_scale * plan.stride;
    for (i64 b = 0; b < blocks; ++b, codes += kBlock, block += kBlockBytes) {
      put_float(block, float_at(scale, first_scale + b * plan.step));
      std::copy_n(codes, kBlock, block + 4);
    }
  }
  out.bytes = out.owned;
  return out;
}

}  // namespace tg::checkpoint
