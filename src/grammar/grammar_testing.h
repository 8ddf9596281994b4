// What the tests of this folder share: a vocabulary small enough to try every token, grammars by
// the name of their kind, and the check that a mask says exactly which tokens can be accepted.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/matcher.h"
#include "grammar/regex.h"

namespace tg::grammar::testing {

inline constexpr TokenId kEndToken = 256;

// The 256 bytes, an end, a token that is no text, then some longer ones; one text occurs twice.
inline std::shared_ptr<const TokenTable> small_table() {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  texts.resize(258);
  for (const char* text : {"{\"",
                           "\":",
                           "\": ",
                           "\",",
                           "\", \"",
                           "\"}",
                           "\"},{\"",
                           "}}",
                           "]}",
                           "[[",
                           "true",
                           "false",
                           "null",
                           "tru",
                           "12",
                           "123",
                           "0.5",
                           "-1",
                           "e5",
                           "ab",
                           "abc",
                           "name",
                           "a b",
                           " a",
                           "  ",
                           "\n",
                           "\n  ",
                           "\\n",
                           "\\u00",
                           "\xC3\xA9",
                           "\xE4\xB8",
                           "\xAD\xE6",
                           "\xF0\x9F\x98\x80",
                           "ab",
                           "},",
                           "{\"a\":",
                           "\xC3\xA9\"",
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                           "01",
                           "-0",
                           "\x7F"})
    texts.emplace_back(text);
  return std::make_shared<const TokenTable>(TokenTable::create(std::move(texts), {kEndToken}));
}

inline Result<Grammar> parse(const std::string& kind, const std::string& text) {
  if (kind == "gbnf") return parse_gbnf(text);
  if (kind == "regex") return parse_regex(text);
  if (kind == "schema") return parse_json_schema(text, {});
  if (kind == "compact") return parse_json_schema(text, {.is_compact = true});
  if (kind == "object") return any_json_object({});
  return Error{Code::kInvalid, "kind " + kind};
}

inline Result<std::shared_ptr<const CompiledGrammar>> compile(
    const std::string& kind, const std::string& text, std::shared_ptr<const TokenTable> table) {
  TG_ASSIGN(Grammar grammar, parse(kind, text));
  return CompiledGrammar::create(grammar, std::move(table));
}

inline bool has_bit(const std::vector<u64>& mask, TokenId id) {
  return (mask[id / 64] >> (id % 64) & 1) != 0;
}

// The mask at this point against trying every token.
inline void expect_exact_mask(GrammarMatcher& matcher, const TokenTable& table) {
  std::vector<u64> mask(static_cast<std::size_t>(matcher.words()) + 1, ~u64{0});
  matcher.fill_mask(mask);
  EXPECT_EQ(mask.back(), 0u);
  for (TokenId id = 0; id < table.size(); ++id) {
    GrammarMatcher copy = matcher;
    ASSERT_EQ(has_bit(mask, id), copy.accept(id)) << "token " << id << " " << table.text(id);
  }
}

}  // namespace tg::grammar::testing
