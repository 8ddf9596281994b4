// Messages and tools as OpenAI's chat API writes them.
#pragma once

#include "gateway/completion_request.h"
#include "gateway/json_fields.h"

namespace tg::gateway {

Problem read_messages(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_tools(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_tool_choice(std::string_view name, dom::element value, CompletionRequest& out);

// A string, or an array of text parts, which are joined; other kinds of part are refused by name.
Problem read_content(const std::string& name, dom::element value, std::string& content);
// Reads value[key] into `out` if it is there.
Problem read_optional(const std::string& name, dom::element value, std::string_view key,
                      std::string& out);
// Adds the tool of a function object {"name", "description", "parameters"}.
Problem add_tool(const std::string& name, dom::element function, CompletionRequest& out);
// A named tool choice must name one of the tools.
Problem check_tool_choice(const CompletionRequest& request);
// The kind of content that a part's type stands for, for refusals: "image input", ...
std::string_view capability_of(std::string_view part_type);

}  // namespace tg::gateway
