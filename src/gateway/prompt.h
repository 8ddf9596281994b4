// From a parsed request to the token ids that are run, counted and billed: chat template, then
// tokenizer, once (architecture: tokenize once, at the gateway).
#pragma once

#include <vector>

#include "gateway/chat_request.h"
#include "gateway/served_model.h"

namespace tg::gateway {

struct PreparedPrompt {
  std::vector<TokenId> ids;  // At least one.
  i64 max_tokens = 0;        // Per choice; > 0, and ids and these fit the model's context.
};

// A request that can run: everything the client's text decides.
struct Job {
  const ServedModel* model = nullptr;
  CompletionRequest request;
  std::vector<PreparedPrompt> prompts;
};

struct PrepareOptions {
  i64 max_tokens_default = 4096;  // If the client names none; cut to the context.
  i64 unix_seconds = 0;           // For templates that show today's date.
};

// One entry per prompt (one for chat). 400 context_length_exceeded names prompt, limit and output.
ApiResult<std::vector<PreparedPrompt>> prepare_prompts(const ServedModel& model,
                                                       const CompletionRequest& request,
                                                       const PrepareOptions& options);

// Parses `body`, finds its model (404 model_not_found) and prepares its prompts.
ApiResult<Job> prepare_job(const std::vector<ServedModel>& models, Api api, std::string_view body,
                           const PrepareOptions& options);

const ServedModel* find_model(const std::vector<ServedModel>& models, std::string_view id);
ApiError model_not_found(std::string_view id);

}  // namespace tg::gateway
