// What a reply must look like, as plain data: it travels with a request to whoever runs it and is
// compiled there, for the vocabulary there (reply_grammar.h). Texts are as the model writes them,
// control tokens by their names.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace tg::grammar {

enum class GrammarKind : u8 {
  kFree,        // Any text.
  kJsonObject,  // Any object; no text.
  kJsonSchema,
  kRegex,
  kGbnf,
};

// A function that a reply may call.
struct ToolShape {
  std::string name;
  std::string parameters;  // JSON Schema of its arguments; "" = any object.

  bool operator==(const ToolShape&) const = default;
};

// How calls are written: open NAME middle ARGUMENTS close, then again with `next` in place of
// `open`, and `end` behind the last one.
struct CallLayout {
  std::string mark;  // What only a call holds, for it begins so; "" = calls begin as text does.
  std::string open;
  std::string middle;
  std::string close;
  std::string next;  // "" = never a second call.
  std::string end;

  bool operator==(const CallLayout&) const = default;
};

// Reasoning, then text or calls or text and calls.
struct ReplyShape {
  GrammarKind text_kind = GrammarKind::kFree;
  std::string text;       // The schema, expression or grammar.
  std::string text_open;  // Stands before the text; then a reply is either text or calls.
  bool may_be_text = true;
  std::vector<ToolShape> tools;  // None: no calls.
  CallLayout calls;
  bool is_single_call = false;
  std::string think_open;  // Reasoning, which may come first, stands between these; "" = none.
  std::string think_close;
  std::string written;  // The reply's beginning that the prompt ends with.

  bool operator==(const ReplyShape&) const = default;
};

}  // namespace tg::grammar
