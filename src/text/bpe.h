// Byte-level BPE (GPT-2's scheme): text is cut into words by a pre-tokenizer, each byte of a word
// is a symbol, and neighbours merge by rank.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/merge.h"
#include "text/pieces.h"
#include "text/pretokenizer.h"
#include "text/token_index.h"
#include "text/vocab.h"
#include "text/word_cache.h"

namespace tg {

inline constexpr i64 kMergesMax = i64{1} << 23;

class BpeEncoder {
 public:
  // Borrows the bytes behind `pieces`, which must stay in place; `vocab` is only read.
  static Result<BpeEncoder> create(const Vocab& vocab, const Pieces& pieces);

  // Appends the ids of `text`. Bytes the vocabulary has no token for become its unknown token, or
  // nothing if it has none. REQUIRES: well-formed UTF-8 that stays in place while `cache` lives.
  void encode(std::string_view text, WordCache& cache, MergeScratch& scratch,
              std::vector<TokenId>& ids) const;

 private:
  BpeEncoder(const PreTokenizer& pre, i64 token_count, i64 merge_count);
  Status add_merges(const std::vector<std::string>& merges);
  i32 find_or_add_symbol(std::string_view bytes);
  void encode_word(std::string_view word, MergeScratch& scratch, std::vector<TokenId>& ids) const;
  void append_symbol(i32 symbol, std::string_view bytes, std::vector<TokenId>& ids) const;

  PreTokenizer pre_;
  i32 token_count_;
  TokenId unknown_ = -1;
  // Symbols are token ids; results of merges that are no token follow from token_count_.
  TextIndex symbols_;
  std::deque<std::string> extra_symbols_;
  PairIndex merges_;
  std::array<i32, 256> byte_symbols_{};
};

}  // namespace tg
