// What the fuzz targets of this folder share: a grammar, however it came about, is compiled for a
// small vocabulary, and text is put to it while masks and steps are held against each other.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "grammar/matcher.h"

namespace tg::grammar::testing {

inline std::pair<std::string_view, std::string_view> split_input(const unsigned char* data,
                                                                 std::size_t size) {
  std::string_view all(reinterpret_cast<const char*>(data), size);
  std::size_t cut = std::min(all.find('\0'), all.size());
  return {all.substr(0, cut), all.substr(std::min(cut + 1, all.size()))};
}

inline std::shared_ptr<const TokenTable> bytes_and_pairs() {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"", "{\"", "\":", "\",", "ab", "abc", "12", "  ", "\xC3\xA9", "}}"})
    texts.emplace_back(text);
  return std::make_shared<const TokenTable>(TokenTable::create(std::move(texts), {256}));
}

inline void walk(Result<Grammar> grammar, std::string_view text) {
  if (!grammar.ok()) {
    TG_ASSERT(!grammar.error().message.empty());
    return;
  }
  static const std::shared_ptr<const TokenTable> tokens = bytes_and_pairs();
  Result<std::shared_ptr<const CompiledGrammar>> compiled =
      CompiledGrammar::create(*grammar, tokens);
  if (!compiled.ok()) return;
  GrammarMatcher matcher(*compiled);
  std::vector<u64> mask(static_cast<std::size_t>(matcher.words()));
  for (std::size_t i = 0; i < std::min<std::size_t>(text.size(), 64); ++i) {
    matcher.fill_mask(mask);
    TokenId id = static_cast<u8>(text[i]);
    bool may = (mask[id / 64] >> (id % 64) & 1) != 0;
    TG_ASSERT(may == matcher.accept(id));
    if (!may) matcher.forced_bytes(8);
  }
}

}  // namespace tg::grammar::testing
