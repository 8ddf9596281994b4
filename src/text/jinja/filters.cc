// Filters, by name.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/builtin.h"
#include "text/jinja/json.h"
#include "text/jinja/printing.h"
#include "text/jinja/text_operations.h"

namespace tg::jinja {
namespace {

constexpr i64 kIndentMax = 64;

Result<Value> filter_default(Interpreter&, const Value& self, const Arguments& arguments) {
  bool also_false = flag_argument(arguments, 1, "boolean", false);
  bool is_missing = self.is_undefined() || (also_false && !is_truthy(self));
  return is_missing ? arguments.get(0, "default_value", Value::string("")) : self;
}

Result<Value> filter_length(Interpreter& run, const Value& self, const Arguments&) {
  switch (self.kind()) {
    case Kind::kUndefined: return Value::integer(0);
    case Kind::kString: return Value::integer(char_count(self.as_string()));
    case Kind::kList: return Value::integer(static_cast<i64>(self.as_list().items.size()));
    case Kind::kDict: return Value::integer(static_cast<i64>(self.as_dict().entries.size()));
    default: return run.error("length of a " + std::string(type_name(self)));
  }
}

Result<Value> filter_string(Interpreter& run, const Value& self, const Arguments&) {
  if (self.is_string()) return self;
  TG_ASSIGN(std::string text, run.text_of(self));
  return run.make_string(std::move(text));
}

// The text of `self` through a function of text.
template <typename Function>
Result<Value> map_text(Interpreter& run, const Value& self, const Function& function) {
  TG_ASSIGN(std::string text, run.text_of(self));
  return run.make_string(function(text));
}

Result<Value> filter_trim(Interpreter& run, const Value& self, const Arguments& arguments) {
  const Value* given = arguments.find(0, "chars");
  std::string_view characters;
  if (given != nullptr && !given->is(Kind::kNone)) {
    TG_ASSIGN(characters, string_argument(run, arguments, 0, "chars", ""));
    return map_text(run, self,
                    [&](std::string_view t) { return std::string(strip(t, &characters)); });
  }
  if (self.is_string()) return Value::string(strip(self.as_string(), nullptr));
  return map_text(run, self, [](std::string_view t) { return std::string(strip(t, nullptr)); });
}

Result<Value> filter_upper(Interpreter& run, const Value& self, const Arguments&) {
  return map_text(run, self, to_upper);
}
Result<Value> filter_lower(Interpreter& run, const Value& self, const Arguments&) {
  return map_text(run, self, to_lower);
}
Result<Value> filter_title(Interpreter& run, const Value& self, const Arguments&) {
  return map_text(run, self, to_title);
}
Result<Value> filter_capitalize(Interpreter& run, const Value& self, const Arguments&) {
  return map_text(run, self, capitalize);
}

Result<Value> filter_escape(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::string text, run.text_of(self));
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      default: out.push_back(c);
    }
  }
  return run.make_string(std::move(out));
}

// Nothing is escaped on its own, so that everything is as safe as it will be.
Result<Value> filter_safe(Interpreter& run, const Value& self, const Arguments& arguments) {
  return filter_string(run, self, arguments);
}

Result<Value> filter_replace(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(Value text, filter_string(run, self, {}));
  return replace_checked(run, text.as_string(), arguments);
}

Result<Value> filter_indent(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::string text, run.text_of(self));
  bool first = flag_argument(arguments, 1, "first", false);
  bool blank = flag_argument(arguments, 2, "blank", false);
  const Value* width = arguments.find(0, "width");
  std::string prefix = "    ";
  if (width != nullptr && width->is_string()) {
    prefix = width->as_string();
  } else {
    TG_ASSIGN(i64 count, int_argument(run, arguments, 0, "width", 4));
    prefix.assign(static_cast<std::size_t>(std::clamp<i64>(count, 0, kIndentMax)), ' ');
  }
  if (prefix.size() > kIndentMax) return run.error(Code::kLimit, "indent is too wide");
  std::string out;
  bool is_first = true;
  for (std::string_view line : split(text, "\n", -1)) {
    if (!is_first) out.push_back('\n');
    if (is_first ? first : blank || !line.empty()) out += prefix;
    out += line;
    is_first = false;
  }
  return run.make_string(std::move(out));
}

