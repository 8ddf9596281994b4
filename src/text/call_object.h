// A call written as one JSON object, {"name": ..., "arguments": {...}}, while it arrives: the name
// as soon as it is known, then the arguments' text piece by piece.
#pragma once

#include <string>
#include <string_view>

#include "base/types.h"

namespace tg {

class CallObject {
 public:
  // With `name` given, what follows is the arguments' object alone.
  CallObject() = default;
  explicit CallObject(std::string name)
      : name_(std::move(name)), has_name_(true), is_arguments_only_(true) {}

  // Takes text up to the object's end; returns how many bytes that was. The first byte ever pushed
  // must be '{'.
  std::size_t push(std::string_view text);

  bool is_over() const { return is_over_; }
  bool has_name() const { return has_name_; }
  const std::string& name() const { return name_; }
  // Arguments' text that has not been taken. "{}" at the end of an object that has none.
  // REQUIRES: has_name().
  std::string take_arguments();

 private:
  enum class Place : u8 { kKey, kColon, kValue, kInValue };
  void push_byte(char c);
  void push_top(char c);
  void begin_value(char c);
  void end_value();

  std::string name_;
  bool has_name_ = false;
  bool is_arguments_only_ = false;
  bool is_over_ = false;
  i64 depth_ = 0;
  bool is_in_string_ = false;
  bool is_escaped_ = false;
  Place place_ = Place::kKey;
  std::string key_;
  std::string value_;         // Of a key other than the arguments, or arguments that are no object.
  bool is_streamed_ = false;  // The value's bytes go to arguments_ as they come.
  bool has_arguments_ = false;
  std::string arguments_;
};

}  // namespace tg
