// Words against the published expressions (the table), by name and by pattern.
#include "text/pretokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "text/testdata_lines.h"

namespace tg {
namespace {

std::vector<std::string> words_of(const PreTokenizer& pre, std::string_view text) {
  std::vector<std::string> words;
  split_words(pre, text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

TEST(PreTokenizer, CutsAsTheExpressionsDo) {
  std::vector<std::string> lines = testdata_lines("split_cases.txt");
  ASSERT_EQ(lines.size(), 192u);
  for (const std::string& line : lines) {
    std::size_t tab = line.find('\t');
    std::string name = line.substr(0, tab);
    std::vector<std::string> expected =
        nlohmann::json::parse(line.substr(tab + 1)).get<std::vector<std::string>>();
    std::string text;
    for (const std::string& word : expected) text += word;
    const PreTokenizer* pre = find_pretokenizer(name);
    ASSERT_NE(pre, nullptr) << name;
    EXPECT_EQ(words_of(*pre, text), expected) << line;
  }
}

// What the files of these models say in tokenizer.ggml.pre.
TEST(PreTokenizer, KnowsTheNamesInUse) {
  for (const char* name : {"default",      "gpt-2",          "llama-bpe",
                           "llama4",       "tekken",         "pixtral",
                           "qwen2",        "qwen35",         "deepseek-r1-qwen",
                           "glm4",         "chatglm-bpe",    "gpt-4o",
                           "deepseek-llm", "deepseek-coder", "deepseek-v3",
                           "kimi-k2",      "command-r",      "mpt",
                           "olmo",         "jais",           "falcon",
                           "falcon3",      "starcoder",      "refact",
                           "smollm",       "smaug-bpe",      "dbrx",
                           "phi-2",        "roberta-bpe",    "stablelm2",
                           "hunyuan",      "hunyuan-dense",  "bailingmoe",
                           "minimax-m2",   "grok-2",         "exaone4",
                           "lfm2",         "seed-coder",     "bloom",
                           "viking"})
    EXPECT_NE(find_pretokenizer(name), nullptr) << name;
  EXPECT_EQ(find_pretokenizer("llama"), nullptr);
  EXPECT_TRUE(find_pretokenizer("llama-bpe")->ignores_merges);
  EXPECT_TRUE(find_pretokenizer("tekken")->ignores_merges);
  EXPECT_FALSE(find_pretokenizer("gpt-4o")->ignores_merges);
}

TEST(PreTokenizer, FindsExpressions) {
  EXPECT_NE(find_split("\\p{N}{1,3}").match, nullptr);
  EXPECT_FALSE(find_split("\\p{N}{1,3}").leaves_no_gaps);
  EXPECT_EQ(find_split("[\r\n]").match, find_split("[\\r\\n]").match);
  EXPECT_EQ(find_split("\\p{N}{1,4}").match, nullptr);
  EXPECT_EQ(find_split("").match, nullptr);
  EXPECT_EQ(find_split(std::string(1 << 20, 'a')).match, nullptr);
}

TEST(PreTokenizer, MadeOfExpressions) {
  std::vector<std::string> patterns = {"[\\r\\n]", "\\p{N}"};
  PreTokenizer pre = make_pretokenizer(patterns).value();
  EXPECT_EQ(words_of(pre, "a\n12b"), (std::vector<std::string>{"a", "\n", "1", "2", "b"}));
  patterns.push_back("x\n");
  EXPECT_EQ(make_pretokenizer(patterns).error().message,
            "vocab: pre-tokenizer expression \"x\\n\" is not known");
  EXPECT_EQ(make_pretokenizer(std::vector<std::string>(9, "\\p{N}")).error().message,
            "vocab: 9 pre-tokenizer expressions, more than 8");
}

// A matcher that looked twice at what it gave back would take hours.
TEST(PreTokenizer, LongRunsAreLinear) {
  for (const char* run :
       {"A", "a", "\u4e2d", "\u0301", " ", "\n", "1", "!", "\u02b0", "'", "A\u0301"}) {
    std::string text;
    while (text.size() < (1 << 16)) text += run;
    for (const char* name : {"gpt-4o", "tekken", "kimi-k2", "deepseek-v3", "deepseek-llm", "bloom",
                             "llama-bpe", "falcon"}) {
      std::size_t bytes = 0;
      split_words(*find_pretokenizer(name), text,
                  [&](std::string_view word) { bytes += word.size(); });
      EXPECT_EQ(bytes, text.size());
    }
  }
}

}  // namespace
}  // namespace tg
