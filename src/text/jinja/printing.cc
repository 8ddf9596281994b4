#include "text/jinja/printing.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/unicode.h"

namespace tg::jinja {
namespace {

Status check_size(Interpreter& run, const std::string& out, i64 depth) {
  TG_TRY(run.charge(1));
  if (depth > kValueDepthMax)
    return run.error(Code::kLimit, "value nests deeper than " + std::to_string(kValueDepthMax));
  if (static_cast<i64>(out.size()) > kOutputBytesMax)
    return run.error(Code::kLimit,
                     "text of more than " + std::to_string(kOutputBytesMax) + " bytes");
  return {};
}

void append_hex(std::string& out, const char* format, u32 value) {
  char text[16];
  out.append(text, static_cast<std::size_t>(std::snprintf(text, sizeof text, format, value)));
}

// Python prefers single quotes, unless only those are inside.
void append_quoted(std::string& out, std::string_view text) {
  bool has_single = text.find('\'') != text.npos;
  char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  out.push_back(quote);
  for (char c : text) {
    if (c == quote || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<u8>(c) < 0x20 || c == 0x7F) {
      append_hex(out, "\\x%02x", static_cast<u8>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back(quote);
}

class Printer {
 public:
  Printer(Interpreter& run, std::string& out) : run_(run), out_(out) {}

  Status repr(const Value& value, i64 depth) {
    TG_TRY(check_size(run_, out_, depth));
    switch (value.kind()) {
      case Kind::kUndefined: out_ += "Undefined"; break;
      case Kind::kNone: out_ += "None"; break;
      case Kind::kBool: out_ += value.as_int() != 0 ? "True" : "False"; break;
      case Kind::kInt: out_ += std::to_string(value.as_int()); break;
      case Kind::kFloat: append_real(out_, value.as_real()); break;
      case Kind::kString: append_quoted(out_, value.as_string()); break;
      case Kind::kList: return list(value.as_list(), depth);
      case Kind::kDict: return dict(value.as_dict(), depth);
      case Kind::kNamespace:
        out_ += "<Namespace ";
        TG_TRY(dict(value.as_dict(), depth));
        out_ += ">";
        break;
      case Kind::kLoop: out_ += "<LoopContext>"; break;
      case Kind::kCallable: out_ += "<callable>"; break;
    }
    return {};
  }

 private:
  Status list(const List& list, i64 depth) {
    out_.push_back(list.is_tuple ? '(' : '[');
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += ", ";
      TG_TRY(repr(list.items[i], depth + 1));
    }
    if (list.is_tuple && list.items.size() == 1) out_.push_back(',');
    out_.push_back(list.is_tuple ? ')' : ']');
    return {};
  }

  Status dict(const Dict& dict, i64 depth) {
    out_.push_back('{');
    for (std::size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      TG_TRY(repr(dict.entries[i].first, depth + 1));
      out_ += ": ";
      TG_TRY(repr(dict.entries[i].second, depth + 1));
    }
    out_.push_back('}');
    return {};
  }

  Interpreter& run_;
  std::string& out_;
};

class JsonPrinter {
 public:
  JsonPrinter(Interpreter& run, std::string& out, const JsonStyle& style)
      : run_(run), out_(out), style_(style) {}

  Status value(const Value& value, i64 depth) {
    TG_TRY(check_size(run_, out_, depth));
    switch (value.kind()) {
      case Kind::kNone: out_ += "null"; break;
      case Kind::kBool: out_ += value.as_int() != 0 ? "true" : "false"; break;
      case Kind::kInt: out_ += std::to_string(value.as_int()); break;
      case Kind::kFloat: real(value.as_real()); break;
      case Kind::kString: string(value.as_string()); break;
      case Kind::kList: return list(value.as_list(), depth);
      case Kind::kDict: return dict(value.as_dict(), depth);
      default: return run_.error("tojson of " + std::string(type_name(value)));
    }
    return {};
  }

 private:
  void real(f64 value) {
    if (std::isnan(value)) {
      out_ += "NaN";
    } else if (std::isinf(value)) {
      out_ += value < 0 ? "-Infinity" : "Infinity";
    } else {
      append_real(out_, value);
    }
  }

  void string(std::string_view text) {
    out_.push_back('"');
    for (i64 at = 0; at < static_cast<i64>(text.size());) {
      u32 c = utf8_decode(text, at);
      i64 size = utf8_size(static_cast<u8>(text[at]));
      character(c, text.substr(at, size));
      at += size;
    }
    out_.push_back('"');
  }

  void character(u32 c, std::string_view utf8) {
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f";
    constexpr std::string_view kNames = "\"\\nrtbf";
    std::size_t known = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : kEscaped.npos;
    if (known != kEscaped.npos) {
      out_.push_back('\\');
      out_.push_back(kNames[known]);
    } else if (c >= 0x20 && (c < 0x7F || !style_.ensures_ascii)) {
      out_ += utf8;
    } else if (c == 0x7F) {
      out_.push_back('\x7F');
    } else if (c < 0x10000) {
      append_hex(out_, "\\u%04x", c);
    } else {
      append_hex(out_, "\\u%04x", 0xD800 + ((c - 0x10000) >> 10));
      append_hex(out_, "\\u%04x", 0xDC00 + ((c - 0x10000) & 0x3FF));
    }
  }

  void line(i64 depth) {
    if (style_.indent < 0) return;
    out_.push_back('\n');
    out_.append(static_cast<std::size_t>(style_.indent * depth), ' ');
  }

  Status list(const List& list, i64 depth) {
    out_.push_back('[');
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      line(depth + 1);
      TG_TRY(value(list.items[i], depth + 1));
    }
    if (!list.items.empty()) line(depth);
    out_.push_back(']');
    return {};
  }

  Status dict(const Dict& dict, i64 depth) {
    std::vector<std::pair<std::string, Value>> entries;
    for (const std::pair<Value, Value>& entry : dict.entries) {
      TG_ASSIGN(std::string name, key(entry.first));
      entries.emplace_back(std::move(name), entry.second);
    }
    auto by_key = [](const auto& a, const auto& b) { return a.first < b.first; };
    if (style_.sorts_keys) std::stable_sort(entries.begin(), entries.end(), by_key);
    out_.push_back('{');
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      line(depth + 1);
      string(entries[i].first);
      out_ += style_.key_separator;
      TG_TRY(value(entries[i].second, depth + 1));
    }
    if (!entries.empty()) line(depth);
    out_.push_back('}');
    return {};
  }

  Result<std::string> key(const Value& key) {
    if (key.is_string()) return std::string(key.as_string());
    std::string text;
    JsonPrinter printer(run_, text, style_);
    TG_TRY(printer.value(key, 0));
    return text;
  }

  Interpreter& run_;
  std::string& out_;
  const JsonStyle& style_;
};

}  // namespace

void append_real(std::string& out, f64 value) {
  if (std::isnan(value)) {
    out += "nan";
    return;
  }
  if (std::isinf(value)) {
    out += value < 0 ? "-inf" : "inf";
    return;
  }
  f64 size = std::fabs(value);
  // Python writes an exponent from 1e16 on and below 1e-4.
  bool has_exponent = size != 0 && (size >= 1e16 || size < 1e-4);
  char text[400];
  std::to_chars_result end =
      std::to_chars(text, text + sizeof text, value,
                    has_exponent ? std::chars_format::scientific : std::chars_format::fixed);
  std::string_view digits(text, static_cast<std::size_t>(end.ptr - text));
  out += digits;
  if (!has_exponent && digits.find('.') == digits.npos) out += ".0";
}

Status append_repr(Interpreter& run, std::string& out, const Value& value) {
  return Printer(run, out).repr(value, 0);
}

Status append_str(Interpreter& run, std::string& out, const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_string()) {
    out += value.as_string();
    return {};
  }
  return append_repr(run, out, value);
}

Status append_json(Interpreter& run, std::string& out, const Value& value, const JsonStyle& style) {
  return JsonPrinter(run, out, style).value(value, 0);
}

}  // namespace tg::jinja
