#include "gateway/embedding_request.h"

#include <fmt/format.h>

#include "gateway/chat_request.h"
#include "gateway/dialect/ollama.h"
#include "gateway/funds_terms.h"

namespace tg::gateway {
namespace {

constexpr i64 kDimensionsMax = i64{1} << 20;

Problem read_encoding(std::string_view name, dom::element value, CompletionRequest& out) {
  std::string word;
  if (Problem problem = read_string(name, value, word)) return problem;
  out.embedding->is_base64 = word == "base64";
  if (word == "float" || word == "base64") return std::nullopt;
  return invalid_value(std::string(name),
                       fmt::format("'{}' must be float or base64, not {}", name, shown(value)));
}

Problem read_dimensions(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_integer(name, value, {1, kDimensionsMax}, out.embedding->dimensions);
}

Problem read_truncate(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_bool(name, value, out.embedding->truncates);
}

Problem read_model(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_string(name, value, out.model);
}

Problem read_ollama_model(std::string_view name, dom::element value, CompletionRequest& out) {
  Problem problem = read_string(name, value, out.model);
  out.model = plain_model(std::move(out.model));
  return problem;
}

Problem read_funds(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_funds_object(name, value, out.funds);
}

constexpr Field kOpenAiFields[] = {{"model", read_model},
                                   {"input", read_prompts},
                                   {"encoding_format", read_encoding},
                                   {"dimensions", read_dimensions},
                                   {"tokengrid", read_funds}};
constexpr Field kEmbedFields[] = {{"model", read_ollama_model},
                                  {"input", read_prompts},
                                  {"truncate", read_truncate},
                                  {"dimensions", read_dimensions}};
constexpr Field kOldFields[] = {{"model", read_ollama_model}, {"prompt", read_prompts}};

Problem read_all(dom::object object, CompletionRequest& out) {
  switch (out.api) {
    case Api::kEmbeddings: return read_fields(object, kOpenAiFields, out);
    case Api::kOllamaEmbed: return read_fields(object, kEmbedFields, out);
    default: return read_fields(object, kOldFields, out);
  }
}

}  // namespace

ApiResult<CompletionRequest> parse_embedding_request(Api api, std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return *std::move(problem);
  CompletionRequest request;
  request.api = api;
  // Ollama's APIs cut what is too long unless they are told not to.
  request.embedding = EmbeddingFields{.truncates = api != Api::kEmbeddings};
  if (Problem problem = read_all(object, request)) return *std::move(problem);
  if (request.model.empty()) return missing_field("model");
  if (request.prompts.empty())
    return missing_field(api == Api::kOllamaEmbeddings ? "prompt" : "input");
  if (api == Api::kOllamaEmbeddings && request.prompts.size() > 1)
    return invalid_value("prompt", "'prompt' must be one text; /api/embed takes several");
  return request;
}

}  // namespace tg::gateway
