#include "model/onnx/symbol_names.h"

#include <algorithm>
#include <array>

namespace tg::onnx {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_number(std::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), is_digit);
}

// Parts that say what every weight is, not which.
bool is_filler(std::string_view part) {
  constexpr std::array<std::string_view, 9> kFillers = {
      "model", "layers", "weight", "qweight", "MatMul", "MatMulNBits", "Add", "onnx", "layernorm"};
  return is_number(part) || part.starts_with("weight_Q") ||
         std::find(kFillers.begin(), kFillers.end(), part) != kFillers.end();
}

std::string cleaned(std::string_view part) {
  std::string out;
  for (char c : part) {
    bool is_plain = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    out += is_plain ? c : '_';
  }
  return out;
}

}  // namespace

std::string role_of(std::string_view initializer) {
  std::string out;
  for (std::size_t at = 0; at < initializer.size();) {
    std::size_t end = std::min(initializer.find_first_of("./:", at), initializer.size());
    std::string_view part = initializer.substr(at, end - at);
    at = end + 1;
    if (part.empty() || is_filler(part)) continue;
    if (!out.empty()) out += '_';
    out += cleaned(part);
  }
  if (out.size() > kSymbolBytesMax) out.resize(kSymbolBytesMax);
  return out.empty() ? "w" : out;
}

std::string SymbolNames::take(const std::string& role) {
  std::string name = role;
  i64& next = next_[role];
  if (next == 0) next = 2;
  while (!taken_.insert(name).second) name = role + "_" + std::to_string(next++);
  return name;
}

}  // namespace tg::onnx
