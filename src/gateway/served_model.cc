#include "gateway/served_model.h"

namespace tg::gateway {

std::vector<TokenId> marker_tokens(const Tokenizer& tokenizer, const ReplyFormat& format) {
  std::vector<TokenId> out;
  for (const std::string& marker : format.markers()) {
    TokenId id = tokenizer.find(marker);
    if (id >= 0 && tokenizer.is_special(id)) out.push_back(id);
  }
  return out;
}

void describe(ServedModel& model) {
  if (!model.chat_template) return;
  model.format = reply_format_of(*model.chat_template);
  model.markers = marker_tokens(*model.tokenizer, model.format);
}

}  // namespace tg::gateway
