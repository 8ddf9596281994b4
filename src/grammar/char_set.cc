#include "grammar/char_set.h"

#include <algorithm>

namespace tg::grammar {
namespace {

constexpr u32 kLastChar = 0x10FFFF;
constexpr u32 kSurrogateFirst = 0xD800;
constexpr u32 kSurrogateLast = 0xDFFF;

int encode(u32 c, u8* out) {
  if (c < 0x80) {
    out[0] = static_cast<u8>(c);
    return 1;
  }
  int size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  constexpr u8 kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (int i = size - 1; i > 0; --i) {
    out[i] = static_cast<u8>(0x80 | (c & 0x3F));
    c >>= 6;
  }
  out[0] = static_cast<u8>(kLead[size] | c);
  return size;
}

// REQUIRES: both ends are encoded in as many bytes.
void split(CodeRange range, std::vector<ByteRanges>& out) {
  u8 first[4];
  u8 last[4];
  int size = encode(range.first, first);
  encode(range.last, last);
  // A cut is needed where a byte differs and those behind it do not span all continuations.
  for (int tail = 1; tail < size; ++tail) {
    u32 mask = (u32{1} << (6 * tail)) - 1;
    if ((range.first & ~mask) == (range.last & ~mask)) continue;
    if ((range.first & mask) != 0) {
      split({range.first, range.first | mask}, out);
      return split({(range.first | mask) + 1, range.last}, out);
    }
    if ((range.last & mask) != mask) {
      split({range.first, (range.last & ~mask) - 1}, out);
      return split({range.last & ~mask, range.last}, out);
    }
  }
  ByteRanges bytes;
  for (int i = 0; i < size; ++i) bytes.push_back({first[i], last[i]});
  out.push_back(std::move(bytes));
}

}  // namespace

CharSet::CharSet(std::vector<CodeRange> ranges) {
  std::vector<CodeRange> kept;
  for (CodeRange r : ranges) {
    r.last = std::min(r.last, kLastChar);
    if (r.first > r.last) continue;
    if (r.first < kSurrogateFirst) kept.push_back({r.first, std::min(r.last, kSurrogateFirst - 1)});
    if (r.last > kSurrogateLast) kept.push_back({std::max(r.first, kSurrogateLast + 1), r.last});
  }
  std::sort(kept.begin(), kept.end(), [](CodeRange a, CodeRange b) { return a.first < b.first; });
  for (const CodeRange& r : kept) {
    if (!ranges_.empty() && r.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, r.last);
    } else {
      ranges_.push_back(r);
    }
  }
}

bool CharSet::contains(u32 code_point) const {
  for (const CodeRange& r : ranges_)
    if (r.first <= code_point && code_point <= r.last) return true;
  return false;
}

CharSet all_chars() {
  return CharSet({{0, kLastChar}});
}

CharSet complement(const CharSet& set) {
  std::vector<CodeRange> ranges;
  u32 next = 0;
  for (const CodeRange& r : set.ranges()) {
    if (r.first > next) ranges.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kLastChar) ranges.push_back({next, kLastChar});
  return CharSet(std::move(ranges));
}

CharSet unite(const CharSet& a, const CharSet& b) {
  std::vector<CodeRange> ranges(a.ranges().begin(), a.ranges().end());
  ranges.insert(ranges.end(), b.ranges().begin(), b.ranges().end());
  return CharSet(std::move(ranges));
}

CharSet intersect(const CharSet& a, const CharSet& b) {
  return complement(unite(complement(a), complement(b)));
}

std::vector<ByteRanges> utf8_ranges(const CharSet& set) {
  std::vector<ByteRanges> out;
  for (CodeRange range : set.ranges()) {
    for (u32 last : {u32{0x7F}, u32{0x7FF}, u32{0xFFFF}, kLastChar}) {
      if (range.first > range.last || range.first > last) continue;
      split({range.first, std::min(range.last, last)}, out);
      range.first = last + 1;
    }
  }
  return out;
}

}  // namespace tg::grammar
