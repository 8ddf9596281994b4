// Decompose, order marks by combining class, compose: the three steps of UAX #15, on code points.
#include "text/unicode_forms.h"

#include <algorithm>
#include <span>
#include <vector>

#include "text/unicode.h"

namespace tg::unicode {
namespace {

// Hangul syllables (The Unicode Standard, 3.12).
constexpr u32 kSyllableBase = 0xAC00;
constexpr u32 kLeadBase = 0x1100;
constexpr u32 kVowelBase = 0x1161;
constexpr u32 kTailBase = 0x11A7;
constexpr u32 kLeads = 19;
constexpr u32 kVowels = 21;
constexpr u32 kTails = 28;
constexpr u32 kSyllables = kLeads * kVowels * kTails;

// No character below decomposes, and none below the second combines.
constexpr u32 kDecomposesFrom = 0xA0;
constexpr u32 kCombinesFrom = 0x300;

struct Point {
  u32 code;
  u8 combining_class;
};

// The range of `ranges` that holds `code`, or nullptr.
template <typename Range, std::size_t kSize>
const Range* find_range(std::span<const Range, kSize> ranges, u32 code) {
  auto ends_before = [](const Range& range, u32 c) { return range.last < c; };
  const Range* found =
      std::lower_bound(ranges.data(), ranges.data() + ranges.size(), code, ends_before);
  return found != ranges.data() + ranges.size() && found->first <= code ? found : nullptr;
}

u8 combining_class(u32 code) {
  if (code < kCombinesFrom) return 0;
  const CombiningRange* range = find_range(
      std::span(kCombiningRanges, static_cast<std::size_t>(kCombiningRangesCount)), code);
  return range == nullptr ? 0 : range->combining_class;
}

const Decomposition* find_decomposition(u32 code) {
  if (code < kDecomposesFrom) return nullptr;
  const Decomposition* end = kDecompositions + kDecompositionsCount;
  auto is_before = [](const Decomposition& d, u32 c) { return d.code < c; };
  const Decomposition* found = std::lower_bound(kDecompositions, end, code, is_before);
  return found != end && found->code == code ? found : nullptr;
}

void push(std::vector<Point>& out, u32 code) {
  out.push_back({code, combining_class(code)});
}

void decompose_syllable(std::vector<Point>& out, u32 index) {
  out.push_back({kLeadBase + index / (kVowels * kTails), 0});
  out.push_back({kVowelBase + index % (kVowels * kTails) / kTails, 0});
  if (index % kTails != 0) out.push_back({kTailBase + index % kTails, 0});
}

void decompose(std::vector<Point>& out, u32 code, bool is_compatible) {
  if (code - kSyllableBase < kSyllables) return decompose_syllable(out, code - kSyllableBase);
  const Decomposition* found = find_decomposition(code);
  u32 size = found == nullptr ? 0 : is_compatible ? found->compatible_size : found->canonical_size;
  if (size == 0) return push(out, code);
  u32 begin = is_compatible ? found->compatible_begin : found->canonical_begin;
  for (u32 i = 0; i < size; ++i) push(out, kDecomposed[begin + i]);
}

// Each run of characters with a combining class goes into the order of their classes.
void order_marks(std::vector<Point>& points) {
  auto is_before = [](const Point& a, const Point& b) {
    return a.combining_class < b.combining_class;
  };
  for (std::size_t i = 0; i < points.size();) {
    std::size_t begin = i;
    while (i < points.size() && points[i].combining_class != 0) ++i;
    if (i - begin > 1)
      std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(begin),
                       points.begin() + static_cast<std::ptrdiff_t>(i), is_before);
    if (i == begin) ++i;
  }
}

// The character that `first` and `second` make together, or 0.
u32 composed(u32 first, u32 second) {
  if (first - kLeadBase < kLeads && second - kVowelBase < kVowels)
    return kSyllableBase + ((first - kLeadBase) * kVowels + second - kVowelBase) * kTails;
  bool is_open_syllable =
      first - kSyllableBase < kSyllables && (first - kSyllableBase) % kTails == 0;
  // The first of the tails stands for none.
  if (is_open_syllable && second > kTailBase && second < kTailBase + kTails)
    return first + second - kTailBase;
  const Composition* end = kCompositions + kCompositionsCount;
  auto is_before = [](const Composition& c, const Composition& wanted) {
    return c.first != wanted.first ? c.first < wanted.first : c.second < wanted.second;
  };
  Composition wanted{first, second, 0};
  const Composition* found = std::lower_bound(kCompositions, end, wanted, is_before);
  bool is_found = found != end && found->first == first && found->second == second;
  return is_found ? found->composed : 0;
}

// Joins each character with the last starter before it, unless one of no lower class, or a
// starter, stands between (D117).
void compose(std::vector<Point>& points) {
  constexpr std::size_t kNone = ~std::size_t{0};
  std::size_t starter = kNone;
  std::size_t kept = 0;
  for (Point point : points) {
    bool is_blocked = starter == kNone || (kept > starter + 1 && points[kept - 1].combining_class >=
                                                                     point.combining_class);
    u32 together = is_blocked ? 0 : composed(points[starter].code, point.code);
    if (together != 0) {
      points[starter].code = together;
      continue;
    }
    if (point.combining_class == 0) starter = kept;
    points[kept++] = point;
  }
  points.resize(kept);
}

}  // namespace

