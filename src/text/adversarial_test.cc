// Texts made to break tokenizers, through every kind: encoding succeeds or refuses bytes that are
// no UTF-8, decoding gives the text back, and a stream never shows half a character.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/bytes.h"
#include "text/detokenizer.h"
#include "text/published_vocab.h"
#include "text/small_vocab.h"
#include "text/tokenizer.h"

namespace tg {
namespace {

std::string repeated(std::string_view text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

std::vector<std::string> hard_texts() {
  std::vector<std::string> texts = {
      "e\u0301\u0323a\u0308\u0304\u0301 \u0301\u0301",          // marks, alone and stacked
      "\U0001F469\u200D\U0001F4BB\uFE0F \U0001F1E9\U0001F1EA",  // joined emoji, flags
      "\u05E9\u05DC\u05D5\u05DD \u202E\u0645\u0631\u062D\u0628\u0627\u202C!",  // right to left
      "\u1112\u1161\u11AB\uD55C\u1100\u1161",  // Hangul, apart and together
      "\u0915\u094D\u0937\u093F \u0E01\u0E31\u0E19 \u1780\u17D2\u1798",  // Indic, Thai, Khmer
      "a\u00A0b\u2003c\u3000d\u200Be\uFEFFf\u2028g\u0085h",              // spaces of all kinds
      std::string("nul\0in\x01the\x7Fmiddle", 17),
      "\U0010FFFF\uFFFD\uFFFE\uE000\u0378",  // at the edges of Unicode
      "\r\n\r\r\n\n\t \t\v\f",
      "'ll 'LL '\u017F \u0130\u0131 \u01C5 \u1E9E\u00DF",  // odd case
      "\u00B2\u2167\u0663\u09E9\U0001D7D8 1234567890",     // numbers
      "<|im_end|><s></s>[CLS]<0x0A><unk>",                 // what looks special
      "",
  };
  for (const char* run :
       {"a", " ", "\n", "1", "!", "\u0301", "\u4e2d", "\U0001F600", "'s", "A\u0301"})
    texts.push_back(repeated(run, 3000));
  return texts;
}

void expect_round_trip(const Tokenizer& tokenizer, const std::string& text) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(text, {});
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(tokenizer.decode(*ids), text);
  Detokenizer stream(tokenizer);
  std::string streamed;
  for (TokenId id : *ids) {
    std::string part = stream.push(id);
    ASSERT_TRUE(is_utf8(part));
    streamed += part;
  }
  EXPECT_EQ(streamed + stream.flush(), text);
}

TEST(Adversarial, TextsComeBack) {
  for (const char* pre : {"gpt-2", "llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "kimi-k2",
                          "deepseek-v3", "deepseek-llm", "deepseek-coder", "falcon", "starcoder",
                          "bloom", "seed-coder", "minicpm5"}) {
    Tokenizer tokenizer = Tokenizer::create(small_bpe_vocab(pre)).value();
    for (const std::string& text : hard_texts()) expect_round_trip(tokenizer, text);
  }
  for (Vocab vocab : {small_spm_vocab(), small_character_bpe_vocab(), small_unigram_vocab()}) {
    Tokenizer tokenizer = Tokenizer::create(std::move(vocab)).value();
    for (const std::string& text : hard_texts()) expect_round_trip(tokenizer, text);
  }
}

// Some byte-level vocabularies were trained without a token for every byte.
bool can_write(const Tokenizer& tokenizer, const std::string& text) {
  if (tokenizer.vocab().kind != VocabKind::kBpe) return true;
  std::array<bool, 256> has_token{};
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    std::string_view piece = tokenizer.piece(id);
    if (piece.size() == 1) has_token[static_cast<u8>(piece[0])] = true;
  }
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return has_token[static_cast<u8>(c)]; });
}

TEST(Adversarial, PublishedVocabulariesGiveTextsBack) {
  for (const char* name : {"llama-spm", "phi-3", "llama-bpe", "gpt-2", "qwen2", "starcoder",
                           "falcon", "deepseek-coder"}) {
    std::string path =
        std::string(TG_SOURCE_DIR "/../shared/data/models/vocab/ggml-vocab-") + name + ".gguf";
    std::string bytes = published::read_file(path);
    if (bytes.empty()) GTEST_SKIP() << "no shared data";
    Tokenizer tokenizer = Tokenizer::create(published::read_vocab(bytes).value()).value();
    for (const std::string& text : hard_texts())
      if (can_write(tokenizer, text)) expect_round_trip(tokenizer, text);
  }
}

// BERT loses case and accents; it must not lose its way.
TEST(Adversarial, WordPieceEncodesAnything) {
  Tokenizer tokenizer = Tokenizer::create(small_word_piece_vocab()).value();
  for (const std::string& text : hard_texts()) {
    std::vector<TokenId> ids = tokenizer.encode(text, {.add_bos = true, .add_eos = true}).value();
    EXPECT_GE(ids.size(), 2u);
    EXPECT_TRUE(is_utf8(tokenizer.decode(ids)));
  }
}

TEST(Adversarial, BytesThatAreNoTextAreRefused) {
  const char* const kBad[] = {
      "\xC0\xAF",                  // overlong /
      "\xE0\x80\xAF",              // overlong, three bytes
      "\xF0\x80\x80\xAF",          // overlong, four bytes
      "\xED\xA0\x80",              // half a surrogate pair
      "\xED\xA0\xBD\xED\xB8\x80",  // a pair of them
      "\xF4\x90\x80\x80",          // past U+10FFFF
      "\x80",
      "a\xE4\xB8",
      "\xFE",
      "\xFF",
      "\xF8\x88\x80\x80\x80",
  };
  for (Vocab vocab : {small_bpe_vocab(), small_spm_vocab(), small_character_bpe_vocab(),
                      small_unigram_vocab(), small_word_piece_vocab()}) {
    Tokenizer tokenizer = Tokenizer::create(std::move(vocab)).value();
    for (const char* bad : kBad) {
      Result<std::vector<TokenId>> ids = tokenizer.encode(bad, {});
      ASSERT_FALSE(ids.ok());
      EXPECT_EQ(ids.error().message, "encode: text is not UTF-8");
    }
  }
}

// One long word for each kind: a quadratic one would take minutes.
TEST(Adversarial, LongWordsAreNotQuadratic) {
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  for (Vocab vocab :
       {small_character_bpe_vocab(), small_unigram_vocab(), small_word_piece_vocab()}) {
    vocab.normalizers.push_back({NormalizeStep::Kind::kNfc, "", ""});
    Tokenizer tokenizer = Tokenizer::create(std::move(vocab)).value();
    for (const char* part : {"hellabc", "\u0301\u0323", "\u2581"}) {
      std::string text =
          repeated(part, (1 << 19) / static_cast<int>(std::string_view(part).size()));
      EXPECT_TRUE(tokenizer.encode(text, {}).ok());
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

}  // namespace
}  // namespace tg
