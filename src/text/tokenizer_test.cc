// Tokenizers on vocabularies small enough to check by hand; the published ones are in
// vectors_test.cc.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <random>

#include "base/bytes.h"
#include "text/detokenizer.h"
#include "text/pretokenizer.h"
#include "text/small_vocab.h"

namespace tg {
namespace {

Tokenizer make(Vocab vocab) {
  Result<Tokenizer> tokenizer = Tokenizer::create(std::move(vocab));
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return std::move(tokenizer).value();
}

// The pieces of each token, between bars.
std::string pieces_of(const Tokenizer& tokenizer, std::string_view text, bool special = false) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(text, {.parse_special = special});
  EXPECT_TRUE(ids.ok());
  std::string out;
  for (TokenId id : *ids)
    out += (out.empty() ? "" : "|") + std::string(tokenizer.vocab().tokens[id]);
  return out;
}

struct Case {
  const char* pre;
  const char* text;
  const char* expected;
};

TEST(PreTokenizer, SplitsAsPublished) {
  constexpr Case kCases[] = {
      {"gpt-2", "Hello world's  end", "Hello| world|'s| | end"},
      {"gpt-2", "a1b 22 !?\n\n x", "a|1|b| 22| !?|\n\n| x"},
      {"gpt-2", "I'LL we'll", "I|'|LL| we|'ll"},
      {"gpt-2", "\tx ", "\t|x| "},
      {"llama-bpe", "I'LL pay 12345$\n\nok", "I|'LL| pay| |123|45|$\n\n|ok"},
      {"llama-bpe", "a  \n  b", "a|  \n| | b"},
      {"llama-bpe", "(foo) \tbar", "(foo|)| |\tbar"},
      {"llama-bpe", "   ", "   "},
      {"qwen2", "123 x", "1|2|3| x"},
      {"starcoder", "ab12 c", "ab|1|2| c"},
      {"falcon", "a+=1234", "a|+=|123|4"},
      {"deepseek-coder", "a b.\n\u4e2d\u6587 12", "a| b|.|\n|\u4e2d\u6587| |1|2"},
      {"default", "\u00e9t\u00e9 \u0661\u0662", "\u00e9t\u00e9| \u0661\u0662"},
  };
  for (const Case& c : kCases) {
    const PreTokenizer* pre = find_pretokenizer(c.pre);
    ASSERT_NE(pre, nullptr);
    std::string out;
    split_words(*pre, c.text, [&](std::string_view word) {
      out += (out.empty() ? "" : "|") + std::string(word);
    });
    EXPECT_EQ(out, c.expected) << c.pre;
  }
}

TEST(Bpe, MergesByRank) {
  Tokenizer tokenizer = make(small_bpe_vocab());
  EXPECT_EQ(pieces_of(tokenizer, "hello hello"), "hello|\u0120hello");
  EXPECT_EQ(pieces_of(tokenizer, "helo llo"), "he|l|o|\u0120|ll|o");
  EXPECT_EQ(pieces_of(tokenizer, "hell"), "hell");
  EXPECT_EQ(pieces_of(tokenizer, "1212"), "12|12");
  EXPECT_EQ(pieces_of(tokenizer, ""), "");
}

TEST(Bpe, SpecialTokensOnlyWhenAsked) {
  Tokenizer tokenizer = make(small_bpe_vocab());
  EXPECT_EQ(pieces_of(tokenizer, "<|user|>hello##x", true), "<|user|>|hello|##x");
  std::string plain = pieces_of(tokenizer, "<|user|>hello##x", false);
  EXPECT_EQ(plain.find("<|user|>"), plain.npos);
  EXPECT_NE(plain.find("##x"), plain.npos);

  std::vector<TokenId> ids =
      tokenizer.encode("<|user|>hi", {.add_bos = true, .parse_special = true}).value();
  EXPECT_EQ(ids.size(), 4u);
  EXPECT_EQ(ids[0], 262);
  EXPECT_EQ(tokenizer.decode(ids), "hi");
  EXPECT_EQ(tokenizer.decode(ids, true), "<|user|><|user|>hi");
  EXPECT_TRUE(tokenizer.is_special(262));
  EXPECT_FALSE(tokenizer.is_special(264));
  EXPECT_TRUE(tokenizer.is_end_of_generation(263));
  EXPECT_FALSE(tokenizer.is_end_of_generation(262));
  EXPECT_EQ(tokenizer.find("<|end|>"), 263);
  EXPECT_EQ(tokenizer.find("nothing"), -1);
  EXPECT_EQ(tokenizer.piece(-1), "");
  EXPECT_EQ(tokenizer.piece(9999), "");
}

TEST(Spm, MergesByScoreAndFallsBackToBytes) {
  Tokenizer tokenizer = make(small_spm_vocab());
  EXPECT_EQ(pieces_of(tokenizer, "abc"), "\u2581abc");
  EXPECT_EQ(pieces_of(tokenizer, "abc abc"), "\u2581abc|\u2581abc");
  // "ab" beats "bc" and "_a".
  EXPECT_EQ(pieces_of(tokenizer, "zab"), "\u2581|<0x7A>|ab");
  EXPECT_EQ(pieces_of(tokenizer, "a\u00e9\u4e2d"), "\u2581a|\u00e9|<0xE4>|<0xB8>|<0xAD>");
  EXPECT_EQ(pieces_of(tokenizer, "<s>a</s>a", true), "<s>|\u2581a|</s>|\u2581a");
  EXPECT_EQ(pieces_of(tokenizer, "a[X]a"), "\u2581a|[X]|\u2581a");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("<s>a</s>a", {.parse_special = true}).value(), true),
            "<s>a</s>a");
}

