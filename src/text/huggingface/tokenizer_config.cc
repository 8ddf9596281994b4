#include "text/huggingface/tokenizer_config.h"

#include <algorithm>
#include <charconv>

#include "text/huggingface/json.h"
#include "text/tokenizer.h"

namespace tg::huggingface {
namespace {

constexpr std::string_view kFile = "tokenizer_config.json";

Error config_error(const std::string& what) {
  return {Code::kInvalid, std::string(kFile) + ": " + what};
}

// A token is written as its text, or as an object with the text in "content".
std::optional<std::string> read_token(const Json& root, const char* key) {
  const Json* json = member(root, key);
  if (json == nullptr) return std::nullopt;
  if (const std::string* text = json->get_ptr<const std::string*>()) return *text;
  const std::string* content = text_member(*json, "content");
  return content == nullptr ? std::nullopt : std::optional<std::string>(*content);
}

std::optional<bool> read_flag(const Json& root, const char* key) {
  const Json* json = member(root, key);
  const bool* flag = json == nullptr ? nullptr : json->get_ptr<const bool*>();
  return flag == nullptr ? std::nullopt : std::optional<bool>(*flag);
}

Result<std::string> read_chat_template(const Json& root) {
  const Json* json = member(root, "chat_template");
  if (json == nullptr) return std::string();
  if (const std::string* text = json->get_ptr<const std::string*>()) return *text;
  if (!json->is_array()) return config_error("chat_template is neither a text nor a list");
  const std::string* chosen = nullptr;
  for (const Json& entry : *json) {
    const std::string* name = text_member(entry, "name");
    const std::string* text = text_member(entry, "template");
    if (name == nullptr || text == nullptr)
      return config_error("a chat_template has no name or template");
    if (chosen == nullptr || *name == "default") chosen = text;
  }
  return chosen == nullptr ? std::string() : *chosen;
}

// "added_tokens_decoder": {"id": {...}}
Status read_added(const Json& root, std::vector<AddedToken>& added) {
  const Json* entries = member(root, "added_tokens_decoder");
  if (entries == nullptr) return {};
  if (!entries->is_object()) return config_error("added_tokens_decoder is no object");
  for (Json::const_iterator entry = entries->begin(); entry != entries->end(); ++entry) {
    const std::string& key = entry.key();
    TokenId id = -1;
    std::from_chars_result read = std::from_chars(key.data(), key.data() + key.size(), id);
    if (read.ec != std::errc() || read.ptr != key.data() + key.size() || id < 0 ||
        id >= kVocabTokensMax)
      return config_error("added_tokens_decoder has the id \"" + shown(key) + "\"");
    TG_ASSIGN(AddedToken token, read_added_token(*entry, id));
    added.push_back(std::move(token));
  }
  return {};
}

Result<TokenId> find_id(const Vocab& vocab, const std::optional<std::string>& text) {
  if (!text.has_value() || text->empty()) return -1;
  std::vector<std::string>::const_iterator found =
      std::find(vocab.tokens.begin(), vocab.tokens.end(), *text);
  if (found == vocab.tokens.end())
    return config_error("names the token \"" + shown(*text) + "\", which the vocabulary lacks");
  return static_cast<TokenId>(found - vocab.tokens.begin());
}

}  // namespace

Result<TokenizerConfig> read_tokenizer_config(std::string_view bytes) {
  TokenizerConfig config;
  if (bytes.empty()) return config;
  TG_ASSIGN(Json root, parse_json(bytes, kFile));
  if (!root.is_object()) return config_error("no object");
  config.bos = read_token(root, "bos_token");
  config.eos = read_token(root, "eos_token");
  config.pad = read_token(root, "pad_token");
  config.adds_bos = read_flag(root, "add_bos_token");
  config.adds_eos = read_flag(root, "add_eos_token");
  TG_ASSIGN(config.chat_template, read_chat_template(root));
  TG_TRY(read_added(root, config.added));
  return config;
}

Status add_config_tokens(const TokenizerConfig& config, std::vector<AddedToken>& added) {
  std::size_t known = added.size();
  for (const AddedToken& token : config.added) {
    std::vector<AddedToken>::iterator begin = added.begin();
    std::vector<AddedToken>::iterator end = begin + static_cast<std::ptrdiff_t>(known);
    std::vector<AddedToken>::iterator found = std::lower_bound(
        begin, end, token.id, [](const AddedToken& a, TokenId id) { return a.id < id; });
    if (found == end || found->id != token.id) {
      added.push_back(token);
    } else if (found->text != token.text) {
      return config_error("added token " + std::to_string(token.id) + " is \"" + shown(token.text) +
                          "\", in tokenizer.json \"" + shown(found->text) + "\"");
    }
  }
  std::stable_sort(added.begin(), added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return {};
}

Status apply_config(const TokenizerConfig& config, Vocab& vocab) {
  TG_ASSIGN(TokenId bos, find_id(vocab, config.bos));
  TG_ASSIGN(TokenId eos, find_id(vocab, config.eos));
  TG_ASSIGN(TokenId pad, find_id(vocab, config.pad));
  if (vocab.bos < 0) vocab.bos = bos;
  if (vocab.eos < 0) vocab.eos = eos;
  vocab.pad = pad;
  vocab.end_of_generation = find_end_of_generation(vocab);
  std::vector<TokenId>& ends = vocab.end_of_generation;
  if (eos >= 0 && std::find(ends.begin(), ends.end(), eos) == ends.end()) ends.push_back(eos);
  std::sort(ends.begin(), ends.end());
  vocab.add_bos = config.adds_bos.value_or(vocab.add_bos) && vocab.bos >= 0;
  vocab.add_eos = config.adds_eos.value_or(vocab.add_eos) && vocab.eos >= 0;
  vocab.chat_template = config.chat_template;
  return {};
}

}  // namespace tg::huggingface
