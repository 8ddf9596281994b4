// Replies that are vectors: OpenAI's list, and Ollama's two forms.
#pragma once

#include <memory>

#include "gateway/completion_request.h"
#include "gateway/reply.h"

namespace tg::gateway {

// The first `dimensions` elements (0: all), scaled to length 1 if some were left out.
std::vector<f32> shortened(const std::vector<f32>& vector, i64 dimensions);
// Little-endian floats in base64.
std::string base64_of(const std::vector<f32>& vector);

// Only whole replies.
std::unique_ptr<ReplyWriter> make_embedding_writer(const EmbeddingFields& fields, ReplyHead head);

}  // namespace tg::gateway
