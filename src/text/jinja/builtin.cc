#include "text/jinja/builtin.h"

#include "text/jinja/text_operations.h"

namespace tg::jinja {

Result<std::string_view> string_argument(Interpreter& run, const Arguments& arguments,
                                         std::size_t index, std::string_view name,
                                         std::string_view otherwise) {
  const Value* found = arguments.find(index, name);
  if (found == nullptr) return otherwise;
  if (!found->is_string()) {
    return run.error("argument '" + std::string(name) + "' must be a string, not a " +
                     std::string(type_name(*found)));
  }
  return found->as_string();
}

Result<i64> int_argument(Interpreter& run, const Arguments& arguments, std::size_t index,
                         std::string_view name, i64 otherwise) {
  const Value* found = arguments.find(index, name);
  if (found == nullptr || found->is(Kind::kNone)) return otherwise;
  if (!found->is_integral()) {
    return run.error("argument '" + std::string(name) + "' must be an integer, not a " +
                     std::string(type_name(*found)));
  }
  return found->as_int();
}

bool flag_argument(const Arguments& arguments, std::size_t index, std::string_view name,
                   bool otherwise) {
  const Value* found = arguments.find(index, name);
  return found ? is_truthy(*found) : otherwise;
}

Value make_strings(Interpreter& run, const std::vector<std::string_view>& parts) {
  std::vector<Value> values;
  for (std::string_view part : parts) values.push_back(Value::string(part));
  return run.make_list(std::move(values));
}

Result<Value> replace_checked(Interpreter& run, std::string_view text, const Arguments& arguments) {
  if (arguments.positional.size() < 2) return run.error("replace needs two strings");
  Replacement replacement;
  TG_ASSIGN(replacement.from, string_argument(run, arguments, 0, "old", ""));
  TG_ASSIGN(replacement.to, string_argument(run, arguments, 1, "new", ""));
  TG_ASSIGN(replacement.count, int_argument(run, arguments, 2, "count", -1));
  if (replacement.from.empty()) return run.error(Code::kUnsupported, "replace of an empty string");
  TG_TRY(run.charge_search(text, replacement.from));
  i64 size = replaced_size(text, replacement);
  if (size > kOutputBytesMax) return run.error(Code::kLimit, "replace gives too long a text");
  return run.make_string(replace(text, replacement));
}

Result<Value> join_checked(Interpreter& run, const std::vector<Value>& parts,
                           std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    TG_ASSIGN(std::string part, run.text_of(parts[i]));
    text += part;
    if (static_cast<i64>(text.size()) > kOutputBytesMax)
      return run.error(Code::kLimit, "join gives too long a text");
  }
  return run.make_string(std::move(text));
}

Value make_pair(Interpreter& run, const std::pair<Value, Value>& entry) {
  Value pair = run.make_list({entry.first, entry.second});
  pair.as_list().is_tuple = true;
  return pair;
}

Value dict_items(Interpreter& run, const Dict& dict) {
  std::vector<Value> pairs;
  for (const std::pair<Value, Value>& entry : dict.entries) pairs.push_back(make_pair(run, entry));
  return run.make_list(std::move(pairs));
}

}  // namespace tg::jinja
