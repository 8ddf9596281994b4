// Ollama's API: /api/chat and /api/generate with their line-by-line streams, and the lists around
// them.
#pragma once

#include <memory>
#include <span>

#include "gateway/completion_request.h"
#include "gateway/reply.h"
#include "gateway/served_model.h"

namespace tg::gateway {

// A model's name without the tag that this API takes for granted.
std::string plain_model(std::string name);

// REQUIRES: kOllamaChat or kOllamaGenerate.
ApiResult<CompletionRequest> parse_ollama_request(Api api, std::string_view body);

std::unique_ptr<ReplyWriter> make_ollama_writer(ReplyHead head);

std::string ollama_tags_json(std::span<const ServedModel> models);
// /api/show for the model that `body` names.
ApiResult<std::string> ollama_show_json(std::span<const ServedModel> models, std::string_view body);
std::string ollama_version_json();

}  // namespace tg::gateway
