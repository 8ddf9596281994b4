// Words repeat within a text. This remembers, for the length of one encode call, where a word stood
// and which ids it became, so that its next occurrence is a copy; what a call has not met yet its
// thread may have (word_memo.h). Neither lives in the tokenizer: threads share nothing.
#pragma once

#include <algorithm>
#include <bit>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "text/token_index.h"
#include "text/vocab.h"
#include "text/word_memo.h"

namespace tg {

class WordCache {
 public:
  static constexpr u64 kEntriesMax = 8192;
  static constexpr std::size_t kWordBytesMax = 64;

  // For a text of that many bytes; the words given later must stay in place. `tokenizer` is the
  // number of whoever encodes, which is never another's.
  WordCache(std::size_t text_bytes, u32 tokenizer)
      : entries_(std::bit_ceil(std::clamp<u64>(text_bytes / 8, 16, kEntriesMax))),
        tokenizer_(tokenizer),
        memo_(&WordMemo::of_thread()) {}

  // Appends the ids of `word` to `ids`: copied if seen before, else by encode(word).
  template <typename Encode>
  void append(std::string_view word, std::vector<TokenId>& ids, const Encode& encode) {
    if (word.size() > kWordBytesMax) return encode(word);
    u64 hash = hash_text(word);
    Entry& entry = entries_[hash & (entries_.size() - 1)];
    if (entry.hash != hash || entry.word != word) {
      std::size_t begin = ids.size();
      std::span<const TokenId> known = memo_->find(tokenizer_, word, hash);
      if (!known.empty()) {
        ids.insert(ids.end(), known.begin(), known.end());
      } else {
        encode(word);
        memo_->put(tokenizer_, word, hash, std::span<const TokenId>(ids).subspan(begin));
      }
      entry = {hash, word, begin, ids.size() - begin};
      return;
    }
    // Indexes, not iterators: growing `ids` moves what is copied.
    for (std::size_t i = 0; i < entry.count; ++i) ids.push_back(ids[entry.begin + i]);
  }

 private:
  struct Entry {
    u64 hash = 0;
    std::string_view word;
    std::size_t begin = 0;
    std::size_t count = 0;
  };
  std::vector<Entry> entries_;
  u32 tokenizer_;
  WordMemo* memo_;
};

}  // namespace tg
