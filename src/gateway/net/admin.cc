#include "gateway/net/admin.h"

#include <utility>

#include "base/log.h"
#include "gateway/net/admission.h"
#include "gateway/reply_json.h"

namespace tg::gateway {
namespace {

Served refusal(ApiError error) {
  Served served;
  served.error = std::move(error);
  return served;
}

ApiError denied(std::string message, std::string code) {
  return {.status = 403,
          .type = "permission_error",
          .message = std::move(message),
          .code = std::move(code)};
}

bool is_reading(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

// Why nobody, or not this key, may.
std::optional<ApiError> check(GatewayState& state, const HttpRequest& request) {
  if (state.admin == nullptr) return denied("this server has no admin API", "admin_not_configured");
  std::string_view credential = credential_of(request);
  std::optional<KeyInfo> key = authenticate(state, credential);
  if (!state.directory->has_admin()) {
    return denied(
        "the admin API is not configured: no key has the scope 'admin'; make one with "
        "'tokengrid key create NAME --scope admin'",
        "admin_not_configured");
  }
  if (!key) return bad_key(credential.empty());
  return check_scope(*key, is_reading(request) ? Scope::kAdminRead : Scope::kAdmin);
}

GatewayReport report_of(const GatewayState& state) {
  GatewayReport report;
  report.models = models_json(state.models);
  for (const ServedModel& model : state.models) {
    if (report.autoscale.empty()) report.autoscale = model.supplier->scaling();
  }
  report.health = state.is_leaving ? R"({"status":"draining"})" : R"({"status":"ok"})";
  return report;
}

awaitable<ApiResult<HttpResponse>> answer(GatewayState* state, AdminRequest request,
                                          GatewayReport report) {
  ApiResult<HttpResponse> result = state->admin->answer(request, report);
  if (request.method != "GET") state->feed->refresh();
  co_return result;
}

}  // namespace

ApiError bad_key(bool is_missing) {
  return {.status = 401,
          .message = is_missing ? "no API key given; send 'Authorization: Bearer tg-...'"
                                : "the API key is unknown, expired or revoked",
          .code = "invalid_api_key"};
}

awaitable<Served> serve_admin(GatewayState* state, std::string request_id, HttpRequest request) {
  std::optional<ApiError> refused = check(*state, request);
  if (refused) co_return refusal(*std::move(refused));
  if (static_cast<i64>(request.body.size()) > AdminApi::kBodyBytesMax) {
    co_return refusal(
        {.status = 413, .message = "the body is too large", .code = "request_too_large"});
  }
  if (!is_reading(request)) {
    std::string path = request.target.substr(0, 200);
    log_info("admin", "{}: {} {}", request_id, request.method, path);
  }
  AdminRequest asked;
  asked.method = request.method == "HEAD" ? "GET" : std::move(request.method);
  asked.target = std::move(request.target);
  asked.body = std::move(request.body);
  awaitable<ApiResult<HttpResponse>> answering = answer(state, std::move(asked), report_of(*state));
  ApiResult<HttpResponse> result =
      co_await asio::co_spawn(state->admin_pool, std::move(answering), asio::use_awaitable);
  if (ApiError* error = std::get_if<ApiError>(&result)) co_return refusal(std::move(*error));
  Served served;
  served.response = std::get<HttpResponse>(std::move(result));
  co_return served;
}

}  // namespace tg::gateway
