#include "text/charsmap.h"

#include "base/bytes.h"

namespace tg {
namespace {

// Fields of a unit: a label (with the top bit, which labels never have), whether a value hangs
// below, and where the children are, relative and in one of two scales.
u32 label_of(u32 unit) {
  return unit & (u32{1} << 31 | 0xFF);
}
bool has_value(u32 unit) {
  return (unit >> 8 & 1) != 0;
}
u32 offset_of(u32 unit) {
  return unit >> 10 << ((unit & u32{1} << 9) >> 6);
}

Error corrupt(const std::string& what) {
  return {Code::kCorrupt, "precompiled_charsmap: " + what};
}

}  // namespace

Result<Charsmap> Charsmap::create(std::string_view blob) {
  if (static_cast<i64>(blob.size()) > kBytesMax)
    return Error{Code::kLimit, "precompiled_charsmap: " + std::to_string(blob.size()) +
                                   " bytes, more than " + std::to_string(kBytesMax)};
  Reader in(as_bytes(blob), "precompiled_charsmap");
  TG_ASSIGN(u32 array_bytes, in.u32_le());
  if (array_bytes % 4 != 0 || array_bytes == 0 || array_bytes > in.remaining())
    return corrupt("array of " + std::to_string(array_bytes) + " bytes in " +
                   std::to_string(blob.size()));
  Charsmap map;
  map.units_.reserve(array_bytes / 4);
  for (u32 i = 0; i < array_bytes / 4; ++i) {
    TG_ASSIGN(u32 unit, in.u32_le());
    map.units_.push_back(unit);
  }
  TG_ASSIGN(std::span<const u8> strings, in.bytes(in.remaining()));
  map.strings_ = as_text(strings);
  if (map.strings_.empty() || map.strings_.back() != '\0')
    return corrupt("the strings do not end in a zero byte");
  if (!is_utf8(map.strings_)) return corrupt("the strings are not UTF-8");
  return map;
}

bool Charsmap::begins_string(u32 offset) const {
  return offset < strings_.size() && (offset == 0 || strings_[offset - 1] == '\0');
}

Charsmap::Match Charsmap::longest(std::string_view text, i64 at) const {
  Match best;
  if (units_.empty()) return best;
  auto ends_character = [&](i64 end) {
    return end == static_cast<i64>(text.size()) || (static_cast<u8>(text[end]) & 0xC0) != 0x80;
  };
  u32 node = offset_of(units_[0]);
  for (i64 end = at; end < static_cast<i64>(text.size());) {
    u8 byte = static_cast<u8>(text[end++]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || label_of(units_[node]) != byte) break;
    u32 unit = units_[node];
    node ^= offset_of(unit);
    if (!has_value(unit)) continue;
    if (node >= units_.size()) break;
    u32 begin = units_[node] & ~(u32{1} << 31);
    if (begins_string(begin) && ends_character(end)) best = {strings_.data() + begin, end - at};
  }
  return best;
}

}  // namespace tg
