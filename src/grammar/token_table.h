// A vocabulary as grammars see it: tokens by their bytes, in tries that are walked from left to
// right without recursion. Tokens of plain characters only (Machine::kPlainCharsMax) have a trie of
// their own and ready masks by length, since most of a vocabulary is allowed or refused together
// wherever free text may stand.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "grammar/machine.h"
#include "text/tokenizer.h"

namespace tg::grammar {

// Words of a mask over `tokens` ids.
inline i64 mask_words(i64 tokens) {
  return (tokens + 63) / 64;
}

// Nodes in the order of their texts; a node's descendants follow it directly.
struct TokenTrie {
  struct Node {
    i32 token = -1;  // A token that ends here; more of the same text: TokenTable::same.
    u32 skip = 0;    // Index of the first node that is no descendant.
    u16 depth = 0;   // Bytes of the text, from 1.
    u8 byte = 0;
  };
  std::vector<Node> nodes;
  i64 depth_max = 0;
};

// Immutable.
class TokenTable {
 public:
  // Text tokens of `tokenizer`; control, unknown and unused tokens and those that end a reply are
  // never text, but `markers`, control tokens that replies may hold, are text of their own kind
  // (reply_grammar.h). kInvalid if no token ends a reply.
  static Result<TokenTable> create(const Tokenizer& tokenizer,
                                   std::span<const TokenId> markers = {});
  // Token i has the bytes texts[i] (none: it is no text); `ends` end a reply.
  static TokenTable create(std::vector<std::string> texts, std::vector<TokenId> ends);

  i64 size() const { return static_cast<i64>(texts_.size()); }
  i64 words() const { return mask_words(size()); }
  // Empty if `id` is not text or not in the vocabulary.
  std::string_view text(TokenId id) const;
  bool is_end(TokenId id) const;
  std::span<const TokenId> ends() const { return ends_; }
  // Names of the markers.
  std::span<const std::string> markers() const { return markers_; }

  const TokenTrie& plain() const { return plain_; }
  const TokenTrie& rest() const { return rest_; }
  // The tokens of 1 to `chars` plain characters. REQUIRES: 0 <= chars <= kPlainCharsMax.
  std::span<const u64> plain_mask(i64 chars) const {
    return std::span<const u64>(plain_masks_).subspan(chars * words(), words());
  }
  // The next token with the same text as `id`, or -1.
  TokenId same(TokenId id) const { return same_[id]; }

 private:
  std::vector<std::string> texts_;
  std::vector<TokenId> ends_;
  std::vector<std::string> markers_;
  std::vector<TokenId> same_;
  TokenTrie plain_;
  TokenTrie rest_;
  std::vector<u64> plain_masks_;  // [kPlainCharsMax + 1, words]
};

}  // namespace tg::grammar
