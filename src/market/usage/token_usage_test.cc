#include "market/usage/token_usage.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::market {
namespace {

struct Case {
  std::string name;
  UsageDialect dialect = UsageDialect::kOpenAiChat;
  ExpectedUse expected;
  std::vector<std::string> texts;
  std::string result;
};

void read_heading(const std::string& line, Case& out) {
  std::istringstream words(line);
  std::string word, dialect;
  words >> word >> out.name >> dialect;
  std::optional<UsageDialect> known = usage_dialect_by_name(dialect);
  ASSERT_TRUE(known) << dialect;
  out.dialect = *known;
  while (words >> word) {
    i64 value = std::stoll(word.substr(word.find('=') + 1));
    if (word.rfind("prompt=", 0) == 0) out.expected.prompt_tokens = value;
    if (word.rfind("max=", 0) == 0) out.expected.output_tokens_max = value;
    if (word.rfind("bytes=", 0) == 0) out.expected.delivered_bytes = value;
  }
}

std::vector<Case> cases() {
  std::ifstream file(TG_SOURCE_DIR "/src/market/cases/usage.txt");
  std::vector<Case> out;
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("case ", 0) == 0) read_heading(line, out.emplace_back());
    if (line.rfind("< ", 0) == 0) out.back().texts.push_back(line.substr(2));
    if (line.rfind("= ", 0) == 0) out.back().result = line.substr(2);
  }
  return out;
}

std::string shown(const ExternalUsage& usage) {
  const TokenUsage& t = usage.tokens;
  std::ostringstream out;
  out << t.uncached_input << ' ' << t.cached_input << ' ' << t.cache_write << ' ' << t.output << ' '
      << t.reasoning << ' ' << usage_flag_names(usage.flags);
  return out.str();
}

ExternalUsage read_all(const Case& c, int times) {
  UsageReader reader(c.dialect);
  for (const std::string& text : c.texts) {
    for (int i = 0; i < times; ++i) {
      Status read = reader.read(text);
      EXPECT_TRUE(read.ok()) << c.name << ": " << read.error().message;
    }
  }
  return reader.finish(c.expected);
}

TEST(TokenUsage, Cases) {
  std::map<UsageDialect, int> seen;
  for (const Case& c : cases()) {
    EXPECT_EQ(shown(read_all(c, 1)), c.result) << c.name;
    ++seen[c.dialect];
  }
  EXPECT_EQ(seen.size(), 8u);
}

// Whoever skips the texts that tell nothing reads the same.
TEST(TokenUsage, TextsWithoutFiguresAreToldApart) {
  for (const Case& c : cases()) {
    UsageReader reader(c.dialect);
    for (const std::string& text : c.texts) {
      if (!reader.may_tell(text)) continue;
      EXPECT_TRUE(reader.read(text).ok()) << c.name;
    }
    EXPECT_EQ(shown(reader.finish(c.expected)), c.result) << c.name;
  }
  UsageReader reader(UsageDialect::kVllm);
  EXPECT_FALSE(reader.may_tell(R"({"choices":[{"text":"hi"}],"usage":null})"));
  EXPECT_FALSE(reader.may_tell(R"({"choices":[{"text":"my \"usage\": 4"}]})"));
  EXPECT_TRUE(reader.may_tell(R"({"choices":[],"usage" : {"prompt_tokens":1}})"));
  EXPECT_TRUE(reader.may_tell(R"({"choices":[],"\u0075sage":{"prompt_tokens":1}})"));
}

// Public bug, gateways.md §4 (LiteLLM #15740): /v1/responses logged twice. Figures are cumulative:
// the same event twice, or a body after its stream, changes nothing.
TEST(Regression, AnEventReadTwiceCountsOnce) {
  for (const Case& c : cases()) EXPECT_EQ(shown(read_all(c, 2)), c.result) << c.name;
}

Case case_named(const std::string& name) {
  for (const Case& c : cases()) {
    if (c.name == name) return c;
  }
  ADD_FAILURE() << name;
  return {};
}

i64 cost(const std::string& case_name) {
  PriceVector prices;
  prices[RatedClass::kUncachedInput] = 3'000'000;
  prices[RatedClass::kCachedInput] = 300'000;
  prices[RatedClass::kCacheWrite] = 3'750'000;
  prices[RatedClass::kOutput] = 15'000'000;
  Consumption use;
  set_tokens(read_all(case_named(case_name), 1).tokens, use);
  Result<i64> charge = rate(use, prices);
  EXPECT_TRUE(charge.ok());
  return charge.ok() ? *charge : -1;
}

