// A role has few codecs, so both searches are short.
#include "model/architecture/weight_symbols.h"

#include <algorithm>

namespace tg::model {

WeightSlot WeightSymbols::add(std::string_view role, const gguf::Tensor& tensor, bool is_layered) {
  std::vector<WeightSymbol>::iterator found =
      std::find_if(symbols_.begin(), symbols_.end(), [&](const WeightSymbol& symbol) {
        return symbol.role == role && symbol.codec == tensor.codec;
      });
  if (found == symbols_.end()) {
    symbols_.push_back({.role = std::string(role),
                        .codec = tensor.codec,
                        .dims = tensor.dims,
                        .is_layered = is_layered});
    found = symbols_.end() - 1;
  }
  TG_ASSERT(found->dims == tensor.dims && found->is_layered == is_layered);
  TG_ASSERT(is_layered || found->tensors.empty());
  found->tensors.push_back(&tensor);
  return {.symbol = static_cast<i32>(found - symbols_.begin()),
          .ordinal = static_cast<i32>(found->tensors.size()) - 1};
}

std::string WeightSymbols::name(i32 symbol) const {
  const WeightSymbol& wanted = symbols_[static_cast<std::size_t>(symbol)];
  i64 codecs = std::count_if(symbols_.begin(), symbols_.end(),
                             [&](const WeightSymbol& other) { return other.role == wanted.role; });
  if (codecs == 1) return wanted.role;
  return wanted.role + "_" + std::string(isa::info(wanted.codec).name);
}

}  // namespace tg::model
