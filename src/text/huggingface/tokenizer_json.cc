// Sections are read in the order in which they explain each other.
#include "text/huggingface/tokenizer_json.h"

#include <algorithm>

#include "text/huggingface/model.h"
#include "text/huggingface/pipeline.h"
#include "text/huggingface/tokenizer_config.h"

namespace tg::huggingface {
namespace {

Result<std::vector<AddedToken>> read_added_tokens(const Json& root) {
  std::vector<AddedToken> added;
  const Json* entries = member(root, "added_tokens");
  if (entries == nullptr) return added;
  if (!entries->is_array()) return invalid("added_tokens is no array");
  for (const Json& entry : *entries) {
    TG_ASSIGN(TokenId id, read_id(member(entry, "id"), "an added token"));
    TG_ASSIGN(AddedToken token, read_added_token(entry, id));
    added.push_back(std::move(token));
  }
  // Ids that extend the vocabulary do so in order.
  std::stable_sort(added.begin(), added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return added;
}

// GPT-2's unknown token is its end of text: no character is unknown to bytes.
void settle_unknown(const std::vector<AddedToken>& added, Vocab& vocab) {
  if (vocab.kind != VocabKind::kBpe || vocab.unknown < 0) return;
  bool is_special = std::any_of(added.begin(), added.end(), [&](const AddedToken& token) {
    return token.id == vocab.unknown && token.is_special;
  });
  if (is_special) vocab.types[vocab.unknown] = TokenType::kControl;
}

}  // namespace

Result<Vocab> read_vocab(const TokenizerFiles& files) {
  TG_ASSIGN(Json root, parse_json(files.tokenizer_json, "tokenizer.json"));
  TG_ASSIGN(TokenizerConfig config, read_tokenizer_config(files.tokenizer_config_json));
  const Json* model = member(root, "model");
  if (model == nullptr) return invalid("no model section");
  Vocab vocab;
  TG_TRY(read_model(*model, vocab));
  TG_ASSIGN(std::vector<AddedToken> added, read_added_tokens(root));
  TG_TRY(add_config_tokens(config, added));
  TG_TRY(add_tokens(added, vocab));
  TG_TRY(read_normalizer(root, vocab));
  TG_TRY(read_pre_tokenizer(root, vocab));
  TG_TRY(read_decoder(root, vocab));
  if (vocab.kind == VocabKind::kWordPiece) TG_TRY(mark_word_starts(added, vocab));
  settle_unknown(added, vocab);
  TG_TRY(read_post_processor(root, vocab));
  TG_TRY(apply_config(config, vocab));
  if (!files.chat_template_jinja.empty()) vocab.chat_template = files.chat_template_jinja;
  return vocab;
}

}  // namespace tg::huggingface
