#include "node/engines/text_tokens.h"

#include <fmt/format.h>

namespace tg::node {
namespace {

std::string joined(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string text;
  for (TokenId id : ids) text += tokenizer.piece(id);
  return text;
}

// Appends ids for exactly `text`; false if this way of asking does not give them.
bool append_exact(const Tokenizer& tokenizer, std::string_view asked, std::string_view text,
                  std::vector<TokenId>& out) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(asked, {});
  if (!ids.ok() || joined(tokenizer, *ids) != text) return false;
  out.insert(out.end(), ids->begin(), ids->end());
  return true;
}

void append_bytes(const Tokenizer& tokenizer, std::string_view text, std::vector<TokenId>& out) {
  for (char c : text) {
    TokenId id = tokenizer.find(fmt::format("<0x{:02X}>", static_cast<u8>(c)));
    if (id >= 0) out.push_back(id);
  }
}

std::size_t character_bytes(char first) {
  u8 byte = static_cast<u8>(first);
  if (byte < 0x80) return 1;
  if (byte < 0xe0) return 2;
  return byte < 0xf0 ? 3 : 4;
}

}  // namespace

std::vector<TokenId> tokens_of_text(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<TokenId> ids;
  if (text.empty() || append_exact(tokenizer, text, text, ids)) return ids;
  // Where encoding puts a space first, the text's own is left out.
  if (text.starts_with(' ') && append_exact(tokenizer, text.substr(1), text, ids)) return ids;
  // A token of that exact text; else character by character.
  TokenId whole = tokenizer.find(text);
  if (whole >= 0 && !tokenizer.is_special(whole) && tokenizer.piece(whole) == text) return {whole};
  for (std::size_t at = 0; at < text.size();) {
    std::string_view character = text.substr(at, character_bytes(text[at]));
    at += character.size();
    TokenId one = tokenizer.find(character);
    bool is_text = one >= 0 && !tokenizer.is_special(one) && tokenizer.piece(one) == character;
    if (is_text) {
      ids.push_back(one);
    } else {
      append_bytes(tokenizer, character, ids);
    }
  }
  return ids;
}

}  // namespace tg::node
