// From the body of a completion request to a checked value: the one place that reads client JSON.
// Unknown fields are ignored; what would change the meaning of the reply and is not supported is
// refused by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fleet/supplier.h"
#include "gateway/api_error.h"
#include "text/chat_template.h"
#include "text/vocab.h"

namespace tg::gateway {

inline constexpr i64 kChoicesMax = 8;       // n
inline constexpr i64 kStopsMax = 4;         // stop strings
inline constexpr i64 kStopBytesMax = 1024;  // each
inline constexpr i64 kPromptsMax = 32;      // of one /v1/completions request
inline constexpr i64 kTopLogprobsMax = 20;
inline constexpr i64 kLogitBiasMax = 1024;
inline constexpr i64 kMessagesMax = 4096;
inline constexpr i64 kOutputTokensMax = i64{1} << 20;

enum class Api { kChat, kCompletions };

using SamplingParams = decltype(fleet::SupplyRequest::sampling);
using PromptInput = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  Api api = Api::kChat;
  std::string model;
  std::vector<ChatMessage> messages;  // kChat: at least one.
  std::vector<PromptInput> prompts;   // kCompletions: at least one.
  std::optional<i64> max_tokens;      // > 0
  SamplingParams sampling;
  bool has_seed = false;
  i64 n = 1;
  std::vector<std::string> stop;
  bool is_stream = false;
  bool include_usage = false;
  bool ignore_eos = false;
};

// Status 400 for whatever is wrong, naming the field and its value. `body` may be any bytes.
ApiResult<CompletionRequest> parse_completion_request(Api api, std::string_view body);

}  // namespace tg::gateway
