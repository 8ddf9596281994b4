// What a client sees when something is refused: an HTTP status and an error object, OpenAI's or
// that of the API it speaks.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/types.h"

namespace tg::gateway {

struct ApiError {
  i32 status = 400;
  std::string type = "invalid_request_error";
  std::string message;
  std::string param = {};  // The field at fault; "" becomes null.
  std::string code = {};   // A stable word for programs; "" becomes null.
  i64 retry_after_s = -1;  // >= 0: sent as Retry-After.
  bool is_final = false;   // Waiting does not help: clients are told not to try again.
  std::string allow = {};  // 405: the methods that are.
};

template <typename T>
using ApiResult = std::variant<T, ApiError>;

ApiError invalid_value(std::string param, std::string message);
// A capability the request asks for and this server does not have.
ApiError unsupported(std::string param, std::string message);
ApiError overloaded(std::string message);
ApiError internal_error(std::string message);

enum class ErrorShape : u8 { kOpenAi, kAnthropic, kOllama };

// OpenAI: {"error":{"message","type","param","code"}}, all four always present. Anthropic:
// {"type":"error","error":{"type","message"},"request_id"}. Ollama: {"error":"..."}.
std::string error_json(const ApiError& error, ErrorShape shape = ErrorShape::kOpenAi,
                       std::string_view request_id = "");

}  // namespace tg::gateway
