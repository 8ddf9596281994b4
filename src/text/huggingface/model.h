// The "model" and "added_tokens" sections of tokenizer.json.
#pragma once

#include <string>
#include <vector>

#include "text/huggingface/json.h"
#include "text/vocab.h"

namespace tg::huggingface {

// Fills tokens, scores, merges, unknown and what else the model section says. `kind` is kBpe for
// BPE of either sort: which one it is only the pre-tokenizer tells.
Status read_model(const Json& model, Vocab& vocab);

// A token that is matched as a whole, before the model sees the text around it.
struct AddedToken {
  TokenId id = -1;
  std::string text;
  bool is_special = false;
  u8 match_flags = 0;
};
// From an entry of "added_tokens", or of tokenizer_config.json's "added_tokens_decoder" (`id`).
Result<AddedToken> read_added_token(const Json& json, TokenId id);
Result<TokenId> read_id(const Json* json, const std::string& what);

// Gives the tokens their ids and types. An id or text that the vocabulary knows otherwise is
// kInvalid.
Status add_tokens(const std::vector<AddedToken>& added, Vocab& vocab);

// WordPiece: writes tokens as Vocab has them (U+2581 begins a word, no ## continues one).
Status mark_word_starts(const std::vector<AddedToken>& added, Vocab& vocab);

}  // namespace tg::huggingface
