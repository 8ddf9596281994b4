#include "text/character_bpe.h"

#include <algorithm>

#include "text/bpe.h"
#include "text/unicode.h"

namespace tg {
namespace {

bool comes_out_of_text(const Vocab& vocab, TokenId id) {
  TokenType type = type_of(vocab, id);
  return type == TokenType::kNormal || type == TokenType::kUserDefined;
}

}  // namespace

CharacterBpeEncoder::CharacterBpeEncoder(const Vocab& vocab)
    : texts_(static_cast<i64>(vocab.tokens.size())),
      merges_(static_cast<i64>(vocab.merges.size())),
      bytes_(vocab),
      fuses_unknown_(vocab.fuses_unknown) {}

Result<CharacterBpeEncoder> CharacterBpeEncoder::create(const Vocab& vocab) {
  i64 merge_count = static_cast<i64>(vocab.merges.size());
  if (merge_count > kMergesMax)
    return Error{Code::kLimit, "vocab: " + std::to_string(merge_count) + " merges"};
  CharacterBpeEncoder encoder(vocab);
  if (!encoder.bytes_.has_all() && vocab.unknown < 0)
    return Error{Code::kInvalid, "vocab: neither all byte tokens nor an unknown token"};
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    TokenId id = static_cast<TokenId>(i);
    // Control tokens must not come out of ordinary text, nor must the escaped spelling of a byte.
    if (comes_out_of_text(vocab, id)) encoder.texts_.insert(vocab.tokens[i], id);
  }
  TG_TRY(encoder.add_merges(vocab));
  if (vocab.splits_at_spaces) encoder.cut_ = WordCut::kBeforeEach;
  return encoder;
}

Status CharacterBpeEncoder::add_merges(const Vocab& vocab) {
  TextIndex all_texts(static_cast<i64>(vocab.tokens.size()));
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i)
    all_texts.insert(vocab.tokens[i], static_cast<TokenId>(i));
  for (std::size_t rank = 0; rank < vocab.merges.size(); ++rank) {
    std::string_view text = vocab.merges[rank];
    std::size_t space = std::min(text.find(' ', 1), text.size());
    std::string_view left = text.substr(0, space);
    std::string_view right = text.substr(std::min(space + 1, text.size()));
    std::string whole = std::string(left) + std::string(right);
    for (std::string_view part : {left, right, std::string_view(whole)}) {
      if (part.empty() || all_texts.find(part) < 0)
        return Error{Code::kInvalid, "vocab: merge " + std::to_string(rank) + " \"" +
                                         std::string(text) + "\" is not of tokens"};
    }
    TokenId left_id = texts_.find(left);
    TokenId right_id = texts_.find(right);
    TokenId whole_id = texts_.find(whole);
    // Some files merge up to control tokens, too.
    if (left_id < 0 || right_id < 0 || whole_id < 0) continue;
    if (crosses_words(whole)) cut_ = WordCut::kNowhere;
    merges_.insert(left_id, right_id, {static_cast<i32>(rank), whole_id});
  }
  return {};
}

void CharacterBpeEncoder::encode(std::string_view escaped, WordCache& cache, MergeScratch& scratch,
                                 std::vector<TokenId>& ids) const {
  each_word(escaped, cut_, [&](std::string_view word) {
    cache.append(word, ids, [&](std::string_view w) { encode_word(w, scratch, ids); });
  });
}

void CharacterBpeEncoder::encode_word(std::string_view word, MergeScratch& scratch,
                                      std::vector<TokenId>& ids) const {
  scratch.clear();
  for (i64 at = 0; at < static_cast<i64>(word.size());) {
    i64 size = utf8_size(static_cast<u8>(word[at]));
    i32 id = texts_.find(word.substr(at, size));
    scratch.append(id, static_cast<i32>(at), static_cast<i32>(size));
    at += size;
  }
  merge_symbols(scratch, [&](const Symbol& left, const Symbol& right) {
    if (left.id < 0 || right.id < 0) return Merge{};
    return merges_.find(left.id, right.id);
  });
  bool follows_unknown = false;
  for (i32 at = 0; at >= 0; at = scratch.symbols[at].next) {
    const Symbol& symbol = scratch.symbols[at];
    std::string_view text = word.substr(symbol.begin, symbol.size);
    bool is_unknown = symbol.id < 0 && !bytes_.has(text);
    if (symbol.id >= 0) {
      ids.push_back(symbol.id);
    } else if (!is_unknown || !follows_unknown || !fuses_unknown_) {
      bytes_.append(text, ids);
    }
    follows_unknown = is_unknown;
  }
}

}  // namespace tg
