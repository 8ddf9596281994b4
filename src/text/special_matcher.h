// Finds special tokens in input: a byte trie over their texts, longest match first.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/normalizer.h"
#include "text/token_index.h"
#include "text/vocab.h"

namespace tg {

class SpecialMatcher {
 public:
  static constexpr i64 kTextBytesMax = i64{8} << 20;

  // Control, unknown and user-defined tokens of `vocab` that are looked for in text as it comes.
  // Borrows nothing.
  static Result<SpecialMatcher> create(const Vocab& vocab);
  // Of those tokens, the ones that are looked for in normalized text, as `normalizer` makes them.
  static Result<SpecialMatcher> create_normalized(const Vocab& vocab, const Normalizer& normalizer);
  bool is_empty() const { return nodes_.size() == 1; }

  // The first place from `at` on where one can begin, or the text's end: most bytes begin none.
  i64 next_begin(std::string_view text, i64 at) const {
    i64 size = static_cast<i64>(text.size());
    while (at < size && !begins_[static_cast<u8>(text[at])]) ++at;
    return at;
  }

  struct Match {
    TokenId id = -1;
    i64 size = 0;  // Bytes of the text it covers.
  };
  // The longest special token that `text` has at `at`, user-defined ones only unless
  // `with_control`; id -1 if none.
  Match match_at(std::string_view text, i64 at, bool with_control) const;

 private:
  struct Entry {
    TokenId id;
    std::string text;
  };
  struct Node {
    TokenId user_defined = -1;  // Token that ends here, by kind.
    TokenId control = -1;
  };
  explicit SpecialMatcher(i64 edge_count) : edges_(edge_count), nodes_(1) {}
  static Result<SpecialMatcher> of_entries(const Vocab& vocab, const std::vector<Entry>& entries);
  void insert(std::string_view text, TokenId id, bool is_control);

  PairIndex edges_;  // (node, byte) to node.
  std::vector<Node> nodes_;
  std::array<bool, 256> begins_{};
};

}  // namespace tg
