// What filters, tests, methods and functions share: reading arguments and making strings with their
// size checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/interpreter.h"

namespace tg::jinja {

// An argument that must be a string (an int), or is absent.
Result<std::string_view> string_argument(Interpreter& run, const Arguments& arguments,
                                         std::size_t index, std::string_view name,
                                         std::string_view otherwise);
Result<i64> int_argument(Interpreter& run, const Arguments& arguments, std::size_t index,
                         std::string_view name, i64 otherwise);
bool flag_argument(const Arguments& arguments, std::size_t index, std::string_view name,
                   bool otherwise);

Value make_strings(Interpreter& run, const std::vector<std::string_view>& parts);
// text.replace(from, to, count) with Python's meaning of an empty `from` refused.
Result<Value> replace_checked(Interpreter& run, std::string_view text, const Arguments& arguments);
// Parts joined by `separator`, each printed.
Result<Value> join_checked(Interpreter& run, const std::vector<Value>& parts,
                           std::string_view separator);
Value make_pair(Interpreter& run, const std::pair<Value, Value>& entry);
// [(key, value), ...]
Value dict_items(Interpreter& run, const Dict& dict);

}  // namespace tg::jinja
