#include "text/pieces.h"

#include <optional>

#include "base/bytes.h"
#include "text/byte_alphabet.h"

namespace tg {
namespace {

constexpr u64 kPieceBytesMax = u64{1} << 31;

std::string spm_text(std::string_view token) {
  std::string text;
  for (std::size_t at = 0; at < token.size();) {
    bool is_space = token.substr(at, kSpmSpace.size()) == kSpmSpace;
    text.push_back(is_space ? ' ' : token[at]);
    at += is_space ? kSpmSpace.size() : 1;
  }
  return text;
}

// "<0x0A>" is the byte 10.
Result<std::string> byte_text(std::string_view token, TokenId id) {
  bool has_frame = token.size() == 6 && token.substr(0, 3) == "<0x" && token[5] == '>';
  Result<std::vector<u8>> byte = from_hex(has_frame ? token.substr(3, 2) : "");
  if (!has_frame || !byte.ok()) {
    return Error{Code::kInvalid, "vocab: byte token " + std::to_string(id) + " is \"" +
                                     std::string(token) + "\", not <0xHH>"};
  }
  return std::string(as_text(*byte));
}

// BERT's decoders write these without the space before them.
std::string word_piece_text(std::string_view token) {
  std::string text = spm_text(token);
  bool hugs_left = text == " ." || text == " ?" || text == " !" || text == " ,";
  return hugs_left ? text.substr(1) : text;
}

Result<std::string> piece_of(const Vocab& vocab, TokenId id) {
  const std::string& token = vocab.tokens[id];
  TokenType type = type_of(vocab, id);
  if (type == TokenType::kByte) return byte_text(token, id);
  bool is_escaped = vocab.kind == VocabKind::kCharacterBpe || vocab.kind == VocabKind::kUnigram;
  if (type == TokenType::kUserDefined && is_escaped) return spm_text(token);
  if (type != TokenType::kNormal) return token;
  if (vocab.kind == VocabKind::kWordPiece) return word_piece_text(token);
  if (vocab.kind != VocabKind::kBpe) return spm_text(token);
  std::optional<std::string> bytes = alphabet_bytes(token);
  return bytes ? *bytes : token;
}

}  // namespace

Result<Pieces> Pieces::create(const Vocab& vocab) {
  Pieces pieces;
  pieces.ends_.reserve(vocab.tokens.size());
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    const std::string& token = vocab.tokens[i];
    TokenId id = static_cast<TokenId>(i);
    if (token.size() > kTokenBytesMax) {
      return Error{Code::kLimit, "vocab: token " + std::to_string(id) + " has " +
                                     std::to_string(token.size()) + " bytes, more than " +
                                     std::to_string(kTokenBytesMax)};
    }
    if (!is_utf8(token))
      return Error{Code::kInvalid, "vocab: token " + std::to_string(id) + " is not UTF-8"};
    TG_ASSIGN(std::string piece, piece_of(vocab, id));
    pieces.bytes_.insert(pieces.bytes_.end(), piece.begin(), piece.end());
    if (pieces.bytes_.size() > kPieceBytesMax)
      return Error{Code::kLimit, "vocab: token texts exceed 2 GiB"};
    pieces.ends_.push_back(static_cast<u32>(pieces.bytes_.size()));
  }
  return pieces;
}

}  // namespace tg