Result<Value> filter_int(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(i64 otherwise, int_argument(run, arguments, 0, "default", 0));
  if (self.is_integral()) return Value::integer(self.as_int());
  f64 real = 0;
  if (self.is(Kind::kFloat)) {
    real = self.as_real();
  } else if (self.is_string()) {
    std::string_view text = strip(self.as_string(), nullptr);
    if (text.starts_with('+')) text.remove_prefix(1);
    i64 integer = 0;
    std::from_chars_result whole = std::from_chars(text.begin(), text.end(), integer);
    if (whole.ec == std::errc() && whole.ptr == text.end()) return Value::integer(integer);
    std::from_chars_result parsed = std::from_chars(text.begin(), text.end(), real);
    if (parsed.ec != std::errc() || parsed.ptr != text.end()) return Value::integer(otherwise);
  } else {
    return Value::integer(otherwise);
  }
  bool fits = std::fabs(real) < 9.2e18;
  return Value::integer(fits ? static_cast<i64>(real) : otherwise);
}

Result<Value> filter_float(Interpreter&, const Value& self, const Arguments& arguments) {
  if (self.is_number()) return Value::real(self.as_real());
  Value otherwise = arguments.get(0, "default", Value::real(0));
  if (!self.is_string()) return otherwise;
  std::string_view text = strip(self.as_string(), nullptr);
  f64 real = 0;
  std::from_chars_result parsed = std::from_chars(text.begin(), text.end(), real);
  bool is_number = parsed.ec == std::errc() && parsed.ptr == text.end();
  return is_number ? Value::real(real) : otherwise;
}

Result<Value> filter_abs(Interpreter& run, const Value& self, const Arguments&) {
  if (self.is(Kind::kFloat)) return Value::real(std::fabs(self.as_real()));
  if (!self.is_integral()) return run.error("abs of a " + std::string(type_name(self)));
  if (self.as_int() >= 0) return Value::integer(self.as_int());
  return run.binary(Op::kSub, Value::integer(0), self);
}

Result<Value> filter_round(Interpreter& run, const Value& self, const Arguments& arguments) {
  if (!self.is_number()) return run.error("round of a " + std::string(type_name(self)));
  TG_ASSIGN(i64 precision, int_argument(run, arguments, 0, "precision", 0));
  TG_ASSIGN(std::string_view method, string_argument(run, arguments, 1, "method", "common"));
  f64 scale = std::pow(10.0, static_cast<f64>(std::clamp<i64>(precision, -15, 15)));
  f64 scaled = self.as_real() * scale;
  f64 rounded = method == "ceil"    ? std::ceil(scaled)
                : method == "floor" ? std::floor(scaled)
                                    : std::nearbyint(scaled);
  return Value::real(rounded / scale);
}

Result<Value> filter_list(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  return run.make_list(std::move(items));
}

Result<Value> filter_items(Interpreter& run, const Value& self, const Arguments&) {
  if (self.is_undefined()) return run.make_list({});
  if (!self.is(Kind::kDict)) return run.error("items of a " + std::string(type_name(self)));
  TG_TRY(run.charge(static_cast<i64>(self.as_dict().entries.size())));
  return dict_items(run, self.as_dict());
}

Result<Value> filter_first(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  return items.empty() ? Value::undefined("first") : items.front();
}

Result<Value> filter_last(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  return items.empty() ? Value::undefined("last") : items.back();
}

Result<Value> filter_reverse(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  std::reverse(items.begin(), items.end());
  if (self.is_string()) return join_checked(run, items, "");
  return run.make_list(std::move(items));
}

