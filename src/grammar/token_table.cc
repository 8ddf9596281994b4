#include "grammar/token_table.h"

#include <algorithm>

#include "base/bytes.h"
#include "grammar/reply_grammar.h"

namespace tg::grammar {
namespace {

// The number of plain characters, or -1 if the text has others or more than are counted.
i64 count_plain(std::string_view text) {
  if (text.empty() || !is_utf8(text)) return -1;
  i64 count = 0;
  for (char c : text) {
    u8 byte = static_cast<u8>(c);
    if (byte < 0x20 || byte == '"' || byte == '\\') return -1;
    if ((byte & 0xC0) != 0x80) ++count;
  }
  return count <= kPlainCharsMax ? count : -1;
}

void set_skips(TokenTrie& trie) {
  std::vector<u32> open;  // The path to the node looked at.
  for (u32 i = 0; i < trie.nodes.size(); ++i) {
    while (open.size() >= trie.nodes[i].depth) {
      trie.nodes[open.back()].skip = i;
      open.pop_back();
    }
    open.push_back(i);
  }
  for (u32 i : open) trie.nodes[i].skip = static_cast<u32>(trie.nodes.size());
}

// REQUIRES: `ids` in the order of their texts, which all differ.
TokenTrie make_trie(const std::vector<TokenId>& ids, const std::vector<std::string>& texts) {
  TokenTrie trie;
  std::string_view last;
  for (TokenId id : ids) {
    std::string_view text = texts[id];
    std::size_t shared = 0;
    while (shared < std::min(text.size(), last.size()) && text[shared] == last[shared]) ++shared;
    for (std::size_t i = shared; i < text.size(); ++i) {
      trie.nodes.push_back({.depth = static_cast<u16>(i + 1), .byte = static_cast<u8>(text[i])});
    }
    trie.nodes.back().token = id;
    trie.depth_max = std::max(trie.depth_max, static_cast<i64>(text.size()));
    last = text;
  }
  set_skips(trie);
  return trie;
}

}  // namespace

Result<TokenTable> TokenTable::create(const Tokenizer& tokenizer,
                                      std::span<const TokenId> markers) {
  std::vector<std::string> texts(static_cast<std::size_t>(tokenizer.size()));
  std::vector<TokenId> ends;
  const Vocab& vocab = tokenizer.vocab();
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    bool is_unused = !vocab.types.empty() && vocab.types[id] == TokenType::kUnused;
    if (tokenizer.is_end_of_generation(id)) {
      ends.push_back(id);
    } else if (!tokenizer.is_special(id) && !is_unused) {
      texts[id] = tokenizer.piece(id);
    }
  }
  if (ends.empty())
    return Error{Code::kInvalid, "grammar: the vocabulary has no token that ends a reply"};
  std::vector<std::string> names;
  for (TokenId id : markers) {
    if (tokenizer.piece(id).empty() || tokenizer.is_end_of_generation(id)) continue;
    names.emplace_back(tokenizer.piece(id));
    texts[id] = marker_text(names.back());
  }
  TokenTable table = create(std::move(texts), std::move(ends));
  table.markers_ = std::move(names);
  return table;
}

TokenTable TokenTable::create(std::vector<std::string> texts, std::vector<TokenId> ends) {
  TokenTable table;
  table.texts_ = std::move(texts);
  table.ends_ = std::move(ends);
  std::sort(table.ends_.begin(), table.ends_.end());
  for (TokenId id : table.ends_) {
    TG_ASSERT(id >= 0 && id < table.size());
    table.texts_[id].clear();
  }
  std::vector<TokenId> order;
  for (TokenId id = 0; id < table.size(); ++id) {
    TG_ASSERT(table.texts_[id].size() <= 0xFFFF);
    if (!table.texts_[id].empty()) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return table.texts_[a] < table.texts_[b]; });
  table.same_.assign(table.texts_.size(), -1);
  table.plain_masks_.assign((kPlainCharsMax + 1) * table.words(), 0);
  std::vector<TokenId> plain;
  std::vector<TokenId> rest;
  for (std::size_t i = 0; i < order.size(); ++i) {
    TokenId id = order[i];
    i64 chars = count_plain(table.texts_[id]);
    for (i64 most = chars; chars > 0 && most <= kPlainCharsMax; ++most)
      table.plain_masks_[most * table.words() + id / 64] |= u64{1} << (id % 64);
    if (i > 0 && table.texts_[order[i - 1]] == table.texts_[id]) {
      table.same_[order[i - 1]] = id;
    } else {
      (chars > 0 ? plain : rest).push_back(id);
    }
  }
  table.plain_ = make_trie(plain, table.texts_);
  table.rest_ = make_trie(rest, table.texts_);
  return table;
}

std::string_view TokenTable::text(TokenId id) const {
  return id >= 0 && id < size() ? std::string_view(texts_[id]) : std::string_view();
}

bool TokenTable::is_end(TokenId id) const {
  return std::binary_search(ends_.begin(), ends_.end(), id);
}

}  // namespace tg::grammar
