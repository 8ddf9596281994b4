#include "text/spm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "text/unicode.h"

namespace tg {

SpmEncoder::SpmEncoder(const Vocab& vocab)
    : texts_(static_cast<i64>(vocab.tokens.size())), bytes_(vocab) {}

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
    if (crosses_words(token)) encoder.cut_ = WordCut::kNowhere;
  }
  if (!encoder.bytes_.has_all() && vocab.unknown < 0)
    return Error{Code::kInvalid, "vocab: neither all byte tokens nor an unknown token"};
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
  if (cut_ == WordCut::kNowhere) {
    if (!escaped.empty()) encode_word(escaped, scratch, ids);
    return;
  }
  each_word(escaped, cut_, [&](std::string_view word) {
    cache.append(word, ids, [&](std::string_view w) { encode_word(w, scratch, ids); });
  });
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
      bytes_.append(text, ids);
    }
  }
}

}  // namespace tg
