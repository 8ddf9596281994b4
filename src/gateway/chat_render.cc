#include "gateway/chat_render.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/json_out.h"
#include "gateway/json_fields.h"

namespace tg::gateway {
namespace {

std::string token_text(const Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? std::string() : std::string(tokenizer.piece(id));
}

// Some templates take only ids of nine letters and digits; any id has one such name.
std::string short_id(std::string_view id) {
  auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (id.size() == 9 && std::all_of(id.begin(), id.end(), is_plain)) return std::string(id);
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  Digest digest = sha256(as_bytes(id));
  std::string out;
  for (std::size_t i = 0; i < 9; ++i) out += kDigits[digest[i] % kDigits.size()];
  return out;
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string calls_json(const ReplyFormat& format, const std::vector<ToolCall>& calls) {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  for (const ToolCall& call : calls) {
    json.begin_object();
    json.key("id").string(format.wants_short_call_ids ? short_id(call.id) : call.id);
    json.key("type").string("function").key("function").begin_object();
    json.key("name").string(call.name).key("arguments");
    // Without escapes, so that the guard sees every control token's text.
    std::string object = format.wants_object_arguments ? object_json(call.arguments) : "";
    if (object.empty()) {
      json.string(call.arguments);
    } else {
      json.raw(object);
    }
    json.end_object().end_object();
  }
  json.end_array();
  return out;
}

ChatMessage template_message(const ReplyFormat& format, const Message& message) {
  ChatMessage out{message.role, message.content};
  if (!message.calls.empty()) {
    out.extra.emplace_back("tool_calls", calls_json(format, message.calls));
  }
  if (!message.reasoning.empty()) {
    bool has_channels = format.calls == CallSyntax::kHarmony;
    out.extra.emplace_back(has_channels ? "thinking" : "reasoning_content",
                           json_string(message.reasoning));
  }
  if (!message.call_id.empty()) {
    std::string id = format.wants_short_call_ids ? short_id(message.call_id) : message.call_id;
    out.extra.emplace_back("tool_call_id", json_string(id));
  }
  if (!message.name.empty()) out.extra.emplace_back("name", json_string(message.name));
  return out;
}

// Templates of several families want to know which function a tool's message answers.
void name_answers(std::vector<Message>& messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    Message& answer = messages[i];
    if (answer.role != "tool" || !answer.name.empty()) continue;
    for (std::size_t j = i; j-- > 0 && answer.name.empty();) {
      for (const ToolCall& call : messages[j].calls) {
        if (call.id == answer.call_id) answer.name = call.name;
      }
    }
  }
}

std::string tools_json(const CompletionRequest& request) {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  for (const Tool& tool : request.tools) {
    json.begin_object().key("type").string("function").key("function").raw(tool.function);
    json.end_object();
  }
  json.end_array();
  return out;
}

std::string variables_json(const CompletionRequest& request) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  if (request.has_reasoning) {
    // The two names that templates use for the same switch.
    json.key("enable_thinking").boolean(*request.has_reasoning);
    json.key("thinking").boolean(*request.has_reasoning);
  }
  if (!request.reasoning_effort.empty()) {
    json.key("reasoning_effort").string(request.reasoning_effort);
  }
  json.end_object();
  if (request.template_variables.size() <= 2) return out == "{}" ? "" : out;
  // The client's own come last: of equal keys the last one's value counts.
  if (out == "{}") return request.template_variables;
  out.back() = ',';
  return out + request.template_variables.substr(1);
}

std::optional<ApiError> check_tools(const ServedModel& model, const CompletionRequest& request) {
  bool has_calls =
      std::any_of(request.messages.begin(), request.messages.end(),
                  [](const Message& m) { return m.role == "tool" || !m.calls.empty(); });
  if (!model.format.has_tools && (request.reads_calls() || has_calls)) {
    return unsupported(request.reads_calls() ? "tools" : "messages",
                       fmt::format("model '{}' has no tool calling: its chat template knows no "
                                   "tools",
                                   model.id));
  }
  bool is_bound = request.tool_choice.kind == ToolChoice::Kind::kRequired;
  if (is_bound && model.format.call_open.empty()) {
    return unsupported("tool_choice", fmt::format("model '{}' cannot be bound to call a tool; "
                                                  "'tool_choice' must be auto or none",
                                                  model.id));
  }
  return std::nullopt;
}

std::string call_prefix(const ReplyFormat& format, const ToolChoice& choice) {
  if (choice.kind != ToolChoice::Kind::kRequired) return "";
  if (choice.name.empty()) return format.call_open;
  return format.call_open + choice.name + format.call_middle;
}

ApiError from_error(const Error& error) {
  ApiError problem = invalid_value("messages", error.message);
  if (error.code == Code::kLimit) problem.code = "context_length_exceeded";
  return problem;
}

bool ends_with_mark(std::string_view text, std::string_view mark) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return !mark.empty() && text.ends_with(mark);
}

}  // namespace

ApiResult<RenderedChat> render_chat(const ServedModel& model, const CompletionRequest& request,
                                    i64 unix_seconds) {
  if (!model.chat_template) {
    return unsupported("messages", fmt::format("model '{}' has no chat template; use "
                                               "/v1/completions",
                                               model.id));
  }
  if (std::optional<ApiError> error = check_tools(model, request)) return *std::move(error);
  TG_ASSERT(model.guard != nullptr);
  std::vector<Message> messages = request.messages;
  name_answers(messages);
  std::vector<ChatMessage> shown;
  for (const Message& message : messages) {
    shown.push_back(template_message(model.format, message));
  }
  ChatTemplate::RenderOptions options;
  options.bos_token = token_text(*model.tokenizer, model.tokenizer->vocab().bos);
  options.eos_token = token_text(*model.tokenizer, model.tokenizer->vocab().eos);
  options.unix_seconds = unix_seconds;
  if (request.reads_calls()) options.tools_json = model.guard->mark(tools_json(request));
  options.variables_json = model.guard->mark(variables_json(request));
  Result<std::string> text =
      model.chat_template->render(model.guard->mark(std::move(shown)), options);
  if (!text.ok()) return from_error(text.error());
  RenderedChat chat{.text = std::move(text).value()};
  chat.reply.format = model.format;
  chat.reply.reads_calls = request.reads_calls();
  chat.reply.calls_max = request.parallel_tool_calls ? 0 : 1;
  for (const Tool& tool : request.tools) chat.reply.tool_names.push_back(tool.name);
  chat.reply.is_in_reasoning = ends_with_mark(chat.text, model.format.think_open);
  chat.reply_prefix = call_prefix(model.format, request.tool_choice);
  if (!chat.reply_prefix.empty() && chat.reply.is_in_reasoning) {
    chat.text += model.format.think_close + "\n\n";
    chat.reply.is_in_reasoning = false;
  }
  chat.text += chat.reply_prefix;
  return chat;
}

}  // namespace tg::gateway
