// SentencePiece's BPE: characters merge into the pieces with the best score; what is in no piece is
// written as byte tokens.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/byte_tokens.h"
#include "text/merge.h"
#include "text/metaspace.h"
#include "text/pieces.h"
#include "text/token_index.h"
#include "text/vocab.h"
#include "text/word_cache.h"

namespace tg {

class SpmEncoder {
 public:
  // Borrows the strings of vocab.tokens, which must stay in place.
  static Result<SpmEncoder> create(const Vocab& vocab);

  // Appends the ids of `escaped`: text whose spaces already are U+2581. REQUIRES: well-formed
  // UTF-8 that stays in place while `cache` lives.
  void encode(std::string_view escaped, WordCache& cache, MergeScratch& scratch,
              std::vector<TokenId>& ids) const;

 private:
  SpmEncoder(const Vocab& vocab);
  void set_priorities(const Vocab& vocab);
  void encode_word(std::string_view word, MergeScratch& scratch, std::vector<TokenId>& ids) const;

  TextIndex texts_;
  std::vector<i32> priorities_;  // By token: position of its score, best first; equal scores equal.
  ByteTokens bytes_;
  i64 text_bytes_max_ = 0;
  // Words encode one by one if no token reaches from one over the U+2581 that begins the next.
  WordCut cut_ = WordCut::kBeforeRuns;
};

}  // namespace tg
