// From a parsed request to the token ids that are run, counted and billed: chat template, then
// tokenizer, once (architecture: tokenize once, at the gateway).
#pragma once

#include <span>
#include <vector>

#include "gateway/completion_request.h"
#include "gateway/served_model.h"
#include "text/reply_parser.h"
#include "unit/nominal.h"

namespace tg::gateway {

struct PreparedPrompt {
  std::vector<TokenId> ids;  // At least one.
  i64 max_tokens = 0;  // Per choice; > 0 unless a vector is wanted. Ids and these fit the context.
  std::string echo = {};  // What the reply begins with, if the request wants its prompt back.
  i64 count = 0;          // Of the ids, for as long as the reply lasts; the supplier has those.
};

// A request that can run: everything the client's text decides.
struct Job {
  const ServedModel* model = nullptr;
  CompletionRequest request;
  std::vector<PreparedPrompt> prompts;
  ReplyParser::Options reply;  // How replies are read.
  std::string reply_prefix;    // The prompt's end that belongs to the reply: a call it is bound to.
  std::shared_ptr<const grammar::ReplyShape> shape =
      {};  // What the reply must look like, if anything.
};

struct PrepareOptions {
  i64 max_tokens_default = 4096;  // If the client names none; cut to the context.
  i64 unix_seconds = 0;           // For templates that show today's date.
  bool compiles_shape = false;    // So that what is wrong with it is known; takes milliseconds.
};

// Finds the model (404 model_not_found) and prepares one entry per prompt (one for chat). 400
// context_length_exceeded names prompt, limit and output.
ApiResult<Job> prepare_request(std::span<const ServedModel> models, CompletionRequest request,
                               const PrepareOptions& options);

// The same from a body.
ApiResult<Job> prepare_job(std::span<const ServedModel> models, Api api, std::string_view body,
                           const PrepareOptions& options);

// Ids of one prompt that is no chat, its special tokens parsed.
ApiResult<std::vector<TokenId>> encode_prompt(const ServedModel& model, const PromptInput& input,
                                              bool add_special);

// Nominal work of `prompt` with `choices` continuations of `output` tokens each; of an embedding,
// of its prefill alone. REQUIRES: job.model->cost.
Result<unit::NominalWork> nominal_work_of(const Job& job, const PreparedPrompt& prompt, i64 output,
                                          i64 choices);

const ServedModel* find_model(std::span<const ServedModel> models, std::string_view id);
ApiError model_not_found(std::string_view id);

}  // namespace tg::gateway
