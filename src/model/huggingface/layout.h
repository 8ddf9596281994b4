// How a module's weights are stored in a checkpoint, and the same numbers in a codec of the ISA:
// plain floats as they lie; FP8 with scales of tensors, rows or 128x128 blocks; AWQ, GPTQ and
// compressed-tensors int4; mxfp4 in two parts. Nothing is rounded: what a codec cannot hold exactly
// is refused.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "isa/dtype.h"
#include "model/huggingface/config.h"
#include "model/safetensors/reader.h"

namespace tg::checkpoint {

// The stored tensors of one module by their ending: "weight", "qweight", "scales", ... Borrowed.
using Parts = std::map<std::string_view, const safetensors::Tensor*>;

// How words of four-bit codes are packed; their names do not tell.
enum class Packing : u8 { kUnstated, kAwq, kGptq };

struct Quantization {
  Packing packing = Packing::kUnstated;
  i32 gptq_zero_offset = 1;   // added to a stored zero point; 0 in the format's second version
  bool is_reordered = false;  // columns may be grouped in another order, which g_idx holds
};

// Reads quantization_config. kUnsupported naming a method, width or order that is not read.
Result<Quantization> read_quantization(const Config& config);

// A tensor's canonical bytes, either where they are mapped or derived.
struct Stored {
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;      // outermost first
  std::span<const u8> bytes;  // of `owned` unless it is empty
  std::vector<u8> owned;
};

// True if the ending belongs to a module's weight, as its data or as what is needed to read it.
bool is_weight_part(std::string_view ending);

// kInvalid or kUnsupported naming the stored tensor. REQUIRES: a part for which is_weight_part.
Result<Stored> read_weight(const Parts& parts, const Quantization& quantization);

// A tensor of floats as it lies. kUnsupported for other types and for scalars.
Result<Stored> read_plain(const safetensors::Tensor& tensor);

}  // namespace tg::checkpoint
