#include "gateway/served_model.h"

namespace tg::gateway {

void describe(ServedModel& model) {
  if (!model.chat_template) return;
  model.format = reply_format_of(*model.chat_template);
  model.markers.clear();
  for (const std::string& marker : model.format.markers()) {
    TokenId id = model.tokenizer->find(marker);
    if (id >= 0 && model.tokenizer->is_special(id)) model.markers.push_back(id);
  }
}

}  // namespace tg::gateway
