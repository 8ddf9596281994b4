#include <fmt/format.h>

#include <algorithm>

#include "base/json_out.h"
#include "gateway/chat_request.h"
#include "gateway/dialect/ollama.h"
#include "gateway/format_fields.h"
#include "gateway/openai_messages.h"

namespace tg::gateway {

std::string plain_model(std::string name) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.resize(name.size() - kLatest.size());
  return name;
}

namespace {

Problem read_model(std::string_view name, dom::element value, CompletionRequest& out) {
  Problem problem = read_string(name, value, out.model);
  out.model = plain_model(std::move(out.model));
  return problem;
}

// Calls are not numbered here: an answer belongs to the call whose turn it is.
std::string call_id(std::size_t message, std::size_t call) {
  return fmt::format("call_{}_{}", message, call);
}

Problem read_calls(const std::string& name, dom::element value, std::size_t message_index,
                   Message& message) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(name, "an array", value);
  for (dom::element item : items) {
    std::string item_name = fmt::format("{}[{}].function", name, message.calls.size());
    dom::element function;
    if (item["function"].get(function) != simdjson::SUCCESS || !function.is_object()) {
      return missing_field(item_name);
    }
    if (static_cast<i64>(message.calls.size()) == kToolCallsMax) {
      return invalid_value(name, fmt::format("'{}' has more than {} calls", name, kToolCallsMax));
    }
    ToolCall call{.id = call_id(message_index, message.calls.size()), .arguments = "{}"};
    if (Problem problem = read_optional(item_name, function, "name", call.name)) return problem;
    if (call.name.empty()) return missing_field(item_name + ".name");
    if (!is_absent(function["arguments"])) {
      call.arguments = json_text(function["arguments"].value_unsafe());
    }
    message.calls.push_back(std::move(call));
  }
  return std::nullopt;
}

// The first call before the message that has no answer yet.
std::string unanswered_call(const std::vector<Message>& messages) {
  std::size_t answers = 0;
  for (std::size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role == "tool") ++answers;
    if (messages[i].calls.empty()) continue;
    std::size_t turn = std::min(answers, messages[i].calls.size() - 1);
    return messages[i].calls[turn].id;
  }
  return "";
}

Problem read_message(const std::string& name, dom::element value, CompletionRequest& out) {
  Message message;
  if (!value.is_object()) return wrong_type(name, "an object", value);
  if (Problem problem = read_optional(name, value, "role", message.role)) return problem;
  bool is_known = message.role == "system" || message.role == "user" ||
                  message.role == "assistant" || message.role == "tool";
  if (!is_known) {
    return invalid_value(name + ".role",
                         fmt::format("'{}.role' must be system, user, assistant or tool, not "
                                     "\"{}\"",
                                     name, message.role.substr(0, 40)));
  }
  if (Problem problem = read_optional(name, value, "content", message.content)) return problem;
  if (Problem problem = read_optional(name, value, "thinking", message.reasoning)) return problem;
  dom::array images;
  if (value["images"].get(images) == simdjson::SUCCESS && images.size() > 0) {
    return unsupported(
        name + ".images",
        fmt::format("'{}.images': image input is not supported by this model", name));
  }
  if (!is_absent(value["tool_calls"])) {
    Problem problem = read_calls(name + ".tool_calls", value["tool_calls"].value_unsafe(),
                                 out.messages.size(), message);
    if (problem) return problem;
  }
  if (message.role == "tool") {
    if (Problem problem = read_optional(name, value, "tool_name", message.name)) return problem;
    message.call_id = unanswered_call(out.messages);
  }
  out.messages.push_back(std::move(message));
  return std::nullopt;
}

Problem read_ollama_messages(std::string_view field, dom::element value, CompletionRequest& out) {
  dom::array messages;
  if (value.get(messages) != simdjson::SUCCESS) return wrong_type(field, "an array", value);
  for (dom::element message : messages) {
    if (static_cast<i64>(out.messages.size()) == kMessagesMax) {
      return invalid_value("messages", fmt::format("more than {} messages", kMessagesMax));
    }
    std::string name = fmt::format("{}[{}]", field, out.messages.size());
    if (Problem problem = read_message(name, message, out)) return problem;
  }
  return std::nullopt;
}

Problem read_think(std::string_view name, dom::element value, CompletionRequest& out) {
  bool wanted = false;
  if (value.is_string()) return read_string(name, value, out.reasoning_effort);
  if (Problem problem = read_bool(name, value, wanted)) return problem;
  out.has_reasoning = wanted;
  return std::nullopt;
}

