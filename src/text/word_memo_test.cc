#include "text/word_memo.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/small_vocab.h"
#include "text/token_index.h"
#include "text/tokenizer.h"

namespace tg {
namespace {

std::vector<TokenId> found(u32 tokenizer, std::string_view word) {
  std::span<const TokenId> ids = WordMemo::of_thread().find(tokenizer, word, hash_text(word));
  return {ids.begin(), ids.end()};
}

void put(u32 tokenizer, std::string_view word, const std::vector<TokenId>& ids) {
  WordMemo::of_thread().put(tokenizer, word, hash_text(word), ids);
}

// Numbers that no tokenizer of these tests has.
constexpr u32 kOne = 4'000'000'001, kOther = 4'000'000'002;

TEST(WordMemo, KnowsAWordOfItsTokenizerOnly) {
  put(kOne, " memo", {1, 2, 3});
  EXPECT_EQ(found(kOne, " memo"), (std::vector<TokenId>{1, 2, 3}));
  EXPECT_TRUE(found(kOther, " memo").empty());
  EXPECT_TRUE(found(kOne, " mem").empty());
  put(kOther, " memo", {9});
  EXPECT_EQ(found(kOther, " memo"), std::vector<TokenId>{9});
}

TEST(WordMemo, KeepsOnlyWhatFits) {
  std::string longest(WordMemo::kWordBytesMax, 'x');
  put(kOne, longest, {5});
  EXPECT_EQ(found(kOne, longest), std::vector<TokenId>{5});
  put(kOne, longest + "x", {5});
  EXPECT_TRUE(found(kOne, longest + "x").empty());
  put(kOne, "many", std::vector<TokenId>(WordMemo::kIdsMax + 1, 7));
  EXPECT_TRUE(found(kOne, "many").empty());
  put(kOne, "none", {});
  EXPECT_TRUE(found(kOne, "none").empty());
}

// Words that share a slot drive each other out; none is taken for another.
TEST(WordMemo, NeverTakesOneWordForAnother) {
  for (TokenId i = 0; i < 20'000; ++i) put(kOne, "w" + std::to_string(i), {i});
  i64 kept = 0;
  for (TokenId i = 0; i < 20'000; ++i) {
    std::vector<TokenId> ids = found(kOne, "w" + std::to_string(i));
    if (ids.empty()) continue;
    EXPECT_EQ(ids, std::vector<TokenId>{i});
    ++kept;
  }
  EXPECT_GT(kept, 0);
  EXPECT_LE(kept, static_cast<i64>(WordMemo::kEntries));
}

// Two tokenizers on one thread, by turns: each text becomes what it becomes alone and at first.
TEST(WordMemo, TokenizersDoNotMeet) {
  std::vector<Tokenizer> tokenizers;
  std::vector<Vocab> vocabs = {small_bpe_vocab(), small_spm_vocab()};
  for (const Vocab& vocab : vocabs) {
    Result<Tokenizer> made = Tokenizer::create(vocab);
    ASSERT_TRUE(made.ok());
    tokenizers.push_back(std::move(made).value());
  }
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += static_cast<char>("ab helowrd"[random() % 10]);
    for (std::size_t at = 0; at < vocabs.size(); ++at) {
      Result<std::vector<TokenId>> ids = tokenizers[at].encode(text, {});
      Result<Tokenizer> fresh = Tokenizer::create(vocabs[at]);
      ASSERT_TRUE(fresh.ok());
      Result<std::vector<TokenId>> alone = fresh->encode(text, {});
      ASSERT_EQ(ids.ok(), alone.ok());
      if (ids.ok()) {
        EXPECT_EQ(*ids, *alone) << text;
      }
    }
  }
}

}  // namespace
}  // namespace tg
