// What a client asks for, whichever API it speaks: the one value that admission, metering and
// delivery see. The parsers (chat_request.h, dialect/) make it; prompt.h turns it into token ids.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fleet/supplier.h"
#include "gateway/api_error.h"
#include "gateway/billing.h"
#include "grammar/reply_shape.h"
#include "text/vocab.h"

namespace tg::gateway {

inline constexpr i64 kChoicesMax = 8;             // n
inline constexpr i64 kStopsMax = 4;               // stop strings
inline constexpr i64 kStopBytesMax = 1024;        // each
inline constexpr i64 kPromptsMax = 32;            // of one /v1/completions request
inline constexpr i64 kEmbeddingInputsMax = 2048;  // of one embeddings request
inline constexpr i64 kTopLogprobsMax = 20;
inline constexpr i64 kLogitBiasMax = 1024;
inline constexpr i64 kMessagesMax = 4096;
inline constexpr i64 kToolsMax = 512;
inline constexpr i64 kToolCallsMax = 128;  // of one message
inline constexpr i64 kToolNameBytesMax = 128;
inline constexpr i64 kOutputTokensMax = i64{1} << 20;

// Ways of asking for tokens: they differ in how requests are written and replies are rendered.
enum class Api : u8 {
  kChat,
  kCompletions,
  kMessages,
  kResponses,
  kOllamaChat,
  kOllamaGenerate,
  kEmbeddings,
  kOllamaEmbed,       // Many texts.
  kOllamaEmbeddings,  // One text, as it was before.
};

using SamplingParams = decltype(fleet::SupplyRequest::sampling);
using PromptInput = std::variant<std::string, std::vector<TokenId>>;

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, as the model wrote it.

  bool operator==(const ToolCall&) const = default;
};

struct Message {
  std::string role;  // system, user, assistant or tool.
  std::string content;
  std::string reasoning = {};        // assistant
  std::vector<ToolCall> calls = {};  // assistant
  std::string call_id = {};          // tool: which call this answers.
  std::string name = {};             // tool: of the function, if given.
};

struct Tool {
  std::string name;
  std::string function;         // {"name", "description", "parameters"} as JSON text.
  std::string parameters = {};  // Of these, the schema; "" = none.
  bool is_strict = false;       // Calls must follow it.
};

// What the text of the reply must be.
struct TextFormat {
  grammar::GrammarKind kind = grammar::GrammarKind::kFree;
  std::string text = {};   // The schema, expression or grammar.
  std::string param = {};  // The field that asked for it.
};

struct ToolChoice {
  enum class Kind : u8 { kAuto, kNone, kRequired };
  Kind kind = Kind::kAuto;
  std::string name = {};  // kRequired: this one; "" = any.
};

// What only OpenAI's Responses API knows: mostly what its objects repeat. JSON texts.
struct ResponsesFields {
  std::string previous_id;  // "" = none.
  bool is_stored = false;
  std::string instructions;  // "" = none.
  std::string input;         // Array of items.
  std::string tools = "[]";
  std::string tools_left_out;  // Types of those that the model is not offered, with commas.
  std::string tool_choice = "\"auto\"";
  std::string metadata = "{}";
  std::string effort = "null";
  std::string format = R"({"type":"text"})";
};

// Of requests for the vectors of texts.
struct EmbeddingFields {
  bool is_base64 = false;
  i64 dimensions = 0;      // 0: all of them.
  bool truncates = false;  // Texts too long are cut; otherwise refused.
};

struct CompletionRequest {
  Api api = Api::kChat;
  std::string model;
  std::vector<Message> messages;     // Not empty, or
  std::vector<PromptInput> prompts;  // not empty: never both.
  std::vector<Tool> tools;
  ToolChoice tool_choice;
  bool parallel_tool_calls = true;
  TextFormat format;
  std::string template_variables;     // One JSON object for the chat template; "" = none.
  std::optional<bool> has_reasoning;  // Whether a model that can choose shall reason.
  std::string reasoning_effort;
  bool echo = false;              // The reply begins with the prompt.
  std::optional<i64> max_tokens;  // > 0
  SamplingParams sampling;
  bool has_seed = false;
  i64 n = 1;
  i64 best_of = 0;  // So many are made, and the n likeliest are the reply; 0: n.
  std::vector<std::string> stop;
  bool is_stream = false;
  bool include_usage = false;
  bool ignore_eos = false;
  fleet::RouteWishes wishes = {};  // See route_wishes.h.
  i64 ttft_target_ns = 0;
  std::optional<ResponsesFields> responses = {};  // kResponses
  FundsTerms funds = {};
  std::optional<EmbeddingFields> embedding = {};  // kEmbeddings, kOllamaEmbed, kOllamaEmbeddings

  bool is_chat() const { return !messages.empty(); }
  // Continuations made of each prompt.
  i64 candidates() const { return n > best_of ? n : best_of; }
  // Whether the reply may have a shape (reply_shape.h).
  bool may_have_shape() const;
  bool reads_calls() const { return !tools.empty() && tool_choice.kind != ToolChoice::Kind::kNone; }
};

// Status 400 for whatever is wrong, naming the field and its value. `body` may be any bytes.
ApiResult<CompletionRequest> parse_completion_request(Api api, std::string_view body);

}  // namespace tg::gateway
