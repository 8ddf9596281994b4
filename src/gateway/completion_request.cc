#include "gateway/completion_request.h"

#include <algorithm>

#include "base/assert.h"
#include "gateway/chat_request.h"
#include "gateway/dialect/anthropic.h"
#include "gateway/dialect/ollama.h"
#include "gateway/dialect/responses.h"
#include "gateway/embedding_request.h"

namespace tg::gateway {

bool CompletionRequest::may_have_shape() const {
  return format.kind != grammar::GrammarKind::kFree ||
         tool_choice.kind == ToolChoice::Kind::kRequired ||
         std::any_of(tools.begin(), tools.end(), [](const Tool& tool) { return tool.is_strict; });
}

ApiResult<CompletionRequest> parse_completion_request(Api api, std::string_view body) {
  switch (api) {
    case Api::kChat:
    case Api::kCompletions: return parse_openai_request(api, body);
    case Api::kMessages: return parse_anthropic_request(body, false);
    case Api::kResponses: return parse_responses_request(body);
    case Api::kOllamaChat:
    case Api::kOllamaGenerate: return parse_ollama_request(api, body);
    case Api::kEmbeddings:
    case Api::kOllamaEmbed:
    case Api::kOllamaEmbeddings: return parse_embedding_request(api, body);
  }
  TG_ASSERT(false);
}

}  // namespace tg::gateway
