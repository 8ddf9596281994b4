// One matcher per published expression. The expressions stand above their matchers; where an
// alternative depends on backtracking, the comment says how that was resolved by hand.
#include "text/pretokenizer.h"

#include <algorithm>

namespace tg {
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

// End of the longest run from `at` of characters with one of `mask`'s flags.
i64 run_of(std::string_view text, i64 at, int mask) {
  for (Char c = char_at(text, at); c.size > 0 && c.is(mask); c = char_at(text, at)) at += c.size;
  return at;
}

// Same for characters with none of `mask`'s flags.
i64 run_without(std::string_view text, i64 at, int mask) {
  for (Char c = char_at(text, at); c.size > 0 && !c.is(mask); c = char_at(text, at)) at += c.size;
  return at;
}

i64 run_of_newlines(std::string_view text, i64 at) {
  while (char_at(text, at).is_newline()) ++at;
  return at;
}

constexpr int kWordMask = kCharSpace | kCharLetter | kCharNumber;

// 's 't 're 've 'm 'll 'd
i64 match_contraction(std::string_view text, i64 at, bool ignore_case) {
  static constexpr std::array<std::string_view, 7> kEndings = {"s", "t",  "re", "ve",
                                                               "m", "ll", "d"};
  if (text[at] != '\'') return 0;
  for (std::string_view ending : kEndings) {
    std::string_view found = text.substr(at + 1, ending.size());
    auto same = [&](char a, char b) { return a == b || (ignore_case && (a | 0x20) == b); };
    if (std::equal(found.begin(), found.end(), ending.begin(), ending.end(), same))
      return static_cast<i64>(ending.size()) + 1;
  }
  return 0;
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

// \s*[\r\n]+  Greedy: the match ends after the last newline of the run of spaces.
i64 match_space_newlines(std::string_view text, i64 at) {
  i64 matched = 0;
  i64 end = at;
  for (Char c = char_at(text, end); c.is(kCharSpace); c = char_at(text, end)) {
    end += c.size;
    if (c.is_newline()) matched = end - at;
  }
  return matched;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
i64 match_gpt2(std::string_view text, i64 at) {
  if (i64 n = match_contraction(text, at, false)) return n;
  i64 begin = text[at] == ' ' ? at + 1 : at;
  Char c = char_at(text, begin);
  if (c.is(kCharLetter)) return run_of(text, begin, kCharLetter) - at;
  if (c.is(kCharNumber)) return run_of(text, begin, kCharNumber) - at;
  if (c.size > 0 && !c.is(kCharSpace)) return run_without(text, begin, kWordMask) - at;
  return match_spaces(text, at);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+    With kMarks, \p{L}+ is [\p{L}\p{M}]+ and marks are no symbols.
template <int kDigits, bool kMarks>
i64 match_cl100k(std::string_view text, i64 at) {
  constexpr int kLetters = kMarks ? kCharLetter | kCharMark : kCharLetter;
  constexpr int kNoSymbol = kMarks ? kWordMask | kCharMark : kWordMask;
  if (i64 n = match_contraction(text, at, true)) return n;
  Char c = char_at(text, at);
  if (c.is(kLetters)) return run_of(text, at, kLetters) - at;
  if (c.is(kCharNumber)) {
    i64 end = at;
    for (int i = 0; i < kDigits && c.is(kCharNumber); ++i, c = char_at(text, end)) end += c.size;
    return end - at;
  }
  Char next = char_at(text, at + c.size);
  if (!c.is_newline() && next.is(kLetters)) return run_of(text, at + c.size, kLetters) - at;
  i64 begin = c.code == ' ' && next.size > 0 ? at + 1 : at;
  if (!char_at(text, begin).is(kNoSymbol))
    return run_of_newlines(text, run_without(text, begin, kNoSymbol)) - at;
  if (i64 n = match_space_newlines(text, at)) return n;
  return match_spaces(text, at);
}

// \p{N}
i64 match_one_number(std::string_view text, i64 at) {
  Char c = char_at(text, at);
  return c.is(kCharNumber) ? c.size : 0;
}

// [0-9][0-9][0-9]
i64 match_three_digits(std::string_view text, i64 at) {
  std::string_view three = text.substr(at, 3);
  bool all = std::all_of(three.begin(), three.end(), [](char c) { return c >= '0' && c <= '9'; });
  return three.size() == 3 && all ? 3 : 0;
}

// [\p{P}\$\+<=>\^~\|`]+
i64 match_falcon_punctuation(std::string_view text, i64 at) {
  auto is_member = [](const Char& c) {
    constexpr std::string_view kSymbols = "$+<=>^~|`";
    bool is_listed = c.code < 0x80 && kSymbols.find(static_cast<char>(c.code)) != kSymbols.npos;
    return c.size > 0 && (c.is(kCharPunctuation) || is_listed);
  };
  i64 end = at;
  for (Char c = char_at(text, end); is_member(c); c = char_at(text, end)) end += c.size;
  return end - at;
}

// [\r\n]
i64 match_one_newline(std::string_view text, i64 at) {
  return char_at(text, at).is_newline() ? 1 : 0;
}

// \s?<mask>+
template <int kMask>
i64 match_spaced_run(std::string_view text, i64 at) {
  Char c = char_at(text, at);
  i64 begin = c.is(kCharSpace) ? at + c.size : at;
  i64 end = run_of(text, begin, kMask);
  return end > begin ? end - at : 0;
}

// [U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF]+
i64 match_deepseek_east_asian(std::string_view text, i64 at) {
  auto is_member = [](u32 c) {
    return (c >= 0x0800 && c <= 0x9FA5) || (c >= 0xAC00 && c <= 0xD7FF);
  };
  i64 end = at;
  for (Char c = char_at(text, end); c.size > 0 && is_member(c.code); c = char_at(text, end))
    end += c.size;
  return end - at;
}

constexpr PreTokenizer kGpt2{{match_gpt2}, false};
constexpr PreTokenizer kLlama3{{match_cl100k<3, false>}, true};
constexpr PreTokenizer kDbrx{{match_cl100k<3, false>}, false};
constexpr PreTokenizer kQwen2{{match_cl100k<1, false>}, false};
constexpr PreTokenizer kQwen35{{match_cl100k<1, true>}, false};
constexpr PreTokenizer kStarcoder{{match_one_number, match_gpt2}, false};
constexpr PreTokenizer kFalcon{{match_falcon_punctuation, match_gpt2, match_three_digits}, false};
constexpr PreTokenizer kDeepseekCoder{
    {match_one_newline, match_spaced_run<kCharLetter>, match_spaced_run<kCharPunctuation>,
     match_deepseek_east_asian, match_one_number},
    false};

struct Named {
  std::string_view name;
  const PreTokenizer* pre;
};

constexpr Named kNamed[] = {
    {"", &kGpt2},
    {"default", &kGpt2},
    {"gpt-2", &kGpt2},
    {"phi-2", &kGpt2},
    {"olmo", &kGpt2},
    {"mpt", &kGpt2},
    {"llama3", &kLlama3},
    {"llama-v3", &kLlama3},
    {"llama-bpe", &kLlama3},
    {"falcon3", &kLlama3},
    {"lfm2", &kLlama3},
    {"dbrx", &kDbrx},
    {"smaug-bpe", &kDbrx},
    {"glm4", &kDbrx},
    {"chatglm-bpe", &kDbrx},
    {"qwen2", &kQwen2},
    {"stablelm2", &kQwen2},
    {"deepseek-r1-qwen", &kQwen2},
    {"qwen35", &kQwen35},
    {"starcoder", &kStarcoder},
    {"refact", &kStarcoder},
    {"command-r", &kStarcoder},
    {"smollm", &kStarcoder},
    {"codeshell", &kStarcoder},
    {"exaone", &kStarcoder},
    {"falcon", &kFalcon},
    {"deepseek-coder", &kDeepseekCoder},
};

}  // namespace

const PreTokenizer* find_pretokenizer(std::string_view name) {
  for (const Named& named : kNamed) {
    if (named.name == name) return named.pre;
  }
  return nullptr;
}

}  // namespace tg
