#include "model/architecture/blueprint.h"

namespace tg::model {
namespace {

// Codes that multiply int8 without another rounding; a row of any of them is whole blocks of 32.
bool is_small_integers(isa::DType codec) {
  return isa::info(codec).block_elements % 32 == 0 && codec != isa::DType::kFp8B128;
}

}  // namespace

std::string_view product_attributes(isa::DType weight, const ImportOptions& options) {
  if (options.exact) return "";
  if (weight == isa::DType::kBf16) return "xq=bf16";
  return is_small_integers(weight) ? "xq=i8/32" : "";
}

}  // namespace tg::model
