// The cache: what is asked for again is the same grammar, what was not used longest leaves.
#include "grammar/cache.h"

#include "grammar/grammar_testing.h"

namespace tg::grammar {
namespace {

TEST(GrammarCache, KeepsTheLastUsedByTextOptionsAndVocabulary) {
  std::shared_ptr<const TokenTable> tokens = testing::small_table();
  std::shared_ptr<const TokenTable> others = testing::small_table();
  GrammarCache cache(3);
  auto get = [&](const char* text, const std::shared_ptr<const TokenTable>& table) {
    return cache.get({.kind = GrammarKind::kRegex, .text = text, .json = {}}, table).value();
  };
  std::shared_ptr<const CompiledGrammar> a = get("a", tokens);
  EXPECT_EQ(get("a", tokens), a);
  EXPECT_NE(get("a", others), a);
  EXPECT_NE(get("b", tokens), a);
  EXPECT_EQ(get("a", tokens), a);
  EXPECT_EQ(cache.size(), 3);
  get("c", tokens);
  EXPECT_EQ(cache.size(), 3);
  EXPECT_EQ(get("a", tokens), a) << "it was used last but one";
}

TEST(GrammarCache, KindsAndOptionsTellApart) {
  std::shared_ptr<const TokenTable> tokens = testing::small_table();
  GrammarCache cache(8);
  for (bool is_compact : {false, true}) {
    GrammarRequest request = {
        .kind = GrammarKind::kJsonObject, .text = "", .json = {.is_compact = is_compact}};
    GrammarMatcher matcher(cache.get(request, tokens).value());
    EXPECT_EQ(matcher.accept_bytes("{ "), !is_compact);
  }
  EXPECT_EQ(cache.size(), 2);
}

TEST(GrammarCache, ErrorsAreReturnedAndNotKept) {
  GrammarCache cache(2);
  GrammarRequest request = {.kind = GrammarKind::kJsonSchema, .text = R"({"not":{}})", .json = {}};
  Result<std::shared_ptr<const CompiledGrammar>> made = cache.get(request, testing::small_table());
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, Code::kUnsupported);
  EXPECT_EQ(made.error().message, "schema: not supported: not at #");
  EXPECT_EQ(cache.size(), 0);
}

}  // namespace
}  // namespace tg::grammar
