// What tokenizer_config.json adds to tokenizer.json: named special tokens, the chat template, and
// whether bos and eos go around a text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/huggingface/model.h"
#include "text/vocab.h"

namespace tg::huggingface {

struct TokenizerConfig {
  std::optional<std::string> bos;  // Texts of tokens.
  std::optional<std::string> eos;
  std::optional<std::string> pad;
  std::optional<bool> adds_bos;
  std::optional<bool> adds_eos;
  std::vector<AddedToken> added;
  std::string chat_template;
};

// Empty bytes: nothing is said. Of several named templates "default" is taken, else the first.
Result<TokenizerConfig> read_tokenizer_config(std::string_view bytes);

// Appends the config's added tokens that `added` lacks; a different text for an id is kInvalid.
Status add_config_tokens(const TokenizerConfig& config, std::vector<AddedToken>& added);

// Special ids (those a post-processor has set stay, eos then ends replies besides them), flags and
// the template.
Status apply_config(const TokenizerConfig& config, Vocab& vocab);

}  // namespace tg::huggingface
