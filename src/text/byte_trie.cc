#include "text/byte_trie.h"

namespace tg {

void ByteTrie::insert(std::string_view text, TokenId id) {
  if (text.empty()) return;
  i32 node = kRoot;
  for (char c : text) {
    i32 child = step(node, c);
    if (child < 0) {
      child = static_cast<i32>(values_.size());
      values_.push_back(-1);
      edges_.insert(node, static_cast<u8>(c), {0, child});
    }
    node = child;
  }
  if (values_[node] < 0) values_[node] = id;
}

ByteTrie::Match ByteTrie::longest(std::string_view text, i64 at) const {
  Match best;
  i32 node = kRoot;
  for (i64 end = at; end < static_cast<i64>(text.size());) {
    node = step(node, text[end]);
    if (node < 0) break;
    ++end;
    if (values_[node] >= 0) best = {values_[node], end - at};
  }
  return best;
}

}  // namespace tg
