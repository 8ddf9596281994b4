// Methods of strings, lists and dicts.
#include <algorithm>

#include "text/jinja/builtin.h"
#include "text/jinja/text_operations.h"
#include "text/unicode.h"

namespace tg::jinja {
namespace {

Result<Value> strip_sides(Interpreter& run, const Value& self, const Arguments& arguments,
                          StripSides sides) {
  TG_TRY(run.charge_bytes(self.as_string().size()));
  const Value* given = arguments.find(0, "chars");
  if (given == nullptr || given->is(Kind::kNone))
    return Value::string(strip(self.as_string(), nullptr, sides));
  TG_ASSIGN(std::string_view characters, string_argument(run, arguments, 0, "chars", ""));
  return Value::string(strip(self.as_string(), &characters, sides));
}

Result<Value> string_strip(Interpreter& run, const Value& self, const Arguments& arguments) {
  return strip_sides(run, self, arguments, {});
}
Result<Value> string_lstrip(Interpreter& run, const Value& self, const Arguments& arguments) {
  return strip_sides(run, self, arguments, {.left = true, .right = false});
}
Result<Value> string_rstrip(Interpreter& run, const Value& self, const Arguments& arguments) {
  return strip_sides(run, self, arguments, {.left = false, .right = true});
}

Result<Value> split_sides(Interpreter& run, const Value& self, const Arguments& arguments,
                          bool from_right) {
  std::string_view text = self.as_string();
  TG_ASSIGN(i64 splits, int_argument(run, arguments, 1, "maxsplit", -1));
  const Value* given = arguments.find(0, "sep");
  TG_TRY(run.charge_bytes(text.size() * 8));
  if (given == nullptr || given->is(Kind::kNone)) {
    if (from_right && splits >= 0) return run.error(Code::kUnsupported, "rsplit of white space");
    return make_strings(run, split_spaces(text, splits));
  }
  TG_ASSIGN(std::string_view separator, string_argument(run, arguments, 0, "sep", ""));
  if (separator.empty()) return run.error("empty separator");
  TG_TRY(run.charge_search(text, separator));
  return make_strings(
      run, from_right ? split_right(text, separator, splits) : split(text, separator, splits));
}

Result<Value> string_split(Interpreter& run, const Value& self, const Arguments& arguments) {
  return split_sides(run, self, arguments, false);
}
Result<Value> string_rsplit(Interpreter& run, const Value& self, const Arguments& arguments) {
  return split_sides(run, self, arguments, true);
}
Result<Value> string_splitlines(Interpreter& run, const Value& self, const Arguments& arguments) {
  if (flag_argument(arguments, 0, "keepends", false))
    return run.error(Code::kUnsupported, "splitlines(keepends=True)");
  TG_TRY(run.charge_bytes(self.as_string().size() * 8));
  return make_strings(run, split_lines(self.as_string()));
}

// The argument is one string or a list of them.
template <typename Matches>
Result<Value> matches_any(Interpreter& run, const Arguments& arguments, const Matches& matches) {
  Value wanted = arguments.get(0, "prefix", Value());
  std::vector<Value> options = {wanted};
  if (wanted.is(Kind::kList)) options = wanted.as_list().items;
  for (const Value& option : options) {
    if (!option.is_string())
      return run.error("argument must be a string, not a " + std::string(type_name(option)));
    if (matches(option.as_string())) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Result<Value> string_startswith(Interpreter& run, const Value& self, const Arguments& arguments) {
  std::string_view text = self.as_string();
  return matches_any(run, arguments,
                     [&](std::string_view option) { return text.starts_with(option); });
}
Result<Value> string_endswith(Interpreter& run, const Value& self, const Arguments& arguments) {
  std::string_view text = self.as_string();
  return matches_any(run, arguments,
                     [&](std::string_view option) { return text.ends_with(option); });
}

Result<Value> string_replace(Interpreter& run, const Value& self, const Arguments& arguments) {
  return replace_checked(run, self.as_string(), arguments);
}
Result<Value> string_upper(Interpreter& run, const Value& self, const Arguments&) {
  return run.make_string(to_upper(self.as_string()));
}
Result<Value> string_lower(Interpreter& run, const Value& self, const Arguments&) {
  return run.make_string(to_lower(self.as_string()));
}
Result<Value> string_title(Interpreter& run, const Value& self, const Arguments&) {
  return run.make_string(to_title(self.as_string()));
}
Result<Value> string_capitalize(Interpreter& run, const Value& self, const Arguments&) {
  return run.make_string(capitalize(self.as_string()));
}
Result<Value> string_join(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::vector<Value> parts, run.items_of(arguments.get(0, "iterable", Value())));
  return join_checked(run, parts, self.as_string());
}

Result<Value> string_find(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::string_view needle, string_argument(run, arguments, 0, "sub", ""));
  if (arguments.positional.size() > 1) return run.error(Code::kUnsupported, "find with bounds");
  std::string_view text = self.as_string();
  TG_TRY(run.charge_search(text, needle));
  std::size_t at = text.find(needle);
  return Value::integer(at == text.npos ? -1 : char_count(text.substr(0, at)));
}

Result<Value> string_count(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::string_view needle, string_argument(run, arguments, 0, "sub", ""));
  if (needle.empty()) return Value::integer(char_count(self.as_string()) + 1);
  TG_TRY(run.charge_search(self.as_string(), needle));
  return Value::integer(static_cast<i64>(split(self.as_string(), needle, -1).size()) - 1);
}

// True if there are characters and all have one of the flags.
Result<Value> all_flags(Interpreter& run, const Value& self, int mask) {
  std::string_view text = self.as_string();
  TG_TRY(run.charge_bytes(text.size()));
  bool all = !text.empty();
  for (i64 at = 0; all && at < static_cast<i64>(text.size());
       at += utf8_size(static_cast<u8>(text[at])))
    all = (char_flags(utf8_decode(text, at)) & mask) != 0;
  return Value::boolean(all);
}
Result<Value> string_isdigit(Interpreter& run, const Value& self, const Arguments&) {
  return all_flags(run, self, kCharNumber);
}
Result<Value> string_isalpha(Interpreter& run, const Value& self, const Arguments&) {
  return all_flags(run, self, kCharLetter);
}
Result<Value> string_isspace(Interpreter& run, const Value& self, const Arguments&) {
  return all_flags(run, self, kCharSpace);
}

// "{} {0} {name}".format(...): replacement fields without conversions or format specs.
Result<Value> string_format(Interpreter& run, const Value& self, const Arguments& arguments) {
  std::string_view text = self.as_string();
  TG_TRY(run.charge_bytes(text.size()));
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    bool is_doubled = at + 1 < text.size() && text[at + 1] == text[at];
    if (text[at] != '{' || is_doubled) {
      if (text[at] == '}' && !is_doubled) return run.error("single '}' in format string");
      if ((text[at] == '{' || text[at] == '}') && is_doubled) ++at;
      out.push_back(text[at]);
      continue;
    }
    std::size_t close = text.find('}', at);
    if (close == text.npos) return run.error("'{' without '}' in format string");
    std::string_view field = text.substr(at + 1, close - at - 1);
    if (field.find_first_of(":!.[") != field.npos)
      return run.error(Code::kUnsupported, "format field '" + std::string(field) + "'");
    std::size_t index = arguments.positional.size();
    if (field.empty()) index = next++;
    if (field.size() == 1 && field[0] >= '0' && field[0] <= '9')
      index = static_cast<std::size_t>(field[0] - '0');
    const Value* value = arguments.find(index, field);
    if (value == nullptr) return run.error("format has no '" + std::string(field) + "'");
    TG_ASSIGN(std::string part, run.text_of(*value));
    out += part;
    if (static_cast<i64>(out.size()) > kOutputBytesMax)
      return run.error(Code::kLimit, "format gives too long a text");
    at = close;
  }
  return run.make_string(std::move(out));
}

