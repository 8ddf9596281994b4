// Bodies of requests for embeddings: OpenAI's /v1/embeddings, Ollama's /api/embed and its older
// /api/embeddings.
#pragma once

#include "gateway/completion_request.h"

namespace tg::gateway {

// REQUIRES: kEmbeddings, kOllamaEmbed or kOllamaEmbeddings.
ApiResult<CompletionRequest> parse_embedding_request(Api api, std::string_view body);

}  // namespace tg::gateway
