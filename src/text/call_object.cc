#include "text/call_object.h"

#include <utility>

#include "base/assert.h"
#include "text/jinja/json.h"

namespace tg {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The characters of a JSON string; the text itself if it is none.
std::string unquoted(std::string_view json) {
  jinja::Heap heap;
  Result<jinja::Value> value = jinja::parse_json(heap, json);
  if (!value.ok() || !value->is_string()) return std::string(json);
  return std::string(value->as_string());
}

}  // namespace

std::size_t CallObject::push(std::string_view text) {
  std::size_t used = 0;
  while (used < text.size() && !is_over_) push_byte(text[used++]);
  return used;
}

std::string CallObject::take_arguments() {
  TG_ASSERT(has_name_);
  if (is_over_ && !has_arguments_) {
    has_arguments_ = true;
    return "{}";
  }
  return std::exchange(arguments_, std::string());
}

void CallObject::push_byte(char c) {
  bool is_outside = !is_in_string_ && depth_ <= 1 && !is_arguments_only_;
  if (is_in_string_) {
    if (is_escaped_) {
      is_escaped_ = false;
    } else if (c == '\\') {
      is_escaped_ = true;
    } else if (c == '"') {
      is_in_string_ = false;
    }
  } else if (c == '"') {
    is_in_string_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    --depth_;
    is_over_ = depth_ <= 0;
  }
  if (is_arguments_only_) {
    has_arguments_ = true;
    arguments_.push_back(c);
  } else if (is_outside) {
    push_top(c);
  } else {
    (is_streamed_ ? arguments_ : place_ == Place::kInValue ? value_ : key_).push_back(c);
    if (is_in_string_) return;
    if (place_ == Place::kKey) {
      place_ = Place::kColon;
    } else if (place_ == Place::kInValue && depth_ == 1) {
      end_value();
    }
  }
}

// A byte outside strings and inner values.
void CallObject::push_top(char c) {
  switch (place_) {
    case Place::kKey:
      if (c == '"') key_ = "\"";
      return;
    case Place::kColon:
      if (c == ':') place_ = Place::kValue;
      return;
    case Place::kValue:
      if (!is_space(c)) begin_value(c);
      return;
    case Place::kInValue:  // A number, true, false or null: ends with what follows it.
      if (c == ',' || c == '}') {
        end_value();
      } else if (!is_space(c)) {
        value_.push_back(c);
      }
      return;
  }
}

void CallObject::begin_value(char c) {
  place_ = Place::kInValue;
  key_ = unquoted(key_);
  bool is_arguments = key_ == "arguments" || key_ == "parameters";
  is_streamed_ = is_arguments && c == '{' && !has_arguments_;
  if (is_streamed_) {
    has_arguments_ = true;
    arguments_.push_back(c);
    return;
  }
  value_ = c;
}

void CallObject::end_value() {
  bool is_text = !value_.empty() && value_[0] == '"';
  bool is_arguments = key_ == "arguments" || key_ == "parameters";
  if (key_ == "name" && is_text && !has_name_) {
    name_ = unquoted(value_);
    has_name_ = !name_.empty();
  } else if (is_arguments && !is_streamed_ && !has_arguments_ && value_ != "null") {
    has_arguments_ = true;
    // Some models write the object as a string.
    arguments_ = is_text ? unquoted(value_) : value_;
    if (arguments_.empty()) arguments_ = "{}";
  }
  is_streamed_ = false;
  value_.clear();
  key_.clear();
  place_ = Place::kKey;
}

}  // namespace tg
