// Order: what the tokenizer says, then what the model says about it.
#include "model/huggingface/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "env/disk.h"
#include "model/huggingface/config.h"
#include "text/huggingface/tokenizer_json.h"

namespace tg::checkpoint {
namespace {

constexpr u64 kTokenizerBytesMax = 256 << 20;
constexpr u64 kSmallFileBytesMax = 16 << 20;
constexpr std::size_t kPaddingMax = 1 << 16;  // rows without a token
constexpr std::string_view kGenerationFile = "generation_config.json";
constexpr std::string_view kGenaiFile = "genai_config.json";  // beside ONNX files
constexpr std::string_view kEndKey = "eos_token_id";

std::filesystem::path path_of(const std::string& directory, std::string_view file) {
  return std::filesystem::path(directory) / file;
}

bool has_file(const std::string& directory, std::string_view file) {
  std::error_code ignored;
  return std::filesystem::exists(path_of(directory, file), ignored);
}

// Empty if the directory does not have it.
Result<std::string> read_optional(const std::string& directory, std::string_view file) {
  if (!has_file(directory, file)) return std::string();
  return read_file(path_of(directory, file).string(), kSmallFileBytesMax);
}

// One id or a list of them.
Status add_ends(const Config& config, Vocab& vocab) {
  const Json* stated = config.find(kEndKey);
  if (stated == nullptr) return {};
  std::vector<Json> one = {*stated};
  const std::vector<Json>& ids = stated->kind == Json::Kind::kArray ? stated->items : one;
  for (const Json& id : ids) {
    bool is_token = id.kind == Json::Kind::kInteger && id.integer >= 0 &&
                    id.integer < static_cast<i64>(vocab.tokens.size());
    if (!is_token)
      return config.wrong(kEndKey, fmt::format("expected ids below {}", vocab.tokens.size()));
    vocab.end_of_generation.push_back(static_cast<TokenId>(id.integer));
  }
  std::sort(vocab.end_of_generation.begin(), vocab.end_of_generation.end());
  vocab.end_of_generation.erase(
      std::unique(vocab.end_of_generation.begin(), vocab.end_of_generation.end()),
      vocab.end_of_generation.end());
  return {};
}

// Tables that are empty mean something for all tokens and stay so; types then name the unused. A
// vocabulary that is far too small stays what it is.
void pad(i64 rows, Vocab& vocab) {
  std::size_t size = std::max(vocab.tokens.size(), static_cast<std::size_t>(rows));
  if (size == vocab.tokens.size() || size - vocab.tokens.size() > kPaddingMax) return;
  vocab.types.resize(vocab.tokens.size(), TokenType::kNormal);
  vocab.types.resize(size, TokenType::kUnused);
  if (!vocab.scores.empty()) vocab.scores.resize(size, std::numeric_limits<f32>::lowest());
  if (!vocab.match_flags.empty()) vocab.match_flags.resize(size);
  for (std::size_t id = vocab.tokens.size(); id < size; ++id)
    vocab.tokens.push_back(fmt::format("[PAD{}]", id));
}

}  // namespace

Result<Vocab> read_vocabulary(const std::string& directory, i64 rows) {
  constexpr std::string_view kFile = "tokenizer.json";
  if (!has_file(directory, kFile))
    return Error{Code::kNotFound, fmt::format("{} is missing", kFile)};
  TG_ASSIGN(std::string json, read_file(path_of(directory, kFile).string(), kTokenizerBytesMax));
  TG_ASSIGN(std::string settings, read_optional(directory, "tokenizer_config.json"));
  TG_ASSIGN(std::string chat, read_optional(directory, "chat_template.jinja"));
  TG_ASSIGN(Vocab vocab, huggingface::read_vocab({.tokenizer_json = json,
                                                  .tokenizer_config_json = settings,
                                                  .chat_template_jinja = chat}));
  pad(rows, vocab);
  if (!has_file(directory, kGenerationFile) && !has_file(directory, kConfigFile) &&
      has_file(directory, kGenaiFile)) {
    TG_ASSIGN(Json genai, read_object_file(directory, kGenaiFile));
    TG_ASSIGN(Config model, Config(genai, kGenaiFile).object("model"));
    TG_TRY(add_ends(model, vocab));
    return vocab;
  }
  for (std::string_view source : {kGenerationFile, kConfigFile}) {
    if (!has_file(directory, source)) continue;
    TG_ASSIGN(Json stated, read_object_file(directory, source));
    TG_TRY(add_ends(Config(stated, source), vocab));
    break;
  }
  return vocab;
}

}  // namespace tg::checkpoint
