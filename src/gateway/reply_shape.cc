#include "gateway/reply_shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "grammar/json_schema.h"

namespace tg::gateway {
namespace {

using grammar::GrammarKind;
using grammar::ReplyShape;

bool is_forced(const CompletionRequest& request) {
  return request.tool_choice.kind == ToolChoice::Kind::kRequired;
}

// Arguments are held to a schema where that was asked for; where only a call was, if it can be.
std::string parameters_of(const Tool& tool, bool is_bound) {
  if (tool.is_strict) return tool.parameters;
  bool is_usable =
      is_bound && !tool.parameters.empty() && grammar::parse_json_schema(tool.parameters, {}).ok();
  return is_usable ? tool.parameters : std::string();
}

void add_tools(const CompletionRequest& request, ReplyShape& shape) {
  for (const Tool& tool : request.tools) {
    const std::string& only = request.tool_choice.name;
    if (!only.empty() && tool.name != only) continue;
    shape.tools.push_back({tool.name, parameters_of(tool, is_forced(request))});
  }
  shape.is_single_call = !request.parallel_tool_calls || !request.tool_choice.name.empty();
}

void set_layout(const ReplyFormat& format, ReplyShape& shape) {
  shape.calls = {.mark = format.call_mark,
                 .open = format.call_open,
                 .middle = format.call_middle,
                 .close = format.call_close,
                 .next = format.call_next,
                 .end = format.calls_end};
}

void set_reasoning(const ReplyFormat& format, const CompletionRequest& request, ReplyShape& shape) {
  if (format.calls == CallSyntax::kHarmony) {
    shape.text_open = "<|channel|>final<|message|>";
    shape.think_open = "<|channel|>analysis<|message|>";
    shape.think_close = "<|end|><|start|>assistant";
  } else if (request.has_reasoning.value_or(true)) {
    shape.think_open = format.think_open;
    shape.think_close = format.think_close;
  }
}

std::optional<ApiError> check_layout(const ServedModel& model, const CompletionRequest& request) {
  if (!request.reads_calls() || model.format.has_json_calls) return std::nullopt;
  for (const Tool& tool : request.tools) {
    if (!tool.is_strict) continue;
    return unsupported("tools", fmt::format("tool '{}' is 'strict', but the way in which model "
                                            "'{}' writes calls cannot be held to a schema",
                                            tool.name, model.id));
  }
  if (request.format.kind == GrammarKind::kFree) return std::nullopt;
  return unsupported(request.format.param,
                     fmt::format("'{}' together with 'tools' is not supported by model '{}'",
                                 request.format.param, model.id));
}

}  // namespace

ApiResult<std::shared_ptr<const ReplyShape>> shape_of(const ServedModel& model,
                                                      const CompletionRequest& request,
                                                      const ReplyParser::Options& reply,
                                                      const std::string& prefix) {
  if (std::optional<ApiError> error = check_layout(model, request)) return *std::move(error);
  bool has_strict = std::any_of(request.tools.begin(), request.tools.end(),
                                [](const Tool& tool) { return tool.is_strict; });
  bool has_format = request.format.kind != GrammarKind::kFree;
  bool holds_calls = request.reads_calls() && model.format.has_json_calls &&
                     (has_format || has_strict || is_forced(request));
  if (!has_format && !holds_calls) return std::shared_ptr<const ReplyShape>();
  ReplyShape shape;
  shape.text_kind = request.format.kind;
  shape.text = request.format.text;
  if (request.is_chat()) set_reasoning(model.format, request, shape);
  if (holds_calls) {
    shape.may_be_text = !is_forced(request);
    add_tools(request, shape);
    set_layout(model.format, shape);
  }
  shape.written = reply.is_in_reasoning ? shape.think_open : prefix;
  return std::make_shared<const ReplyShape>(std::move(shape));
}

std::optional<ApiError> check_shape(const ServedModel& model, const CompletionRequest& request,
                                    const ReplyShape& shape) {
  if (model.grammars == nullptr) return std::nullopt;
  Result<std::shared_ptr<const grammar::CompiledGrammar>> compiled = model.grammars->get(shape);
  if (compiled.ok()) return std::nullopt;
  const Error& error = compiled.error();
  bool is_tool = error.message.starts_with("tool '") || request.format.param.empty();
  std::string param = is_tool ? "tools" : request.format.param;
  std::string message = fmt::format("'{}': {}", param, error.message);
  if (error.code == Code::kUnsupported) return unsupported(std::move(param), std::move(message));
  return invalid_value(std::move(param), std::move(message));
}

}  // namespace tg::gateway
