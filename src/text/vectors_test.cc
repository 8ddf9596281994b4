// Published test vectors: vocabulary-only GGUF files, texts and the ids they must become. Skipped
// where the shared data is absent.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"
#include "text/detokenizer.h"
#include "text/published_vocab.h"
#include "text/tokenizer.h"

namespace tg {
namespace {

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t at; (at = text.find(separator, begin)) != text.npos;
       begin = at + separator.size())
    parts.push_back(text.substr(begin, at - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

std::string join(const std::vector<TokenId>& ids) {
  std::string out;
  for (TokenId id : ids) out += " " + std::to_string(id);
  return out;
}

// Unknown words are not text, so ids with one cannot come back.
void expect_reads_back(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                       const std::string& text) {
  if (std::find(ids.begin(), ids.end(), tokenizer.vocab().unknown) != ids.end()) return;
  EXPECT_EQ(join(tokenizer.encode(text, {}).value()), join(ids)) << text;
}

class Vectors : public testing::TestWithParam<const char*> {};

TEST_P(Vectors, EncodeAsPublished) {
  std::string base =
      std::string(TG_SOURCE_DIR "/../shared/data/models/vocab/ggml-vocab-") + GetParam() + ".gguf";
  std::string bytes = published::read_file(base);
  if (bytes.empty()) GTEST_SKIP() << "no shared data";
  Result<Vocab> vocab = published::read_vocab(bytes);
  ASSERT_TRUE(vocab.ok());
  Result<Tokenizer> tokenizer = Tokenizer::create(std::move(vocab).value());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;

  std::vector<std::string> texts =
      split(published::read_file(base + ".inp"), "\n__ggml_vocab_test__\n");
  std::vector<std::string> expected = split(published::read_file(base + ".out"), "\n");
  ASSERT_EQ(expected.size(), texts.size());
  ASSERT_GT(texts.size(), 40u);
  for (std::size_t i = 0; i + 1 < texts.size(); ++i) {
    Result<std::vector<TokenId>> ids = tokenizer->encode(texts[i], {});
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(join(*ids), expected[i]) << "text " << i << ": " << texts[i];
    // BERT's normalizing loses case, accents and spaces: what it wrote it reads back the same.
    bool is_lossy = tokenizer->vocab().kind == VocabKind::kWordPiece;
    std::string decoded = tokenizer->decode(*ids);
    if (is_lossy) {
      expect_reads_back(*tokenizer, *ids, decoded);
    } else {
      EXPECT_EQ(decoded, texts[i]);
    }

    Detokenizer stream(*tokenizer);
    std::string streamed;
    for (TokenId id : *ids) {
      std::string part = stream.push(id);
      EXPECT_TRUE(is_utf8(part));
      streamed += part;
    }
    EXPECT_EQ(streamed + stream.flush(), decoded);
  }
}

INSTANTIATE_TEST_SUITE_P(Text, Vectors,
                         testing::Values("llama-spm", "phi-3", "llama-bpe", "gpt-2", "qwen2",
                                         "starcoder", "falcon", "deepseek-coder", "bert-bge"));

}  // namespace
}  // namespace tg
