// The tokenizer keys of each kind of vocabulary, in files of a few tokens.
#include "model/vocabulary.h"

#include <gtest/gtest.h>

#include "model/gguf/writer.h"
#include "text/tokenizer.h"

namespace tg::model {
namespace {

using Texts = std::vector<std::string>;

gguf::Header header_of(const char* model, Texts tokens, std::vector<i32> types) {
  gguf::Header header;
  header.set("general.architecture", std::string("test"));
  header.set("tokenizer.ggml.model", std::string(model));
  header.set("tokenizer.ggml.tokens", std::move(tokens));
  header.set("tokenizer.ggml.token_type", std::move(types));
  return header;
}

Vocab read(const gguf::Header& header) {
  std::vector<u8> bytes = gguf::encode_header(header).value();
  gguf::File file = gguf::File::parse(bytes).value();
  Result<Vocab> vocab = read_vocab(file);
  EXPECT_TRUE(vocab.ok()) << (vocab.ok() ? "" : vocab.error().message);
  return std::move(vocab).value();
}

std::vector<TokenId> encode(const Vocab& vocab, std::string_view text) {
  Tokenizer tokenizer = Tokenizer::create(vocab).value();
  return tokenizer
      .encode(text, {.add_bos = vocab.add_bos, .add_eos = vocab.add_eos, .parse_special = true})
      .value();
}

TEST(VocabularyKinds, Bert) {
  gguf::Header header =
      header_of("bert", {"[UNK]", "[CLS]", "[SEP]", "\u2581a", "b", "\u2581A"}, {3, 3, 3, 1, 1, 1});
  header.set("tokenizer.ggml.unknown_token_id", u32{0});
  header.set("tokenizer.ggml.cls_token_id", u32{1});
  header.set("tokenizer.ggml.seperator_token_id", u32{2});
  EXPECT_EQ(encode(read(header), "\u00c1b c"), (std::vector<TokenId>{1, 3, 4, 0, 2}));
  header.set("tokenizer.ggml.normalizer.lowercase", false);
  EXPECT_EQ(encode(read(header), "Ab"), (std::vector<TokenId>{1, 5, 4, 2}));
  EXPECT_EQ(encode(read(header), "\u00c1b"), (std::vector<TokenId>{1, 0, 2}));
}

// The charsmap writes U+0001 as "a": one node below the root, and the value below that.
TEST(VocabularyKinds, Unigram) {
  gguf::Header header =
      header_of("t5", {"<pad>", "</s>", "<unk>", "\u2581", "a", "\u2581a"}, {3, 3, 2, 1, 1, 1});
  header.set("tokenizer.ggml.scores", std::vector<f32>{0, 0, 0, -2, -3, -4});
  header.set("tokenizer.ggml.add_space_prefix", true);
  header.set("tokenizer.ggml.remove_extra_whitespaces", true);
  EXPECT_EQ(encode(read(header), "  a a  x"), (std::vector<TokenId>{5, 5, 3, 2, 1}));
  EXPECT_EQ(encode(read(header), "\x01"), (std::vector<TokenId>{3, 2, 1}));
  std::vector<i32> charsmap = {16, 0, 0, 0};
  for (u32 unit : {u32{2} << 10, u32{0}, u32{1} << 31, u32{1} << 10 | u32{1} << 8 | u32{1}})
    for (int shift = 0; shift < 32; shift += 8) charsmap.push_back(unit >> shift & 0xFF);
  charsmap.push_back('a');
  charsmap.push_back(0);
  header.set("tokenizer.ggml.precompiled_charsmap", charsmap);
  EXPECT_EQ(encode(read(header), "\x01"), (std::vector<TokenId>{5, 1}));
}

TEST(VocabularyKinds, CharacterBpe) {
  gguf::Header header =
      header_of("gemma4", {"<unk>", "<bos>", "\u2581", "a", "b", "\u2581a"}, {2, 3, 1, 1, 1, 1});
  header.set("tokenizer.ggml.merges", Texts{"\u2581 a"});
  header.set("tokenizer.ggml.bos_token_id", u32{1});
  header.set("tokenizer.ggml.unknown_token_id", u32{0});
  header.set("tokenizer.ggml.add_bos_token", true);
  EXPECT_EQ(encode(read(header), "a ab"), (std::vector<TokenId>{1, 3, 5, 4}));
}

TEST(VocabularyKinds, Phi3TakesTheSpaceBehindItsTokens) {
  gguf::Header header =
      header_of("llama", {"<unk>", "<s>", "</s>", "<|user|>", "\u2581", "a"}, {2, 3, 4, 3, 1, 1});
  header.set("tokenizer.ggml.scores", std::vector<f32>{0, 0, 0, 0, -1, -2});
  header.set("tokenizer.ggml.add_bos_token", false);
  EXPECT_EQ(encode(read(header), "<|user|> \na"), (std::vector<TokenId>{3, 4, 4, 0, 5}));
  header.set("general.architecture", std::string("phi3"));
  EXPECT_EQ(encode(read(header), "<|user|> \na"), (std::vector<TokenId>{3, 4, 5}));
  EXPECT_EQ(encode(read(header), "<s> a"), (std::vector<TokenId>{1, 4, 4, 5}));
}

TEST(VocabularyKinds, UnknownOnesAreNamed) {
  std::vector<u8> bytes = gguf::encode_header(header_of("rwkv", {"a"}, {1})).value();
  EXPECT_EQ(read_vocab(gguf::File::parse(bytes).value()).error().message,
            "gguf: tokenizer 'rwkv' is not supported (known: llama, gpt2, gemma4, bert, t5)");
}

}  // namespace
}  // namespace tg::model
