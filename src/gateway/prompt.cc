#include "gateway/prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "gateway/chat_render.h"
#include "gateway/reply_shape.h"
#include "text/detokenizer.h"

namespace tg::gateway {
namespace {

// /v1/completions has always defaulted to few tokens.
constexpr i64 kCompletionsDefaultTokens = 16;

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

ApiResult<PreparedPrompt> fit(const ServedModel& model, const CompletionRequest& request,
                              std::vector<TokenId> ids, i64 max_tokens_default) {
  const char* param = request.is_chat() ? "messages" : "prompt";
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
  i64 fallback = request.is_chat() ? max_tokens_default : kCompletionsDefaultTokens;
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

// Ids of the chat; what is left of rendering goes into the job.
ApiResult<std::vector<TokenId>> encode_chat(const ServedModel& model, i64 unix_seconds, Job& job) {
  ApiResult<RenderedChat> rendered = render_chat(model, job.request, unix_seconds);
  if (ApiError* error = std::get_if<ApiError>(&rendered)) return std::move(*error);
  RenderedChat& chat = std::get<RenderedChat>(rendered);
  const Tokenizer& tokenizer = *model.tokenizer;
  TokenId bos = tokenizer.vocab().bos;
  // Many templates write bos themselves; it must not come twice.
  bool has_bos = bos >= 0 && !tokenizer.piece(bos).empty() &&
                 std::string_view(chat.text).starts_with(tokenizer.piece(bos));
  bool add_bos = tokenizer.vocab().add_bos && !has_bos;
  Result<std::vector<TokenId>> ids = model.guard->encode(tokenizer, chat.text, add_bos);
  if (!ids.ok()) return from_error("messages", ids.error());
  job.reply = std::move(chat.reply);
  job.reply_prefix = std::move(chat.reply_prefix);
  return std::move(ids).value();
}

std::optional<ApiError> add_prompt(const ServedModel& model,
                                   ApiResult<std::vector<TokenId>> encoded,
                                   const PrepareOptions& options, Job& job) {
  if (ApiError* error = std::get_if<ApiError>(&encoded)) return std::move(*error);
  ApiResult<PreparedPrompt> fitted =
      fit(model, job.request, std::get<std::vector<TokenId>>(std::move(encoded)),
          options.max_tokens_default);
  if (ApiError* error = std::get_if<ApiError>(&fitted)) return std::move(*error);
  job.prompts.push_back(std::get<PreparedPrompt>(std::move(fitted)));
  return std::nullopt;
}

std::string echo_of(const ServedModel& model, const PromptInput& input) {
  if (const std::string* text = std::get_if<std::string>(&input)) return *text;
  std::string bytes = model.tokenizer->decode(std::get<std::vector<TokenId>>(input), true);
  std::string text;
  append_valid_utf8(text, bytes, false);
  return text;
}

// A text as its model's encoder wants it.
ApiResult<std::vector<TokenId>> encode_text(const ServedModel& model, const PromptInput& input,
                                            const char* param) {
  const std::string* text = std::get_if<std::string>(&input);
  if (text == nullptr) return encode_prompt(model, input, false);
  const Vocab& vocab = model.tokenizer->vocab();
  return encode(*model.tokenizer, *text, {.add_bos = vocab.add_bos, .add_eos = vocab.add_eos},
                param);
}

// Cut so that what ends a text still does.
void truncate(std::vector<TokenId>& ids, i64 context_max) {
  if (static_cast<i64>(ids.size()) <= context_max) return;
  TokenId last = ids.back();
  ids.resize(static_cast<std::size_t>(context_max));
  ids.back() = last;
}

std::optional<ApiError> add_texts(const ServedModel& model, Job& job) {
  const EmbeddingFields& fields = *job.request.embedding;
  const char* param = job.request.api == Api::kOllamaEmbeddings ? "prompt" : "input";
  if (fields.dimensions > model.embedding_width) {
    return invalid_value("dimensions",
                         fmt::format("'dimensions' is {}, but vectors of model '{}' have {}",
                                     fields.dimensions, model.id, model.embedding_width));
  }
  for (const PromptInput& input : job.request.prompts) {
    ApiResult<std::vector<TokenId>> encoded = encode_text(model, input, param);
    if (ApiError* error = std::get_if<ApiError>(&encoded)) return std::move(*error);
    std::vector<TokenId>& ids = std::get<std::vector<TokenId>>(encoded);
    if (ids.empty()) return invalid_value(param, fmt::format("'{}' holds no tokens", param));
    if (fields.truncates) truncate(ids, model.context_max);
    if (static_cast<i64>(ids.size()) > model.context_max) {
      ApiError error =
          invalid_value(param, fmt::format("model '{}' has a context of {} tokens; the text has {}",
                                           model.id, model.context_max, ids.size()));
      error.code = "context_length_exceeded";
      return error;
    }
    job.prompts.push_back({.ids = std::move(ids)});
  }
  return std::nullopt;
}

std::optional<ApiError> check_capability(const ServedModel& model,
                                         const CompletionRequest& request) {
  if (request.embedding && model.embedding_width == 0) {
    return unsupported("model",
                       fmt::format("model '{}' makes no embeddings; it generates text", model.id));
  }
  if (!request.embedding && !model.generates) {
    return unsupported("model", fmt::format("model '{}' generates no text (chat, completions); it "
                                            "makes embeddings",
                                            model.id));
  }
  return std::nullopt;
}

std::optional<ApiError> add_shape(const PrepareOptions& options, Job& job) {
  ApiResult<std::shared_ptr<const grammar::ReplyShape>> shape =
      shape_of(*job.model, job.request, job.reply, job.reply_prefix);
  if (ApiError* error = std::get_if<ApiError>(&shape)) return std::move(*error);
  job.shape = std::get<std::shared_ptr<const grammar::ReplyShape>>(std::move(shape));
  if (job.shape == nullptr || !options.compiles_shape) return std::nullopt;
  return check_shape(*job.model, job.request, *job.shape);
}

std::optional<ApiError> add_prompts(const ServedModel& model, const PrepareOptions& options,
                                    Job& job) {
  if (job.request.is_chat()) {
    return add_prompt(model, encode_chat(model, options.unix_seconds, job), options, job);
  }
  for (const PromptInput& input : job.request.prompts) {
    std::optional<ApiError> error =
        add_prompt(model, encode_prompt(model, input, true), options, job);
    if (error) return error;
    if (job.request.echo) job.prompts.back().echo = echo_of(model, input);
  }
  return std::nullopt;
}

}  // namespace

ApiResult<std::vector<TokenId>> encode_prompt(const ServedModel& model, const PromptInput& input,
                                              bool add_special) {
  const Tokenizer& tokenizer = *model.tokenizer;
  if (const std::string* text = std::get_if<std::string>(&input)) {
    bool add_bos = add_special && tokenizer.vocab().add_bos;
    return encode(tokenizer, *text, {.add_bos = add_bos, .parse_special = true}, "prompt");
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

Result<unit::NominalWork> nominal_work_of(const Job& job, const PreparedPrompt& prompt, i64 output,
                                          i64 choices) {
  bool is_embedding = job.request.embedding.has_value();
  std::vector<i64> outputs;
  if (!is_embedding) outputs.assign(static_cast<std::size_t>(choices), output);
  return unit::nominal_work(*job.model->cost, {.prompt = static_cast<i64>(prompt.ids.size()),
                                               .outputs = outputs,
                                               .embedding = is_embedding});
}

const ServedModel* find_model(std::span<const ServedModel> models, std::string_view id) {
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

ApiResult<Job> prepare_request(std::span<const ServedModel> models, CompletionRequest request,
                               const PrepareOptions& options) {
  Job job;
  job.request = std::move(request);
  job.model = find_model(models, job.request.model);
  if (job.model == nullptr) return model_not_found(job.request.model);
  if (job.request.responses && !job.request.responses->instructions.empty()) {
    job.request.messages.insert(job.request.messages.begin(),
                                {.role = "system", .content = job.request.responses->instructions});
  }
  std::optional<ApiError> error = check_capability(*job.model, job.request);
  if (!error && job.request.embedding) {
    error = add_texts(*job.model, job);
    if (error) return *std::move(error);
    return job;
  }
  if (!error) error = check_logit_bias(*job.model, job.request);
  if (!error) error = add_prompts(*job.model, options, job);
  if (!error) error = add_shape(options, job);
  if (error) return *std::move(error);
  return job;
}

ApiResult<Job> prepare_job(std::span<const ServedModel> models, Api api, std::string_view body,
                           const PrepareOptions& options) {
  ApiResult<CompletionRequest> parsed = parse_completion_request(api, body);
  if (ApiError* error = std::get_if<ApiError>(&parsed)) return std::move(*error);
  return prepare_request(models, std::get<CompletionRequest>(std::move(parsed)), options);
}

}  // namespace tg::gateway
