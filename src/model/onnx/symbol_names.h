// Names of weight symbols from names of initializers: "model.layers.3.attn.q_proj.MatMul.weight"
// becomes "attn_q_proj", the same for every layer.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/types.h"

namespace tg::onnx {

inline constexpr std::size_t kSymbolBytesMax = 48;

// The part of the name that says what a weight is for, as letters, digits and '_'; never empty.
std::string role_of(std::string_view initializer);

// Gives each name once: a second "head" becomes "head_2".
class SymbolNames {
 public:
  std::string take(const std::string& role);

 private:
  std::set<std::string> taken_;
  std::map<std::string, i64> next_;  // by role: the number to try first
};

}  // namespace tg::onnx
