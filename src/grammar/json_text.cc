#include "grammar/json_text.h"

#include <algorithm>

#include "base/json_out.h"
#include "grammar/json_number.h"
#include "grammar/regex.h"

namespace tg::grammar {

i32 JsonText::once(std::optional<i32>& rule, const char* name, i32 (JsonText::*body)()) {
  if (!rule) {
    rule = g_.add_rule(name);
    i32 index = *rule;
    g_.set_body(index, (this->*body)());
  }
  return g_.rule(*rule);
}

i32 JsonText::space() {
  return options_.is_compact ? g_.bytes("") : once(space_, "space", &JsonText::space_body);
}
i32 JsonText::string() {
  return once(string_, "string", &JsonText::string_body);
}
i32 JsonText::value() {
  return once(value_, "value", &JsonText::value_body);
}
i32 JsonText::object() {
  return once(object_, "object", &JsonText::object_body);
}
i32 JsonText::array() {
  return once(array_, "array", &JsonText::array_body);
}

i32 JsonText::space_body() {
  i32 indent = g_.repeat(g_.chars(CharSet({{'\t', '\t'}, {' ', ' '}})), 0, kIndentMax);
  return g_.choice({g_.bytes(""), g_.bytes(" "), g_.sequence({g_.bytes("\n"), indent})});
}

i32 JsonText::comma() {
  return g_.sequence({g_.bytes(","), space()});
}

i32 JsonText::string_body() {
  constexpr const char* kHex = "[0-9a-fA-F]";
  std::string hex = kHex;
  std::string body = R"("([^"\\\u0000-\u001F]|\\(["\\/bfnrt]|u([0-9a-cA-CefEF])" + hex + "{3}" +
                     R"(|[dD][0-7])" + hex + "{2}" + R"(|[dD][89abAB])" + hex + "{2}" +
                     R"(\\u[dD][c-fC-F])" + hex + R"({2})))*")";
  return add_regex(g_, body, {}).value();
}

i32 JsonText::value_body() {
  return g_.choice({object(), array(), string(), once(number_, "number", &JsonText::number_body),
                    g_.bytes("true"), g_.bytes("false"), g_.bytes("null")});
}

i32 JsonText::number_body() {
  return add_number(g_, {}).value();
}

i32 JsonText::object_body() {
  return framed("{", g_.list({}, {}, member(string(), value()), comma()), "}");
}

i32 JsonText::array_body() {
  return framed("[", g_.list({}, {}, value(), comma()), "]");
}

i32 JsonText::member(i32 key, i32 value) {
  return g_.sequence({key, g_.bytes(":"), space(), value});
}

i32 JsonText::framed(std::string_view open, i32 inner, std::string_view close) {
  return g_.sequence({g_.bytes(open), space(), inner, space(), g_.bytes(close)});
}

i32 JsonText::literal(std::string_view text) {
  return g_.bytes(json_quoted(text));
}

Result<i32> JsonText::counted_string(i64 min, i64 max) {
  if (min > kStringCharsMax)
    return Error{Code::kLimit, "a minLength of " + std::to_string(min) + ", more than " +
                                   std::to_string(kStringCharsMax)};
  if (max != kUnbounded) max = std::min(max, kStringCharsMax);
  std::map<std::pair<i64, i64>, i32>::iterator known = counted_.find({min, max});
  if (known != counted_.end()) return g_.rule(known->second);
  TG_ASSIGN(Automaton text, json_length_automaton(min, max));
  i32 rule = g_.add_rule("string of " + std::to_string(min) + " to " + std::to_string(max));
  g_.set_body(rule, g_.sequence({g_.bytes("\""), g_.automaton(std::move(text)), g_.bytes("\"")}));
  counted_[{min, max}] = rule;
  return g_.rule(rule);
}

Result<i32> JsonText::key_except(const std::vector<std::string>& names) {
  if (names.empty()) return string();
  Grammar scratch;
  TG_ASSIGN(i32 any, add_regex(scratch, R"("[^"\\\u0000-\u001F]*")", {}));
  std::vector<i32> literals;
  for (const std::string& name : names) literals.push_back(scratch.bytes(json_quoted(name)));
  TG_ASSIGN(Automaton keys, to_automaton(scratch, any));
  TG_ASSIGN(Automaton taken, to_automaton(scratch, scratch.choice(std::move(literals))));
  TG_ASSIGN(Automaton left, subtract(keys, taken));
  return g_.automaton(std::move(left));
}

Result<Automaton> json_char_automaton() {
  Grammar scratch;
  i32 one = add_json_chars(scratch, all_chars());
  TG_ASSIGN(Automaton automaton, to_automaton(scratch, one));
  return minimize(automaton);
}

Result<Automaton> json_length_automaton(i64 min, i64 max) {
  TG_ASSIGN(Automaton unit, json_char_automaton());
  if (max != kUnbounded) return repeat_counted(unit, min, std::min(max, kStringCharsMax));
  Grammar scratch;
  TG_ASSIGN(Automaton least, repeat_counted(unit, min, min));
  i32 first = scratch.automaton(std::move(least));
  i32 more = scratch.repeat(scratch.automaton(std::move(unit)), 0, kUnbounded);
  return to_automaton(scratch, scratch.sequence({first, more}));
}

std::string json_quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

Result<Grammar> any_json_object(const JsonOptions& options) {
  Grammar grammar;
  grammar.root = grammar.add_rule("root");
  JsonText text(grammar, options);
  grammar.set_body(grammar.root, text.object());
  TG_TRY(grammar.check_limits());
  return grammar;
}

}  // namespace tg::grammar
