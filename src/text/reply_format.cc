#include "text/reply_format.h"

#include <array>

namespace tg {
namespace {

// DeepSeek's markers: full-width bars, and U+2581 for spaces.
constexpr std::string_view kSectionBegin =
    "<\xEF\xBD\x9C"
    "tool\xE2\x96\x81"
    "calls\xE2\x96\x81"
    "begin\xEF\xBD\x9C>";
constexpr std::string_view kCallBegin =
    "<\xEF\xBD\x9C"
    "tool\xE2\x96\x81"
    "call\xE2\x96\x81"
    "begin\xEF\xBD\x9C>";
constexpr std::string_view kCallSeparator =
    "<\xEF\xBD\x9C"
    "tool\xE2\x96\x81sep\xEF\xBD\x9C>";
constexpr std::string_view kCallEnd =
    "<\xEF\xBD\x9C"
    "tool\xE2\x96\x81"
    "call\xE2\x96\x81"
    "end\xEF\xBD\x9C>";
constexpr std::string_view kSectionEnd =
    "<\xEF\xBD\x9C"
    "tool\xE2\x96\x81"
    "calls\xE2\x96\x81"
    "end\xEF\xBD\x9C>";

constexpr std::string_view kProbeTool = "probe_tool_name";
constexpr std::string_view kProbeTools =
    R"([{"type":"function","function":{"name":"probe_tool_name","description":"d","parameters":)"
    R"({"type":"object","properties":{"probe_key":{"type":"string","description":"d"}},)"
    R"("required":["probe_key"]}}}])";

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

// The marker that comes first in the list decides: the later ones also appear in other families.
struct Mark {
  std::string_view text;
  CallSyntax calls;
};
constexpr Mark kMarks[] = {
    {"<|channel|>", CallSyntax::kHarmony},     {kCallBegin, CallSyntax::kDeepSeek},
    {"[TOOL_CALLS]", CallSyntax::kMistral},    {"<|tool_call_begin|>", CallSyntax::kKimi},
    {"<tool_call>", CallSyntax::kHermes},      {"</function>", CallSyntax::kFunctionary},
    {"<|python_tag|>", CallSyntax::kLlama3},   {"\"parameters\": ", CallSyntax::kLlama3},
    {"for function calls", CallSyntax::kNone},
};

CallSyntax syntax_of(std::string_view source) {
  for (const Mark& mark : kMarks) {
    if (holds(source, mark.text)) return mark.calls;
  }
  return CallSyntax::kNone;
}

ChatTemplate::RenderOptions probe_options() {
  ChatTemplate::RenderOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.tools_json = kProbeTools;
  return options;
}

bool shows_tools(const ChatTemplate& chat_template) {
  const std::array<ChatMessage, 1> messages = {ChatMessage{"user", "hello"}};
  Result<std::string> text = chat_template.render(messages, probe_options());
  return text.ok() && holds(*text, kProbeTool);
}

// What the template makes of an earlier call whose id and arguments are written so; "" if it
// refuses them.
std::string render_call(const ChatTemplate& chat_template, std::string_view id,
                        std::string_view arguments) {
  std::string call = R"([{"type":"function","id":")" + std::string(id) +
                     R"(","function":{"name":"probe_tool_name","arguments":)" +
                     std::string(arguments) + "}}]";
  std::string quoted_id = "\"" + std::string(id) + "\"";
  const std::array<ChatMessage, 3> messages = {
      ChatMessage{"user", "hello"}, ChatMessage{"assistant", "", {{"tool_calls", call}}},
      ChatMessage{"tool", "found", {{"tool_call_id", quoted_id}, {"name", "\"probe_tool_name\""}}}};
  Result<std::string> text = chat_template.render(messages, probe_options());
  return text.ok() ? *text : std::string();
}

// The argument came out as it is or as JSON: not inside a quoted string, not as Python writes it.
bool is_plain(std::string_view rendered) {
  return holds(rendered, "probe_value") && !holds(rendered, "\\\"probe_value") &&
         !holds(rendered, "'probe_value'");
}

void probe_calls(const ChatTemplate& chat_template, ReplyFormat& format) {
  constexpr std::string_view kLongId = "call_0123456789abcdef01234567";
  constexpr std::string_view kShortId = "abcdef012";
  constexpr std::string_view kObject = R"({"probe_key":"probe_value"})";
  constexpr std::string_view kText = R"("{\"probe_key\":\"probe_value\"}")";
  bool is_long_fine = !render_call(chat_template, kLongId, kObject).empty() ||
                      !render_call(chat_template, kLongId, kText).empty();
  std::string_view id = is_long_fine ? kLongId : kShortId;
  format.wants_object_arguments = is_plain(render_call(chat_template, id, kObject)) ||
                                  !is_plain(render_call(chat_template, id, kText));
  format.wants_short_call_ids =
      !is_long_fine && !render_call(chat_template, kShortId, kObject).empty();
}

void set_reasoning(std::string_view source, ReplyFormat& format) {
  if (format.calls == CallSyntax::kHarmony) return;
  if (holds(source, "[THINK]")) {
    format.think_open = "[THINK]";
    format.think_close = "[/THINK]";
  } else if (holds(source, "<think>") || holds(source, "</think>")) {
    format.think_open = "<think>";
    format.think_close = "</think>";
  }
}

// Calls whose arguments are one JSON object between fixed texts.
struct JsonCalls {
  std::string open;
  std::string middle;
  std::string close;
  std::string next;
  std::string end = {};
  std::string mark = {};
};

void set_calls(const JsonCalls& calls, ReplyFormat& format) {
  format.call_open = calls.open;
  format.call_middle = calls.middle;
  format.call_close = calls.close;
  format.call_next = calls.next;
  format.calls_end = calls.end;
  format.call_mark = calls.mark;
  format.has_json_calls = true;
}

JsonCalls deepseek_calls(bool is_fenced) {
  std::string begin(kCallBegin);
  std::string separator(kCallSeparator);
  if (is_fenced) begin += "function" + separator;
  std::string close = (is_fenced ? "\n```" : "") + std::string(kCallEnd);
  return {.open = std::string(kSectionBegin) + begin,
          .middle = is_fenced ? "\n```json\n" : separator,
          .close = close,
          .next = (is_fenced ? "\n" : "") + begin,
          .end = std::string(kSectionEnd),
          .mark = std::string(kSectionBegin)};
}

void set_forced_call(std::string_view source, ReplyFormat& format) {
  constexpr const char* kNamed = "{\"name\": \"";
  constexpr const char* kArguments = "\", \"arguments\": ";
  switch (format.calls) {
    case CallSyntax::kHermes:
      // Names and parameters in an XML-like form have no prefix that fits both its kinds.
      if (holds(source, "<function=")) {
        format.call_open = "<tool_call>\n<function=";
        format.call_middle = ">\n";
      } else if (!holds(source, "<arg_key>")) {
        std::string open = "<tool_call>\n" + std::string(kNamed);
        set_calls({.open = open,
                   .middle = kArguments,
                   .close = "}\n</tool_call>",
                   .next = "\n" + open,
                   .mark = "<tool_call>"},
                  format);
      }
      return;
    case CallSyntax::kMistral:
      if (holds(source, "[ARGS]")) {
        set_calls({.open = "[TOOL_CALLS]",
                   .middle = "[ARGS]",
                   .close = "",
                   .next = "[TOOL_CALLS]",
                   .mark = "[TOOL_CALLS]"},
                  format);
      } else {
        set_calls({.open = "[TOOL_CALLS][" + std::string(kNamed),
                   .middle = kArguments,
                   .close = "}",
                   .next = ", " + std::string(kNamed),
                   .end = "]",
                   .mark = "[TOOL_CALLS]"},
                  format);
      }
      return;
    case CallSyntax::kLlama3:
      set_calls({.open = kNamed, .middle = "\", \"parameters\": ", .close = "}", .next = ""},
                format);
      return;
    case CallSyntax::kDeepSeek: set_calls(deepseek_calls(holds(source, "```json")), format); return;
    case CallSyntax::kFunctionary:
      set_calls({.open = "<function=",
                 .middle = ">",
                 .close = "</function>",
                 .next = "<function=",
                 .mark = "<function="},
                format);
      return;
    case CallSyntax::kHarmony:
      set_calls({.open = "<|channel|>commentary to=functions.",
                 .middle = " <|constrain|>json<|message|>",
                 .close = "",
                 .next = ""},
                format);
      return;
    case CallSyntax::kKimi:  // The name is followed by a number that only the model knows.
    case CallSyntax::kNone: return;
  }
}

}  // namespace

