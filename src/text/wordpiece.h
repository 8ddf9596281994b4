// WordPiece (BERT): words end at white space and punctuation; each is covered from its start by the
// longest token that fits, and is one unknown token if that fails anywhere.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/byte_trie.h"
#include "text/vocab.h"
#include "text/word_cache.h"

namespace tg {

class WordPieceEncoder {
 public:
  static Result<WordPieceEncoder> create(const Vocab& vocab);

  // Appends the ids of `text`, normalized already. REQUIRES: well-formed UTF-8 that stays in place
  // while `cache` lives.
  void encode(std::string_view text, WordCache& cache, std::vector<TokenId>& ids) const;

 private:
  WordPieceEncoder(const Vocab& vocab, i64 text_bytes);
  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;

  ByteTrie begins_;  // Without their U+2581.
  ByteTrie continues_;
  TokenId unknown_;
  i64 word_chars_max_;
};

}  // namespace tg
