// Values of a template: what JSON has, plus undefined, namespaces, loops and callables. They are
// small and copied freely; strings, lists and dicts live in the Heap of one render, which frees
// them all together. That gives Python's aliasing (append changes what every name sees) without
// counting references, and cycles cannot leak.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/result.h"
#include "base/types.h"

namespace tg::jinja {

enum class Kind : u8 {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,  // Tuples too: templates tell them apart only by printing them.
  kDict,
  kNamespace,
  kLoop,
  kCallable,
};

struct List;
struct Dict;
struct Loop;
struct Callable;

class Value {
 public:
  Value() : int_(0) {}
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool b) { return Value(Kind::kBool, b ? 1 : 0); }
  static Value integer(i64 i) { return Value(Kind::kInt, i); }
  static Value real(f64 f) {
    Value v(Kind::kFloat);
    v.float_ = f;
    return v;
  }
  // Borrows the characters.
  static Value string(std::string_view text) {
    Value v(Kind::kString);
    v.chars_ = text.data();
    v.size_ = static_cast<i64>(text.size());
    return v;
  }
  // Borrows the name of the missing thing, for error messages.
  static Value undefined(std::string_view name) {
    Value v = string(name);
    v.kind_ = Kind::kUndefined;
    return v;
  }
  static Value list(List* l) {
    Value v(Kind::kList);
    v.list_ = l;
    return v;
  }
  static Value dict(Dict* d) {
    Value v(Kind::kDict);
    v.dict_ = d;
    return v;
  }
  static Value name_space(Dict* d) {
    Value v(Kind::kNamespace);
    v.dict_ = d;
    return v;
  }
  static Value loop(Loop* l) {
    Value v(Kind::kLoop);
    v.loop_ = l;
    return v;
  }
  static Value callable(const Callable* c) {
    Value v(Kind::kCallable);
    v.callable_ = c;
    return v;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

  // REQUIRES, for each: the kind it reads.
  i64 as_int() const {
    TG_ASSERT(is_integral());
    return int_;
  }
  f64 as_real() const { return kind_ == Kind::kFloat ? float_ : static_cast<f64>(as_int()); }
  std::string_view as_string() const {
    TG_ASSERT(is_string());
    return {chars_, static_cast<std::size_t>(size_)};
  }
  std::string_view undefined_name() const {
    TG_ASSERT(is_undefined());
    return chars_ == nullptr ? std::string_view("value")
                             : std::string_view(chars_, static_cast<std::size_t>(size_));
  }
  List& as_list() const {
    TG_ASSERT(kind_ == Kind::kList);
    return *list_;
  }
  // Dicts and namespaces.
  Dict& as_dict() const {
    TG_ASSERT(kind_ == Kind::kDict || kind_ == Kind::kNamespace);
    return *dict_;
  }
  Loop& as_loop() const {
    TG_ASSERT(kind_ == Kind::kLoop);
    return *loop_;
  }
  const Callable& as_callable() const {
    TG_ASSERT(kind_ == Kind::kCallable);
    return *callable_;
  }

 private:
  explicit Value(Kind kind, i64 i = 0) : kind_(kind), int_(i) {}

  Kind kind_ = Kind::kUndefined;
  union {
    i64 int_;
    f64 float_;
    const char* chars_;
    List* list_;
    Dict* dict_;
    Loop* loop_;
    const Callable* callable_;
  };
  i64 size_ = 0;
};

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
};

// Keeps insertion order. Small, so that a scan finds a key.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;

  Value* find(const Value& key);
  Value* find(std::string_view key) { return find(Value::string(key)); }
  void set(const Value& key, const Value& value);
};

struct Loop {
  const List* items = nullptr;
  i64 index = 0;
  i64 depth = 0;
};

// Owns what the values of one render point to, and bounds it.
class Heap {
 public:
  static constexpr i64 kBytesMax = i64{256} << 20;

  Value string(std::string text);
  List* list();
  Dict* dict();
  Callable* callable();
  Loop* loop();
  // Counts `bytes` more; lists and dicts that grow report it themselves.
  void add_bytes(i64 bytes) { bytes_ += bytes; }
  bool is_full() const { return bytes_ > kBytesMax; }

  Heap();
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

 private:
  std::deque<std::string> strings_;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Callable> callables_;
  std::deque<Loop> loops_;
  i64 bytes_ = 0;
};

// "str", "int", "list", ...: Python's names, for messages.
std::string_view type_name(const Value& value);
bool is_truthy(const Value& value);

// Characters, not bytes. REQUIRES: UTF-8.
i64 char_count(std::string_view text);
// Byte offset of character `index`; text.size() past the end.
i64 char_offset(std::string_view text, i64 index);

}  // namespace tg::jinja
