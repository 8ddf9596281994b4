// A decoder between the two formats: our instructions in a flat list, one layer after the other, as
// the graph's nodes were un-fused. Passes over it (tidy.h) come before it is written as text
// (write.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace tg::onnx {

// An operand.
struct Ref {
  enum class Kind : u8 { kValue, kWeight, kConstant, kCache, kParameter };
  Kind kind = Kind::kValue;
  i32 index = 0;               // value, weight of the store, constant, layer of the cache
  std::string_view parameter;  // "%ids", "%pos", "%rows", "%bt"
  friend bool operator==(const Ref&, const Ref&) = default;
};

inline Ref value_ref(i32 index) {
  return {.kind = Ref::Kind::kValue, .index = index};
}
inline Ref weight_ref(i32 index) {
  return {.kind = Ref::Kind::kWeight, .index = index};
}
inline Ref constant_ref(i32 index) {
  return {.kind = Ref::Kind::kConstant, .index = index};
}
inline Ref cache_ref(i64 layer) {
  return {.kind = Ref::Kind::kCache, .index = static_cast<i32>(layer)};
}
inline Ref parameter_ref(std::string_view name) {
  return {.kind = Ref::Kind::kParameter, .parameter = name};
}

// One instruction. `op` is an opcode's name, or "div" for x / number.
struct Step {
  std::string op;
  std::vector<Ref> in;
  std::string attributes;     // "eps=1e-05 group=64"
  std::optional<f32> number;  // mul: alpha; div: the divisor; act=softcap: the cap
  std::optional<i64> window;  // attn; 0: unbounded
  i32 out = -1;               // the value it makes; -1: none

  bool is(std::string_view name, std::string_view with = "") const {
    return op == name && (with.empty() || attributes == with);
  }
};

struct Constant {
  std::string name;
  std::vector<f32> values;
  friend bool operator==(const Constant&, const Constant&) = default;
};

// The cache: one page layout for all layers.
struct CacheShape {
  i64 layers = 0;
  i64 heads = 0;
  i64 width = 0;  // of a head, keys and values alike
};

struct Draft {
  std::vector<Step> steps;
  std::vector<i64> widths;  // by value: its columns; all values are [tokens, columns]
  std::vector<Constant> constants;
  CacheShape cache;
  i32 logits = -1;
  i64 positions_max = 0;  // rows of the rotary tables; 0: there are none

  i32 add_value(i64 width) {
    widths.push_back(width);
    return static_cast<i32>(widths.size()) - 1;
  }
};

}  // namespace tg::onnx