Result<Value> list_append(Interpreter& run, const Value& self, const Arguments& arguments) {
  run.heap().add_bytes(sizeof(Value));
  self.as_list().items.push_back(arguments.get(0, "object", Value::none()));
  return Value::none();
}

Result<Value> list_extend(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::vector<Value> more, run.items_of(arguments.get(0, "iterable", Value())));
  run.heap().add_bytes(static_cast<i64>(more.size() * sizeof(Value)));
  std::vector<Value>& items = self.as_list().items;
  items.insert(items.end(), more.begin(), more.end());
  return Value::none();
}

Result<Value> list_insert(Interpreter& run, const Value& self, const Arguments& arguments) {
  std::vector<Value>& items = self.as_list().items;
  i64 size = static_cast<i64>(items.size());
  TG_ASSIGN(i64 at, int_argument(run, arguments, 0, "index", 0));
  TG_TRY(run.charge(size / 16));
  at = std::clamp<i64>(at < 0 ? std::max<i64>(at, -size) + size : at, 0, size);
  run.heap().add_bytes(sizeof(Value));
  items.insert(items.begin() + at, arguments.get(1, "object", Value::none()));
  return Value::none();
}

Result<Value> list_pop(Interpreter& run, const Value& self, const Arguments& arguments) {
  std::vector<Value>& items = self.as_list().items;
  i64 size = static_cast<i64>(items.size());
  TG_ASSIGN(i64 at, int_argument(run, arguments, 0, "index", -1));
  TG_TRY(run.charge(size / 16));
  if (at < 0) at += size;
  if (at < 0 || at >= size) return run.error("pop from a list: no such index");
  Value value = items[at];
  items.erase(items.begin() + at);
  return value;
}

