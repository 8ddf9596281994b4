// What the parts are called says how they are laid out; quantization_config only settles what the
// names leave open.
#include "model/huggingface/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/gguf/format.h"
#include "model/huggingface/fp8.h"
#include "model/huggingface/int4.h"
#include "model/huggingface/mxfp4.h"
#include "model/huggingface/numbers.h"

namespace tg::checkpoint {
namespace {

constexpr u64 kAlignment = gguf::kAlignmentMin;

Status expect_integer(const Config& config, std::string_view key, i64 expected) {
  TG_ASSIGN(i64 value, config.integer_or(key, 0, expected));
  return value == expected ? Status() : Status(config.unsupported(key));
}

Status expect_text(const Config& config, std::string_view key, std::string_view expected) {
  TG_ASSIGN(std::string value, config.text_or(key, expected));
  return value == expected ? Status() : Status(config.unsupported(key));
}

Status check_fp8(const Config& config, Quantization&) {
  TG_TRY(expect_text(config, "fmt", "e4m3"));
  if (!config.has("weight_block_size")) return {};
  TG_ASSIGN(std::vector<f64> block, config.reals("weight_block_size"));
  if (block != std::vector<f64>{128, 128}) return config.unsupported("weight_block_size");
  return {};
}

Status check_awq(const Config& config, Quantization& out) {
  out.packing = Packing::kAwq;
  TG_TRY(expect_integer(config, "bits", 4));
  TG_TRY(expect_integer(config, "w_bit", 4));
  Result<std::string> version = config.text_or("version", "gemm");
  if (!version.ok()) return version.error();
  bool is_gemm = *version == "gemm" || *version == "GEMM";
  return is_gemm ? Status{} : Status{config.unsupported("version")};
}

Status check_gptq(const Config& config, Quantization& out) {
  out.packing = Packing::kGptq;
  TG_TRY(expect_integer(config, "bits", 4));
  TG_ASSIGN(std::string format, config.text_or("checkpoint_format", "gptq"));
  if (format != "gptq" && format != "gptq_v2") return config.unsupported("checkpoint_format");
  out.gptq_zero_offset = format == "gptq" ? 1 : 0;
  TG_ASSIGN(out.is_reordered, config.boolean_or("desc_act", false));
  return {};
}

Status check_any(const Config&, Quantization&) {
  return {};
}

struct Method {
  std::string_view name;
  Status (*check)(const Config& config, Quantization& out);
};

constexpr auto kMethods = std::to_array<Method>({
    {"fp8", check_fp8},
    {"fbgemm_fp8", check_any},
    {"awq", check_awq},
    {"gptq", check_gptq},
    {"compressed-tensors", check_any},
    {"mxfp4", check_any},
});

isa::DType plain_codec(safetensors::DType type) {
  if (type == safetensors::DType::kF32) return isa::DType::kF32;
  return type == safetensors::DType::kF16 ? isa::DType::kF16 : isa::DType::kBf16;
}

const safetensors::Tensor* find(const Parts& parts, std::string_view ending) {
  Parts::const_iterator found = parts.find(ending);
  return found == parts.end() ? nullptr : found->second;
}

// `wanted` stands beside `present` in every such layout.
Result<const safetensors::Tensor*> need(const Parts& parts, std::string_view wanted,
                                        const safetensors::Tensor& present) {
  const safetensors::Tensor* tensor = find(parts, wanted);
  if (tensor != nullptr) return tensor;
  return Error{Code::kNotFound,
               fmt::format("tensor {} has no {} beside it", gguf::quote(present.name), wanted)};
}

Result<Stored> read_fp8_weight(const Parts& parts, const safetensors::Tensor& weight) {
  if (const safetensors::Tensor* blocks = find(parts, "weight_scale_inv"))
    return read_fp8(weight, *blocks);
  TG_ASSIGN(const safetensors::Tensor* scale, need(parts, "weight_scale", weight));
  return read_fp8(weight, *scale);
}

Result<Stored> read_packed_rows(const Parts& parts, const safetensors::Tensor& weight) {
  TG_ASSIGN(const safetensors::Tensor* scale, need(parts, "weight_scale", weight));
  if (const safetensors::Tensor* zeros = find(parts, "weight_zero_point"))
    return Error{Code::kUnsupported, describe(*zeros) + ", which is not supported"};
  if (const safetensors::Tensor* order = find(parts, "weight_g_idx"))
    return Error{Code::kUnsupported, describe(*order) + ", which is not supported"};
  return read_compressed_int4(weight, *scale);
}

Result<Stored> read_packed_columns(const Parts& parts, const Quantization& quantization,
                                   const safetensors::Tensor& weight) {
  TG_ASSIGN(const safetensors::Tensor* scales, need(parts, "scales", weight));
  TG_ASSIGN(const safetensors::Tensor* zeros, need(parts, "qzeros", weight));
  PackedColumns columns{.codes = weight, .zeros = *zeros, .scales = *scales};
  if (quantization.packing == Packing::kAwq) return read_awq(columns);
  if (quantization.packing == Packing::kGptq) {
    const safetensors::Tensor* order = find(parts, "g_idx");
    if (quantization.is_reordered && order == nullptr) return need(parts, "g_idx", weight).error();
    return read_gptq(columns, order, quantization.gptq_zero_offset);
  }
  return Error{Code::kNotFound,
               describe(weight) + ", but config.json has no quantization_config that says how"};
}

}  // namespace

std::string describe(const safetensors::Tensor& tensor) {
  return fmt::format("tensor {} is {}{}", gguf::quote(tensor.name), safetensors::name(tensor.dtype),
                     gguf::dims_text(tensor.dims));
}

Result<Quantization> read_quantization(const Config& config) {
  Quantization out;
  if (!config.has("quantization_config")) return out;
  TG_ASSIGN(Config stated, config.object("quantization_config"));
  TG_ASSIGN(std::string name, stated.text("quant_method"));
  for (const Method& method : kMethods) {
    if (method.name != name) continue;
    TG_TRY(method.check(stated, out));
    return out;
  }
  return stated.unsupported("quant_method");
}

bool is_weight_part(std::string_view ending) {
  static constexpr auto kEndings = std::to_array<std::string_view>(
      {"weight", "qweight", "weight_packed", "blocks", "weight_scale", "weight_scale_inv",
       "weight_zero_point", "weight_g_idx", "qzeros", "scales", "g_idx"});
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

Result<Stored> read_plain(const safetensors::Tensor& tensor) {
  if (!is_float(tensor.dtype))
    return Error{Code::kUnsupported, describe(tensor) + ", which is not supported"};
  if (tensor.dims.empty() || tensor.data.empty())
    return Error{Code::kInvalid, describe(tensor) + ", expected elements in rows"};
  Stored out{.codec = plain_codec(tensor.dtype), .dims = tensor.dims, .bytes = tensor.data};
  // Kernels read words where they lie.
  if (reinterpret_cast<std::uintptr_t>(tensor.data.data()) % kAlignment != 0) {
    out.owned.assign(tensor.data.begin(), tensor.data.end());
    out.bytes = out.owned;
  }
  return out;
}

Result<Stored> read_weight(const Parts& parts, const Quantization& quantization) {
  if (const safetensors::Tensor* weight = find(parts, "weight")) {
    if (weight->dtype == safetensors::DType::kE4m3) return read_fp8_weight(parts, *weight);
    return read_plain(*weight);
  }
  if (const safetensors::Tensor* weight = find(parts, "weight_packed"))
    return read_packed_rows(parts, *weight);
  if (const safetensors::Tensor* weight = find(parts, "qweight"))
    return read_packed_columns(parts, quantization, *weight);
  TG_ASSERT(!parts.empty());
  const safetensors::Tensor& any = *parts.begin()->second;
  if (const safetensors::Tensor* blocks = find(parts, "blocks")) {
    TG_ASSIGN(const safetensors::Tensor* scales, need(parts, "scales", *blocks));
    return read_mxfp4(*blocks, *scales);
  }
  return Error{Code::kNotFound, describe(any) + ", but the weight beside it is missing"};
}

}  // namespace tg::checkpoint
