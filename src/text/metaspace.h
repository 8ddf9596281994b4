// U+2581 in place of spaces: where text written so may be cut into words that encode alone.
#pragma once

#include <string_view>

#include "text/pieces.h"

namespace tg {

enum class WordCut {
  kNowhere,
  kBeforeRuns,  // A word is a run of U+2581 and what follows up to the next.
  kBeforeEach,  // Every U+2581 begins a word.
};

// True if a U+2581 stands behind another character within `token`.
inline bool crosses_words(std::string_view token) {
  bool seen_other = false;
  for (std::size_t at = 0; at < token.size();) {
    bool is_space = token.substr(at, kSpmSpace.size()) == kSpmSpace;
    if (is_space && seen_other) return true;
    seen_other = seen_other || !is_space;
    at += is_space ? kSpmSpace.size() : 1;
  }
  return false;
}

// End of the word that begins at `at`.
inline std::size_t word_end(std::string_view text, std::size_t at, WordCut cut) {
  if (cut == WordCut::kNowhere) return text.size();
  bool is_one = cut == WordCut::kBeforeEach;
  while (text.substr(at, kSpmSpace.size()) == kSpmSpace) {
    at += kSpmSpace.size();
    if (is_one) break;
  }
  std::size_t next = text.find(kSpmSpace, at);
  return next == text.npos ? text.size() : next;
}

// Calls word(part) for each word of `text`, in order.
template <typename Word>
void each_word(std::string_view text, WordCut cut, const Word& word) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = word_end(text, at, cut);
    word(text.substr(at, end - at));
    at = end;
  }
}

}  // namespace tg
