// Pre-tokenizers: how byte-level BPE cuts text into words before merging. Each is published as a
// regular expression; here each is a hand-written matcher, or a few applied one after the other.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "text/unicode.h"

namespace tg {

// Length in bytes of the match that starts at text[at], or 0. Sees nothing outside `text`.
using MatchFn = i64 (*)(std::string_view text, i64 at);

struct PreTokenizer {
  static constexpr std::size_t kPassesMax = 8;
  // Each pass cuts every piece of the one before into matches and the gaps between them; unused
  // ones are null.
  std::array<MatchFn, kPassesMax> passes{};
  // A word that is a token as a whole is that token, whatever the merges say.
  bool ignores_merges = false;
};

// The pre-tokenizer of that name (GGUF's tokenizer.ggml.pre), or nullptr. Static storage.
const PreTokenizer* find_pretokenizer(std::string_view name);

// The published expression `pattern` (as tokenizer.json has it; a line break may stand for itself
// or be written \n or \r).
struct Split {
  MatchFn match = nullptr;      // nullptr: not known.
  bool leaves_no_gaps = false;  // Its matches make up all of any text.
};
Split find_split(std::string_view pattern);

// The passes of those patterns, in order. kUnsupported, naming the pattern, if one is not known;
// kLimit if there are too many.
Result<PreTokenizer> make_pretokenizer(std::span<const std::string> patterns);

// Calls word(piece) for each word of `text` in order; joined they are all of `text`.
// REQUIRES: `text` is well-formed UTF-8.
template <typename Word>
void split_words(const PreTokenizer& pre, std::string_view text, const Word& word,
                 std::size_t pass = 0) {
  if (pass == pre.passes.size() || pre.passes[pass] == nullptr) return word(text);
  i64 size = static_cast<i64>(text.size());
  i64 gap = 0;
  for (i64 at = 0; at < size;) {
    i64 matched = pre.passes[pass](text, at);
    if (matched == 0) {
      at += utf8_size(static_cast<u8>(text[at]));
      continue;
    }
    if (at > gap) split_words(pre, text.substr(gap, at - gap), word, pass + 1);
    split_words(pre, text.substr(at, matched), word, pass + 1);
    at += matched;
    gap = at;
  }
  if (size > gap) split_words(pre, text.substr(gap), word, pass + 1);
}

}  // namespace tg
