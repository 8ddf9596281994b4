// Where an alternative of an expression depends on backtracking, the comment says how that was
// resolved by hand.
#include "text/split_matchers.h"

#include <algorithm>
#include <array>
#include <span>

#include "text/unicode.h"

namespace tg::split {
namespace {

// One character of the text: its size is 0 past the end, where it has no flags.
struct Char {
  u32 code = 0;
  i64 size = 0;
  u8 flags = 0;
  bool is(int mask) const { return (flags & mask) != 0; }
  bool is_newline() const { return code == '\r' || code == '\n'; }
};

Char char_at(std::string_view text, i64 at) {
  if (at >= static_cast<i64>(text.size())) return {};
  u32 code = utf8_decode(text, at);
  return {code, utf8_size(static_cast<u8>(text[at])), char_flags(code)};
}

// End of the longest run from `at` of characters that `is_member` takes.
template <typename IsMember>
i64 run_while(std::string_view text, i64 at, const IsMember& is_member) {
  // Nearly all are ASCII, which needs no decoding.
  i64 size = static_cast<i64>(text.size());
  for (; at < size && static_cast<u8>(text[at]) < 0x80; ++at) {
    u32 code = static_cast<u8>(text[at]);
    if (!is_member(Char{code, 1, char_flags(code)})) return at;
  }
  for (Char c = char_at(text, at); c.size > 0 && is_member(c); c = char_at(text, at)) at += c.size;
  return at;
}

// Same for characters with one of `mask`'s flags, and with none of them.
i64 run_of(std::string_view text, i64 at, int mask) {
  return run_while(text, at, [=](const Char& c) { return c.is(mask); });
}
i64 run_without(std::string_view text, i64 at, int mask) {
  return run_while(text, at, [=](const Char& c) { return !c.is(mask); });
}

i64 run_of_newlines(std::string_view text, i64 at) {
  while (char_at(text, at).is_newline()) ++at;
  return at;
}

// \p{N}{1,most}, or \p{N}+ if `most` is 0.
i64 match_numbers(std::string_view text, i64 at, int most) {
  i64 end = at;
  int count = 0;
  for (Char c = char_at(text, end); c.is(kCharNumber); c = char_at(text, end)) {
    if (most > 0 && count++ == most) break;
    end += c.size;
  }
  return end - at;
}

struct Range {
  u32 first;
  u32 last;
};

bool is_in(std::span<const Range> ranges, u32 c) {
  auto ends_before = [](const Range& range, u32 code) { return range.last < code; };
  std::span<const Range>::iterator found =
      std::lower_bound(ranges.begin(), ranges.end(), c, ends_before);
  return found != ranges.end() && found->first <= c;
}

constexpr int kWordMask = kCharSpace | kCharLetter | kCharNumber;

// 's 't 're 've 'm 'll 'd   When case is ignored, U+017F is an s too: Unicode folds it to one.
i64 match_contraction(std::string_view text, i64 at, bool ignore_case) {
  static constexpr std::array<std::string_view, 7> kEndings = {"s", "t",  "re", "ve",
                                                               "m", "ll", "d"};
  if (at >= static_cast<i64>(text.size()) || text[at] != '\'') return 0;
  for (std::string_view ending : kEndings) {
    std::string_view found = text.substr(at + 1, ending.size());
    auto same = [&](char a, char b) { return a == b || (ignore_case && (a | 0x20) == b); };
    if (std::equal(found.begin(), found.end(), ending.begin(), ending.end(), same))
      return static_cast<i64>(ending.size()) + 1;
  }
  return ignore_case && text.substr(at + 1, 2) == "\u017F" ? 3 : 0;
}

// \s+(?!\S)|\s+  The last space before a word belongs to the word unless it is alone.
i64 match_spaces(std::string_view text, i64 at) {
  i64 end = at;
  i64 last = at;
  for (Char c = char_at(text, end); c.is(kCharSpace); c = char_at(text, end)) {
    last = end;
    end += c.size;
  }
  bool word_follows = end < static_cast<i64>(text.size());
  return word_follows && last > at ? last - at : end - at;
}

// \s*[\r\n]+  Greedy: the match ends after the last newline of the run of spaces. \s*[\r\n] is the
// same.
i64 match_space_newlines(std::string_view text, i64 at) {
  i64 matched = 0;
  i64 end = at;
  for (Char c = char_at(text, end); c.is(kCharSpace); c = char_at(text, end)) {
    end += c.size;
    if (c.is_newline()) matched = end - at;
  }
  return matched;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
i64 match_blanks(std::string_view text, i64 at) {
  if (i64 n = match_space_newlines(text, at)) return n;
  return match_spaces(text, at);
}

// \s?<members>+
template <typename IsMember>
i64 match_spaced_run(std::string_view text, i64 at, const IsMember& is_member) {
  Char c = char_at(text, at);
  auto match_from = [&](i64 begin) {
    i64 end = run_while(text, begin, is_member);
    return end > begin ? end - at : 0;
  };
  if (c.is(kCharSpace)) {
    if (i64 n = match_from(at + c.size)) return n;
  }
  return match_from(at);
}

// \p{Script=Han}, Unicode 15.1
bool is_han(u32 c) {
  static constexpr Range kHan[] = {
      {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},
      {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},
      {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
      {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D},
      {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
      {0x30000, 0x3134A}, {0x31350, 0x323AF}};
  return c >= kHan[0].first && is_in(kHan, c);
}

// The letters that DeepSeek's first expression lists.
bool is_listed_cased_letter(u32 c) {
  static constexpr Range kCased[] = {
      {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},
      {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
      {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x377},     {0x37B, 0x37D},
      {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},     {0x38C, 0x38C},
      {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
      {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},
      {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},
      {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},
      {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},
      {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
      {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},
      {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},
      {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},
      {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
      {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
      {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},
      {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},
      {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},
      {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},
      {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
      {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943}};
  return is_in(kCased, c);
}

// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}]
constexpr int kUpperLike = kCharUpper | kCharOtherLetter | kCharMark;
constexpr int kLowerLike = kCharLower | kCharOtherLetter | kCharMark;

// Where words of upper, then lower characters may end; both equal `begin` if there is no such end.
struct CasedEnds {
  i64 with_lower;  // <upper>*<lower>+
  i64 upper_only;  // <upper>+<lower>*, which matters only if the other does not match.
};

// If no lower character follows the run of upper ones, the first alternative gives back as much of
// the run as it takes to end in a character that is both.
CasedEnds cased_ends(std::string_view text, i64 begin, bool keeps_han_apart) {
  auto is_member = [=](const Char& c, int mask) {
    return c.is(mask) && !(keeps_han_apart && is_han(c.code));
  };
  i64 end = begin;
  i64 last_both = begin;
  for (Char c = char_at(text, end); is_member(c, kUpperLike); c = char_at(text, end)) {
    end += c.size;
    if (c.is(kLowerLike)) last_both = end;
  }
  i64 lower_end = run_while(text, end, [&](const Char& c) { return is_member(c, kLowerLike); });
  return {lower_end > end ? lower_end : last_both, end};
}

// The word with an optional character in front: each alternative is tried with it, then without.
i64 cased_word(std::string_view text, i64 at, bool keeps_han_apart) {
  Char c = char_at(text, at);
  CasedEnds plain = cased_ends(text, at, keeps_han_apart);
  if (c.is_newline() || c.is(kCharLetter | kCharNumber))
    return plain.with_lower > at ? plain.with_lower : plain.upper_only;
  i64 begin = at + c.size;
  CasedEnds fronted = cased_ends(text, begin, keeps_han_apart);
  if (fronted.with_lower > begin) return fronted.with_lower;
  if (plain.with_lower > at) return plain.with_lower;
  return fronted.upper_only > begin ? fronted.upper_only : plain.upper_only;
}

}  // namespace

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
i64 gpt2(std::string_view text, i64 at) {
  if (i64 n = match_contraction(text, at, false)) return n;
  i64 begin = text[at] == ' ' ? at + 1 : at;
  Char c = char_at(text, begin);
  if (c.is(kCharLetter)) return run_of(text, begin, kCharLetter) - at;
  if (c.is(kCharNumber)) return run_of(text, begin, kCharNumber) - at;
  if (c.size > 0 && !c.is(kCharSpace)) return run_without(text, begin, kWordMask) - at;
  return match_spaces(text, at);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits_max}
// | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// With takes_marks, \p{L}+ is [\p{L}\p{M}]+ and marks are no symbols.
template <WordStyle kStyle>
i64 cl100k(std::string_view text, i64 at) {
  constexpr int kLetters = kStyle.takes_marks ? kCharLetter | kCharMark : kCharLetter;
  constexpr int kNoSymbol = kStyle.takes_marks ? kWordMask | kCharMark : kWordMask;
  if (kStyle.cuts_contractions)
    if (i64 n = match_contraction(text, at, true)) return n;
  Char c = char_at(text, at);
  if (c.is(kLetters)) return run_of(text, at, kLetters) - at;
  if (c.is(kCharNumber)) return match_numbers(text, at, kStyle.digits_max);
  Char next = char_at(text, at + c.size);
  if (!c.is_newline() && next.is(kLetters)) return run_of(text, at + c.size, kLetters) - at;
  i64 begin = c.code == ' ' && next.size > 0 ? at + 1 : at;
  if (!char_at(text, begin).is(kNoSymbol)) {
    i64 end = run_without(text, begin, kNoSymbol);
    return (kStyle.symbols_take_newlines ? run_of_newlines(text, end) : end) - at;
  }
  return match_blanks(text, at);
}

template i64 cl100k<WordStyle{}>(std::string_view, i64);
template i64 cl100k<WordStyle{.digits_max = 1}>(std::string_view, i64);
template i64 cl100k<WordStyle{.digits_max = 0}>(std::string_view, i64);
template i64 cl100k<WordStyle{.digits_max = 1, .takes_marks = true}>(std::string_view, i64);
template i64 cl100k<WordStyle{.digits_max = 1, .symbols_take_newlines = false}>(std::string_view,
                                                                                i64);
template i64 cl100k<WordStyle{.digits_max = 1, .cuts_contractions = false}>(std::string_view, i64);

// With <upper> and <lower> as above and <end> = (?i:'s|'t|'re|'ve|'m|'ll|'d)?
// [^\r\n\p{L}\p{N}]?<upper>*<lower>+<end>|[^\r\n\p{L}\p{N}]?<upper>+<lower>*<end>
// |\p{N}{1,digits_max}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
// With keeps_han_apart, \p{Han}+ goes first and <upper> and <lower> have no Han.
template <CasedStyle kStyle>
i64 o200k(std::string_view text, i64 at) {
  Char c = char_at(text, at);
  if (kStyle.keeps_han_apart && is_han(c.code))
    return run_while(text, at, [](const Char& next) { return is_han(next.code); }) - at;
  i64 end = cased_word(text, at, kStyle.keeps_han_apart);
  if (end > at) {
    if (kStyle.takes_contractions) end += match_contraction(text, end, true);
    return end - at;
  }
  if (c.is(kCharNumber)) return match_numbers(text, at, kStyle.digits_max);
  i64 begin = c.code == ' ' && at + 1 < static_cast<i64>(text.size()) ? at + 1 : at;
  if (!char_at(text, begin).is(kWordMask)) {
    auto is_tail = [](const Char& t) {
      return t.is_newline() || (kStyle.symbols_take_slash && t.code == '/');
    };
    return run_while(text, run_without(text, begin, kWordMask), is_tail) - at;
  }
  return match_blanks(text, at);
}

template i64 o200k<CasedStyle{}>(std::string_view, i64);
template i64 o200k<CasedStyle{.digits_max = 1, .takes_contractions = false}>(std::string_view, i64);
template i64 o200k<CasedStyle{.symbols_take_slash = false, .keeps_han_apart = true}>(
    std::string_view, i64);

// [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
// | ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
i64 deepseek_v3(std::string_view text, i64 at) {
  constexpr int kLetters = kCharLetter | kCharMark;
  constexpr int kSymbols = kCharPunctuation | kCharSymbol;
  Char c = char_at(text, at);
  if (c.code < 0x80 && c.is(kSymbols)) {
    i64 end = run_while(text, at + 1,
                        [](const Char& next) { return next.code < 0x80 && next.is(kCharLetter); });
    if (end > at + 1) return end - at;
  }
  if (c.is(kLetters)) return run_of(text, at, kLetters) - at;
  if (!c.is_newline() && !c.is(kSymbols)) {
    i64 end = run_of(text, at + c.size, kLetters);
    if (end > at + c.size) return end - at;
  }
  i64 begin = c.code == ' ' ? at + 1 : at;
  i64 end = run_of(text, begin, kSymbols);
  if (end > begin) return run_of_newlines(text, end) - at;
  return match_blanks(text, at);
}

//  ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+   with the characters themselves
i64 bloom(std::string_view text, i64 at) {
  auto is_member = [](const Char& c) {
    static constexpr std::array<u32, 13> kNot = {'(',    ')',    '|',    '.',    ',',   '!',  '?',
                                                 0x2026, 0x3002, 0xFF0C, 0x3001, 0x964, 0x6D4};
    return !c.is(kCharSpace) && c.code != 0x60C &&
           std::find(kNot.begin(), kNot.end(), c.code) == kNot.end();
  };
  i64 begin = text[at] == ' ' ? at + 1 : at;
  i64 end = run_while(text, begin, is_member);
  return end > begin ? end - at : 0;
}

// (?s:.+)
i64 everything(std::string_view text, i64 at) {
  return static_cast<i64>(text.size()) - at;
}

// \p{N}
i64 one_number(std::string_view text, i64 at) {
  return match_numbers(text, at, 1);
}

// \p{N}{1,3}
i64 three_numbers(std::string_view text, i64 at) {
  return match_numbers(text, at, 3);
}

// \p{N}+
i64 all_numbers(std::string_view text, i64 at) {
  return match_numbers(text, at, 0);
}

// [0-9][0-9][0-9]
i64 three_digits(std::string_view text, i64 at) {
  std::string_view three = text.substr(at, 3);
  bool all = std::all_of(three.begin(), three.end(), [](char c) { return c >= '0' && c <= '9'; });
  return three.size() == 3 && all ? 3 : 0;
}

// ASCII symbols are the $+<=>^`|~ that \p{P} lacks of ASCII punctuation.
bool is_any_punctuation(const Char& c) {
  return c.is(kCharPunctuation) || (c.code < 0x80 && c.is(kCharSymbol));
}

// [\p{P}\$\+<=>\^~\|`]+
i64 punctuation(std::string_view text, i64 at) {
  return run_while(text, at, is_any_punctuation) - at;
}

// [\p{P}\$\+<=>\^~\|`]
i64 one_punctuation(std::string_view text, i64 at) {
  Char c = char_at(text, at);
  return is_any_punctuation(c) ? c.size : 0;
}

// [\r\n]
i64 one_newline(std::string_view text, i64 at) {
  return char_at(text, at).is_newline() ? 1 : 0;
}

// \s?\p{L}+
i64 spaced_letters(std::string_view text, i64 at) {
  return match_spaced_run(text, at, [](const Char& c) { return c.is(kCharLetter); });
}

// \s?\p{P}+
i64 spaced_punctuation(std::string_view text, i64 at) {
  return match_spaced_run(text, at, [](const Char& c) { return c.is(kCharPunctuation); });
}

// \s?[A-Za-z...]+
i64 spaced_cased_letters(std::string_view text, i64 at) {
  return match_spaced_run(text, at, [](const Char& c) { return is_listed_cased_letter(c.code); });
}

// \s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+   U+3000 is in \s too.
i64 spaced_deepseek_punctuation(std::string_view text, i64 at) {
  static constexpr Range kListed[] = {{0x21, 0x2F},     {0x3A, 0x7E},     {0x2018, 0x201F},
                                      {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}};
  return match_spaced_run(text, at, [](const Char& c) { return is_in(kListed, c.code); });
}

// \s+$
i64 spaces_at_end(std::string_view text, i64 at) {
  i64 end = run_of(text, at, kCharSpace);
  return end == static_cast<i64>(text.size()) ? end - at : 0;
}

// [U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF]+
i64 deepseek_east_asian(std::string_view text, i64 at) {
  auto is_member = [](const Char& c) {
    return (c.code >= 0x0800 && c.code <= 0x9FA5) || (c.code >= 0xAC00 && c.code <= 0xD7FF);
  };
  return run_while(text, at, is_member) - at;
}

// [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+
i64 deepseek_v3_east_asian(std::string_view text, i64 at) {
  auto is_member = [](const Char& c) {
    return (c.code >= 0x4E00 && c.code <= 0x9FA5) || (c.code >= 0x3040 && c.code <= 0x30FF);
  };
  return run_while(text, at, is_member) - at;
}

}  // namespace tg::split
