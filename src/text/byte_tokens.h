// The "<0xHH>" tokens of a vocabulary: how SentencePiece's kinds write what is in no piece.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "text/vocab.h"

namespace tg {

class ByteTokens {
 public:
  // The kByte tokens of `vocab`; the unknown token stands in where a byte has none.
  explicit ByteTokens(const Vocab& vocab);

  // Appends a token per byte, or the unknown token (if there is one) for all of them together when
  // one byte has none.
  void append(std::string_view bytes, std::vector<TokenId>& ids) const;
  bool has(std::string_view bytes) const;
  bool has_all() const;

 private:
  std::array<TokenId, 256> tokens_{};
  TokenId unknown_;
};

}  // namespace tg
