#include "text/special_matcher.h"

#include "text/pieces.h"

namespace tg {
namespace {

bool is_matched(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

}  // namespace

Result<SpecialMatcher> SpecialMatcher::create(const Vocab& vocab) {
  std::vector<Entry> entries;
  TokenId count = static_cast<TokenId>(vocab.tokens.size());
  for (TokenId id = 0; id < count; ++id) {
    bool is_raw = (match_flags_of(vocab, id) & kMatchNormalized) == 0;
    if (is_raw && is_matched(type_of(vocab, id))) entries.push_back({id, vocab.tokens[id]});
  }
  return of_entries(vocab, entries);
}

Result<SpecialMatcher> SpecialMatcher::create_normalized(const Vocab& vocab,
                                                         const Normalizer& normalizer) {
  std::vector<Entry> entries;
  TokenId count = static_cast<TokenId>(vocab.match_flags.size());
  for (TokenId id = 0; id < count; ++id) {
    bool is_normalized = (match_flags_of(vocab, id) & kMatchNormalized) != 0;
    if (!is_normalized || !is_matched(type_of(vocab, id))) continue;
    TG_ASSIGN(std::string text, normalizer.apply(vocab.tokens[id]));
    entries.push_back({id, std::move(text)});
  }
  return of_entries(vocab, entries);
}

Result<SpecialMatcher> SpecialMatcher::of_entries(const Vocab& vocab,
                                                  const std::vector<Entry>& entries) {
  i64 bytes = 0;
  for (const Entry& entry : entries) bytes += static_cast<i64>(entry.text.size());
  if (bytes > kTextBytesMax) {
    return Error{Code::kLimit, "vocab: special tokens have " + std::to_string(bytes) +
                                   " bytes of text, more than " + std::to_string(kTextBytesMax)};
  }
  SpecialMatcher matcher(bytes);
  for (const Entry& entry : entries)
    matcher.insert(entry.text, entry.id, type_of(vocab, entry.id) != TokenType::kUserDefined);
  return matcher;
}

void SpecialMatcher::insert(std::string_view text, TokenId id, bool is_control) {
  if (text.empty()) return;
  begins_[static_cast<u8>(text[0])] = true;
  i32 node = 0;
  for (char c : text) {
    i32 byte = static_cast<u8>(c);
    i32 child = edges_.find(node, byte).symbol;
    if (child < 0) {
      child = static_cast<i32>(nodes_.size());
      nodes_.emplace_back();
      edges_.insert(node, byte, {0, child});
    }
    node = child;
  }
  TokenId& end = is_control ? nodes_[node].control : nodes_[node].user_defined;
  if (end < 0) end = id;
}

SpecialMatcher::Match SpecialMatcher::match_at(std::string_view text, i64 at,
                                               bool with_control) const {
  Match best;
  if (!begins_[static_cast<u8>(text[at])]) return best;
  i32 node = 0;
  for (i64 end = at; end < static_cast<i64>(text.size());) {
    node = edges_.find(node, static_cast<u8>(text[end])).symbol;
    if (node < 0) break;
    ++end;
    const Node& n = nodes_[node];
    if (n.user_defined >= 0) best = {n.user_defined, end - at};
    if (with_control && n.control >= 0) best = {n.control, end - at};
  }
  return best;
}

}  // namespace tg
