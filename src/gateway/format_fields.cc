#include "gateway/format_fields.h"

#include <fmt/format.h>

#include "base/assert.h"

namespace tg::gateway {
namespace {

using grammar::GrammarKind;

Problem set_format(std::string_view name, GrammarKind kind, std::string text,
                   CompletionRequest& out) {
  if (out.format.kind != GrammarKind::kFree) {
    return invalid_value(std::string(name),
                         fmt::format("'{}' and '{}' both say what the reply must "
                                     "look like; only one may",
                                     out.format.param, name));
  }
  out.format = {.kind = kind, .text = std::move(text), .param = std::string(name)};
  return std::nullopt;
}

// A schema as an object, a boolean, or its JSON as a string.
Problem set_schema(std::string_view name, dom::element value, CompletionRequest& out) {
  std::string text;
  bool flag = false;
  if (value.is_string()) {
    if (Problem problem = read_string(name, value, text)) return problem;
  } else if (value.is_object() || value.get(flag) == simdjson::SUCCESS) {
    text = json_text(value);
  } else {
    return wrong_type(name, "a JSON schema", value);
  }
  return set_format(name, GrammarKind::kJsonSchema, std::move(text), out);
}

Problem set_text(std::string_view name, GrammarKind kind, dom::element value,
                 CompletionRequest& out) {
  std::string text;
  if (Problem problem = read_string(name, value, text)) return problem;
  return set_format(name, kind, std::move(text), out);
}

// A text as GBNF quotes it.
std::string gbnf_quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<u8>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02X}", static_cast<u8>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

Problem set_choice(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(name, "an array of strings", value);
  if (items.size() == 0 || static_cast<i64>(items.size()) > kChoiceTextsMax) {
    return invalid_value(std::string(name), fmt::format("'{}' must have 1 to {} strings, not {}",
                                                        name, kChoiceTextsMax, items.size()));
  }
  std::string grammar = "root ::= ";
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::string text;
    std::string item = fmt::format("{}[{}]", name, i);
    if (Problem problem = read_string(item, items.at(i), text)) return problem;
    grammar += (i > 0 ? " | " : "") + gbnf_quoted(text);
  }
  return set_format(name, GrammarKind::kGbnf, std::move(grammar), out);
}

Problem set_object(std::string_view name, dom::element value, CompletionRequest& out) {
  bool wanted = false;
  if (Problem problem = read_bool(name, value, wanted)) return problem;
  return wanted ? set_format(name, GrammarKind::kJsonObject, "", out) : std::nullopt;
}

// One of vLLM's kinds; false if `kind` is none.
bool read_kind(std::string_view kind, std::string_view name, dom::element value,
               CompletionRequest& out, Problem& problem) {
  if (kind == "json") {
    problem = set_schema(name, value, out);
  } else if (kind == "regex") {
    problem = set_text(name, GrammarKind::kRegex, value, out);
  } else if (kind == "grammar") {
    problem = set_text(name, GrammarKind::kGbnf, value, out);
  } else if (kind == "choice") {
    problem = set_choice(name, value, out);
  } else if (kind == "json_object") {
    problem = set_object(name, value, out);
  } else {
    return false;
  }
  return true;
}

}  // namespace

Problem read_format_object(std::string_view name, dom::element value, CompletionRequest& out) {
  std::string_view type;
  if (value["type"].get(type) != simdjson::SUCCESS) {
    return wrong_type(name, "an object with a 'type'", value);
  }
  if (type == "text") return std::nullopt;
  if (type == "json_object") return set_format(name, GrammarKind::kJsonObject, "", out);
  if (type != "json_schema") {
    return unsupported(std::string(name),
                       fmt::format("'{}' of type \"{}\" is not supported; text, json_object and "
                                   "json_schema are",
                                   name, type.substr(0, 40)));
  }
  std::string place(name);
  dom::element holder = value;
  if (!is_absent(value["json_schema"])) {
    holder = value["json_schema"].value_unsafe();
    place += ".json_schema";
    if (!holder.is_object()) return wrong_type(place, "an object", holder);
  }
  place += ".schema";
  if (is_absent(holder["schema"])) return missing_field(place);
  return set_schema(place, holder["schema"].value_unsafe(), out);
}

Problem read_ollama_format(std::string_view name, dom::element value, CompletionRequest& out) {
  std::string_view word;
  if (value.get(word) != simdjson::SUCCESS) return set_schema(name, value, out);
  if (word.empty()) return std::nullopt;
  if (word == "json") return set_format(name, GrammarKind::kJsonObject, "", out);
  return invalid_value(std::string(name), fmt::format("'{}' must be \"json\" or a JSON schema, not "
                                                      "{}",
                                                      name, shown(value)));
}

Problem read_structured_outputs(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::object kinds;
  if (value.get(kinds) != simdjson::SUCCESS) return wrong_type(name, "an object", value);
  for (dom::key_value_pair field : kinds) {
    if (field.value.is_null()) continue;
    Problem problem;
    std::string place = fmt::format("{}.{}", name, field.key.substr(0, 40));
    if (field.key == "structural_tag") {
      return unsupported(place, fmt::format("'{}' is not supported", place));
    }
    read_kind(field.key, place, field.value, out, problem);
    if (problem) return problem;
  }
  return std::nullopt;
}

Problem read_guided(std::string_view name, dom::element value, CompletionRequest& out) {
  constexpr std::string_view kPrefix = "guided_";
  TG_ASSERT(name.starts_with(kPrefix));
  Problem problem;
  bool is_known = read_kind(name.substr(kPrefix.size()), name, value, out, problem);
  TG_ASSERT(is_known);
  return problem;
}

}  // namespace tg::gateway
