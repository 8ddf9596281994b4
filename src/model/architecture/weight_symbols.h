// Names for a model's tensors. A program's weight symbol has one codec for all its layers, but
// files mix codecs between layers, so each role ("wv") becomes as many symbols as it has codecs
// ($wv_q4_k, $wv_q6_k), each holding its layers in order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "model/gguf/reader.h"

namespace tg::model {

// Where one layer's tensor is: element `ordinal` of a symbol.
struct WeightSlot {
  i32 symbol = -1;  // -1: the layer has no such tensor
  i32 ordinal = 0;
  bool exists() const { return symbol >= 0; }
};

struct WeightSymbol {
  std::string role;
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;
  bool is_layered = false;
  std::vector<const gguf::Tensor*> tensors;  // by ordinal; one if not layered; borrowed
};

class WeightSymbols {
 public:
  // Adds the tensor to the role's symbol of its codec. REQUIRES: tensors of a role have equal dims,
  // and one that is not layered is added once.
  WeightSlot add(std::string_view role, const gguf::Tensor& tensor, bool is_layered);
  const std::vector<WeightSymbol>& all() const { return symbols_; }
  // Without the '$': the role, followed by the codec if the role has several.
  std::string name(i32 symbol) const;

 private:
  std::vector<WeightSymbol> symbols_;
};

}  // namespace tg::model