// Public bugs, gateways.md §4: cached tokens counted inside the input by OpenAI and beside it by
// Anthropic were overcharged by 67 % (LiteLLM PR #28009), eleven times (langwatch #7018), billed
// zero (quill-router #55), under-counted (voidllm #188) or counted twice (aider #5516).
TEST(Regression, CachedInsideTheInputIsNotBilledAgain) {
  // 86 at full price, 1,920 at a tenth: not 2,006 at full price, nor 2,006 + 1,920.
  EXPECT_EQ(cost("openai_chat_cached_and_reasoning_inside"), 86 * 3 + 576 + 108 * 15);
}
TEST(Regression, CachedBesideTheInputIsNotForgotten) {
  EXPECT_EQ(cost("anthropic_streamed_output_is_cumulative"), 25 * 3 + 300 + 15 * 15);
}
TEST(Regression, CacheWritesHaveTheirOwnPrice) {
  EXPECT_EQ(cost("anthropic_body_cache_beside_the_input"),
            (21 * 300 + 188'086 * 375 + 393 * 1'500) / 100);
}
TEST(Regression, AProxyThatMixesBothShapesIsReadByItsOwnTotal) {
  EXPECT_EQ(cost("proxy_counts_cached_beside_the_input"),
            (21 * 300 + 188'086 * 30 + 393 * 1'500) / 100);
}

// Public bug, gateways.md §4 (LiteLLM #14457, openai-openapi #539): usage is only in the last
// chunk and lost on abort. Without a figure nothing is guessed: our own count replaces it, said so.
TEST(Regression, MissingUsageIsRecountedAndFlagged) {
  ExternalUsage usage = read_all(case_named("openai_chat_aborted_stream_has_no_usage"), 1);
  ASSERT_TRUE(usage.input_needs_recount() && usage.output_needs_recount());
  ExternalUsage counted = recounted(usage, {.prompt_tokens = 19, .output_tokens = 9});
  EXPECT_EQ(shown(counted),
            "19 0 0 9 0 input_missing,output_missing,input_recounted,output_recounted");
}

// Public bug (ollama #2068, #3427): no prompt count when the prompt was cached.
TEST(Regression, OllamaCachedPromptIsRecountedNotFree) {
  ExternalUsage usage = read_all(case_named("ollama_prompt_count_absent_when_cached"), 1);
  ExternalUsage counted = recounted(usage, {.prompt_tokens = 26, .output_tokens = 280});
  EXPECT_EQ(counted.tokens.uncached_input, 26);
  EXPECT_EQ(counted.tokens.output, 290);  // The output was plausible and stays.
}

// Token inflation (market.md §0.7): what was said is replaced by what was delivered.
TEST(TokenUsage, AbsurdOutputIsReplacedByTheDeliveredCount) {
  ExternalUsage usage = read_all(case_named("more_visible_tokens_than_bytes"), 1);
  EXPECT_EQ(recounted(usage, {.prompt_tokens = 7, .output_tokens = 3}).tokens.output, 3);
  EXPECT_FALSE(usage.input_needs_recount());
}

TEST(TokenUsage, RecountKeepsAClaimedDiscountThatFits) {
  UsageReader reader(UsageDialect::kOpenAiChat);
  ASSERT_TRUE(reader
                  .read(R"({"usage":{"prompt_tokens":9000,"completion_tokens":1,)"
                        R"("prompt_tokens_details":{"cached_tokens":60}}})")
                  .ok());
  ExternalUsage usage = reader.finish({.prompt_tokens = 100});
  ExternalUsage counted = recounted(usage, {.prompt_tokens = 100, .output_tokens = 1});
  EXPECT_EQ(counted.tokens.uncached_input, 40);
  EXPECT_EQ(counted.tokens.cached_input, 60);
}

TEST(TokenUsage, BrokenTextIsAnErrorAndLeavesNothing) {
  UsageReader reader(UsageDialect::kVllm);
  Status read = reader.read(R"({"usage":{"prompt_tokens":7,"completion_tokens":2)");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().message.rfind("usage: not JSON at byte ", 0), 0u);
  EXPECT_TRUE(reader.finish().input_needs_recount());
  std::string deep(static_cast<std::size_t>(kUsageDepthMax) + 1, '[');
  EXPECT_EQ(reader.read(deep).error().message, "usage: nests deeper than 64");
  EXPECT_EQ(reader.read("[DONE]").error().code, Code::kInvalid);
}

// What a libFuzzer target does for long, done briefly in every run: damaged events of every dialect
// end in an error or in classes that are disjoint and in range.
TEST(TokenUsage, DamagedEventsNeverYieldImpossibleClasses) {
  SeededRandom random(first_seed());
  for (const Case& c : cases()) {
    for (int round = 0; round < 100; ++round) {
      UsageReader reader(c.dialect);
      for (std::string text : c.texts) {
        u64 edits = 1 + random.below(4);
        for (u64 i = 0; i < edits; ++i)
          text[random.below(text.size())] = "0123456789-{}[]\",:enul."[random.below(23)];
        (void)reader.read(text).ok();
      }
      ExternalUsage usage = reader.finish(c.expected);
      Consumption use;
      set_tokens(recounted(usage, {.prompt_tokens = 5, .output_tokens = 5}).tokens, use);
      ASSERT_TRUE(check(use).ok()) << c.name;
    }
  }
}

}  // namespace
}  // namespace tg::market
