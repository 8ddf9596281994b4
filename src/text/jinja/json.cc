#include "text/jinja/json.h"

#include <charconv>
#include <unordered_map>

#include "base/bytes.h"
#include "text/jinja/interpreter.h"
#include "text/unicode.h"

namespace tg::jinja {
namespace {

class JsonParser {
 public:
  JsonParser(Heap& heap, std::string_view text) : heap_(heap), text_(text) {}

  Result<Value> run() {
    TG_ASSIGN(Value value, parse(0));
    skip_spaces();
    if (at_ != text_.size()) return unexpected();
    return value;
  }

 private:
  Error unexpected() const {
    return {Code::kInvalid, "json: unexpected " +
                                (at_ < text_.size() ? "character" : std::string("end")) +
                                " at offset " + std::to_string(at_)};
  }
  void skip_spaces() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }
  bool skip(std::string_view wanted) {
    if (text_.substr(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  Result<Value> parse(i64 depth) {
    if (depth > kValueDepthMax)
      return Error{Code::kLimit, "json: nests deeper than " + std::to_string(kValueDepthMax)};
    if (heap_.is_full()) return Error{Code::kLimit, "json: too many values"};
    skip_spaces();
    if (at_ == text_.size()) return unexpected();
    switch (text_[at_]) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return string();
      default: break;
    }
    if (skip("null")) return Value::none();
    if (skip("true")) return Value::boolean(true);
    if (skip("false")) return Value::boolean(false);
    return number();
  }

  Result<Value> array(i64 depth) {
    List* list = heap_.list();
    ++at_;
    skip_spaces();
    if (skip("]")) return Value::list(list);
    for (;;) {
      TG_ASSIGN(Value item, parse(depth + 1));
      heap_.add_bytes(sizeof item);
      list->items.push_back(item);
      skip_spaces();
      if (skip("]")) return Value::list(list);
      if (!skip(",")) return unexpected();
    }
  }

  Result<Value> object(i64 depth) {
    Dict* dict = heap_.dict();
    std::unordered_map<std::string_view, std::size_t> places;
    ++at_;
    skip_spaces();
    if (skip("}")) return Value::dict(dict);
    for (;;) {
      skip_spaces();
      if (at_ == text_.size() || text_[at_] != '"') return unexpected();
      TG_ASSIGN(Value key, string());
      skip_spaces();
      if (!skip(":")) return unexpected();
      TG_ASSIGN(Value value, parse(depth + 1));
      bool is_new = places.emplace(key.as_string(), dict->entries.size()).second;
      if (is_new) {
        heap_.add_bytes(sizeof(std::pair<Value, Value>));
        dict->entries.emplace_back(key, value);
      } else {
        dict->entries[places[key.as_string()]].second = value;
      }
      skip_spaces();
      if (skip("}")) return Value::dict(dict);
      if (!skip(",")) return unexpected();
    }
  }

  Result<Value> string() {
    std::size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<u8>(text_[at_]) >= 0x20)
      ++at_;
    if (at_ < text_.size() && text_[at_] == '"') {
      ++at_;
      return Value::string(text_.substr(begin, at_ - 1 - begin));
    }
    std::string decoded(text_.substr(begin, at_ - begin));
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\') {
        TG_TRY(escape(decoded));
      } else {
        if (static_cast<u8>(text_[at_]) < 0x20) return unexpected();
        decoded.push_back(text_[at_++]);
      }
    }
    if (!skip("\"")) return unexpected();
    return heap_.string(std::move(decoded));
  }

  // at_ stands on the backslash.
  Status escape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    char name = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    std::size_t known = name == '\0' ? kNames.npos : kNames.find(name);
    if (known != kNames.npos) {
      out.push_back(kMeanings[known]);
      at_ += 2;
      return {};
    }
    TG_ASSIGN(u32 code, code_unit());
    bool is_high = code >= 0xD800 && code <= 0xDBFF;
    if (is_high && text_.substr(at_, 2) == "\\u") {
      std::size_t before = at_;
      TG_ASSIGN(u32 low, code_unit());
      if (low >= 0xDC00 && low <= 0xDFFF) {
        append_utf8(out, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
        return {};
      }
      at_ = before;
    }
    // Half a surrogate pair is no character.
    bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
    append_utf8(out, is_surrogate ? kReplacementChar : code);
    return {};
  }

  Result<u32> code_unit() {
    if (text_.substr(at_, 2) != "\\u" || at_ + 6 > text_.size()) return unexpected();
    Result<std::vector<u8>> bytes = from_hex(text_.substr(at_ + 2, 4));
    if (!bytes.ok()) return unexpected();
    at_ += 6;
    return static_cast<u32>((*bytes)[0] << 8 | (*bytes)[1]);
  }

  // Integers beyond i64 become floats.
  Result<Value> number() {
    std::size_t begin = at_;
    while (at_ < text_.size() && std::string_view("+-.0123456789eE").find(text_[at_]) != text_.npos)
      ++at_;
    std::string_view digits = text_.substr(begin, at_ - begin);
    i64 integer = 0;
    std::from_chars_result whole = std::from_chars(digits.begin(), digits.end(), integer);
    bool is_integer = digits.find_first_of(".eE") == digits.npos;
    if (is_integer && whole.ec == std::errc() && whole.ptr == digits.end())
      return Value::integer(integer);
    f64 real = 0;
    std::from_chars_result parsed = std::from_chars(digits.begin(), digits.end(), real);
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.end()) {
      at_ = begin;
      return unexpected();
    }
    return Value::real(real);
  }

  Heap& heap_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Value> parse_json(Heap& heap, std::string_view text) {
  if (text.size() > kJsonBytesMax) {
    return Error{Code::kLimit, "json: " + std::to_string(text.size()) + " bytes, more than " +
                                   std::to_string(kJsonBytesMax)};
  }
  if (!is_utf8(text)) return Error{Code::kInvalid, "json: not UTF-8"};
  return JsonParser(heap, text).run();
}

}  // namespace tg::jinja