std::string normalize(std::string_view utf8, Form form) {
  // Lead bytes from 0xCC on begin U+0300 and later, where NFC may first change something.
  u8 unchanged_below = form == Form::kNfc ? 0xCC : 0x80;
  if (std::all_of(utf8.begin(), utf8.end(),
                  [=](char c) { return static_cast<u8>(c) < unchanged_below; }))
    return std::string(utf8);
  bool is_compatible = form == Form::kNfkc || form == Form::kNfkd;
  std::vector<Point> points;
  points.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size(); at += utf8_size(static_cast<u8>(utf8[at])))
    decompose(points, utf8_decode(utf8, static_cast<i64>(at)), is_compatible);
  order_marks(points);
  if (form == Form::kNfc || form == Form::kNfkc) compose(points);
  std::string out;
  out.reserve(utf8.size());
  for (const Point& point : points) append_utf8(out, point.code);
  return out;
}

bool is_nonspacing_mark(u32 code_point) {
  if (code_point < kCombinesFrom) return false;
  std::span marks(kNonspacingMarks, static_cast<std::size_t>(kNonspacingMarksCount));
  return find_range(marks, code_point) != nullptr;
}

bool is_control(u32 code_point) {
  std::span controls(kControls, static_cast<std::size_t>(kControlsCount));
  return find_range(controls, code_point) != nullptr;
}

bool is_word_character(u32 code_point) {
  // Connectors (\p{Pc}), joiners, and the symbols that are alphabetic.
  static constexpr CodeRange kOthers[] = {{'_', '_'},         {0x200C, 0x200D},  {0x203F, 0x2040},
                                          {0x2054, 0x2054},   {0x24B6, 0x24E9},  {0xFE33, 0xFE34},
                                          {0xFE4D, 0xFE4F},   {0xFF3F, 0xFF3F},  {0x1F130, 0x1F149},
                                          {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
  u8 flags = char_flags(code_point);
  if ((flags & (kCharLetter | kCharMark)) != 0) return true;
  std::span numbers(kOtherNumbers, static_cast<std::size_t>(kOtherNumbersCount));
  if ((flags & kCharNumber) != 0) return find_range(numbers, code_point) == nullptr;
  return find_range(std::span(kOthers), code_point) != nullptr;
}

void append_lower(std::string& out, u32 code_point) {
  // The only character whose lower case is two.
  if (code_point == 0x130) {
    out += "i\u0307";
    return;
  }
  const LowerCase* end = kLowerCases + kLowerCasesCount;
  auto is_before = [](const LowerCase& l, u32 c) { return l.code < c; };
  const LowerCase* found = std::lower_bound(kLowerCases, end, code_point, is_before);
  append_utf8(out, found != end && found->code == code_point ? found->lower : code_point);
}

}  // namespace tg::unicode
