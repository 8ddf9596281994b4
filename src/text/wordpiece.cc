#include "text/wordpiece.h"

#include <algorithm>

#include "text/normalizer.h"
#include "text/pieces.h"
#include "text/unicode.h"

namespace tg {
namespace {

i64 count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<u8>(c) & 0xC0) != 0x80; });
}

// Calls word(part) for each word; white space is in none.
template <typename Word>
void each_bert_word(std::string_view text, const Word& word) {
  std::size_t begin = 0;
  auto finish = [&](std::size_t end) {
    if (end > begin) word(text.substr(begin, end - begin));
  };
  for (std::size_t at = 0; at < text.size();) {
    u32 c = utf8_decode(text, static_cast<i64>(at));
    std::size_t size = static_cast<std::size_t>(utf8_size(static_cast<u8>(text[at])));
    bool is_space = (char_flags(c) & kCharSpace) != 0;
    if (is_space || is_bert_punctuation(c)) {
      finish(at);
      if (!is_space) word(text.substr(at, size));
      begin = at + size;
    }
    at += size;
  }
  finish(text.size());
}

}  // namespace

WordPieceEncoder::WordPieceEncoder(const Vocab& vocab, i64 text_bytes)
    : begins_(text_bytes),
      continues_(text_bytes),
      unknown_(vocab.unknown),
      word_chars_max_(vocab.word_chars_max) {}

Result<WordPieceEncoder> WordPieceEncoder::create(const Vocab& vocab) {
  if (vocab.unknown < 0) return Error{Code::kInvalid, "vocab: no unknown token"};
  i64 text_bytes = 0;
  for (const std::string& token : vocab.tokens) text_bytes += static_cast<i64>(token.size());
  WordPieceEncoder encoder(vocab, text_bytes);
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    TokenId id = static_cast<TokenId>(i);
    std::string_view token = vocab.tokens[i];
    // Control tokens must not come out of ordinary text.
    if (type_of(vocab, id) != TokenType::kNormal && type_of(vocab, id) != TokenType::kUserDefined)
      continue;
    if (token.substr(0, kSpmSpace.size()) == kSpmSpace) {
      encoder.begins_.insert(token.substr(kSpmSpace.size()), id);
    } else {
      encoder.continues_.insert(token, id);
    }
  }
  return encoder;
}

void WordPieceEncoder::encode(std::string_view text, WordCache& cache,
                              std::vector<TokenId>& ids) const {
  each_bert_word(text, [&](std::string_view word) {
    cache.append(word, ids, [&](std::string_view w) { encode_word(w, ids); });
  });
}

void WordPieceEncoder::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  std::size_t count_before = ids.size();
  bool is_covered = count_characters(word) <= word_chars_max_;
  for (i64 at = 0; is_covered && at < static_cast<i64>(word.size());) {
    ByteTrie::Match match = at == 0 ? begins_.longest(word, 0) : continues_.longest(word, at);
    is_covered = match.id >= 0;
    at += match.size;
    ids.push_back(match.id);
  }
  if (is_covered) return;
  ids.resize(count_before);
  ids.push_back(unknown_);
}

}  // namespace tg
