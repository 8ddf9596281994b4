#include "gateway/net/connection.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/json_out.h"
#include "gateway/http.h"
#include "gateway/net/completions.h"
#include "gateway/net/mail.h"
#include "gateway/prompt.h"
#include "gateway/reply_json.h"

namespace tg::gateway {
namespace {

using Parser = http::request_parser<http::string_body>;

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

constexpr std::string_view kRootPage =
    "<!doctype html><html lang=en><meta charset=utf-8><title>Tokengrid</title>"
    "<h1>Tokengrid</h1><p>An OpenAI-compatible endpoint: set the base URL to <code>/v1</code> and "
    "use a <code>tg-</code> key.</p><ul>"
    "<li><code>POST /v1/chat/completions</code>, <code>POST /v1/completions</code></li>"
    "<li><code>GET /v1/models</code></li><li><code>GET /v1/receipts/{id}</code></li>"
    "<li><a href=/health>/health</a>, <a href=/metrics>/metrics</a></li></ul></html>\n";

// A request, or why there is none: `error` to be answered before closing; neither = just close.
struct ReadResult {
  std::optional<HttpRequest> request;
  std::optional<ApiError> error;
};

ApiError read_error(error_code error, const ServerLimits& limits) {
  if (error == http::error::header_limit) {
    return {.status = 431,
            .message = fmt::format("the header is longer than {} bytes", limits.header_bytes_max),
            .code = "header_too_large"};
  }
  if (error == http::error::body_limit) {
    return {.status = 413,
            .message = fmt::format("the body is longer than {} bytes", limits.body_bytes_max),
            .code = "request_too_large"};
  }
  return {.message = "malformed HTTP: " + error.message(), .code = "bad_request"};
}

std::string field_of(const Parser& parser, std::string_view name) {
  boost::core::string_view value = parser.get()[boost::core::string_view(name)];
  return std::string(value.data(), value.size());
}

HttpRequest take_request(Parser& parser) {
  HttpRequest request;
  boost::core::string_view method = parser.get().method_string();
  boost::core::string_view target = parser.get().target();
  request.method.assign(method.data(), method.size());
  request.target.assign(target.data(), target.size());
  request.authorization = field_of(parser, "authorization");
  request.api_key = field_of(parser, "x-api-key");
  request.content_type = field_of(parser, "content-type");
  request.keep_alive = parser.get().keep_alive();
  request.is_http_1_0 = parser.get().version() < 11;
  request.body = std::move(parser.get().body());
  return request;
}

// Feeds buffered bytes to the parser. False and an error if they are no HTTP.
bool parse_some(Connection& connection, Parser& parser, error_code& error) {
  while (connection.buffer.size() > 0 && !parser.is_done()) {
    std::size_t used = parser.put(connection.buffer.data(), error);
    connection.buffer.consume(used);
    if (error == http::error::need_more) {
      error = {};
      return true;
    }
    if (error) return false;
  }
  return true;
}

awaitable<bool> read_more(Connection* connection) {
  ReadBytes read =
      co_await read_some(&connection->transport, connection->buffer.prepare(kReadBytes));
  connection->buffer.commit(static_cast<std::size_t>(read.count));
  co_return read.count > 0;
}

// Waits for a request's first byte.
awaitable<bool> await_first_byte(GatewayState* state, Connection* connection) {
  connection->phase = Phase::kReading;
  if (connection->buffer.size() > 0) co_return true;
  if (state->is_draining) co_return false;
  connection->phase = Phase::kIdle;
  connection->transport.expire_after_ms(state->options.limits.idle_ms);
  bool has_bytes = co_await read_more(connection);
  connection->phase = Phase::kReading;
  co_return has_bytes;
}

// After the header: the body's own deadline, and the go-ahead that some clients wait for.
awaitable<void> begin_body(GatewayState* state, Connection* connection, bool expects_continue) {
  connection->transport.expire_after_ms(state->options.limits.body_ms);
  if (expects_continue) co_await write_all(&connection->transport, kContinue);
}

awaitable<ReadResult> read_request(GatewayState* state, Connection* connection) {
  const ServerLimits& limits = state->options.limits;
  Parser parser;
  parser.eager(true);
  parser.header_limit(static_cast<u32>(limits.header_bytes_max));
  parser.body_limit(static_cast<u64>(limits.body_bytes_max));
  ReadResult result;
  bool is_open = co_await await_first_byte(state, connection);
  if (!is_open) co_return result;
  connection->transport.expire_after_ms(limits.header_ms);
  bool has_header = false;
  for (;;) {
    error_code error;
    if (!parse_some(*connection, parser, error)) {
      result.error = read_error(error, limits);
      co_return result;
    }
    if (parser.is_done()) break;
    if (parser.is_header_done() && !has_header) {
      has_header = true;
      bool expects = field_of(parser, "expect") == "100-continue";
      co_await begin_body(state, connection, expects);
    }
    bool has_more = co_await read_more(connection);
    if (!has_more) co_return result;
  }
  result.request = take_request(parser);
  co_return result;
}

// ---- endpoints ----------------------------------------------------------------------------------

HttpResponse preflight() {
  HttpResponse response{.status = 204};
  response.headers.emplace_back("access-control-allow-methods", "GET, HEAD, POST, OPTIONS");
  response.headers.emplace_back("access-control-allow-headers",
                                "authorization, content-type, x-api-key, x-stainless-*");
  response.headers.emplace_back("access-control-max-age", "86400");
  return response;
}

HttpResponse text_response(std::string content_type, std::string body) {
  return {.content_type = std::move(content_type), .body = std::move(body)};
}

HttpResponse health(const GatewayState& state) {
  if (state.is_draining) return error_response(overloaded("the server is stopping"));
  return {.body = R"({"status":"ok"})"};
}

HttpResponse metrics_page(const GatewayState& state) {
  std::vector<ModelSample> samples;
  for (std::size_t i = 0; i < state.models.size(); ++i) {
    samples.push_back({.model = state.models[i].id,
                       .metrics = &state.model_metrics[i],
                       .load = state.models[i].supplier->load()});
  }
  return text_response("text/plain; version=0.0.4; charset=utf-8",
                       metrics_text(state.metrics, samples));
}

HttpResponse model_page(const GatewayState& state, const std::string& id) {
  const ServedModel* model = find_model(state.models, id);
  if (model == nullptr) return error_response(model_not_found(id));
  return {.body = model_json(*model)};
}

awaitable<HttpResponse> receipt_page(GatewayState* state, std::string id, KeyInfo key) {
  ReceiptRead question;
  question.account = key.account;
  question.receipt_id = std::move(id);
  std::vector<BillingQuestion> questions(1, question);
  std::vector<BillingReply> replies = co_await ask_billing(state, std::move(questions));
  if (replies[0].status == BillingReply::Status::kOk) {
    co_return text_response("text/plain; charset=utf-8", std::move(replies[0].receipt));
  }
  if (replies[0].status == BillingReply::Status::kNotFound) {
    ApiError missing;
    missing.status = 404;
    missing.message = "this account has no such receipt";
    missing.code = "receipt_not_found";
    co_return error_response(missing);
  }
  co_return error_response(overloaded("billing is not available"));
}

ApiError unknown_path(const HttpRequest& request) {
  return {.status = 404,
          .message = fmt::format("no such path: {}", request.target.substr(0, 200)),
          .code = "not_found"};
}

ApiError wrong_method(const HttpRequest& request, const Route& route) {
  return {.status = 405,
          .message = fmt::format("method {} is not allowed here; allowed: {}",
                                 request.method.substr(0, 40), route.allow),
          .code = "method_not_allowed",
          .allow = std::string(route.allow)};
}

ApiError bad_key(bool is_missing) {
  return {.status = 401,
          .message = is_missing ? "no API key given; send 'Authorization: Bearer tg-...'"
                                : "the API key is unknown, expired or revoked",
          .code = "invalid_api_key"};
}

// Endpoints that everyone may see; nullopt for the others.
std::optional<HttpResponse> open_page(const GatewayState& state, const HttpRequest& request,
                                      const Route& route) {
  if (route.endpoint == Endpoint::kUnknown) return error_response(unknown_path(request));
  if (request.method == "OPTIONS") return preflight();
  if (!is_allowed(route, request.method)) return error_response(wrong_method(request, route));
  if (route.endpoint == Endpoint::kHealth) return health(state);
  if (route.endpoint == Endpoint::kMetrics) return metrics_page(state);
  if (route.endpoint == Endpoint::kRoot) {
    return text_response("text/html; charset=utf-8", std::string(kRootPage));
  }
  return std::nullopt;
}

awaitable<Served> serve_request(GatewayState* state, std::shared_ptr<Connection> connection,
                                HttpRequest request) {
  Served served;
  Route route = route_of(request.target);
  served.response = open_page(*state, request, route);
  if (served.response) co_return served;
  std::string_view credential = credential_of(request);
  std::optional<KeyInfo> key = state->keys->authenticate(credential, state->clock.now());
  if (!key) {
    served.response = error_response(bad_key(credential.empty()));
    co_return served;
  }
  switch (route.endpoint) {
    case Endpoint::kModels:
      served.response = HttpResponse{.body = models_json(state->models)};
      break;
    case Endpoint::kModel: served.response = model_page(*state, route.argument); break;
    case Endpoint::kReceipt:
      served.response = co_await receipt_page(state, route.argument, *key);
      break;
    case Endpoint::kChatCompletions:
      served = co_await serve_completion(state, connection, std::move(request), Api::kChat, *key);
      break;
    case Endpoint::kCompletions:
      served =
          co_await serve_completion(state, connection, std::move(request), Api::kCompletions, *key);
      break;
    case Endpoint::kRoot:
    case Endpoint::kHealth:
    case Endpoint::kMetrics:
    case Endpoint::kUnknown: TG_ASSERT(false);
  }
  co_return served;
}

awaitable<bool> respond(GatewayState* state, Connection* connection, HttpResponse response,
                        bool keep_alive, bool is_head) {
  ++state->metrics.responses[response.status];
  WriteOptions options;
  options.keep_alive = keep_alive;
  options.is_head = is_head;
  options.request_id = connection->request_id;
  std::string text = response_text(response, options);
  connection->transport.expire_after_ms(state->options.limits.write_ms);
  bool is_written = co_await write_all(&connection->transport, text);
  co_return is_written&& keep_alive;
}

// One request; true if the connection can carry another.
awaitable<bool> serve_one(GatewayState* state, std::shared_ptr<Connection> connection,
                          bool* linger) {
  ReadResult read = co_await read_request(state, connection.get());
  connection->request_id = new_id(*state, "req_");
  if (read.error) {
    *linger = true;
    HttpResponse response = error_response(*read.error);
    co_await respond(state, connection.get(), std::move(response), false, false);
    co_return false;
  }
  if (!read.request) co_return false;
  connection->phase = Phase::kServing;
  bool keep_alive = read.request->keep_alive;
  bool is_head = read.request->method == "HEAD";
  Served served = co_await serve_request(state, connection, *std::move(read.request));
  keep_alive = keep_alive && served.keep_alive && !state->is_draining;
  if (!served.response) co_return keep_alive;
  bool goes_on =
      co_await respond(state, connection.get(), *std::move(served.response), keep_alive, is_head);
  co_return goes_on;
}

struct Registered {
  Registered(GatewayState& owner, Connection* entry) : state(owner), connection(entry) {
    state.connections.insert(connection);
    ++state.metrics.connections_open;
  }
  ~Registered() {
    state.connections.erase(connection);
    --state.metrics.connections_open;
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  GatewayState& state;
  Connection* connection;
};

}  // namespace

awaitable<void> serve_connection(GatewayState* state, std::shared_ptr<Connection> connection) {
  Registered registered(*state, connection.get());
  connection->transport.expire_after_ms(state->options.limits.header_ms);
  bool is_open = co_await handshake(&connection->transport);
  bool linger = false;
  while (is_open) is_open = co_await serve_one(state, connection, &linger);
  co_await finish(&connection->transport, linger);
}

}  // namespace tg::gateway