std::vector<std::string> ReplyFormat::markers() const {
  std::vector<std::string> out;
  auto add = [&out](std::initializer_list<std::string_view> texts) {
    out.insert(out.end(), texts.begin(), texts.end());
  };
  if (!think_open.empty()) add({think_open, think_close});
  switch (calls) {
    case CallSyntax::kNone: break;
    case CallSyntax::kHermes: add({"<tool_call>", "</tool_call>"}); break;
    case CallSyntax::kMistral: add({"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}); break;
    case CallSyntax::kLlama3:
    case CallSyntax::kFunctionary: add({"<|python_tag|>"}); break;
    case CallSyntax::kDeepSeek:
      add({kSectionBegin, kCallBegin, kCallSeparator, kCallEnd, kSectionEnd});
      break;
    case CallSyntax::kKimi:
      add({"<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
           "<|tool_call_end|>", "<|tool_calls_section_end|>"});
      break;
    case CallSyntax::kHarmony:
      add({"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>",
           "<|return|>"});
      break;
  }
  return out;
}

ReplyFormat reply_format_of(const ChatTemplate& chat_template) {
  ReplyFormat format;
  std::string_view source = chat_template.source();
  format.calls = syntax_of(source);
  set_reasoning(source, format);
  format.has_tools = format.calls != CallSyntax::kNone && shows_tools(chat_template);
  if (!format.has_tools) return format;
  probe_calls(chat_template, format);
  set_forced_call(source, format);
  return format;
}

}  // namespace tg
