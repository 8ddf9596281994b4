#include <fmt/format.h>

#include "gateway/chat_request.h"
#include "gateway/dialect/anthropic.h"
#include "gateway/format_fields.h"
#include "gateway/openai_messages.h"

namespace tg::gateway {
namespace {

void add_paragraph(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text.push_back('\n');
  text += more;
}

// What one message's blocks amount to: results of tools become messages of their own.
struct Blocks {
  Message message;
  std::vector<Message> results;
};

Problem read_result(const std::string& name, dom::element block, Blocks& out) {
  Message result{.role = "tool", .content = ""};
  if (Problem problem = read_optional(name, block, "tool_use_id", result.call_id)) return problem;
  if (result.call_id.empty()) return missing_field(name + ".tool_use_id");
  simdjson::simdjson_result<dom::element> content = block["content"];
  if (!is_absent(content)) {
    Problem problem = read_content(name + ".content", content.value_unsafe(), result.content);
    if (problem) return problem;
  }
  out.results.push_back(std::move(result));
  return std::nullopt;
}

Problem read_use(const std::string& name, dom::element block, Blocks& out) {
  ToolCall call;
  if (Problem problem = read_optional(name, block, "id", call.id)) return problem;
  if (Problem problem = read_optional(name, block, "name", call.name)) return problem;
  if (call.id.empty() || call.name.empty()) {
    return missing_field(name + (call.id.empty() ? ".id" : ".name"));
  }
  dom::element input;
  bool is_object = block["input"].get(input) == simdjson::SUCCESS && input.is_object();
  if (!is_object) return missing_field(name + ".input");
  call.arguments = json_text(input);
  out.message.calls.push_back(std::move(call));
  return std::nullopt;
}

Problem read_block(const std::string& name, dom::element block, Blocks& out) {
  std::string_view type;
  if (block["type"].get(type) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' must be an object with a 'type'", name));
  }
  std::string text;
  if (type == "text") {
    if (Problem problem = read_optional(name, block, "text", text)) return problem;
    add_paragraph(out.message.content, text);
    return std::nullopt;
  }
  if (type == "thinking") {
    if (Problem problem = read_optional(name, block, "thinking", text)) return problem;
    add_paragraph(out.message.reasoning, text);
    return std::nullopt;
  }
  if (type == "redacted_thinking") return std::nullopt;
  if (type == "tool_use") return read_use(name, block, out);
  if (type == "tool_result") return read_result(name, block, out);
  return unsupported(name, fmt::format("'{}': content of type \"{}\" ({}) is not supported by this "
                                       "model",
                                       name, type.substr(0, 60), capability_of(type)));
}

Problem read_blocks(const std::string& name, dom::element value, Blocks& out) {
  dom::array blocks;
  if (value.is_string()) return read_string(name, value, out.message.content);
  if (value.get(blocks) != simdjson::SUCCESS) {
    return wrong_type(name, "a string or an array of blocks", value);
  }
  i64 index = 0;
  for (dom::element block : blocks) {
    std::string block_name = fmt::format("{}[{}]", name, index++);
    if (Problem problem = read_block(block_name, block, out)) return problem;
  }
  return std::nullopt;
}

Problem read_message(const std::string& name, dom::element value, CompletionRequest& out) {
  Blocks blocks;
  std::string& role = blocks.message.role;
  if (Problem problem = read_optional(name, value, "role", role)) return problem;
  if (role != "user" && role != "assistant" && role != "system") {
    return invalid_value(
        name + ".role",
        fmt::format("'{}.role' must be user or assistant, not \"{}\"", name, role.substr(0, 40)));
  }
  simdjson::simdjson_result<dom::element> content = value["content"];
  if (is_absent(content)) return missing_field(name + ".content");
  Problem problem = read_blocks(name + ".content", content.value_unsafe(), blocks);
  if (problem) return problem;
  bool is_only_results = !blocks.results.empty() && blocks.message.content.empty();
  for (Message& result : blocks.results) out.messages.push_back(std::move(result));
  if (!is_only_results) out.messages.push_back(std::move(blocks.message));
  return std::nullopt;
}

Problem read_anthropic_messages(std::string_view field, dom::element value,
                                CompletionRequest& out) {
  dom::array messages;
  if (value.get(messages) != simdjson::SUCCESS) return wrong_type(field, "an array", value);
  i64 index = 0;
  for (dom::element message : messages) {
    if (static_cast<i64>(out.messages.size()) >= kMessagesMax) {
      return invalid_value("messages", fmt::format("more than {} messages", kMessagesMax));
    }
    std::string name = fmt::format("{}[{}]", field, index++);
    if (Problem problem = read_message(name, message, out)) return problem;
  }
  return std::nullopt;
}

// The system prompt is a field of its own; it comes first, whatever the fields' order.
Problem read_system(std::string_view name, dom::element value, CompletionRequest& out) {
  Message system{.role = "system", .content = ""};
  Problem problem = read_content(std::string(name), value, system.content);
  if (problem) return problem;
  if (!system.content.empty()) out.messages.insert(out.messages.begin(), std::move(system));
  return std::nullopt;
}

Problem read_anthropic_tools(std::string_view field, dom::element value, CompletionRequest& out) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(field, "an array", value);
  i64 index = 0;
  for (dom::element item : items) {
    std::string name = fmt::format("{}[{}]", field, index++);
    std::string type;
    if (!item.is_object()) return wrong_type(name, "an object", item);
    if (Problem problem = read_optional(name, item, "type", type)) return problem;
    if (!type.empty() && type != "custom") {
      return unsupported(name, fmt::format("'{}': tools of type \"{}\" run on Anthropic's side and "
                                           "are not supported; only \"custom\" is",
                                           name, type.substr(0, 60)));
    }
    std::string function = "{\"name\":";
    if (is_absent(item["name"])) return missing_field(name + ".name");
    function += json_text(item["name"].value_unsafe());
    if (!is_absent(item["description"])) {
      function += ",\"description\":" + json_text(item["description"].value_unsafe());
    }
    if (!is_absent(item["input_schema"])) {
      function += ",\"parameters\":" + json_text(item["input_schema"].value_unsafe());
    }
    if (!is_absent(item["strict"])) {
      function += ",\"strict\":" + json_text(item["strict"].value_unsafe());
    }
    function += "}";
    dom::parser parser;
    dom::element rewritten = parser.parse(function).value_unsafe();
    if (Problem problem = add_tool(name, rewritten, out)) return problem;
  }
  return std::nullopt;
}

Problem read_anthropic_choice(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string name(field);
  std::string type;
  if (!value.is_object()) return wrong_type(name, "an object", value);
  if (Problem problem = read_optional(name, value, "type", type)) return problem;
  using Kind = ToolChoice::Kind;
  if (type == "none") {
    out.tool_choice.kind = Kind::kNone;
  } else if (type == "any" || type == "tool") {
    out.tool_choice.kind = Kind::kRequired;
    if (type == "tool") {
      if (Problem problem = read_optional(name, value, "name", out.tool_choice.name))
        return problem;
      if (out.tool_choice.name.empty()) return missing_field(name + ".name");
    }
  } else if (type != "auto") {
    return invalid_value(name + ".type",
                         fmt::format("'{}.type' must be auto, any, tool or none, not \"{}\"", name,
                                     type.substr(0, 40)));
  }
  bool is_single = false;
  simdjson::simdjson_result<dom::element> single = value["disable_parallel_tool_use"];
  if (!is_absent(single)) {
    Problem problem =
        read_bool(name + ".disable_parallel_tool_use", single.value_unsafe(), is_single);
    if (problem) return problem;
  }
  out.parallel_tool_calls = !is_single;
  return std::nullopt;
}

Problem read_thinking(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string type;
  if (!value.is_object()) return wrong_type(field, "an object", value);
  if (Problem problem = read_optional(std::string(field), value, "type", type)) return problem;
  if (type == "enabled" || type == "disabled") out.has_reasoning = type == "enabled";
  return std::nullopt;
}

// {"format": ..., "effort": ...}
Problem read_output_config(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string name(field);
  if (!value.is_object()) return wrong_type(name, "an object", value);
  if (Problem problem = read_optional(name, value, "effort", out.reasoning_effort)) return problem;
  if (is_absent(value["format"])) return std::nullopt;
  return read_format_object(name + ".format", value["format"].value_unsafe(), out);
}

constexpr Field kFields[] = {
    {"model", [](std::string_view name, dom::element v,
                 CompletionRequest& out) { return read_string(name, v, out.model); }},
    {"messages", read_anthropic_messages},
    {"max_tokens", read_max_tokens},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"stop_sequences", read_stop},
    {"stream", [](std::string_view name, dom::element v,
                  CompletionRequest& out) { return read_bool(name, v, out.is_stream); }},
    {"tools", read_anthropic_tools},
    {"tool_choice", read_anthropic_choice},
    {"thinking", read_thinking},
    {"output_format", read_format_object},
    {"output_config", read_output_config},
    {"mcp_servers", refuse_if_set},
    {"container", refuse_if_set},
};

}  // namespace

ApiResult<CompletionRequest> parse_anthropic_request(std::string_view body, bool is_count) {
  ReusedParser parser;
  dom::object object;
  if (Problem problem = parse_object(*parser, body, object)) return *std::move(problem);
  CompletionRequest request;
  request.api = Api::kMessages;
  Problem problem = read_fields(object, kFields, request);
  if (!problem && !is_absent(object["system"])) {
    problem = read_system("system", object["system"].value_unsafe(), request);
  }
  if (!problem) problem = check_tool_choice(request);
  if (problem) return *std::move(problem);
  if (request.model.empty()) return missing_field("model");
  if (is_absent(object["messages"])) return missing_field("messages");
  if (request.messages.empty()) return invalid_value("messages", "'messages' is empty");
  if (!is_count && !request.max_tokens) return missing_field("max_tokens");
  return request;
}

}  // namespace tg::gateway
