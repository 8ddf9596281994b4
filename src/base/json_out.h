// JSON for output: escaping and a small append-only writer. Parsing uses simdjson or nlohmann where
// needed; writing happens per streamed token, so it is a few appends into one buffer
// (docs/dependencies.md).
#pragma once

#include <string>
#include <string_view>

#include "base/types.h"

namespace tg {

// Appends `text` as a JSON string with quotes. Bytes that are not well-formed UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// Builds one JSON value: commas and nesting are handled, keys are escaped, nothing is validated
// twice.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  JsonWriter& string(std::string_view text);
  JsonWriter& number(i64 value);
  JsonWriter& number_u64(u64 value);
  // Shortest form that reads back equal; NaN and infinities become null.
  JsonWriter& real(f64 value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  // Appends text that already is one JSON value.
  JsonWriter& raw(std::string_view json);

 private:
  void before_value();

  std::string& out_;
  bool needs_comma_ = false;
};

}  // namespace tg
