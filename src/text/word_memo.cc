#include "text/word_memo.h"

#include <algorithm>

#include "base/assert.h"

namespace tg {

WordMemo& WordMemo::of_thread() {
  thread_local WordMemo memo;
  return memo;
}

void WordMemo::put(u32 tokenizer, std::string_view word, u64 hash, std::span<const TokenId> ids) {
  TG_ASSERT(tokenizer > 0);
  if (word.empty() || word.size() > kWordBytesMax || ids.empty() || ids.size() > kIdsMax) return;
  Entry& entry = entries_[slot_of(tokenizer, hash)];
  entry.hash = hash;
  entry.tokenizer = tokenizer;
  entry.size = static_cast<u8>(word.size());
  entry.count = static_cast<u8>(ids.size());
  std::memcpy(entry.word, word.data(), word.size());
  std::copy(ids.begin(), ids.end(), entry.ids);
}

}  // namespace tg
