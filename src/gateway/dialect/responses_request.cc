#include <fmt/format.h>

#include "gateway/chat_request.h"
#include "gateway/dialect/responses.h"
#include "gateway/format_fields.h"
#include "gateway/openai_messages.h"

namespace tg::gateway {
namespace {

Problem add_call(const std::string& name, dom::element item, CompletionRequest& out) {
  ToolCall call;
  if (Problem problem = read_optional(name, item, "call_id", call.id)) return problem;
  if (Problem problem = read_optional(name, item, "name", call.name)) return problem;
  if (Problem problem = read_optional(name, item, "arguments", call.arguments)) return problem;
  if (call.id.empty() || call.name.empty()) {
    return missing_field(name + (call.id.empty() ? ".call_id" : ".name"));
  }
  // What the model said in one turn is one message for its template.
  bool continues = !out.messages.empty() && out.messages.back().role == "assistant";
  if (!continues) out.messages.push_back({.role = "assistant", .content = ""});
  std::vector<ToolCall>& calls = out.messages.back().calls;
  if (static_cast<i64>(calls.size()) == kToolCallsMax) {
    return invalid_value(name, fmt::format("more than {} calls in one turn", kToolCallsMax));
  }
  calls.push_back(std::move(call));
  return std::nullopt;
}

Problem add_output(const std::string& name, dom::element item, CompletionRequest& out) {
  Message answer{.role = "tool", .content = ""};
  if (Problem problem = read_optional(name, item, "call_id", answer.call_id)) return problem;
  if (answer.call_id.empty()) return missing_field(name + ".call_id");
  simdjson::simdjson_result<dom::element> output = item["output"];
  if (is_absent(output)) return missing_field(name + ".output");
  Problem problem = read_content(name + ".output", output.value_unsafe(), answer.content);
  if (!problem) out.messages.push_back(std::move(answer));
  return problem;
}

Problem add_reasoning(dom::element item, CompletionRequest& out) {
  Message message{.role = "assistant", .content = ""};
  dom::array parts;
  if (item["content"].get(parts) != simdjson::SUCCESS) return std::nullopt;
  for (dom::element part : parts) {
    std::string_view text;
    if (part["text"].get(text) == simdjson::SUCCESS) message.reasoning += text;
  }
  if (!message.reasoning.empty()) out.messages.push_back(std::move(message));
  return std::nullopt;
}

Problem add_message(const std::string& name, dom::element item, CompletionRequest& out) {
  Message message;
  if (Problem problem = read_optional(name, item, "role", message.role)) return problem;
  if (message.role == "developer") message.role = "system";
  bool is_known = message.role == "system" || message.role == "user" || message.role == "assistant";
  if (!is_known) {
    return invalid_value(name + ".role",
                         fmt::format("'{}.role' must be system, developer, user or assistant, not "
                                     "\"{}\"",
                                     name, message.role.substr(0, 40)));
  }
  simdjson::simdjson_result<dom::element> content = item["content"];
  if (is_absent(content)) return missing_field(name + ".content");
  Problem problem = read_content(name + ".content", content.value_unsafe(), message.content);
  if (problem) return problem;
  // Reasoning comes as an item before the message that it led to.
  bool continues = message.role == "assistant" && !out.messages.empty() &&
                   out.messages.back().role == "assistant" && out.messages.back().calls.empty() &&
                   out.messages.back().content.empty();
  if (continues) {
    out.messages.back().content = std::move(message.content);
  } else {
    out.messages.push_back(std::move(message));
  }
  return std::nullopt;
}

Problem add_item(const std::string& name, dom::element item, CompletionRequest& out) {
  std::string type;
  if (!item.is_object()) return wrong_type(name, "an object", item);
  if (static_cast<i64>(out.messages.size()) == kMessagesMax) {
    return invalid_value("input", fmt::format("more than {} messages", kMessagesMax));
  }
  if (Problem problem = read_optional(name, item, "type", type)) return problem;
  if (type.empty() || type == "message") return add_message(name, item, out);
  if (type == "function_call") return add_call(name, item, out);
  if (type == "function_call_output") return add_output(name, item, out);
  if (type == "reasoning") return add_reasoning(item, out);
  return unsupported(
      name, fmt::format("'{}': items of type \"{}\" are not supported by this server", name,
                        type.substr(0, 60)));
}

Problem read_input(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string text;
  if (value.is_string()) {
    if (Problem problem = read_string(field, value, text)) return problem;
    out.responses->input = R"([{"type":"message","role":"user","content":[{"type":"input_text",)"
                           R"("text":)" +
                           json_text(value) + "}]}]";
    out.messages.push_back({.role = "user", .content = std::move(text)});
    return std::nullopt;
  }
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) {
    return wrong_type(field, "a string or an array of items", value);
  }
  out.responses->input = json_text(value);
  i64 index = 0;
  for (dom::element item : items) {
    std::string name = fmt::format("{}[{}]", field, index++);
    if (Problem problem = add_item(name, item, out)) return problem;
  }
  return std::nullopt;
}

// Tools that a server would run by itself are left out of what the model is offered, as the model
// may do without any of them; but not if nothing that was asked for is left.
Problem read_responses_tools(std::string_view field, dom::element value, CompletionRequest& out) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(field, "an array", value);
  out.responses->tools = json_text(value);
  std::string& left_out = out.responses->tools_left_out;
  Problem first_left_out;
  i64 index = 0;
  for (dom::element item : items) {
    std::string name = fmt::format("{}[{}]", field, index++);
    std::string type;
    if (!item.is_object()) return wrong_type(name, "an object", item);
    if (Problem problem = read_optional(name, item, "type", type)) return problem;
    if (type == "function") {
      if (Problem problem = add_tool(name, item, out)) return problem;
      continue;
    }
    if (index > kToolsMax) return invalid_value(std::string(field), "too many tools");
    left_out += (left_out.empty() ? "" : ", ") + type.substr(0, 60);
    if (first_left_out) continue;
    first_left_out = unsupported(name, fmt::format("'{}': tools of type \"{}\" are not supported; "
                                                   "only \"function\" is",
                                                   name, type.substr(0, 60)));
  }
  return out.tools.empty() ? first_left_out : std::nullopt;
}

