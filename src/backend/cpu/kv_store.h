// Writing a cache in any format: rounding by the codec, then the layout of kv_layout.h.
#pragma once

#include <optional>

#include "backend/cpu/kernels/args.h"
#include "isa/dtype.h"

namespace tg::backend::cpu {

// nullopt for element types no cache of this backend has.
std::optional<KvFormat> kv_format(isa::DType format);

// Share `part` of `parts` of the tokens.
void kv_append(const KvAppendArgs& args, i32 part, i32 parts);

}  // namespace tg::backend::cpu
