// BPE over characters (the tokenizer.json form of SentencePiece's BPE): neighbours merge by rank;
// characters in no token are written as bytes, or as the unknown token.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/byte_tokens.h"
#include "text/merge.h"
#include "text/metaspace.h"
#include "text/token_index.h"
#include "text/vocab.h"
#include "text/word_cache.h"

namespace tg {

class CharacterBpeEncoder {
 public:
  // Borrows the strings of vocab.tokens, which must stay in place.
  static Result<CharacterBpeEncoder> create(const Vocab& vocab);

  // Appends the ids of `escaped`: text whose spaces already are U+2581. REQUIRES: well-formed
  // UTF-8 that stays in place while `cache` lives.
  void encode(std::string_view escaped, WordCache& cache, MergeScratch& scratch,
              std::vector<TokenId>& ids) const;

 private:
  explicit CharacterBpeEncoder(const Vocab& vocab);
  Status add_merges(const Vocab& vocab);
  void encode_word(std::string_view word, MergeScratch& scratch, std::vector<TokenId>& ids) const;

  TextIndex texts_;
  PairIndex merges_;
  ByteTokens bytes_;
  bool fuses_unknown_;
  WordCut cut_ = WordCut::kBeforeRuns;
};

}  // namespace tg
