// Values as text: the way Python prints them, and as JSON the way json.dumps writes it.
#pragma once

#include <string>

#include "base/result.h"
#include "text/jinja/interpreter.h"

namespace tg::jinja {

// str(value) and repr(value). Undefined prints as nothing.
Status append_str(Interpreter& run, std::string& out, const Value& value);
Status append_repr(Interpreter& run, std::string& out, const Value& value);

struct JsonStyle {
  i64 indent = -1;  // Spaces per level; -1 for one line.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sorts_keys = false;
  bool ensures_ascii = false;
};
Status append_json(Interpreter& run, std::string& out, const Value& value, const JsonStyle& style);

// repr of a float: shortest digits that read back equal.
void append_real(std::string& out, f64 value);

// loop.index and its kin.
Result<Value> loop_attribute(Interpreter& run, Loop& loop, std::string_view name);

}  // namespace tg::jinja