// "a.b.0" looked up step by step; an absent attribute is undefined.
Result<Value> dotted(Interpreter& run, Value value, std::string_view path) {
  for (std::string_view name : split(path, ".", -1)) {
    if (value.is_undefined()) return value;
    i64 index = 0;
    std::from_chars_result parsed = std::from_chars(name.begin(), name.end(), index);
    bool is_index = parsed.ec == std::errc() && parsed.ptr == name.end();
    TG_ASSIGN(value, run.subscript(value, is_index ? Value::integer(index) : Value::string(name)));
  }
  return value;
}

// The `attribute` argument of join, sort, unique, sum, min and max: applied if given.
Result<Value> keyed(Interpreter& run, const Value& item, const Value* path) {
  if (path == nullptr || path->is(Kind::kNone)) return item;
  if (path->is_integral()) return run.subscript(item, *path);
  if (!path->is_string()) return run.error("attribute must be a string");
  return dotted(run, item, path->as_string());
}

Result<Value> filter_join(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::string_view separator, string_argument(run, arguments, 0, "d", ""));
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  for (Value& item : items) {
    TG_ASSIGN(item, keyed(run, item, arguments.find(1, "attribute")));
  }
  return join_checked(run, items, separator);
}

// The map and select families pass over what is empty, none included.
Result<std::vector<Value>> items_or_none(Interpreter& run, const Value& self) {
  if (!is_truthy(self)) return std::vector<Value>();
  return run.items_of(self);
}

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest;
  std::size_t skipped = std::min(count, arguments.positional.size());
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(skipped),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

// map(attribute="x"), map("filter", ...)
Result<Value> filter_map(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::vector<Value> items, items_or_none(run, self));
  const Value* path = arguments.find(SIZE_MAX, "attribute");
  if (path != nullptr) {
    const Value* otherwise = arguments.find(SIZE_MAX, "default");
    for (Value& item : items) {
      TG_ASSIGN(item, keyed(run, item, path));
      if (item.is_undefined() && otherwise != nullptr) item = *otherwise;
    }
    return run.make_list(std::move(items));
  }
  TG_ASSIGN(std::string_view name, string_argument(run, arguments, 0, "filter", ""));
  Function function = find_filter(name);
  if (function == nullptr)
    return run.error(Code::kUnsupported, "filter '" + std::string(name) + "'");
  Arguments rest = without_first(arguments, 1);
  for (Value& item : items) {
    TG_TRY(run.charge(1));
    TG_ASSIGN(item, function(run, item, rest));
  }
  return run.make_list(std::move(items));
}

struct Selection {
  bool keeps_matching = true;  // select or reject.
  bool by_attribute = false;   // The first argument is an attribute.
};

// select("test", ...), selectattr("attribute", "test", ...) and their opposites; without a test,
// truth decides.
Result<Value> select_items(Interpreter& run, const Value& self, const Arguments& arguments,
                           Selection selection) {
  std::size_t test_at = selection.by_attribute ? 1 : 0;
  if (arguments.positional.size() < test_at) return run.error("selectattr needs an attribute");
  TG_ASSIGN(std::vector<Value> items, items_or_none(run, self));
  Function test = nullptr;
  if (arguments.positional.size() > test_at) {
    TG_ASSIGN(std::string_view name, string_argument(run, arguments, test_at, "test", ""));
    test = find_test(name);
    if (test == nullptr) return run.error(Code::kUnsupported, "test '" + std::string(name) + "'");
  }
  Arguments rest = without_first(arguments, test_at + 1);
  std::vector<Value> kept;
  for (const Value& item : items) {
    TG_TRY(run.charge(1));
    TG_ASSIGN(Value tested,
              keyed(run, item, selection.by_attribute ? &arguments.positional[0] : nullptr));
    Value outcome = tested;
    if (test != nullptr) {
      TG_ASSIGN(outcome, test(run, tested, rest));
    }
    if (is_truthy(outcome) == selection.keeps_matching) kept.push_back(item);
  }
  return run.make_list(std::move(kept));
}

