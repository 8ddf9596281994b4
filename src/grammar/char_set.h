// Sets of Unicode characters and how UTF-8 writes them: grammars speak of characters, tokens of
// bytes. A range of characters becomes a few sequences of byte ranges, split where the encoding
// changes length or a lead byte.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::grammar {

// Both ends belong to it.
struct CodeRange {
  u32 first = 0;
  u32 last = 0;
  bool operator==(const CodeRange&) const = default;
};

// A set of characters: ranges in order, apart from each other, without surrogates.
class CharSet {
 public:
  CharSet() = default;
  // The ranges in any order, overlapping or not; what is no character is left out.
  explicit CharSet(std::vector<CodeRange> ranges);

  std::span<const CodeRange> ranges() const { return ranges_; }
  bool is_empty() const { return ranges_.empty(); }
  bool contains(u32 code_point) const;
  bool operator==(const CharSet&) const = default;

 private:
  std::vector<CodeRange> ranges_;
};

CharSet all_chars();
CharSet complement(const CharSet& set);
CharSet unite(const CharSet& a, const CharSet& b);
CharSet intersect(const CharSet& a, const CharSet& b);

struct ByteRange {
  u8 first = 0;
  u8 last = 0;
  bool operator==(const ByteRange&) const = default;
};
// One to four byte ranges: every choice of one byte from each is a character.
using ByteRanges = std::vector<ByteRange>;

// Together exactly the characters of `set`, none twice.
std::vector<ByteRanges> utf8_ranges(const CharSet& set);

}  // namespace tg::grammar
