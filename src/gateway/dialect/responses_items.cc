// The input of a kept response as its client may read it back: items as they were sent, completed
// to what OpenAI's document says of items that an API returns.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/json_out.h"
#include "gateway/dialect/responses.h"
#include "gateway/json_fields.h"

namespace tg::gateway {
namespace {

std::string_view text_in(dom::object object, std::string_view name) {
  std::string_view text;
  bool is_text = object[name].get(text) == simdjson::SUCCESS;
  return is_text ? text : std::string_view();
}

std::string_view id_prefix(std::string_view type) {
  if (type == "function_call") return "fc_";
  if (type == "function_call_output") return "fco_";
  if (type == "reasoning") return "rs_";
  return "msg_";
}

// The same each time it is asked for.
std::string made_id(std::string_view type, std::string_view response_id, i64 index) {
  constexpr std::size_t kDigits = 32;
  std::string digits = to_hex(sha256(fmt::format("{} {}", response_id, index)));
  return std::string(id_prefix(type)) + digits.substr(0, kDigits);
}

void write_part(JsonWriter& json, dom::element part) {
  dom::object object;
  bool is_output =
      part.get(object) == simdjson::SUCCESS && text_in(object, "type") == "output_text";
  if (!is_output) {
    json.raw(json_text(part));
    return;
  }
  json.begin_object();
  for (dom::key_value_pair field : object) json.key(field.key).raw(json_text(field.value));
  for (std::string_view list : {"annotations", "logprobs"}) {
    if (is_absent(object[list])) json.key(list).begin_array().end_array();
  }
  json.end_object();
}

// A text is short for one part.
void write_content(JsonWriter& json, bool is_said, dom::element content) {
  json.key("content").begin_array();
  dom::array parts;
  if (content.get(parts) == simdjson::SUCCESS) {
    for (dom::element part : parts) write_part(json, part);
  } else {
    json.begin_object().key("type").string(is_said ? "output_text" : "input_text");
    json.key("text").raw(json_text(content));
    if (is_said) {
      json.key("annotations").begin_array().end_array();
      json.key("logprobs").begin_array().end_array();
    }
    json.end_object();
  }
  json.end_array();
}

void write_item(JsonWriter& json, dom::object item, std::string_view id) {
  std::string_view type = text_in(item, "type");
  bool is_message = type.empty() || type == "message";
  json.begin_object().key("id").string(id);
  json.key("type").string(is_message ? "message" : type);
  if (type != "reasoning") json.key("status").string("completed");
  if (type == "reasoning" && is_absent(item["summary"]))
    json.key("summary").begin_array().end_array();
  for (dom::key_value_pair field : item) {
    bool is_written = field.key == "id" || field.key == "type" || field.key == "status";
    if (is_written || field.value.is_null()) continue;
    if (is_message && field.key == "content") {
      write_content(json, text_in(item, "role") == "assistant", field.value);
    } else {
      json.key(field.key).raw(json_text(field.value));
    }
  }
  json.end_object();
}

struct InputItem {
  std::string id;
  dom::object fields;
};

// In the order that is asked for, from what comes after the item that is named.
std::vector<InputItem> items_after(dom::array all, std::string_view response_id,
                                   const ListQuery& query) {
  std::vector<InputItem> items;
  for (dom::element element : all) {
    dom::object fields;
    if (element.get(fields) != simdjson::SUCCESS) continue;
    i64 index = static_cast<i64>(items.size());
    std::string id(text_in(fields, "id"));
    if (id.empty()) id = made_id(text_in(fields, "type"), response_id, index);
    items.push_back({std::move(id), fields});
  }
  if (!query.is_ascending) std::reverse(items.begin(), items.end());
  if (query.after.empty()) return items;
  auto found = std::find_if(items.begin(), items.end(),
                            [&](const InputItem& item) { return item.id == query.after; });
  items.erase(items.begin(), found == items.end() ? found : std::next(found));
  return items;
}

}  // namespace

std::string input_items_json(std::string_view items, std::string_view response_id,
                             const ListQuery& query) {
  dom::parser parser;
  dom::array all;
  simdjson::error_code failure = parser.parse(simdjson::padded_string(items)).get(all);
  TG_ASSERT(failure == simdjson::SUCCESS);  // It was an array when it was kept.
  std::vector<InputItem> shown = items_after(all, response_id, query);
  bool has_more = static_cast<i64>(shown.size()) > query.limit;
  if (has_more) shown.resize(static_cast<std::size_t>(query.limit));
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("list").key("data").begin_array();
  for (const InputItem& item : shown) write_item(json, item.fields, item.id);
  json.end_array();
  json.key("first_id").string(shown.empty() ? "" : shown.front().id);
  json.key("last_id").string(shown.empty() ? "" : shown.back().id);
  json.key("has_more").boolean(has_more).end_object();
  return out;
}

}  // namespace tg::gateway
