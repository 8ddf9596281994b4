#include "gateway/prompt.h"

#include <fmt/format.h>

#include <algorithm>

namespace tg::gateway {
namespace {

// /v1/completions has always defaulted to few tokens.
constexpr i64 kCompletionsDefaultTokens = 16;

std::string token_text(const Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? std::string() : std::string(tokenizer.piece(id));
}

ApiError from_error(std::string param, const Error& error) {
  ApiError problem = invalid_value(std::move(param), error.message);
  if (error.code == Code::kLimit) problem.code = "context_length_exceeded";
  return problem;
}

ApiResult<std::vector<TokenId>> encode(const Tokenizer& tokenizer, std::string_view text,
                                       Tokenizer::EncodeOptions options, const char* param) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(text, options);
  if (!ids.ok()) return from_error(param, ids.error());
  return std::move(ids).value();
}

ApiResult<std::vector<TokenId>> encode_chat(const ServedModel& model,
                                            const CompletionRequest& request, i64 unix_seconds) {
  if (!model.chat_template) {
    return unsupported("messages", fmt::format("model '{}' has no chat template; use "
                                               "/v1/completions",
                                               model.id));
  }
  const Tokenizer& tokenizer = *model.tokenizer;
  ChatTemplate::RenderOptions options;
  options.bos_token = token_text(tokenizer, tokenizer.vocab().bos);
  options.eos_token = token_text(tokenizer, tokenizer.vocab().eos);
  options.unix_seconds = unix_seconds;
  TG_ASSERT(model.guard != nullptr);
  Result<std::string> text =
      model.chat_template->render(model.guard->mark(request.messages), options);
  if (!text.ok()) return from_error("messages", text.error());
  // Many templates write bos themselves; it must not come twice.
  bool has_bos = !options.bos_token.empty() && text->starts_with(options.bos_token);
  bool add_bos = tokenizer.vocab().add_bos && !has_bos;
  Result<std::vector<TokenId>> ids = model.guard->encode(tokenizer, *text, add_bos);
  if (!ids.ok()) return from_error("messages", ids.error());
  return std::move(ids).value();
}

ApiResult<std::vector<TokenId>> encode_input(const ServedModel& model, const PromptInput& input) {
  const Tokenizer& tokenizer = *model.tokenizer;
  if (const std::string* text = std::get_if<std::string>(&input)) {
    return encode(tokenizer, *text, {.add_bos = tokenizer.vocab().add_bos, .parse_special = true},
                  "prompt");
  }
  const std::vector<TokenId>& ids = std::get<std::vector<TokenId>>(input);
  for (TokenId id : ids) {
    if (id < 0 || id >= tokenizer.size()) {
      return invalid_value("prompt", fmt::format("'prompt' holds token id {}, but model '{}' has "
                                                 "{} tokens",
                                                 id, model.id, tokenizer.size()));
    }
  }
  return ids;
}

ApiResult<PreparedPrompt> fit(const ServedModel& model, const CompletionRequest& request,
                              std::vector<TokenId> ids, i64 max_tokens_default) {
  const char* param = request.api == Api::kChat ? "messages" : "prompt";
  if (ids.empty()) return invalid_value(param, fmt::format("'{}' holds no tokens", param));
  i64 count = static_cast<i64>(ids.size());
  i64 room = model.context_max - count;
  i64 wanted = request.max_tokens.value_or(1);
  if (wanted > room) {
    ApiError error = invalid_value(
        param, fmt::format("model '{}' has a context of {} tokens; the prompt has {} and {} more "
                           "were asked for",
                           model.id, model.context_max, count, wanted));
    error.code = "context_length_exceeded";
    return error;
  }
  i64 fallback = request.api == Api::kChat ? max_tokens_default : kCompletionsDefaultTokens;
  return PreparedPrompt{.ids = std::move(ids),
                        .max_tokens = request.max_tokens.value_or(std::min(fallback, room))};
}

std::optional<ApiError> check_logit_bias(const ServedModel& model,
                                         const CompletionRequest& request) {
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    if (id < model.tokenizer->size()) continue;
    return invalid_value("logit_bias",
                         fmt::format("'logit_bias' names token id {}, but model '{}' has {} tokens",
                                     id, model.id, model.tokenizer->size()));
  }
  return std::nullopt;
}

std::optional<ApiError> add_prompt(const ServedModel& model, const CompletionRequest& request,
                                   ApiResult<std::vector<TokenId>> encoded,
                                   const PrepareOptions& options,
                                   std::vector<PreparedPrompt>& prompts) {
  if (ApiError* error = std::get_if<ApiError>(&encoded)) return std::move(*error);
  ApiResult<PreparedPrompt> fitted =
      fit(model, request, std::get<std::vector<TokenId>>(std::move(encoded)),
          options.max_tokens_default);
  if (ApiError* error = std::get_if<ApiError>(&fitted)) return std::move(*error);
  prompts.push_back(std::get<PreparedPrompt>(std::move(fitted)));
  return std::nullopt;
}

}  // namespace

ApiResult<std::vector<PreparedPrompt>> prepare_prompts(const ServedModel& model,
                                                       const CompletionRequest& request,
                                                       const PrepareOptions& options) {
  if (std::optional<ApiError> error = check_logit_bias(model, request)) return *std::move(error);
  std::vector<PreparedPrompt> prompts;
  if (request.api == Api::kChat) {
    std::optional<ApiError> error = add_prompt(
        model, request, encode_chat(model, request, options.unix_seconds), options, prompts);
    if (error) return *std::move(error);
    return prompts;
  }
  for (const PromptInput& input : request.prompts) {
    std::optional<ApiError> error =
        add_prompt(model, request, encode_input(model, input), options, prompts);
    if (error) return *std::move(error);
  }
  return prompts;
}

const ServedModel* find_model(const std::vector<ServedModel>& models, std::string_view id) {
  for (const ServedModel& model : models) {
    if (model.id == id) return &model;
  }
  return nullptr;
}

ApiError model_not_found(std::string_view id) {
  return {.status = 404,
          .message = fmt::format("the model '{}' does not exist here", id.substr(0, 200)),
          .param = "model",
          .code = "model_not_found"};
}

ApiResult<Job> prepare_job(const std::vector<ServedModel>& models, Api api, std::string_view body,
                           const PrepareOptions& options) {
  ApiResult<CompletionRequest> parsed = parse_completion_request(api, body);
  if (ApiError* error = std::get_if<ApiError>(&parsed)) return std::move(*error);
  Job job;
  job.request = std::get<CompletionRequest>(std::move(parsed));
  job.model = find_model(models, job.request.model);
  if (job.model == nullptr) return model_not_found(job.request.model);
  ApiResult<std::vector<PreparedPrompt>> prompts =
      prepare_prompts(*job.model, job.request, options);
  if (ApiError* error = std::get_if<ApiError>(&prompts)) return std::move(*error);
  job.prompts = std::get<std::vector<PreparedPrompt>>(std::move(prompts));
  return job;
}

}  // namespace tg::gateway
