// SentencePiece's unigram model: of all ways to cut a word into pieces, the one whose scores (log
// probabilities) sum to most, found by Viterbi's algorithm from left to right.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/byte_tokens.h"
#include "text/byte_trie.h"
#include "text/metaspace.h"
#include "text/vocab.h"
#include "text/word_cache.h"

namespace tg {

class UnigramEncoder {
 public:
  // What an unknown character costs more than the rarest piece.
  static constexpr f64 kUnknownPenalty = 10;

  // The best way to reach a byte of the word.
  struct Cell {
    f64 score = 0;
    i64 begin = -1;  // Where its last piece begins; -1: not reached.
    TokenId id = -1;
  };
  using Scratch = std::vector<Cell>;

  static Result<UnigramEncoder> create(const Vocab& vocab);

  // Appends the ids of `escaped`: text whose spaces already are U+2581. Neighbouring characters
  // in no piece are together one unknown token, or their bytes. REQUIRES: well-formed UTF-8 that
  // stays in place while `cache` lives.
  void encode(std::string_view escaped, WordCache& cache, Scratch& scratch,
              std::vector<TokenId>& ids) const;

 private:
  UnigramEncoder(const Vocab& vocab, i64 text_bytes);
  void reach(std::string_view word, i64 begin, Scratch& cells) const;
  void encode_word(std::string_view word, Scratch& cells, std::vector<TokenId>& ids) const;

  ByteTrie pieces_;
  std::vector<f32> scores_;
  ByteTokens bytes_;
  f64 unknown_score_ = 0;
  WordCut cut_ = WordCut::kBeforeRuns;
};

}  // namespace tg
