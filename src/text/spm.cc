#include "text/spm.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "text/unicode.h"

namespace tg {
namespace {

// True if a U+2581 stands behind another character within `token`.
bool crosses_words(std::string_view token) {
  bool seen_other = false;
  for (std::size_t at = 0; at < token.size();) {
    bool is_space = token.substr(at, kSpmSpace.size()) == kSpmSpace;
    if (is_space && seen_other) return true;
    seen_other = seen_other || !is_space;
    at += is_space ? kSpmSpace.size() : 1;
  }
  return false;
}

// End of the word at `at`: its leading U+2581s and what follows up to the next one.
std::size_t word_end(std::string_view text, std::size_t at) {
  while (text.substr(at, kSpmSpace.size()) == kSpmSpace) at += kSpmSpace.size();
  std::size_t next = text.find(kSpmSpace, at);
  return next == text.npos ? text.size() : next;
}

}  // namespace

SpmEncoder::SpmEncoder(const Vocab& vocab) : texts_(static_cast<i64>(vocab.tokens.size())) {
  bytes_.fill(-1);
}

Result<SpmEncoder> SpmEncoder::create(const Vocab& vocab) {
  if (vocab.scores.size() != vocab.tokens.size()) {
    return Error{Code::kInvalid, "vocab: " + std::to_string(vocab.scores.size()) + " scores for " +
                                     std::to_string(vocab.tokens.size()) + " tokens"};
  }
  if (std::any_of(vocab.scores.begin(), vocab.scores.end(), [](f32 s) { return std::isnan(s); }))
    return Error{Code::kInvalid, "vocab: a score is not a number"};
  SpmEncoder encoder(vocab);
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    TokenId id = static_cast<TokenId>(i);
    TokenType type = type_of(vocab, id);
    // Control tokens must not come out of ordinary text, nor must the escaped spelling of a byte.
    if (type != TokenType::kNormal && type != TokenType::kUserDefined) continue;
    const std::string& token = vocab.tokens[i];
    encoder.texts_.insert(token, id);
    encoder.text_bytes_max_ = std::max(encoder.text_bytes_max_, static_cast<i64>(token.size()));
    if (crosses_words(token)) encoder.words_are_separate_ = false;
  }
  TextIndex byte_names(256);
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    TokenId id = static_cast<TokenId>(i);
    if (type_of(vocab, id) == TokenType::kByte) byte_names.insert(vocab.tokens[i], id);
  }
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    encoder.bytes_[byte] = byte_names.find(name);
  }
  bool has_all_bytes = std::count(encoder.bytes_.begin(), encoder.bytes_.end(), -1) == 0;
  if (!has_all_bytes && vocab.unknown < 0)
    return Error{Code::kInvalid, "vocab: neither all byte tokens nor an unknown token"};
  encoder.unknown_ = vocab.unknown;
  encoder.set_priorities(vocab);
  return encoder;
}

void SpmEncoder::set_priorities(const Vocab& vocab) {
  std::vector<i32> order(vocab.scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](i32 a, i32 b) { return vocab.scores[a] > vocab.scores[b]; });
  priorities_.resize(order.size());
  i32 priority = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && vocab.scores[order[i]] != vocab.scores[order[i - 1]]) ++priority;
    priorities_[order[i]] = priority;
  }
}

void SpmEncoder::encode(std::string_view escaped, WordCache& cache, MergeScratch& scratch,
                        std::vector<TokenId>& ids) const {
  if (!words_are_separate_) {
    if (!escaped.empty()) encode_word(escaped, scratch, ids);
    return;
  }
  for (std::size_t at = 0; at < escaped.size();) {
    std::size_t end = word_end(escaped, at);
    cache.append(escaped.substr(at, end - at), ids,
                 [&](std::string_view word) { encode_word(word, scratch, ids); });
    at = end;
  }
}

void SpmEncoder::encode_word(std::string_view word, MergeScratch& scratch,
                             std::vector<TokenId>& ids) const {
  scratch.clear();
  for (i64 at = 0; at < static_cast<i64>(word.size());) {
    i64 size = utf8_size(static_cast<u8>(word[at]));
    scratch.append(-1, static_cast<i32>(at), static_cast<i32>(size));
    at += size;
  }
  merge_symbols(scratch, [&](const Symbol& left, const Symbol& right) {
    if (left.size + right.size > text_bytes_max_) return Merge{};
    TokenId id = texts_.find(word.substr(left.begin, left.size + right.size));
    return id < 0 ? Merge{} : Merge{priorities_[id], id};
  });
  for (i32 at = 0; at >= 0; at = scratch.symbols[at].next) {
    const Symbol& symbol = scratch.symbols[at];
    std::string_view text = word.substr(symbol.begin, symbol.size);
    TokenId id = symbol.id >= 0 ? symbol.id : texts_.find(text);
    if (id >= 0) {
      ids.push_back(id);
    } else {
      append_bytes(text, ids);
    }
  }
}

void SpmEncoder::append_bytes(std::string_view bytes, std::vector<TokenId>& ids) const {
  auto token_of = [&](char c) { return bytes_[static_cast<u8>(c)]; };
  if (std::any_of(bytes.begin(), bytes.end(), [&](char c) { return token_of(c) < 0; }))
    return ids.push_back(unknown_);
  for (char c : bytes) ids.push_back(token_of(c));
}

}  // namespace tg
