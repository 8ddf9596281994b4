// Whole tokenizer.json files against the ids of the library they are written for (the table), what
// is refused, and the published vocabularies by this way and by the other.
#include "text/huggingface/tokenizer_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/huggingface/pipeline.h"
#include "text/published_vocab.h"
#include "text/testdata_lines.h"
#include "text/tokenizer.h"

namespace tg::huggingface {
namespace {

Tokenizer make(const std::string& json, const std::string& config = "") {
  Result<Vocab> vocab = read_vocab({json, config, ""});
  EXPECT_TRUE(vocab.ok()) << (vocab.ok() ? "" : vocab.error().message);
  Result<Tokenizer> tokenizer = Tokenizer::create(std::move(vocab).value());
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return std::move(tokenizer).value();
}

std::string join(const std::vector<TokenId>& ids) {
  std::string out;
  for (TokenId id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
  return out;
}

std::string ids_of(const Tokenizer& tokenizer, const std::string& text) {
  const Vocab& vocab = tokenizer.vocab();
  return join(
      tokenizer
          .encode(text, {.add_bos = vocab.add_bos, .add_eos = vocab.add_eos, .parse_special = true})
          .value());
}

TEST(TokenizerJson, EncodesAsTheOriginal) {
  std::vector<std::string> lines = testdata_lines("tokenizer_json_cases.txt");
  std::string name;
  std::optional<Tokenizer> tokenizer;
  int cases = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i][0] == '=') {
      name = lines[i];
      tokenizer = make(lines[++i]);
      continue;
    }
    std::size_t tab = lines[i].find('\t');
    std::string text = nlohmann::json::parse(lines[i].substr(0, tab)).get<std::string>();
    EXPECT_EQ(ids_of(*tokenizer, text), lines[i].substr(tab + 1)) << name << " " << lines[i];
    ++cases;
  }
  EXPECT_EQ(cases, 15 * 15);
}

// A small file to change one thing of at a time.
const char* const kPlain = R"({
  "added_tokens": [{"id": 3, "content": "<s>", "special": true, "normalized": false}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "post_processor": null,
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
})";

struct Change {
  const char* path;
  const char* value;
  const char* message;
};

TEST(TokenizerJson, RefusesByName) {
  const Change kChanges[] = {
      {"/model/type", R"("WordLevel")", R"(model "WordLevel" is not supported)"},
      {"/model/dropout", "0.1", "model BPE with dropout is not supported"},
      {"/model/end_of_word_suffix", R"("</w>")",
       R"(model BPE with end_of_word_suffix "</w>" is not supported)"},
      {"/model/continuing_subword_prefix", R"("##")",
       R"(model BPE with continuing_subword_prefix "##" is not supported)"},
      {"/model/merges", R"(["ab"])", R"(merge 0 "ab" is not two texts without spaces)"},
      {"/model/merges", R"([["a ", "b"]])", R"(merge 0 "a  b" is not two texts without spaces)"},
      {"/model/merges", "null", "model has no merges"},
      {"/model/vocab", R"({"a": 0, "b": 0})", "two tokens have id 0"},
      {"/model/vocab", R"({"a": -1})", R"(token "a" has no id below 4194304)"},
      {"/model/vocab", R"({"a": 4000000})", "token id 4000000 among 1 tokens"},
      {"/model/vocab", "[]", "model has no vocab object"},
      {"/model", "null", "no model section"},
      {"/added_tokens/0/id", "1", R"(added token "<s>" with id 1 contradicts the vocabulary)"},
      {"/added_tokens/0/id", "4000000", "no tokens between ids 3 and 4000000"},
      {"/added_tokens/0/content", R"("ab")",
       R"(added token "ab" with id 3 contradicts the vocabulary)"},
      {"/added_tokens", "7", "added_tokens is no array"},
      {"/normalizer", R"({"type": "Nmt"})", R"(normalizer "Nmt" is not supported)"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "x+"}, "content": ""})",
       R"(normalizer Replace of "x+" is not supported)"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "a"})",
       "precompiled_charsmap is not base64"},
      {"/pre_tokenizer", R"({"type": "Sequence"})", "pre_tokenizer Sequence has no pretokenizers"},
      {"/pre_tokenizer", "null",
       "a model without ByteLevel, Metaspace or a Replace of spaces is not supported"},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "[a-z]+"}, "behavior": "Isolated"},
        {"type": "ByteLevel"}]})",
       R"(pre_tokenizer Split by "[a-z]+" is not supported)"},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{N}"}, "behavior": "Removed", "invert": true},
        {"type": "ByteLevel"}]})",
       R"(pre_tokenizer "Split" with behavior "Removed" is not supported)"},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
        {"type": "Whitespace"}, {"type": "ByteLevel"}]})",
       R"(pre_tokenizer "Whitespace" before ByteLevel is not supported)"},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel"}, {"type": "Digits"}]})",
       R"(pre_tokenizer "ByteLevel" before another is not supported)"},
      {"/decoder", R"({"type": "CTC"})", R"(decoder "CTC" with this model is not supported)"},
      {"/post_processor", R"({"type": "Other"})", R"(post_processor "Other" is not supported)"},
      {"/post_processor", R"({"type": "BertProcessing", "cls": ["<s>", 3], "sep": ["x", 9]})",
       "post_processor token 9 of 4"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": [
        {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<s>"}}]})",
       R"(post_processor TemplateProcessing has no ids for "<s>")"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": []})",
       "post_processor TemplateProcessing without a text is not supported"},
  };
  ASSERT_TRUE(read_vocab({kPlain, "", ""}).ok());
  for (const Change& change : kChanges) {
    nlohmann::json json = nlohmann::json::parse(kPlain);
    json[nlohmann::json::json_pointer(change.path)] = nlohmann::json::parse(change.value);
    Result<Vocab> vocab = read_vocab({json.dump(), "", ""});
    ASSERT_FALSE(vocab.ok()) << change.message;
    EXPECT_EQ(vocab.error().message, "tokenizer.json: " + std::string(change.message));
  }
}