Result<Value> list_index(Interpreter& run, const Value& self, const Arguments& arguments) {
  const std::vector<Value>& items = self.as_list().items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    TG_ASSIGN(bool same, run.equals(items[i], arguments.get(0, "value", Value())));
    if (same) return Value::integer(static_cast<i64>(i));
  }
  return run.error("index: value is not in the list");
}

Result<Value> list_count(Interpreter& run, const Value& self, const Arguments& arguments) {
  i64 count = 0;
  for (const Value& item : self.as_list().items) {
    TG_ASSIGN(bool same, run.equals(item, arguments.get(0, "value", Value())));
    count += same ? 1 : 0;
  }
  return Value::integer(count);
}

Result<Value> dict_items_method(Interpreter& run, const Value& self, const Arguments&) {
  TG_TRY(run.charge(static_cast<i64>(self.as_dict().entries.size())));
  return dict_items(run, self.as_dict());
}

Result<Value> dict_keys(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::vector<Value> keys, run.items_of(self));
  return run.make_list(std::move(keys));
}

Result<Value> dict_values(Interpreter& run, const Value& self, const Arguments&) {
  std::vector<Value> values;
  for (const std::pair<Value, Value>& entry : self.as_dict().entries)
    values.push_back(entry.second);
  TG_TRY(run.charge(static_cast<i64>(values.size())));
  return run.make_list(std::move(values));
}

Result<Value> dict_get(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_TRY(run.charge(static_cast<i64>(self.as_dict().entries.size() / 16)));
  const Value* found = self.as_dict().find(arguments.get(0, "key", Value()));
  return found ? *found : arguments.get(1, "default", Value::none());
}

Result<Value> dict_pop(Interpreter& run, const Value& self, const Arguments& arguments) {
  Dict& dict = self.as_dict();
  TG_TRY(run.charge(static_cast<i64>(dict.entries.size() / 4)));
  const Value* found = dict.find(arguments.get(0, "key", Value()));
  const Value* otherwise = arguments.find(1, "default");
  if (found == nullptr && otherwise == nullptr) return run.error("pop: no such key");
  if (found == nullptr) return *otherwise;
  Value value = *found;
  auto holds = [&](const std::pair<Value, Value>& entry) { return &entry.second == found; };
  dict.entries.erase(std::find_if(dict.entries.begin(), dict.entries.end(), holds));
  return value;
}

Result<Value> dict_update(Interpreter& run, const Value& self, const Arguments& arguments) {
  Dict& dict = self.as_dict();
  Value from = arguments.get(0, "other", Value());
  if (!from.is(Kind::kDict)) return run.error("update needs a dict");
  std::vector<std::pair<Value, Value>> entries = from.as_dict().entries;
  for (const std::pair<Value, Value>& entry : entries) {
    TG_TRY(run.charge(static_cast<i64>(dict.entries.size() / 16) + 1));
    run.heap().add_bytes(sizeof entry);
    dict.set(entry.first, entry.second);
  }
  return Value::none();
}

struct Named {
  std::string_view name;
  Function function;
};

constexpr Named kStringMethods[] = {
    {"strip", string_strip},
    {"lstrip", string_lstrip},
    {"rstrip", string_rstrip},
    {"split", string_split},
    {"rsplit", string_rsplit},
    {"splitlines", string_splitlines},
    {"startswith", string_startswith},
    {"endswith", string_endswith},
    {"replace", string_replace},
    {"upper", string_upper},
    {"lower", string_lower},
    {"title", string_title},
    {"capitalize", string_capitalize},
    {"join", string_join},
    {"find", string_find},
    {"count", string_count},
    {"isdigit", string_isdigit},
    {"isnumeric", string_isdigit},
    {"isalpha", string_isalpha},
    {"isspace", string_isspace},
    {"format", string_format},
};

constexpr Named kListMethods[] = {
    {"append", list_append}, {"extend", list_extend}, {"insert", list_insert},
    {"pop", list_pop},       {"index", list_index},   {"count", list_count},
};

constexpr Named kDictMethods[] = {
    {"items", dict_items_method},
    {"keys", dict_keys},
    {"values", dict_values},
    {"get", dict_get},
    {"pop", dict_pop},
    {"update", dict_update},
};

template <std::size_t N>
Function find_named(const Named (&table)[N], std::string_view name) {
  for (const Named& named : table) {
    if (named.name == name) return named.function;
  }
  return nullptr;
}

}  // namespace

Function find_method(Kind kind, std::string_view name) {
  if (kind == Kind::kString) return find_named(kStringMethods, name);
  if (kind == Kind::kList) return find_named(kListMethods, name);
  if (kind == Kind::kDict) return find_named(kDictMethods, name);
  return nullptr;
}

}  // namespace tg::jinja
