// How a model writes what is not plain text: calls of tools and reasoning. Models differ only by a
// few markers, which their chat templates tell; ReplyParser (reply_parser.h) reads replies by them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template.h"

namespace tg {

// Families of call syntax, named for the models that began them.
enum class CallSyntax : u8 {
  kNone,         // Unknown: replies are text only.
  kHermes,       // <tool_call>{"name", "arguments"}</tool_call>; also with XML-like parameters.
  kMistral,      // [TOOL_CALLS][{"name", "arguments"}, ...] or [TOOL_CALLS]name[ARGS]{...}
  kLlama3,       // {"name", "parameters"} as the whole reply, or after <|python_tag|>.
  kDeepSeek,     // Sections of name and JSON between full-width markers.
  kKimi,         // <|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}
  kFunctionary,  // <function=name>{...}</function>
  kHarmony,      // Channels: analysis is reasoning, "commentary to=functions.name" a call.
};

struct ReplyFormat {
  CallSyntax calls = CallSyntax::kNone;
  // The template shows tools to the model, and replies that call them can be read.
  bool has_tools = false;
  // The arguments of calls in earlier messages go to the template as an object, not as JSON text.
  bool wants_object_arguments = true;
  // The template accepts only call ids of nine letters and digits.
  bool wants_short_call_ids = false;
  std::string think_open;  // Both "" if replies hold no marked reasoning.
  std::string think_close;
  // A reply that begins with call_open, a tool's name and call_middle is bound to call that tool.
  std::string call_open;
  std::string call_middle;
  // What follows the arguments, a JSON object, of a call begun so; what begins the next call ("" =
  // none may follow); and what stands behind the last one.
  std::string call_close;
  std::string call_next;
  std::string calls_end;
  std::string call_mark;        // Where it stands in a reply, calls begin; "" = nothing marks them.
  bool has_json_calls = false;  // The four above are known.

  bool has_reasoning() const { return !think_open.empty() || calls == CallSyntax::kHarmony; }
  // Texts of the control tokens that the parser must see in replies.
  std::vector<std::string> markers() const;
};

// By the markers in the template's text and by rendering a small conversation with a tool.
ReplyFormat reply_format_of(const ChatTemplate& chat_template);

}  // namespace tg
