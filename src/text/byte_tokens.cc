#include "text/byte_tokens.h"

#include <algorithm>

#include "text/pieces.h"
#include "text/token_index.h"

namespace tg {

ByteTokens::ByteTokens(const Vocab& vocab) : unknown_(vocab.unknown) {
  TextIndex names(256);
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    TokenId id = static_cast<TokenId>(i);
    if (type_of(vocab, id) == TokenType::kByte) names.insert(vocab.tokens[i], id);
  }
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    char name[] = {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
    tokens_[byte] = names.find({name, sizeof name});
  }
}

bool ByteTokens::has(std::string_view bytes) const {
  return std::all_of(bytes.begin(), bytes.end(),
                     [&](char c) { return tokens_[static_cast<u8>(c)] >= 0; });
}

bool ByteTokens::has_all() const {
  return std::count(tokens_.begin(), tokens_.end(), -1) == 0;
}

void ByteTokens::append(std::string_view bytes, std::vector<TokenId>& ids) const {
  if (!has(bytes)) {
    if (unknown_ >= 0) ids.push_back(unknown_);
    return;
  }
  for (char c : bytes) ids.push_back(tokens_[static_cast<u8>(c)]);
}

}  // namespace tg
