// A small JSON document as a plain tree, for configuration files: limited in bytes, depth and
// values, and with equal keys refused, so that what is read is what the file says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::checkpoint {

inline constexpr u64 kConfigBytesMax = 1 << 20;
inline constexpr std::size_t kJsonDepthMax = 32;
inline constexpr std::size_t kJsonValuesMax = 200'000;

struct JsonMember;

struct Json {
  enum class Kind { kNull, kBool, kInteger, kReal, kText, kArray, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  i64 integer = 0;  // kInteger
  f64 real = 0;     // kReal, kInteger
  std::string text;
  std::vector<Json> items;          // kArray
  std::vector<JsonMember> members;  // kObject, in the file's order

  // nullptr if there is none of that name, or this is not an object.
  const Json* find(std::string_view name) const;
};

struct JsonMember {
  std::string name;
  Json value;
};

// kCorrupt naming the byte or the key that appears twice, kLimit past a limit above. Messages have
// no prefix.
Result<Json> parse_json(std::string_view text);

// The value in a few words for a message: texts quoted, lists and objects shortened.
std::string show(const Json& value);

}  // namespace tg::checkpoint