TEST(TokenizerJson, RefusesWhatIsNoJson) {
  auto error = [](const std::string& text) { return read_vocab({text, "", ""}).error().message; };
  EXPECT_EQ(error(""), "tokenizer.json: not JSON at byte 1");
  EXPECT_EQ(error("{\"model\": }"), "tokenizer.json: not JSON at byte 11");
  EXPECT_EQ(error("{\"model\": \"\xFF\"}"), "tokenizer.json: not JSON at byte 12");
  EXPECT_EQ(error(std::string(100, '[')), "tokenizer.json: nests deeper than 64");
  EXPECT_EQ(error("[]"), "tokenizer.json: no model section");
}

TEST(TokenizerJson, FillsIdsWithoutTokens) {
  nlohmann::json json = nlohmann::json::parse(kPlain);
  json["added_tokens"][0]["id"] = 5;
  Vocab vocab = read_vocab({json.dump(), "", ""}).value();
  ASSERT_EQ(vocab.tokens.size(), 6u);
  EXPECT_EQ(vocab.tokens[3], "[PAD3]");
  EXPECT_EQ(vocab.types[3], TokenType::kUnused);
  EXPECT_EQ(vocab.types[5], TokenType::kControl);
}

TEST(TokenizerConfig, NamesTokensAndTemplate) {
  const char* config = R"({
    "bos_token": {"content": "<s>"}, "eos_token": "<|im_end|>", "pad_token": null,
    "add_bos_token": true, "add_eos_token": false,
    "added_tokens_decoder": {"4": {"content": "<|im_end|>", "special": true}},
    "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
  })";
  Vocab vocab = read_vocab({kPlain, config, ""}).value();
  EXPECT_EQ(vocab.bos, 3);
  EXPECT_EQ(vocab.eos, 4);
  EXPECT_EQ(vocab.pad, -1);
  EXPECT_TRUE(vocab.add_bos);
  EXPECT_FALSE(vocab.add_eos);
  EXPECT_EQ(vocab.end_of_generation, std::vector<TokenId>{4});
  EXPECT_EQ(vocab.chat_template, "D");
  EXPECT_EQ(read_vocab({kPlain, config, "J"}).value().chat_template, "J");
  EXPECT_EQ(read_vocab({kPlain, R"({"chat_template": "S"})", ""}).value().chat_template, "S");
  EXPECT_EQ(read_vocab({kPlain, "{}", ""}).value().bos, -1);
}

