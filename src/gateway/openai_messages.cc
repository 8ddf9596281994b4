#include "gateway/openai_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace tg::gateway {

Problem read_optional(const std::string& name, dom::element value, std::string_view key,
                      std::string& out) {
  simdjson::simdjson_result<dom::element> field = value[key];
  if (is_absent(field)) return std::nullopt;
  return read_string(fmt::format("{}.{}", name, key), field.value_unsafe(), out);
}

namespace {

Problem read_part(const std::string& name, dom::element part, std::string& content) {
  std::string_view type;
  if (part["type"].get(type) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' must be an object with a 'type'", name));
  }
  bool is_text = type == "text" || type == "input_text" || type == "output_text";
  std::string_view key = type == "refusal" ? "refusal" : "text";
  if (!is_text && type != "refusal") {
    return unsupported(name, fmt::format("'{}': content of type \"{}\" ({}) is not supported by "
                                         "this model; only \"text\" is",
                                         name, type.substr(0, 60), capability_of(type)));
  }
  dom::element value;
  if (part[key].get(value) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' has no '{}'", name, key));
  }
  std::string text;
  if (Problem problem = read_string(fmt::format("{}.{}", name, key), value, text)) return problem;
  // Parts are separate paragraphs of one message; templates take one string.
  if (!content.empty()) content.push_back('\n');
  content += text;
  return std::nullopt;
}

Problem read_role(const std::string& name, dom::element message, std::string& role) {
  dom::element value;
  if (message["role"].get(value) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' must be an object with a 'role'", name));
  }
  if (Problem problem = read_string(name + ".role", value, role)) return problem;
  // The newer word for the same thing; chat templates know only the older.
  if (role == "developer") role = "system";
  if (role == "system" || role == "user" || role == "assistant" || role == "tool") {
    return std::nullopt;
  }
  if (role == "function") {
    return unsupported(name + ".role",
                       fmt::format("'{}.role' \"function\" is not supported; use \"tool\" with a "
                                   "'tool_call_id'",
                                   name));
  }
  return invalid_value(name + ".role", fmt::format("'{}.role' must be system, developer, user, "
                                                   "assistant or tool, not {}",
                                                   name, shown(value)));
}

Problem read_call(const std::string& name, dom::element value, ToolCall& call) {
  dom::element function;
  if (value["function"].get(function) != simdjson::SUCCESS || !function.is_object()) {
    return invalid_value(name, fmt::format("'{}' has no 'function' object", name));
  }
  if (Problem problem = read_optional(name, value, "id", call.id)) return problem;
  if (Problem problem = read_optional(name + ".function", function, "name", call.name)) {
    return problem;
  }
  if (call.name.empty()) return missing_field(name + ".function.name");
  return read_optional(name + ".function", function, "arguments", call.arguments);
}

Problem read_calls(const std::string& name, dom::element value, std::vector<ToolCall>& calls) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(name, "an array", value);
  for (dom::element item : items) {
    if (static_cast<i64>(calls.size()) == kToolCallsMax) {
      return invalid_value(name, fmt::format("'{}' has more than {} calls", name, kToolCallsMax));
    }
    std::string item_name = fmt::format("{}[{}]", name, calls.size());
    calls.emplace_back();
    if (Problem problem = read_call(item_name, item, calls.back())) return problem;
  }
  return std::nullopt;
}

Problem read_assistant(const std::string& name, dom::element value, Message& message) {
  simdjson::simdjson_result<dom::element> calls = value["tool_calls"];
  if (!is_absent(calls)) {
    Problem problem = read_calls(name + ".tool_calls", calls.value_unsafe(), message.calls);
    if (problem) return problem;
  }
  return read_optional(name, value, "reasoning_content", message.reasoning);
}

Problem read_message(i64 index, dom::element value, Message& message) {
  std::string name = fmt::format("messages[{}]", index);
  if (Problem problem = read_role(name, value, message.role)) return problem;
  Problem problem;
  if (message.role == "assistant") problem = read_assistant(name, value, message);
  if (message.role == "tool") {
    problem = read_optional(name, value, "tool_call_id", message.call_id);
    if (!problem) problem = read_optional(name, value, "name", message.name);
  }
  if (problem) return problem;
  simdjson::simdjson_result<dom::element> content = value["content"];
  if (is_absent(content)) {
    if (message.role == "assistant") return std::nullopt;
    return invalid_value(name + ".content", fmt::format("'{}' has no 'content'", name));
  }
  return read_content(name + ".content", content.value_unsafe(), message.content);
}

}  // namespace

std::string_view capability_of(std::string_view type) {
  auto holds = [type](std::string_view part) { return type.find(part) != type.npos; };
  if (holds("image")) return "image input";
  if (holds("audio")) return "audio input";
  if (holds("video")) return "video input";
  if (holds("file") || holds("document")) return "file input";
  return "another kind of input";
}

