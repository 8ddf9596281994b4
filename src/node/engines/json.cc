#include "node/engines/json.h"

#include <charconv>
#include <cmath>

namespace tg::node {

Result<Json> parse_object(std::string_view text, std::string_view engine) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_object()) return json;
  return Error{Code::kInvalid, std::string(engine) + " sent what is no JSON object: '" +
                                   std::string(text.substr(0, 80)) + "'"};
}

const Json& member(const Json& object, const char* name) {
  static const Json kNothing;
  if (!object.is_object()) return kNothing;
  Json::const_iterator found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

i64 count_of(const Json& value) {
  if (value.is_number_integer()) {
    if (value.is_number_unsigned() && value.get<u64>() > static_cast<u64>(kEngineCountMax))
      return 0;
    i64 count = value.get<i64>();
    return count >= 0 && count <= kEngineCountMax ? count : 0;
  }
  if (!value.is_number_float()) return 0;
  f64 real = value.get<f64>();
  bool is_count = std::isfinite(real) && real >= 0 && real <= static_cast<f64>(kEngineCountMax);
  return is_count ? static_cast<i64>(real) : 0;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

void append_ids(const Json& array, std::vector<TokenId>& out) {
  if (!array.is_array()) return;
  for (const Json& value : array) {
    if (!value.is_number_integer()) return;
    i64 id = count_of(value);
    bool is_id = id < kVocabTokensMax && (id > 0 || value.get<i64>() == 0);
    if (!is_id) return;
    out.push_back(static_cast<TokenId>(id));
  }
}

TokenId id_in_name(std::string_view name) {
  constexpr std::string_view kPrefix = "token_id:";
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  TokenId id = -1;
  std::from_chars_result read = std::from_chars(name.data(), name.data() + name.size(), id);
  bool is_whole = read.ec == std::errc() && read.ptr == name.data() + name.size();
  return is_whole && id >= 0 && id < kVocabTokensMax ? id : -1;
}

std::string error_of(const Json& object) {
  const Json& error = member(object, "error");
  if (error.is_string()) return error.get<std::string>();
  if (error.is_object()) {
    std::string message = text_of(member(error, "message"));
    return message.empty() ? "an error without a message" : message;
  }
  if (text_of(member(object, "object")) == "error") return text_of(member(object, "message"));
  return "";
}

fleet::FinishReason finish_reason_of(std::string_view name, std::string& error) {
  for (std::string_view stop :
       {"stop", "eos", "eos_token", "stop_sequence", "word", "tool_calls"}) {
    if (name == stop) return fleet::FinishReason::kStop;
  }
  for (std::string_view length : {"length", "limit"}) {
    if (name == length) return fleet::FinishReason::kLength;
  }
  error = "the engine ended the request: " + std::string(name.substr(0, 40));
  return fleet::FinishReason::kError;
}

}  // namespace tg::node
