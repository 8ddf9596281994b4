// The raw bytes every token stands for, worked out once from a vocabulary.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/vocab.h"

namespace tg {

// Longest text of one token. Bounds what matching and printing one token can cost.
inline constexpr i64 kTokenBytesMax = 4096;

class Pieces {
 public:
  // Checks every token's text: UTF-8 and kTokenBytesMax; in a byte-level vocabulary a normal token
  // outside the byte alphabet stands for its own text.
  static Result<Pieces> create(const Vocab& vocab);

  i64 size() const { return static_cast<i64>(ends_.size()); }
  // REQUIRES: 0 <= id < size(). The bytes stay in place when the object moves.
  std::string_view operator[](TokenId id) const {
    u32 begin = id == 0 ? 0 : ends_[id - 1];
    return {bytes_.data() + begin, ends_[id] - begin};
  }

 private:
  std::vector<char> bytes_;
  std::vector<u32> ends_;
};

inline TokenType type_of(const Vocab& vocab, TokenId id) {
  return vocab.types.empty() ? TokenType::kNormal : vocab.types[id];
}

inline u8 match_flags_of(const Vocab& vocab, TokenId id) {
  return vocab.match_flags.empty() ? 0 : vocab.match_flags[id];
}

// U+2581, which stands for a space in SentencePiece vocabularies.
inline constexpr std::string_view kSpmSpace = "\xE2\x96\x81";

}  // namespace tg
