#include "text/jinja/value.h"

#include "text/jinja/callable.h"
#include "text/unicode.h"

namespace tg::jinja {
namespace {

// Keys are equal as in Python: 1 and 1.0 and true are one key.
bool same_key(const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  if (a.is_number() && b.is_number()) return a.as_real() == b.as_real();
  return a.is(Kind::kNone) && b.is(Kind::kNone);
}

}  // namespace

Value* Dict::find(const Value& key) {
  for (std::pair<Value, Value>& entry : entries) {
    if (same_key(entry.first, key)) return &entry.second;
  }
  return nullptr;
}

void Dict::set(const Value& key, const Value& value) {
  if (Value* found = find(key)) {
    *found = value;
  } else {
    entries.emplace_back(key, value);
  }
}

Heap::Heap() = default;
Heap::~Heap() = default;

Value Heap::string(std::string text) {
  bytes_ += static_cast<i64>(text.size() + sizeof text);
  strings_.push_back(std::move(text));
  return Value::string(strings_.back());
}

List* Heap::list() {
  bytes_ += sizeof(List);
  return &lists_.emplace_back();
}

Dict* Heap::dict() {
  bytes_ += sizeof(Dict);
  return &dicts_.emplace_back();
}

Callable* Heap::callable() {
  bytes_ += sizeof(Callable);
  return &callables_.emplace_back();
}

Loop* Heap::loop() {
  bytes_ += sizeof(Loop);
  return &loops_.emplace_back();
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined: return "undefined";
    case Kind::kNone: return "none";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return "str";
    case Kind::kList: return "list";
    case Kind::kDict: return "dict";
    case Kind::kNamespace: return "namespace";
    case Kind::kLoop: return "loop";
    case Kind::kCallable: return "callable";
  }
  return "unknown";
}

bool is_truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool:
    case Kind::kInt: return value.as_int() != 0;
    case Kind::kFloat: return value.as_real() != 0;
    case Kind::kString: return !value.as_string().empty();
    case Kind::kList: return !value.as_list().items.empty();
    case Kind::kDict: return !value.as_dict().entries.empty();
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kCallable: return true;
  }
  return false;
}

i64 char_count(std::string_view text) {
  i64 count = 0;
  for (char c : text) count += (static_cast<u8>(c) & 0xC0) != 0x80;
  return count;
}

i64 char_offset(std::string_view text, i64 index) {
  i64 at = 0;
  i64 size = static_cast<i64>(text.size());
  for (; index > 0 && at < size; --index) at += utf8_size(static_cast<u8>(text[at]));
  return at;
}

}  // namespace tg::jinja
