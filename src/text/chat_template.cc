#include "text/chat_template.h"

#include "base/bytes.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"

namespace tg {

using jinja::Dict;
using jinja::Heap;
using jinja::Interpreter;
using jinja::Kind;
using jinja::Value;

struct ChatTemplate::Parts {
  std::string source;
  std::vector<jinja::Statement> program;
};

namespace {

constexpr i64 kContentBytesMax = i64{16} << 20;

Error in_field(Error error, const std::string& field) {
  error.message = "chat message field '" + field + "': " + error.message;
  return error;
}

Result<Value> message_value(Heap& heap, const ChatMessage& message) {
  if (static_cast<i64>(message.content.size()) > kContentBytesMax)
    return Error{Code::kLimit,
                 "chat message: content of " + std::to_string(message.content.size()) + " bytes"};
  if (!is_utf8(message.role) || !is_utf8(message.content))
    return Error{Code::kInvalid, "chat message: not UTF-8"};
  Dict* dict = heap.dict();
  dict->set(Value::string("role"), Value::string(message.role));
  dict->set(Value::string("content"), Value::string(message.content));
  for (const std::pair<std::string, std::string>& field : message.extra) {
    Result<Value> value = jinja::parse_json(heap, field.second);
    if (!value.ok()) return in_field(std::move(value).error(), field.first);
    dict->set(Value::string(field.first), *value);
  }
  return Value::dict(dict);
}

Status set_variables(Interpreter& run, const std::string& json) {
  if (json.empty()) return {};
  TG_ASSIGN(Value variables, jinja::parse_json(run.heap(), json));
  if (!variables.is(Kind::kDict))
    return Error{Code::kInvalid, "chat template: variables are not a JSON object"};
  for (const std::pair<Value, Value>& entry : variables.as_dict().entries)
    run.set_global(entry.first.as_string(), entry.second);
  return {};
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::source() const {
  return parts_->source;
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view jinja) {
  TG_ASSIGN(std::vector<jinja::Statement> program, jinja::parse(jinja));
  return ChatTemplate(
      std::unique_ptr<const Parts>(new Parts{std::string(jinja), std::move(program)}));
}

Result<std::string> ChatTemplate::render(std::span<const ChatMessage> messages,
                                         const RenderOptions& options) const {
  Interpreter run(parts_->program, options.unix_seconds);
  // First, so that nothing here can replace what the fields below say.
  TG_TRY(set_variables(run, options.variables_json));
  std::vector<Value> values;
  for (const ChatMessage& message : messages) {
    TG_ASSIGN(Value value, message_value(run.heap(), message));
    values.push_back(value);
  }
  run.set_global("messages", run.make_list(std::move(values)));
  Value tools = Value::none();
  if (!options.tools_json.empty()) {
    Result<Value> parsed = jinja::parse_json(run.heap(), options.tools_json);
    if (!parsed.ok()) return in_field(std::move(parsed).error(), "tools");
    tools = *parsed;
  }
  run.set_global("tools", tools);
  run.set_global("add_generation_prompt", Value::boolean(options.add_generation_prompt));
  if (!is_utf8(options.bos_token) || !is_utf8(options.eos_token))
    return Error{Code::kInvalid, "chat template: bos or eos token is not UTF-8"};
  run.set_global("bos_token", Value::string(options.bos_token));
  run.set_global("eos_token", Value::string(options.eos_token));
  return run.run();
}

}  // namespace tg