TEST(TokenizerConfig, RefusesContradictions) {
  auto error = [](const char* config) { return read_vocab({kPlain, config, ""}).error().message; };
  EXPECT_EQ(error("["), "tokenizer_config.json: not JSON at byte 2");
  EXPECT_EQ(error("[]"), "tokenizer_config.json: no object");
  EXPECT_EQ(error(R"({"eos_token": "</s>"})"),
            "tokenizer_config.json: names the token \"</s>\", which the vocabulary lacks");
  EXPECT_EQ(error(R"({"added_tokens_decoder": {"3": {"content": "x"}}})"),
            "tokenizer_config.json: added token 3 is \"x\", in tokenizer.json \"<s>\"");
  EXPECT_EQ(error(R"({"added_tokens_decoder": {"x": {"content": "x"}}})"),
            "tokenizer_config.json: added_tokens_decoder has the id \"x\"");
  EXPECT_EQ(error(R"({"chat_template": 1})"),
            "tokenizer_config.json: chat_template is neither a text nor a list");
}

TEST(Base64, ReadsPadding) {
  EXPECT_EQ(from_base64("").value(), "");
  EXPECT_EQ(from_base64("YQ==").value(), "a");
  EXPECT_EQ(from_base64("YWI=").value(), "ab");
  EXPECT_EQ(from_base64("YWJj").value(), "abc");
  for (const char* bad : {"Y", "YQ=", "Y!==", "Y===", "===="})
    EXPECT_FALSE(from_base64(bad).ok()) << bad;
}

// A published byte-level vocabulary written as tokenizer.json.
std::string as_json(const Vocab& vocab, const nlohmann::json& pre_tokenizer) {
  nlohmann::json json = nlohmann::json::parse(kPlain);
  json["added_tokens"] = nlohmann::json::array();
  json["pre_tokenizer"] = pre_tokenizer;
  nlohmann::json& model = json["model"];
  model["vocab"] = nlohmann::json::object();
  model["merges"] = vocab.merges;
  model["ignore_merges"] = vocab.pre == "llama-bpe";
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.types[id] == TokenType::kNormal) {
      model["vocab"][vocab.tokens[id]] = id;
    } else if (vocab.types[id] != TokenType::kUnused) {
      json["added_tokens"].push_back({{"id", id},
                                      {"content", vocab.tokens[id]},
                                      {"special", vocab.types[id] == TokenType::kControl},
                                      {"normalized", false}});
    }
  }
  return json.dump();
}

struct Published {
  const char* name;
  const char* pattern;  // Of a Split before ByteLevel; nullptr: ByteLevel's own.
};

nlohmann::json pre_tokenizer_of(const Published& published) {
  nlohmann::json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  if (published.pattern == nullptr) return byte_level;
  bool is_digits = std::string_view(published.pattern) == "digits";
  byte_level["use_regex"] = is_digits;
  nlohmann::json split = {{"type", "Split"},
                          {"behavior", "Isolated"},
                          {"invert", false},
                          {"pattern", {{"Regex", published.pattern}}}};
  if (is_digits) split = {{"type", "Digits"}, {"individual_digits", true}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}};
}

class BothWays : public testing::TestWithParam<Published> {};

TEST_P(BothWays, GiveTheSameIds) {
  std::string base = std::string(TG_SOURCE_DIR "/../shared/data/models/vocab/ggml-vocab-") +
                     GetParam().name + ".gguf";
  std::string bytes = published::read_file(base);
  if (bytes.empty()) GTEST_SKIP() << "no shared data";
  Vocab vocab = published::read_vocab(bytes).value();
  Tokenizer from_json = make(as_json(vocab, pre_tokenizer_of(GetParam())));
  Tokenizer from_gguf = Tokenizer::create(std::move(vocab)).value();
  std::string texts = published::read_file(base + ".inp");
  ASSERT_GT(texts.size(), 1000u);
  for (std::size_t begin = 0; begin < texts.size();) {
    std::size_t end = std::min(texts.find("\n__ggml_vocab_test__\n", begin), texts.size());
    std::string text = texts.substr(begin, end - begin);
    std::vector<TokenId> ids = from_json.encode(text, {.parse_special = true}).value();
    EXPECT_EQ(join(ids), join(from_gguf.encode(text, {.parse_special = true}).value())) << text;
    EXPECT_EQ(from_json.decode(ids), from_gguf.decode(ids));
    begin = end + 21;
  }
}

constexpr Published kPublished[] = {
    {"gpt-2", nullptr},
    {"starcoder", "digits"},
    {"llama-bpe",
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {"qwen2",
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
};

std::string name_of(const testing::TestParamInfo<Published>& published) {
  std::string name = published.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Text, BothWays, testing::ValuesIn(kPublished), name_of);

}  // namespace
}  // namespace tg::huggingface
