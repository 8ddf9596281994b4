// Chat templates: the Jinja program that comes with a model and turns messages into the prompt text
// it was trained on. The interpreter is our own subset (docs in README.md), with limits on steps,
// output and depth, for templates come from outside.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg {

struct ChatMessage {
  std::string role;
  std::string content;
  // Further fields as JSON text, for example {"tool_calls", "[...]"}; an entry named "content"
  // replaces `content` (a list of parts, or null).
  std::vector<std::pair<std::string, std::string>> extra = {};
};

// Immutable after parse, so that threads may share one.
class ChatTemplate {
 public:
  // kUnsupported, naming the construct and its line, for Jinja outside the subset; kInvalid for
  // what is no Jinja; kLimit for a template past the size or nesting limit.
  static Result<ChatTemplate> parse(std::string_view jinja);

  // The Jinja text, as parsed.
  const std::string& source() const;

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  struct RenderOptions {
    bool add_generation_prompt = true;
    std::string bos_token;  // Text of the model's bos token.
    std::string eos_token;
    std::string tools_json;  // JSON array of tools; "" = none.
    // Further template variables as one JSON object ({"enable_thinking": false}); "" = none.
    std::string variables_json;
    // What strftime_now formats, in Unix seconds UTC; passed in because nothing here reads a clock.
    i64 unix_seconds = 0;
  };

  // The prompt. kInvalid carries the template's own message if it called raise_exception; kLimit
  // past the step, depth or output limits.
  Result<std::string> render(std::span<const ChatMessage> messages,
                             const RenderOptions& options) const;

 private:
  struct Parts;
  explicit ChatTemplate(std::unique_ptr<const Parts> parts);
  std::unique_ptr<const Parts> parts_;
};

}  // namespace tg
