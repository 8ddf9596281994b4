// Texts by their bytes, for finding every prefix or the longest one: a trie whose edges sit in one
// hash table.
#pragma once

#include <string_view>
#include <vector>

#include "text/token_index.h"
#include "text/vocab.h"

namespace tg {

class ByteTrie {
 public:
  // For texts of that many bytes together.
  explicit ByteTrie(i64 bytes_total) : edges_(bytes_total), values_(1, -1) {}

  // The first of two equal texts wins; an empty one is not kept. Borrows nothing.
  void insert(std::string_view text, TokenId id);

  static constexpr i32 kRoot = 0;
  // The node that `byte` leads to, or -1.
  i32 step(i32 node, char byte) const { return edges_.find(node, static_cast<u8>(byte)).symbol; }
  // The id of the text that ends at `node`, or -1.
  TokenId value(i32 node) const { return values_[node]; }

  struct Match {
    TokenId id = -1;
    i64 size = 0;
  };
  // The longest text that `text` has at `at`; id -1 if none.
  Match longest(std::string_view text, i64 at) const;

 private:
  PairIndex edges_;  // (node, byte) to node.
  std::vector<TokenId> values_;
};

}  // namespace tg
