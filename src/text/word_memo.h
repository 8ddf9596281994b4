// Short words that a thread has encoded lately, and their ids: prompts repeat the words of their
// language, and a template its own. Each thread has one, of fixed size, for all tokenizers: nothing
// is shared, nothing grows, and what it forgets is encoded again.
#pragma once

#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "text/vocab.h"

namespace tg {

class WordMemo {
 public:
  static constexpr std::size_t kEntries = 4096;
  static constexpr std::size_t kWordBytesMax = 26;
  static constexpr std::size_t kIdsMax = 6;

  // The calling thread's.
  static WordMemo& of_thread();

  // The ids of `word` under the tokenizer of that number, empty if they are not known; `hash` is
  // the word's. Valid until the next put().
  std::span<const TokenId> find(u32 tokenizer, std::string_view word, u64 hash) const {
    const Entry& entry = entries_[slot_of(tokenizer, hash)];
    bool is_same = entry.hash == hash && entry.tokenizer == tokenizer &&
                   entry.size == word.size() &&
                   std::memcmp(entry.word, word.data(), word.size()) == 0;
    return is_same ? std::span<const TokenId>(entry.ids, entry.count) : std::span<const TokenId>();
  }

  // In place of whatever had its slot; words and lists that are too long, or empty, are not kept.
  // REQUIRES: tokenizer > 0.
  void put(u32 tokenizer, std::string_view word, u64 hash, std::span<const TokenId> ids);

 private:
  struct Entry {
    u64 hash = 0;
    u32 tokenizer = 0;  // 0: nothing is here.
    u8 size = 0;
    u8 count = 0;
    char word[kWordBytesMax] = {};
    TokenId ids[kIdsMax] = {};
  };
  static_assert(sizeof(Entry) == 64);

  WordMemo() : entries_(kEntries) {}
  static std::size_t slot_of(u32 tokenizer, u64 hash) { return (hash ^ tokenizer) % kEntries; }

  std::vector<Entry> entries_;
};

}  // namespace tg
