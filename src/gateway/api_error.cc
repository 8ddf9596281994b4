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

std::string error_json(const ApiError& error) {
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
