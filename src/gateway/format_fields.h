// The fields by which clients ask for structured output, each API's own and vLLM's extensions, as
// one TextFormat.
#pragma once

#include "gateway/completion_request.h"
#include "gateway/json_fields.h"

namespace tg::gateway {

inline constexpr i64 kChoiceTextsMax = 1024;  // guided_choice

// OpenAI's {"type": "text" | "json_object" | "json_schema", "json_schema": {"schema": ...}}, and
// with the schema beside the type, as Responses and Anthropic have it.
Problem read_format_object(std::string_view name, dom::element value, CompletionRequest& out);
// Ollama's: "json" or a schema.
Problem read_ollama_format(std::string_view name, dom::element value, CompletionRequest& out);
// vLLM's structured_outputs and its older spelling, one field per kind.
Problem read_structured_outputs(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_guided(std::string_view name, dom::element value, CompletionRequest& out);

}  // namespace tg::gateway
