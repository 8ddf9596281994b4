// Matchers: histories, copies, ends, forced text, spent pools, threads; stacks of bounded size.
#include <thread>

#include "grammar/grammar_testing.h"

namespace tg::grammar {
namespace {

using testing::expect_exact_mask;
using testing::has_bit;
using testing::kEndToken;

std::shared_ptr<const CompiledGrammar> make(const char* kind, const std::string& text) {
  return testing::compile(kind, text, testing::small_table()).value();
}

std::vector<u64> mask_of(GrammarMatcher& matcher) {
  std::vector<u64> mask(static_cast<std::size_t>(matcher.words()));
  matcher.fill_mask(mask);
  return mask;
}

TEST(Matcher, EndTokensAreAllowedWhereTheTextCanEndAndFinishIt) {
  GrammarMatcher matcher(make("regex", "ab?"));
  EXPECT_FALSE(matcher.accept(kEndToken));
  EXPECT_FALSE(has_bit(mask_of(matcher), kEndToken));
  ASSERT_TRUE(matcher.accept('a'));
  EXPECT_TRUE(has_bit(mask_of(matcher), kEndToken));
  EXPECT_TRUE(matcher.can_end());
  ASSERT_TRUE(matcher.accept(kEndToken));
  EXPECT_TRUE(matcher.is_finished());
  EXPECT_EQ(mask_of(matcher), std::vector<u64>(static_cast<std::size_t>(matcher.words())));
  EXPECT_FALSE(matcher.accept('b'));
  ASSERT_TRUE(matcher.rollback(1));
  EXPECT_FALSE(matcher.is_finished());
  EXPECT_TRUE(matcher.accept('b'));
}

TEST(Matcher, TokensThatAreNoTextAreNeverAllowed) {
  GrammarMatcher matcher(make("gbnf", "root ::= .*"));
  std::vector<u64> mask = mask_of(matcher);
  EXPECT_FALSE(has_bit(mask, 257));
  EXPECT_FALSE(matcher.accept(257));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(100000));
}

TEST(Matcher, RollbackGoesBackByAcceptsAndRefusalsChangeNothing) {
  GrammarMatcher matcher(make("object", ""));
  std::vector<std::vector<u64>> masks;
  std::string text = R"({"a": [1, "b"]})";
  for (char c : text) {
    masks.push_back(mask_of(matcher));
    EXPECT_FALSE(matcher.accept_bytes("\x01"));
    ASSERT_TRUE(matcher.accept(c));
  }
  EXPECT_FALSE(matcher.rollback(static_cast<i64>(text.size()) + 1));
  for (std::size_t left = text.size(); left-- > 0;) {
    ASSERT_TRUE(matcher.rollback(1));
    EXPECT_EQ(mask_of(matcher), masks[left]) << left;
  }
}

TEST(Matcher, CopiesGoTheirOwnWay) {
  GrammarMatcher one(make("regex", "(ab|cd)*"));
  GrammarMatcher other = one;
  ASSERT_TRUE(one.accept('a'));
  ASSERT_TRUE(other.accept('c'));
  EXPECT_FALSE(one.accept('d'));
  EXPECT_TRUE(other.accept('d'));
}

TEST(Matcher, ForcedBytesEndWhereThereIsAChoice) {
  GrammarMatcher matcher(make("compact",
                              R"({"type":"object","properties":{"name":{"type":"string"}},)"
                              R"("required":["name"]})"));
  EXPECT_EQ(matcher.forced_bytes(100), R"({"name":")");
  EXPECT_EQ(matcher.forced_bytes(3), R"({"n)");
  ASSERT_TRUE(matcher.accept_bytes(R"({"name":"x")"));
  EXPECT_EQ(matcher.forced_bytes(100), "}");
  ASSERT_TRUE(matcher.accept_bytes("}"));
  EXPECT_EQ(matcher.forced_bytes(100), "");
}

// Right recursion, lists of objects: a position looks like the one before it, however long the
// text.
TEST(Matcher, LongTextsDoNotGrowTheStack) {
  struct Row {
    const char* kind;
    const char* grammar;
    const char* start;
    const char* again;
  };
  for (const Row& row :
       {Row{"gbnf", "root ::= \"a\" root | \"b\"", "a", "a"},
        Row{"gbnf", "root ::= item rest\nrest ::= \",\" item rest | \"\"\nitem ::= \"x\"", "x",
            ",x"},
        Row{"compact", R"({"type":"array","items":{"type":"object"}})", "[{}", ",{\"a\":[1]}"}}) {
    GrammarMatcher matcher(make(row.kind, row.grammar));
    ASSERT_TRUE(matcher.accept_bytes(row.start));
    ASSERT_TRUE(matcher.accept_bytes(row.again));
    std::vector<u64> mask = mask_of(matcher);
    for (int i = 0; i < 20000; ++i) ASSERT_TRUE(matcher.accept_bytes(row.again)) << row.grammar;
    EXPECT_EQ(mask_of(matcher), mask);
  }
}

TEST(Matcher, NestingEndsAtTheLimitAndTheRestCanStillBeClosed) {
  GrammarMatcher matcher(make("object", ""));
  ASSERT_TRUE(matcher.accept_bytes("{\"a\":"));
  i64 depth = 0;
  while (matcher.accept_bytes("[")) ++depth;
  EXPECT_GT(depth, 100);
  EXPECT_LE(depth, kStackDepthMax);
  for (; depth > 0; --depth) ASSERT_TRUE(matcher.accept_bytes("]"));
  ASSERT_TRUE(matcher.accept_bytes("}"));
  EXPECT_TRUE(matcher.can_end());
}

TEST(Matcher, RulesThatNestTooDeepAtTheStartAreRefused) {
  auto chain = [](int rules) {
    std::string text = "root ::= r0 \"x\"\n";
    for (int i = 0; i < rules; ++i)
      text += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + " \"x\"\n";
    return text + "r" + std::to_string(rules) + " ::= \"a\"";
  };
  Result<std::shared_ptr<const CompiledGrammar>> deep =
      testing::compile("gbnf", chain(600), testing::small_table());
  ASSERT_FALSE(deep.ok());
  EXPECT_EQ(deep.error().code, Code::kLimit);
  GrammarMatcher matcher(make("gbnf", chain(300)));
  EXPECT_EQ(matcher.forced_bytes(1000), "a" + std::string(301, 'x'));
}

// Many readings of one text at once: the sets of stacks share what they share.
TEST(Matcher, AmbiguityIsNotExponential) {
  GrammarMatcher matcher(make("gbnf",
                              "root ::= s\n"
                              "s ::= \"a\" s s | \"a\" s | \"a\""));
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(matcher.accept_bytes("a")) << i;
  EXPECT_TRUE(matcher.can_end());
  expect_exact_mask(matcher, *testing::small_table());
}

// Random text through a grammar with very many positions, so that pools are spent and replaced.
TEST(Matcher, SpentPoolsAreReplacedUnderTheirMatchers) {
  std::shared_ptr<const CompiledGrammar> grammar =
      make("gbnf",
           "root ::= \"(\" root \")\" root | \"[\" root \"]\" root | \"{\" root \"}\" root | \"\"");
  GrammarMatcher matcher(grammar);
  GrammarMatcher waiting(grammar);
  ASSERT_TRUE(waiting.accept_bytes("([{"));
  std::string open;
  u64 state = 1;
  for (int i = 0; i < 400000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    u64 draw = state >> 33;
    bool closes = !open.empty() && (open.size() > 60 || draw % 2 == 0);
    char c = closes ? (open.back() == '('   ? ')'
                       : open.back() == '[' ? ']'
                                            : '}')
                    : "([{"[draw / 2 % 3];
    if (closes) {
      open.pop_back();
    } else {
      open.push_back(c);
    }
    ASSERT_TRUE(matcher.accept(c)) << i;
    ASSERT_EQ(matcher.can_end(), open.empty());
  }
  expect_exact_mask(matcher, *testing::small_table());
  EXPECT_TRUE(waiting.accept_bytes("}])"));
  EXPECT_TRUE(waiting.can_end());
  EXPECT_TRUE(matcher.rollback(kRollbackMax));
}

TEST(Matcher, ThreadsShareAGrammar) {
  std::shared_ptr<const CompiledGrammar> grammar = make("object", "");
  std::string text = R"({"a": [1, {"b": "cde"}], "name": null})";
  std::vector<std::vector<u64>> masks;
  GrammarMatcher first(grammar);
  for (char c : text) {
    masks.push_back(mask_of(first));
    ASSERT_TRUE(first.accept(c));
  }
  std::shared_ptr<const CompiledGrammar> fresh = make("object", "");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        GrammarMatcher matcher(fresh);
        for (std::size_t i = 0; i < text.size(); ++i) {
          wrong[t] += mask_of(matcher) == masks[i] ? 0 : 1;
          wrong[t] += matcher.accept(text[i]) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace tg::grammar