Problem read_content(const std::string& name, dom::element value, std::string& content) {
  dom::array parts;
  if (value.is_string()) return read_string(name, value, content);
  if (value.get(parts) != simdjson::SUCCESS) {
    return wrong_type(name, "a string or an array of parts", value);
  }
  i64 index = 0;
  for (dom::element part : parts) {
    std::string part_name = fmt::format("{}[{}]", name, index++);
    if (Problem problem = read_part(part_name, part, content)) return problem;
  }
  return std::nullopt;
}

Problem read_messages(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::array messages;
  if (value.get(messages) != simdjson::SUCCESS) return wrong_type(name, "an array", value);
  for (dom::element element : messages) {
    i64 index = static_cast<i64>(out.messages.size());
    if (index == kMessagesMax) {
      return invalid_value("messages", fmt::format("more than {} messages", kMessagesMax));
    }
    out.messages.emplace_back();
    if (Problem problem = read_message(index, element, out.messages.back())) return problem;
  }
  if (out.messages.empty()) return invalid_value("messages", "'messages' is empty");
  return std::nullopt;
}

Problem add_tool(const std::string& name, dom::element function, CompletionRequest& out) {
  if (static_cast<i64>(out.tools.size()) == kToolsMax) {
    return invalid_value("tools", fmt::format("'tools' has more than {} entries", kToolsMax));
  }
  Tool tool;
  if (Problem problem = read_optional(name, function, "name", tool.name)) return problem;
  if (tool.name.empty()) return missing_field(name + ".name");
  if (static_cast<i64>(tool.name.size()) > kToolNameBytesMax) {
    return invalid_value(name + ".name", fmt::format("'{}.name' has {} bytes; at most {}", name,
                                                     tool.name.size(), kToolNameBytesMax));
  }
  // Templates and replies write names between markers; nothing may be mistaken for one.
  bool is_plain = std::all_of(tool.name.begin(), tool.name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' ||
           c == ':' || c == '/';
  });
  if (!is_plain) {
    return invalid_value(name + ".name",
                         fmt::format("'{}.name' may hold letters, digits, '_', '-', '.', ':' and "
                                     "'/' only, not \"{}\"",
                                     name, tool.name));
  }
  tool.function = json_text(function);
  if (!is_absent(function["parameters"])) {
    tool.parameters = json_text(function["parameters"].value_unsafe());
  }
  if (!is_absent(function["strict"])) {
    Problem problem =
        read_bool(name + ".strict", function["strict"].value_unsafe(), tool.is_strict);
    if (problem) return problem;
  }
  out.tools.push_back(std::move(tool));
  return std::nullopt;
}

Problem read_tools(std::string_view field, dom::element value, CompletionRequest& out) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(field, "an array", value);
  i64 index = 0;
  for (dom::element item : items) {
    std::string name = fmt::format("{}[{}]", field, index++);
    std::string_view type;
    if (item["type"].get(type) != simdjson::SUCCESS) {
      return invalid_value(name, fmt::format("'{}' must be an object with a 'type'", name));
    }
    if (type != "function") {
      return unsupported(name, fmt::format("'{}': tools of type \"{}\" are not supported; only "
                                           "\"function\" is",
                                           name, type.substr(0, 60)));
    }
    dom::element function;
    if (item["function"].get(function) != simdjson::SUCCESS || !function.is_object()) {
      return missing_field(name + ".function");
    }
    if (Problem problem = add_tool(name + ".function", function, out)) return problem;
  }
  return std::nullopt;
}

Problem read_tool_choice(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string name(field);
  std::string_view word;
  if (value.get(word) == simdjson::SUCCESS) {
    using Kind = ToolChoice::Kind;
    if (word == "auto") return std::nullopt;
    if (word == "none" || word == "required") {
      out.tool_choice.kind = word == "none" ? Kind::kNone : Kind::kRequired;
      return std::nullopt;
    }
    return invalid_value(name, fmt::format("'{}' must be none, auto, required or an object, not {}",
                                           name, shown(value)));
  }
  dom::element chosen;
  if (value["function"]["name"].get(chosen) != simdjson::SUCCESS) {
    return wrong_type(name, "none, auto, required or {\"type\": \"function\", \"function\": ...}",
                      value);
  }
  out.tool_choice.kind = ToolChoice::Kind::kRequired;
  return read_string(name + ".function.name", chosen, out.tool_choice.name);
}

Problem check_tool_choice(const CompletionRequest& request) {
  if (request.tool_choice.kind != ToolChoice::Kind::kRequired) return std::nullopt;
  const std::string& name = request.tool_choice.name;
  if (request.tools.empty()) {
    return invalid_value("tool_choice", "'tool_choice' is only allowed with 'tools'");
  }
  bool is_known = name.empty() || std::any_of(request.tools.begin(), request.tools.end(),
                                              [&](const Tool& t) { return t.name == name; });
  if (is_known) return std::nullopt;
  return invalid_value("tool_choice", fmt::format("'tool_choice' names '{}', which is not among "
                                                  "'tools'",
                                                  name.substr(0, 100)));
}

}  // namespace tg::gateway