TEST(Tokenizer, RefusesBadInput) {
  Tokenizer tokenizer = make(small_bpe_vocab());
  Result<std::vector<TokenId>> ids = tokenizer.encode("a\xFF", {});
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.error().message, "encode: text is not UTF-8");
  ids = tokenizer.encode(std::string(kEncodeBytesMax + 1, 'a'), {});
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.error().code, Code::kLimit);
}

struct BadVocab {
  void (*change)(Vocab&);
  const char* message;
};

TEST(Tokenizer, RefusesBadVocabularies) {
  const BadVocab kBad[] = {
      {[](Vocab& v) { v.pre = "nope"; }, "vocab: pre-tokenizer \"nope\" is not known"},
      {[](Vocab& v) { v.tokens.clear(); }, "vocab: no tokens"},
      {[](Vocab& v) { v.types.pop_back(); }, "vocab: 264 types for 265 tokens"},
      {[](Vocab& v) { v.types[0] = TokenType{9}; }, "vocab: token type 9"},
      {[](Vocab& v) { v.bos = 999; }, "vocab: bos token 999 of 265"},
      {[](Vocab& v) { v.tokens[5] = "\xFF"; }, "vocab: token 5 is not UTF-8"},
      {[](Vocab& v) { v.tokens[5] = std::string(5000, 'a'); },
       "vocab: token 5 has 5000 bytes, more than 4096"},
      {[](Vocab& v) { v.merges[0] = "ab"; }, "vocab: merge 0 \"ab\" is not two byte-level parts"},
      {[](Vocab& v) { v.types[7] = TokenType::kByte; },
       "vocab: byte token 7 is \"\u0107\", not <0xHH>"},
  };
  for (const BadVocab& bad : kBad) {
    Vocab vocab = small_bpe_vocab();
    bad.change(vocab);
    Result<Tokenizer> tokenizer = Tokenizer::create(std::move(vocab));
    ASSERT_FALSE(tokenizer.ok()) << bad.message;
    EXPECT_EQ(tokenizer.error().message, bad.message);
  }
  Vocab vocab = small_spm_vocab();
  vocab.scores[3] = std::nanf("");
  EXPECT_EQ(Tokenizer::create(std::move(vocab)).error().message, "vocab: a score is not a number");
}

TEST(Tokenizer, FindsEndMarkersByName) {
  Vocab vocab = small_bpe_vocab();
  vocab.tokens.push_back("<|im_end|>");
  vocab.types.push_back(TokenType::kControl);
  vocab.tokens.push_back("<|eot_id|>");
  vocab.types.push_back(TokenType::kNormal);
  EXPECT_EQ(find_end_of_generation(vocab), (std::vector<TokenId>{263, 265}));
  vocab.tokens.insert(vocab.tokens.end(), {"<|end|>", "<|return|>"});
  vocab.types.insert(vocab.types.end(), 2, TokenType::kControl);
  EXPECT_EQ(find_end_of_generation(vocab), (std::vector<TokenId>{263, 265, 267, 268}));
  // With channels <|end|> ends one message of several.
  vocab.tokens.push_back("<|channel|>");
  vocab.types.push_back(TokenType::kControl);
  EXPECT_EQ(find_end_of_generation(vocab), (std::vector<TokenId>{263, 265, 268}));
}

// Random text of all planes, with spaces, digits and pieces of the small vocabularies.
std::string random_text(std::mt19937& random, int length) {
  constexpr std::string_view kAscii = "abchello 12 \n\t'!<|";
  std::string text;
  for (int i = 0; i < length; ++i) {
    u32 roll = static_cast<u32>(random());
    u32 value = static_cast<u32>(random());
    u32 end = roll % 8 == 5 ? 0x800 : roll % 8 == 6 ? 0xD800 : kCodePointEnd;
    u32 c = roll % 8 < 5 ? static_cast<u8>(kAscii[value % kAscii.size()]) : value % end;
    if (c >= 0xD800 && c <= 0xDFFF) c = 'x';
    append_utf8(text, c);
  }
  return text;
}