// Negative: no limit of its own.
Problem read_num_predict(std::string_view name, dom::element value, CompletionRequest& out) {
  i64 tokens = 0;
  Problem problem = read_integer(name, value, {-2, kOutputTokensMax}, tokens);
  if (problem || tokens <= 0) return problem;
  out.max_tokens = tokens;
  return std::nullopt;
}

constexpr Field kOptions[] = {
    {"num_predict", read_num_predict},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"min_p",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0, 1}, out.sampling.min_p);
     }},
    {"seed", read_seed},
    {"stop", read_stop},
    {"repeat_penalty",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0.01, 2}, out.sampling.repetition_penalty);
     }},
    {"presence_penalty",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {-2, 2}, out.sampling.presence_penalty);
     }},
    {"frequency_penalty",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {-2, 2}, out.sampling.frequency_penalty);
     }},
};

Problem read_options(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::object options;
  if (value.get(options) != simdjson::SUCCESS) return wrong_type(name, "an object", value);
  return read_fields(options, kOptions, out);
}

Problem read_stream(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_bool(name, value, out.is_stream);
}

constexpr Field kChatFields[] = {
    {"model", read_model},     {"messages", read_ollama_messages},
    {"tools", read_tools},     {"stream", read_stream},
    {"think", read_think},     {"format", read_ollama_format},
    {"options", read_options},
};

constexpr Field kGenerateFields[] = {
    {"model", read_model},          {"stream", read_stream},    {"think", read_think},
    {"format", read_ollama_format}, {"options", read_options},  {"images", refuse_if_set},
    {"suffix", refuse_if_set},      {"context", refuse_if_set},
};

// A prompt is a user's message, unless it is raw.
Problem read_generate(dom::object object, CompletionRequest& out) {
  bool is_raw = false;
  std::string prompt;
  std::string system;
  if (!is_absent(object["raw"])) {
    if (Problem problem = read_bool("raw", object["raw"].value_unsafe(), is_raw)) return problem;
  }
  if (is_absent(object["prompt"])) return missing_field("prompt");
  if (Problem p = read_string("prompt", object["prompt"].value_unsafe(), prompt)) return p;
  if (!is_absent(object["system"])) {
    if (Problem p = read_string("system", object["system"].value_unsafe(), system)) return p;
  }
  if (is_raw) {
    out.prompts.emplace_back(std::move(prompt));
    return std::nullopt;
  }
  if (!system.empty()) out.messages.push_back({.role = "system", .content = std::move(system)});
  out.messages.push_back({.role = "user", .content = std::move(prompt)});
  return std::nullopt;
}

}  // namespace

ApiResult<CompletionRequest> parse_ollama_request(Api api, std::string_view body) {
  ReusedParser parser;
  dom::object object;
  if (Problem problem = parse_object(*parser, body, object)) return *std::move(problem);
  CompletionRequest request;
  request.api = api;
  request.is_stream = true;  // Here streams are the rule.
  bool is_chat = api == Api::kOllamaChat;
  Problem problem = is_chat ? read_fields(object, kChatFields, request)
                            : read_fields(object, kGenerateFields, request);
  if (!problem && !is_chat) problem = read_generate(object, request);
  if (problem) return *std::move(problem);
  if (request.model.empty()) return missing_field("model");
  if (is_chat && request.messages.empty()) return missing_field("messages");
  return request;
}

ApiResult<std::string> ollama_show_json(std::span<const ServedModel> models,
                                        std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return *std::move(problem);
  std::string name;
  for (const char* key : {"model", "name"}) {
    if (is_absent(object[key]) || !name.empty()) continue;
    if (Problem problem = read_string(key, object[key].value_unsafe(), name)) return *problem;
  }
  if (name.empty()) return missing_field("model");
  name = plain_model(std::move(name));
  for (const ServedModel& model : models) {
    if (model.id != name) continue;
    std::string out;
    JsonWriter json(out);
    json.begin_object().key("modelfile").string("").key("parameters").string("");
    json.key("template");
    json.string(model.chat_template ? model.chat_template->source() : std::string());
    json.key("details").begin_object().key("format").string("gguf");
    json.key("family").string("").key("parameter_size").string("").end_object();
    json.key("model_info").begin_object();
    json.key("general.context_length").number(model.context_max).end_object();
    json.key("capabilities").begin_array();
    if (model.generates) json.string("completion");
    if (model.embedding_width > 0) json.string("embedding");
    if (model.format.has_tools) json.string("tools");
    if (model.format.has_reasoning()) json.string("thinking");
    json.end_array().end_object();
    return out;
  }
  return ApiError{.status = 404,
                  .message = fmt::format("model '{}' not found", name.substr(0, 200)),
                  .param = "model",
                  .code = "model_not_found"};
}

}  // namespace tg::gateway
