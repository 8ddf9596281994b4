#include "text/unigram.h"

#include <algorithm>
#include <cmath>

#include "text/unicode.h"

namespace tg {
namespace {

bool is_piece(const Vocab& vocab, TokenId id) {
  TokenType type = type_of(vocab, id);
  return type == TokenType::kNormal || type == TokenType::kUserDefined;
}

Status check(const Vocab& vocab) {
  if (vocab.scores.size() != vocab.tokens.size()) {
    return Error{Code::kInvalid, "vocab: " + std::to_string(vocab.scores.size()) + " scores for " +
                                     std::to_string(vocab.tokens.size()) + " tokens"};
  }
  if (!std::all_of(vocab.scores.begin(), vocab.scores.end(),
                   [](f32 s) { return std::isfinite(s); }))
    return Error{Code::kInvalid, "vocab: a score is not a finite number"};
  if (vocab.unknown < 0) return Error{Code::kInvalid, "vocab: no unknown token"};
  return {};
}

}  // namespace

UnigramEncoder::UnigramEncoder(const Vocab& vocab, i64 text_bytes)
    : pieces_(text_bytes), scores_(vocab.scores), bytes_(vocab) {}

Result<UnigramEncoder> UnigramEncoder::create(const Vocab& vocab) {
  TG_TRY(check(vocab));
  TokenId count = static_cast<TokenId>(vocab.tokens.size());
  i64 text_bytes = 0;
  for (TokenId id = 0; id < count; ++id)
    if (is_piece(vocab, id)) text_bytes += static_cast<i64>(vocab.tokens[id].size());
  UnigramEncoder encoder(vocab, text_bytes);
  bool has_space = false;
  f32 score_min = 0;
  for (TokenId id = 0; id < count; ++id) {
    if (!is_piece(vocab, id)) continue;
    const std::string& text = vocab.tokens[id];
    encoder.pieces_.insert(text, id);
    // What is always a token of its own is never too dear.
    if (type_of(vocab, id) == TokenType::kUserDefined) encoder.scores_[id] = 0;
    score_min = std::min(score_min, encoder.scores_[id]);
    has_space = has_space || text == kSpmSpace;
    if (crosses_words(text)) encoder.cut_ = WordCut::kNowhere;
  }
  encoder.unknown_score_ = static_cast<f64>(score_min) - kUnknownPenalty;
  // Unknown characters of two words would be one token, were the space between them unknown too.
  if (!has_space) encoder.cut_ = WordCut::kNowhere;
  if (vocab.splits_at_spaces) encoder.cut_ = WordCut::kBeforeEach;
  return encoder;
}

void UnigramEncoder::encode(std::string_view escaped, WordCache& cache, Scratch& scratch,
                            std::vector<TokenId>& ids) const {
  each_word(escaped, cut_, [&](std::string_view word) {
    cache.append(word, ids, [&](std::string_view w) { encode_word(w, scratch, ids); });
  });
}

// Tries every piece that begins at `begin`, and the character there as unknown if no piece is
// just that character. Of two equal ways the one found first stays.
void UnigramEncoder::reach(std::string_view word, i64 begin, Scratch& cells) const {
  f64 score = cells[begin].score;
  auto try_piece = [&](i64 end, f64 piece_score, TokenId id) {
    Cell& cell = cells[end];
    if (cell.begin < 0 || score + piece_score > cell.score) cell = {score + piece_score, begin, id};
  };
  i64 character_end = begin + utf8_size(static_cast<u8>(word[begin]));
  bool has_character = false;
  i32 node = ByteTrie::kRoot;
  for (i64 end = begin; end < static_cast<i64>(word.size());) {
    node = pieces_.step(node, word[end++]);
    if (node < 0) break;
    TokenId id = pieces_.value(node);
    if (id < 0) continue;
    try_piece(end, scores_[id], id);
    has_character = has_character || end == character_end;
  }
  if (!has_character) try_piece(character_end, unknown_score_, -1);
}

void UnigramEncoder::encode_word(std::string_view word, Scratch& cells,
                                 std::vector<TokenId>& ids) const {
  i64 size = static_cast<i64>(word.size());
  cells.assign(word.size() + 1, Cell{});
  cells[0].begin = 0;
  for (i64 at = 0; at < size; at += utf8_size(static_cast<u8>(word[at]))) reach(word, at, cells);
  // Each way is read from its end, and the links turned round to go over it from its start.
  i64 next = -1;
  for (i64 at = size; at > 0;) {
    i64 begin = cells[at].begin;
    cells[at].begin = next;
    next = at;
    at = begin;
  }
  i64 unknown_begin = -1;
  i64 begin = 0;
  for (i64 end = next; end >= 0; begin = end, end = cells[end].begin) {
    bool is_unknown = cells[end].id < 0;
    if (is_unknown && unknown_begin < 0) unknown_begin = begin;
    bool is_last_unknown = is_unknown && (end == size || cells[cells[end].begin].id >= 0);
    if (!is_unknown) {
      ids.push_back(cells[end].id);
    } else if (is_last_unknown) {
      bytes_.append(word.substr(unknown_begin, end - unknown_begin), ids);
      unknown_begin = -1;
    }
  }
}

}  // namespace tg