TEST(Tokenizer, RoundTripsAnyText) {
  std::vector<Tokenizer> tokenizers;
  for (const char* pre : {"gpt-2", "llama-bpe", "qwen2", "starcoder", "falcon", "deepseek-coder"})
    tokenizers.push_back(make(small_bpe_vocab(pre)));
  tokenizers.push_back(make(small_spm_vocab()));
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    std::string text = random_text(random, static_cast<int>(random() % 200));
    // SPM writes both the same way.
    if (text.find("\u2581") != text.npos) continue;
    for (const Tokenizer& tokenizer : tokenizers) {
      std::vector<TokenId> ids = tokenizer.encode(text, {}).value();
      ASSERT_EQ(tokenizer.decode(ids), text);
      Detokenizer stream(tokenizer);
      std::string streamed;
      for (TokenId id : ids) {
        std::string part = stream.push(id);
        ASSERT_TRUE(is_utf8(part));
        streamed += part;
      }
      ASSERT_EQ(streamed + stream.flush(), text);
    }
  }
}

// The heap and the scan must merge alike: a word across the switch, whole and as prefix.
TEST(Tokenizer, LongWordsMergeLikeShortOnes) {
  Tokenizer tokenizer = make(small_bpe_vocab());
  std::string text;
  for (int i = 0; i < 100; ++i) text += "hello";
  std::vector<TokenId> ids = tokenizer.encode(text, {}).value();
  EXPECT_EQ(ids, std::vector<TokenId>(100, tokenizer.find("hello")));
}

TEST(Tokenizer, OneMegabyteWordIsNotQuadratic) {
  for (const Tokenizer& tokenizer : {make(small_bpe_vocab()), make(small_spm_vocab())}) {
    std::string text;
    while (text.size() < (1 << 20)) text += "hellabc";
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    std::vector<TokenId> ids = tokenizer.encode(text, {}).value();
    EXPECT_EQ(tokenizer.decode(ids), text);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  }
}

TEST(Detokenizer, HoldsPartialCharacters) {
  Tokenizer tokenizer = make(small_bpe_vocab());
  Detokenizer stream(tokenizer);
  EXPECT_EQ(stream.push(0xE4), "");
  EXPECT_EQ(stream.push(0xB8), "");
  EXPECT_EQ(stream.push(0xAD), "\u4e2d");
  EXPECT_EQ(stream.push(0xE4), "");
  EXPECT_EQ(stream.push('a'), "\uFFFDa");
  EXPECT_EQ(stream.push(0xFF), "\uFFFD");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
}

TEST(Detokenizer, SpaceAtTheStart) {
  Tokenizer tokenizer = make(small_spm_vocab());
  TokenId word = tokenizer.find("\u2581abc");
  Detokenizer fresh(tokenizer);
  EXPECT_EQ(fresh.push(1), "");
  EXPECT_EQ(fresh.push(word), "abc");
  EXPECT_EQ(fresh.push(word), " abc");
  Detokenizer continued(tokenizer, {.continues_text = true});
  EXPECT_EQ(continued.push(word), " abc");
}

struct StopCase {
  std::vector<std::string> stops;
  std::vector<std::string> pushed;
  std::string shown;  // Outputs between bars.
  i64 stop_index;
};

TEST(StopMatcher, HoldsBackAndStops) {
  const StopCase kCases[] = {
      {{}, {"abc"}, "abc|", -1},
      {{"STOP"}, {"a ST", "OP b"}, "a ||", 0},
      {{"STOP"}, {"a ST", "AR"}, "a |STAR|", -1},
      {{"STOP"}, {"a STO"}, "a |STO", -1},
      {{"aab"}, {"aa", "ab"}, "|a|", 0},
      {{"xy", "y"}, {"axy"}, "a|", 0},
      {{"abcd", "bc"}, {"ab", "cd"}, "|a|", 1},
      {{"\n\n"}, {"a\n", "b\n", "\nc"}, "a|\nb||", 0},
  };
  for (const StopCase& c : kCases) {
    StopMatcher matcher = StopMatcher::create(c.stops).value();
    std::string shown;
    i64 stopped = -1;
    for (const std::string& text : c.pushed) {
      StopMatcher::Output output = matcher.push(text);
      shown += output.text + "|";
      if (output.stop_index >= 0) stopped = output.stop_index;
    }
    EXPECT_EQ(shown + matcher.flush(), c.shown);
    EXPECT_EQ(stopped, c.stop_index);
    EXPECT_EQ(matcher.is_stopped(), c.stop_index >= 0);
  }
  EXPECT_FALSE(StopMatcher::create({""}).ok());
  EXPECT_FALSE(StopMatcher::create(std::vector<std::string>(17, "x")).ok());
  EXPECT_FALSE(StopMatcher::create({std::string(2000, 'x')}).ok());
}

}  // namespace
}  // namespace tg