Result<Value> filter_select(Interpreter& run, const Value& self, const Arguments& arguments) {
  return select_items(run, self, arguments, {true, false});
}
Result<Value> filter_reject(Interpreter& run, const Value& self, const Arguments& arguments) {
  return select_items(run, self, arguments, {false, false});
}
Result<Value> filter_selectattr(Interpreter& run, const Value& self, const Arguments& arguments) {
  return select_items(run, self, arguments, {true, true});
}
Result<Value> filter_rejectattr(Interpreter& run, const Value& self, const Arguments& arguments) {
  return select_items(run, self, arguments, {false, true});
}

struct SortKey {
  Value key;
  Value item;
};

// Stable merge sort by insertion into halves: the comparison can fail, which std::sort cannot.
Status sort_keys(Interpreter& run, std::vector<SortKey>& keys, bool reverse) {
  if (keys.size() < 2) return {};
  std::ptrdiff_t half = static_cast<std::ptrdiff_t>(keys.size() / 2);
  std::vector<SortKey> left(keys.begin(), keys.begin() + half);
  std::vector<SortKey> right(keys.begin() + half, keys.end());
  TG_TRY(sort_keys(run, left, reverse));
  TG_TRY(sort_keys(run, right, reverse));
  std::size_t l = 0;
  std::size_t r = 0;
  for (SortKey& out : keys) {
    bool takes_left = r == right.size();
    if (!takes_left && l < left.size()) {
      TG_ASSIGN(int sign, run.order(left[l].key, right[r].key));
      takes_left = reverse ? sign >= 0 : sign <= 0;
    }
    out = takes_left ? left[l++] : right[r++];
  }
  return {};
}

// Strings compare without case unless asked otherwise.
Result<Value> folded(Interpreter& run, const Value& key, bool case_sensitive) {
  if (case_sensitive || !key.is_string()) return key;
  return run.make_string(to_lower(key.as_string()));
}

Result<Value> sorted(Interpreter& run, std::vector<SortKey> keys, bool reverse) {
  TG_TRY(sort_keys(run, keys, reverse));
  std::vector<Value> items;
  for (const SortKey& key : keys) items.push_back(key.item);
  return run.make_list(std::move(items));
}

Result<Value> filter_sort(Interpreter& run, const Value& self, const Arguments& arguments) {
  bool reverse = flag_argument(arguments, 0, "reverse", false);
  bool case_sensitive = flag_argument(arguments, 1, "case_sensitive", false);
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  std::vector<SortKey> keys;
  for (const Value& item : items) {
    TG_ASSIGN(Value key, keyed(run, item, arguments.find(2, "attribute")));
    TG_ASSIGN(key, folded(run, key, case_sensitive));
    keys.push_back({key, item});
  }
  return sorted(run, std::move(keys), reverse);
}

Result<Value> filter_dictsort(Interpreter& run, const Value& self, const Arguments& arguments) {
  bool case_sensitive = flag_argument(arguments, 0, "case_sensitive", false);
  TG_ASSIGN(std::string_view by, string_argument(run, arguments, 1, "by", "key"));
  bool reverse = flag_argument(arguments, 2, "reverse", false);
  if (!self.is(Kind::kDict)) return run.error("dictsort of a " + std::string(type_name(self)));
  std::vector<SortKey> keys;
  for (const std::pair<Value, Value>& entry : self.as_dict().entries) {
    TG_ASSIGN(Value key, folded(run, by == "value" ? entry.second : entry.first, case_sensitive));
    keys.push_back({key, make_pair(run, entry)});
  }
  return sorted(run, std::move(keys), reverse);
}

Result<Value> filter_unique(Interpreter& run, const Value& self, const Arguments& arguments) {
  bool case_sensitive = flag_argument(arguments, 0, "case_sensitive", false);
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  Value seen = run.make_list({});
  std::vector<Value> kept;
  for (const Value& item : items) {
    TG_ASSIGN(Value key, keyed(run, item, arguments.find(1, "attribute")));
    TG_ASSIGN(key, folded(run, key, case_sensitive));
    TG_ASSIGN(bool is_known, run.contains(seen, key));
    if (is_known) continue;
    seen.as_list().items.push_back(key);
    kept.push_back(item);
  }
  return run.make_list(std::move(kept));
}

