#include "gateway/reply_json.h"

#include "base/json_out.h"

namespace tg::gateway {

static void write_model(JsonWriter& json, const ServedModel& model) {
  json.begin_object();
  json.key("id").string(model.id);
  json.key("object").string("model");
  json.key("created").number(model.created);
  json.key("owned_by").string("tokengrid");
  // vLLM's name for it; several clients size their prompts by it.
  json.key("max_model_len").number(model.context_max);
  json.key("tokengrid").begin_object().key("program").string(model.program);
  json.key("capabilities").begin_object();
  json.key("chat").boolean(model.generates && model.chat_template.has_value());
  json.key("tools").boolean(model.format.has_tools);
  json.key("reasoning").boolean(model.format.has_reasoning());
  json.key("structured_output").boolean(model.grammars != nullptr);
  json.key("vision").boolean(false).key("embeddings").boolean(model.embedding_width > 0);
  json.end_object();
  if (model.cost != nullptr) {
    json.key("tariff").begin_object().key("name").string(model.tariff.name);
    json.key("factor_ppm").number_u64(model.tariff.factor_ppm);
    json.key("ucredit_per_mst").number(model.tariff.price_ucredit_per_mst).end_object();
  }
  json.end_object();
  json.end_object();
}

std::string model_json(const ServedModel& model) {
  std::string out;
  JsonWriter json(out);
  write_model(json, model);
  return out;
}

std::string models_json(const std::vector<ServedModel>& models, const Standing* standing) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("list").key("data").begin_array();
  for (const ServedModel& model : models) {
    if (standing == nullptr || standing->allows_model(model.id)) write_model(json, model);
  }
  json.end_array().end_object();
  return out;
}

i64 character_count(std::string_view text) {
  i64 count = 0;
  for (char c : text) count += (static_cast<u8>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

}  // namespace tg::gateway