Problem read_responses_choice(std::string_view field, dom::element value, CompletionRequest& out) {
  out.responses->tool_choice = json_text(value);
  if (value.is_string()) return read_tool_choice(field, value, out);
  std::string name(field);
  std::string type;
  if (!value.is_object()) return wrong_type(field, "none, auto, required or an object", value);
  if (Problem problem = read_optional(name, value, "type", type)) return problem;
  if (type != "function") {
    return unsupported(name, fmt::format("'{}' of type \"{}\" is not supported; only \"function\" "
                                         "is",
                                         name, type.substr(0, 60)));
  }
  out.tool_choice.kind = ToolChoice::Kind::kRequired;
  return read_optional(name, value, "name", out.tool_choice.name);
}

Problem read_text(std::string_view name, dom::element value, CompletionRequest& out) {
  if (!value.is_object()) return wrong_type(name, "an object", value);
  if (is_absent(value["format"])) return std::nullopt;
  dom::element format = value["format"].value_unsafe();
  if (Problem problem = read_format_object("text.format", format, out)) return problem;
  out.responses->format = json_text(format);
  return std::nullopt;
}

Problem read_reasoning(std::string_view name, dom::element value, CompletionRequest& out) {
  if (!value.is_object()) return wrong_type(name, "an object", value);
  // The field may come twice, and the second time without an effort.
  if (is_absent(value["effort"])) return std::nullopt;
  if (Problem p = read_optional(std::string(name), value, "effort", out.reasoning_effort)) return p;
  if (out.reasoning_effort.empty()) return std::nullopt;
  out.responses->effort = json_text(value["effort"].value_unsafe());
  if (out.reasoning_effort == "none") out.has_reasoning = false;
  return std::nullopt;
}

Problem read_output_max(std::string_view name, dom::element value, CompletionRequest& out) {
  i64 tokens = 0;
  if (Problem problem = read_integer(name, value, {1, kOutputTokensMax}, tokens)) return problem;
  out.max_tokens = tokens;
  return std::nullopt;
}

constexpr Field kFields[] = {
    {"model", [](std::string_view name, dom::element v,
                 CompletionRequest& out) { return read_string(name, v, out.model); }},
    {"input", read_input},
    {"instructions",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_string(name, v, out.responses->instructions);
     }},
    {"tools", read_responses_tools},
    {"tool_choice", read_responses_choice},
    {"parallel_tool_calls",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_bool(name, v, out.parallel_tool_calls);
     }},
    {"text", read_text},
    {"reasoning", read_reasoning},
    {"max_output_tokens", read_output_max},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"stream", [](std::string_view name, dom::element v,
                  CompletionRequest& out) { return read_bool(name, v, out.is_stream); }},
    {"store", [](std::string_view name, dom::element v,
                 CompletionRequest& out) { return read_bool(name, v, out.responses->is_stored); }},
    {"previous_response_id",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_string(name, v, out.responses->previous_id);
     }},
    {"metadata",
     [](std::string_view name, dom::element v, CompletionRequest& out) -> Problem {
       if (!v.is_object()) return wrong_type(name, "an object", v);
       out.responses->metadata = json_text(v);
       return std::nullopt;
     }},
    {"background", refuse_if_set},
    {"conversation", refuse_if_set},
    {"prompt", refuse_if_set},
};

}  // namespace

ApiResult<CompletionRequest> parse_responses_request(std::string_view body) {
  ReusedParser parser;
  dom::object object;
  if (Problem problem = parse_object(*parser, body, object)) return *std::move(problem);
  CompletionRequest request;
  request.api = Api::kResponses;
  request.responses.emplace();
  Problem problem = read_fields(object, kFields, request);
  if (!problem) problem = check_tool_choice(request);
  if (problem) return *std::move(problem);
  if (request.model.empty()) return missing_field("model");
  if (is_absent(object["input"])) return missing_field("input");
  if (request.messages.empty()) return invalid_value("input", "'input' is empty");
  return request;
}

}  // namespace tg::gateway
