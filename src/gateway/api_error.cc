#include "gateway/api_error.h"

#include "base/json_out.h"

namespace tg::gateway {

ApiError invalid_value(std::string param, std::string message) {
  return {.message = std::move(message), .param = std::move(param), .code = "invalid_value"};
}

ApiError unsupported(std::string param, std::string message) {
  return {.message = std::move(message), .param = std::move(param), .code = "unsupported"};
}

ApiError overloaded(std::string message) {
  return {.status = 503,
          .type = "server_error",
          .message = std::move(message),
          .code = "overloaded",
          .retry_after_s = 1};
}

ApiError internal_error(std::string message) {
  return {.status = 500,
          .type = "server_error",
          .message = std::move(message),
          .code = "internal_error"};
}

static void write_or_null(JsonWriter& json, std::string_view text) {
  if (text.empty()) {
    json.null();
  } else {
    json.string(text);
  }
}

// Anthropic's types follow from the status.
static std::string_view anthropic_type(i32 status) {
  switch (status) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    case 504: return "timeout_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

static std::string anthropic_json(const ApiError& error, std::string_view request_id) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("type").string("error").key("error").begin_object();
  json.key("type").string(anthropic_type(error.status));
  json.key("message").string(error.message).end_object();
  json.key("request_id");
  write_or_null(json, request_id);
  json.end_object();
  return out;
}

static std::string ollama_json(const ApiError& error) {
  std::string out;
  JsonWriter(out).begin_object().key("error").string(error.message).end_object();
  return out;
}

std::string error_json(const ApiError& error, ErrorShape shape, std::string_view request_id) {
  if (shape == ErrorShape::kAnthropic) return anthropic_json(error, request_id);
  if (shape == ErrorShape::kOllama) return ollama_json(error);
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("error").begin_object();
  json.key("message").string(error.message);
  json.key("type").string(error.type);
  json.key("param");
  write_or_null(json, error.param);
  json.key("code");
  write_or_null(json, error.code);
  json.end_object().end_object();
  return out;
}

}  // namespace tg::gateway
