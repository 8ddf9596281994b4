// The parts JSON text is made of, as rules of a grammar: strings, white space, members, and any
// value at all. Rules are added when first asked for.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"

namespace tg::grammar {

// Indentation that white space may have after a line break.
inline constexpr i64 kIndentMax = 64;
// A string with a maximal length never grows past so many characters, whatever the maximum is.
inline constexpr i64 kStringCharsMax = 8192;

struct JsonOptions {
  // No white space between the parts. Otherwise one space, or a line break and an indentation, may
  // stand behind '{', '[', ',' and ':' and before '}' and ']'; never without end, for models that
  // begin to write spaces do not stop.
  bool is_compact = false;
};

class JsonText {
 public:
  JsonText(Grammar& grammar, const JsonOptions& options) : g_(grammar), options_(options) {}

  // Each returns an expression.
  i32 space();
  i32 comma();   // With the space behind it.
  i32 string();  // Any string; any escape, as long as surrogates come in pairs.
  i32 value();   // Anything.
  i32 object();  // Any object.
  i32 array();   // Any array.
  // `key` is a string with its quotes.
  i32 member(i32 key, i32 value);
  // `inner` between braces or brackets, and white space inside.
  i32 framed(std::string_view open, i32 inner, std::string_view close);
  // `text` as a string, written in one way.
  i32 literal(std::string_view text);
  // min to max characters (kUnbounded: any number), each written in one way. kLimit past
  // kStringCharsMax.
  Result<i32> counted_string(i64 min, i64 max);
  // Any string that holds characters as themselves and is none of `names`.
  Result<i32> key_except(const std::vector<std::string>& names);

 private:
  i32 once(std::optional<i32>& rule, const char* name, i32 (JsonText::*body)());
  i32 space_body();
  i32 string_body();
  i32 value_body();
  i32 object_body();
  i32 array_body();
  i32 number_body();

  Grammar& g_;
  JsonOptions options_;
  std::optional<i32> space_;
  std::optional<i32> string_;
  std::optional<i32> value_;
  std::optional<i32> object_;
  std::optional<i32> array_;
  std::optional<i32> number_;
  std::map<std::pair<i64, i64>, i32> counted_;  // Rules of strings by their lengths.
};

// The automaton of one character as a string holds it, written in one way.
Result<Automaton> json_char_automaton();
// Texts (without quotes) of min to max such characters.
Result<Automaton> json_length_automaton(i64 min, i64 max);

// `text` with quotes and escapes, written in that way.
std::string json_quoted(std::string_view text);

// Any JSON object: what response_format "json_object" asks for.
Result<Grammar> any_json_object(const JsonOptions& options);

}  // namespace tg::grammar