Result<Value> extreme(Interpreter& run, const Value& self, const Arguments& arguments, int sign) {
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  Value best = Value::undefined("extreme of nothing");
  Value best_key;
  for (std::size_t i = 0; i < items.size(); ++i) {
    TG_ASSIGN(Value key, keyed(run, items[i], arguments.find(1, "attribute")));
    TG_ASSIGN(key, folded(run, key, flag_argument(arguments, 0, "case_sensitive", false)));
    bool is_better = i == 0;
    if (!is_better) {
      TG_ASSIGN(int order, run.order(key, best_key));
      is_better = order == sign;
    }
    if (!is_better) continue;
    best = items[i];
    best_key = key;
  }
  return best;
}

Result<Value> filter_min(Interpreter& run, const Value& self, const Arguments& arguments) {
  return extreme(run, self, arguments, -1);
}
Result<Value> filter_max(Interpreter& run, const Value& self, const Arguments& arguments) {
  return extreme(run, self, arguments, 1);
}

Result<Value> filter_sum(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(std::vector<Value> items, run.items_of(self));
  Value total = arguments.get(1, "start", Value::integer(0));
  for (const Value& item : items) {
    TG_ASSIGN(Value value, keyed(run, item, arguments.find(0, "attribute")));
    TG_ASSIGN(total, run.binary(Op::kAdd, total, value));
  }
  return total;
}

// The keywords of json.dumps that templates pass.
Result<Value> filter_tojson(Interpreter& run, const Value& self, const Arguments& arguments) {
  JsonStyle style;
  TG_ASSIGN(style.indent, int_argument(run, arguments, 0, "indent", -1));
  if (style.indent > kIndentMax) return run.error(Code::kLimit, "tojson indent is too wide");
  style.ensures_ascii = flag_argument(arguments, SIZE_MAX, "ensure_ascii", false);
  style.sorts_keys = flag_argument(arguments, SIZE_MAX, "sort_keys", false);
  if (style.indent >= 0) style.item_separator = ",";
  const Value* separators = arguments.find(SIZE_MAX, "separators");
  if (separators != nullptr && !separators->is(Kind::kNone)) {
    TG_ASSIGN(std::vector<Value> pair, run.items_of(*separators));
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      return run.error("tojson separators must be two strings");
    style.item_separator = pair[0].as_string();
    style.key_separator = pair[1].as_string();
  }
  std::string text;
  TG_TRY(append_json(run, text, self, style));
  return run.make_string(std::move(text));
}

Result<Value> filter_from_json(Interpreter& run, const Value& self, const Arguments&) {
  if (!self.is_string()) return run.error("from_json of a " + std::string(type_name(self)));
  TG_TRY(run.charge(static_cast<i64>(self.as_string().size())));
  return parse_json(run.heap(), self.as_string());
}

struct Named {
  std::string_view name;
  Function function;
};

constexpr Named kFilters[] = {
    {"abs", filter_abs},
    {"capitalize", filter_capitalize},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"first", filter_first},
    {"float", filter_float},
    {"from_json", filter_from_json},
    {"fromjson", filter_from_json},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"lower", filter_lower},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_reject},
    {"rejectattr", filter_rejectattr},
    {"replace", filter_replace},
    {"reverse", filter_reverse},
    {"round", filter_round},
    {"safe", filter_safe},
    {"select", filter_select},
    {"selectattr", filter_selectattr},
    {"sort", filter_sort},
    {"string", filter_string},
    {"sum", filter_sum},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"unique", filter_unique},
    {"upper", filter_upper},
};

}  // namespace

Function find_filter(std::string_view name) {
  for (const Named& named : kFilters) {
    if (named.name == name) return named.function;
  }
  return nullptr;
}

}  // namespace tg::jinja
