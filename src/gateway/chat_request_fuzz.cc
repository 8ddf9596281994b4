// Any bytes as a request body: a value or an error, never a crash; an error is itself valid JSON.
#include "base/assert.h"
#include "base/bytes.h"
#include "gateway/completion_request.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace tg::gateway;
  std::string_view body(reinterpret_cast<const char*>(data), size);
  for (Api api :
       {Api::kChat, Api::kCompletions, Api::kMessages, Api::kResponses, Api::kOllamaChat,
        Api::kOllamaGenerate, Api::kEmbeddings, Api::kOllamaEmbed, Api::kOllamaEmbeddings}) {
    ApiResult<CompletionRequest> result = parse_completion_request(api, body);
    if (const ApiError* error = std::get_if<ApiError>(&result)) {
      TG_ASSERT(error->status == 400 && !error->message.empty());
      TG_ASSERT(tg::is_utf8(error_json(*error)));
      continue;
    }
    const CompletionRequest& request = std::get<CompletionRequest>(result);
    TG_ASSERT(!request.model.empty() && request.n >= 1 && request.n <= kChoicesMax);
    TG_ASSERT(request.messages.empty() != request.prompts.empty());
    TG_ASSERT(api != Api::kChat || request.is_chat());
    for (const Tool& tool : request.tools) TG_ASSERT(!tool.name.empty());
    TG_ASSERT(!request.max_tokens || *request.max_tokens > 0);
  }
  return 0;
}
