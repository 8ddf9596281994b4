#include "gateway/net/connection.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/log.h"
#include "gateway/admin/openapi.h"
#include "gateway/counting.h"
#include "gateway/dialect/ollama.h"
#include "gateway/dialect/responses.h"
#include "gateway/funds_terms.h"
#include "gateway/http.h"
#include "gateway/list_query.h"
#include "gateway/net/admin.h"
#include "gateway/net/admission.h"
#include "gateway/net/batches.h"
#include "gateway/net/completions.h"
#include "gateway/net/exchange.h"
#include "gateway/net/mail.h"
#include "gateway/net/once.h"
#include "gateway/net/telemetry.h"
#include "gateway/net/usage_pages.h"
#include "gateway/prompt.h"
#include "gateway/reply_json.h"

namespace tg::gateway {
namespace {

using Parser = http::request_parser<http::string_body>;

constexpr std::size_t kReadBytes = 16 * 1024;
// Before a request: what every idle connection holds on to, and enough for most requests.
constexpr std::size_t kFirstReadBytes = 2 * 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

constexpr std::string_view kRootPage =
    "<!doctype html><html lang=en><meta charset=utf-8><title>Tokengrid</title>"
    "<h1>Tokengrid</h1><p>An OpenAI-compatible endpoint: set the base URL to <code>/v1</code> and "
    "use a <code>tg-</code> key.</p><ul>"
    "<li><code>POST /v1/chat/completions</code>, <code>POST /v1/completions</code>, "
    "<code>POST /v1/messages</code>, <code>POST /v1/responses</code></li>"
    "<li><code>GET /v1/models</code></li><li><code>GET /v1/receipts/{id}</code></li>"
    "<li><a href=/health>/health</a>, <a href=/metrics>/metrics</a></li></ul></html>\n";

// A request, or why there is none: `error` to be answered before closing; neither = just close.
struct ReadResult {
  Boxed<HttpRequest> request;
  Boxed<ApiError> error;
};

ApiError read_error(error_code error, const ServerLimits& limits, u64 body_max) {
  if (error == http::error::header_limit) {
    return {.status = 431,
            .message = fmt::format("the header is longer than {} bytes", limits.header_bytes_max),
            .code = "header_too_large"};
  }
  if (error == http::error::body_limit) {
    return {.status = 413,
            .message = fmt::format("the body is longer than {} bytes", body_max),
            .code = "request_too_large"};
  }
  return {.message = "malformed HTTP: " + error.message(), .code = "bad_request"};
}

std::string field_of(const Parser& parser, std::string_view name) {
  boost::core::string_view value = parser.get()[boost::core::string_view(name)];
  return std::string(value.data(), value.size());
}

std::vector<std::pair<std::string, std::string>> extensions_of(const Parser& parser) {
  constexpr std::string_view kPrefix = "x-tokengrid-";
  constexpr std::size_t kExtensionsMax = 32;
  std::vector<std::pair<std::string, std::string>> extensions;
  for (const auto& field : parser.get()) {
    // Few names begin so; a copy is made of those only.
    bool may_be_ours = field.name_string().size() > kPrefix.size() &&
                       (field.name_string()[0] == 'x' || field.name_string()[0] == 'X');
    if (!may_be_ours) continue;
    std::string name(field.name_string().data(), field.name_string().size());
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (!name.starts_with(kPrefix) || extensions.size() >= kExtensionsMax) continue;
    extensions.emplace_back(name.substr(kPrefix.size()),
                            std::string(field.value().data(), field.value().size()));
  }
  return extensions;
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
  request.idempotency_key = field_of(parser, "idempotency-key");
  request.extensions = extensions_of(parser);
  request.funds.max_cost = field_of(parser, "x-tokengrid-max-cost");
  request.funds.hold = field_of(parser, "x-tokengrid-hold");
  request.funds.quote = field_of(parser, "x-tokengrid-quote");
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

awaitable<bool> read_more(Connection* connection, std::size_t bytes_max) {
  ReadBytes read =
      co_await read_some(&connection->transport, connection->buffer.prepare(bytes_max));
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
  bool has_bytes = co_await read_more(connection, kFirstReadBytes);
  connection->phase = Phase::kReading;
  co_return has_bytes;
}

// After the header: the body's own deadline, and the go-ahead that some clients wait for.
awaitable<void> begin_body(GatewayState* state, Connection* connection, bool expects_continue) {
  connection->transport.expire_after_ms(state->options.limits.body_ms);
  if (expects_continue) co_await write_all(&connection->transport, kContinue);
}

// Uploads may be larger than other bodies, a few at a time and from who has a key.
class UploadRoom {
 public:
  UploadRoom(GatewayState& state, const Connection& connection) : state_(state) {
    constexpr std::string_view kUpload = "POST /v1/files";
    asio::const_buffer bytes = connection.buffer.data();
    std::string_view text(static_cast<const char*>(bytes.data()), bytes.size());
    is_taken_ = text.starts_with(kUpload) && state.batches && state.uploads_open < kUploadsMax;
    if (is_taken_) ++state_.uploads_open;
  }
  ~UploadRoom() {
    if (is_taken_) --state_.uploads_open;
  }
  UploadRoom(const UploadRoom&) = delete;
  UploadRoom& operator=(const UploadRoom&) = delete;
  u64 body_max() const {
    i64 usual = state_.options.limits.body_bytes_max;
    return static_cast<u64>(is_taken_ ? std::max(kUploadBytesMax, usual) : usual);
  }
  // To be asked once the header is there.
  std::optional<ApiError> check(const Parser& parser) const {
    if (!is_taken_) return std::nullopt;
    HttpRequest asked;
    asked.authorization = field_of(parser, "authorization");
    asked.api_key = field_of(parser, "x-api-key");
    std::string_view credential = credential_of(asked);
    if (authenticate(state_, credential)) return std::nullopt;
    return bad_key(credential.empty());
  }

 private:
  GatewayState& state_;
  bool is_taken_ = false;
};

awaitable<ReadResult> read_request(GatewayState* state, Connection* connection) {
  const ServerLimits& limits = state->options.limits;
  Parser parser;
  parser.eager(true);
  ReadResult result;
  bool is_open = co_await await_first_byte(state, connection);
  if (!is_open) co_return result;
  // Only now: limits may have been reloaded while the connection was idle.
  parser.header_limit(static_cast<u32>(limits.header_bytes_max));
  UploadRoom room(*state, *connection);
  parser.body_limit(room.body_max());
  connection->transport.expire_after_ms(limits.header_ms);
  bool has_header = false;
  for (;;) {
    error_code error;
    if (!parse_some(*connection, parser, error)) {
      result.error = read_error(error, limits, room.body_max());
      co_return result;
    }
    if (parser.is_done()) break;
    if (parser.is_header_done() && !has_header) {
      has_header = true;
      std::optional<ApiError> refused = room.check(parser);
      if (refused) result.error = *std::move(refused);
      if (result.error) co_return result;
      bool expects = field_of(parser, "expect") == "100-continue";
      co_await begin_body(state, connection, expects);
    }
    bool has_more = co_await read_more(connection, kReadBytes);
    if (!has_more) co_return result;
  }
  result.request = take_request(parser);
  co_return result;
}

// ---- endpoints ----------------------------------------------------------------------------------

HttpResponse preflight() {
  HttpResponse response{.status = 204};
  response.headers.emplace_back("access-control-allow-methods",
                                "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  response.headers.emplace_back("access-control-allow-headers",
                                "authorization, content-type, x-api-key, anthropic-version, "
                                "anthropic-beta, anthropic-dangerous-direct-browser-access, "
                                "x-tokengrid-max-cost, x-tokengrid-hold, x-tokengrid-quote, "
                                "idempotency-key, "
                                "x-stainless-*");
  response.headers.emplace_back("access-control-max-age", "86400");
  return response;
}

HttpResponse text_response(std::string content_type, std::string body) {
  return {.content_type = std::move(content_type), .body = std::move(body)};
}

Served page(HttpResponse response) {
  Served served;
  served.response = std::move(response);
  return served;
}

Served refusal(ApiError error) {
  Served served;
  served.error = std::move(error);
  return served;
}

Served health(const GatewayState& state) {
  if (state.is_leaving) return refusal(overloaded("the server is stopping"));
  return page({.body = R"({"status":"ok"})"});
}

HttpResponse metrics_page(const GatewayState& state) {
  std::optional<ledger::LeaseFigures> leases = lease_figures(state);
  std::string text = metrics_text(state.metrics, model_samples(state), leases ? &*leases : nullptr);
  for (const ServedModel& model : state.models) text += model.supplier->metrics();
  return text_response("text/plain; version=0.0.4; charset=utf-8", std::move(text));
}

Served model_page(const GatewayState& state, const std::string& id, const KeyInfo& key) {
  const ServedModel* model = find_model(state.models, id);
  if (model == nullptr || check_model(key, *model)) return refusal(model_not_found(id));
  return page({.body = model_json(*model)});
}

awaitable<Served> receipt_page(GatewayState* state, std::string id, KeyInfo key) {
  ReceiptRead question;
  question.account = key.account;
  question.receipt_id = std::move(id);
  std::vector<BillingQuestion> questions(1, question);
  std::vector<BillingReply> replies = co_await ask_billing(state, std::move(questions));
  if (replies[0].status == BillingReply::Status::kOk) {
    co_return page(text_response("text/plain; charset=utf-8", std::move(replies[0].receipt)));
  }
  if (replies[0].status == BillingReply::Status::kNotFound) {
    ApiError missing;
    missing.status = 404;
    missing.message = "this account has no such receipt";
    missing.code = "receipt_not_found";
    co_return refusal(missing);
  }
  co_return refusal(overloaded("billing is not available"));
}

// On the state's pool if the body is large; what it uses of the state does not change.
awaitable<ApiResult<std::string>> count_on_thread(CountingWorld world,
                                                  std::vector<OutputHistory> history,
                                                  Endpoint endpoint, std::string body) {
  world.history = history;
  co_return answer_counting(world, endpoint, body);
}

awaitable<Served> serve_counting(GatewayState* state, HttpRequest request, Endpoint endpoint,
                                 KeyInfo key) {
  std::optional<ApiError> refused = check_admission(*state, request, key);
  if (refused) co_return refusal(*std::move(refused));
  std::vector<OutputHistory> history;
  for (const ModelMetrics& model : state->model_metrics) {
    history.push_back({.replies = model.whole_replies, .tokens = model.whole_reply_tokens});
  }
  CountingWorld world;
  world.models = state->models;
  world.options = prepare_options(*state);
  world.cache_salt = static_cast<u64>(key.account >> 64) ^ static_cast<u64>(key.account);
  world.extensions = std::move(request.extensions);
  bool is_large = request.body.size() > kOffloadBytes;
  bool is_estimate = endpoint == Endpoint::kEstimate;
  std::string body = is_estimate ? request.body : std::string();
  std::vector<OutputHistory> kept = history;
  awaitable<ApiResult<std::string>> counting =
      count_on_thread(world, std::move(history), endpoint, std::move(request.body));
  ApiResult<std::string> answer =
      co_await maybe_elsewhere(is_large ? &state->pool : nullptr, std::move(counting));
  if (ApiError* error = std::get_if<ApiError>(&answer)) co_return refusal(std::move(*error));
  HttpResponse response;
  response.body = std::get<std::string>(std::move(answer));
  if (is_estimate) {
    QuoteRead question;
    question.account = key.account;
    if (key.standing) question.service = name(key.standing->service);
    if (Problem problem = read_funds_headers(request.funds, question.funds))
      co_return refusal(*std::move(problem));
    world.history = kept;
    ApiResult<EstimateShape> shaped = estimate_shape(world, body);
    if (ApiError* error = std::get_if<ApiError>(&shaped)) co_return refusal(std::move(*error));
    const EstimateShape& shape = std::get<EstimateShape>(shaped);
    question.model = shape.model;
    question.prompt_tokens = shape.prompt_tokens;
    question.output_tokens_max = shape.output_tokens_max;
    question.output_tokens_expected = shape.output_tokens_expected;
    question.is_embedding = shape.is_embedding;
    std::vector<BillingQuestion> questions(1, question);
    std::vector<BillingReply> replies = co_await ask_billing(state, std::move(questions));
    // Without billing an estimate is still one.
    if (replies[0].status == BillingReply::Status::kOk)
      response.body = with_quote(std::move(response.body), replies[0].quote);
  }
  co_return page(std::move(response));
}

// ---- stored responses ---------------------------------------------------------------------------

ApiError no_response(std::string_view id) {
  return {.status = 404,
          .message = fmt::format("no response '{}' is stored here", id.substr(0, 100)),
          .param = "response_id",
          .code = "response_not_found"};
}

Served response_page(GatewayState& state, const HttpRequest& request, const Route& route,
                     const KeyInfo& key) {
  if (request.method == "DELETE") {
    bool is_gone = state.responses.erase(route.argument, key.account, state.clock.now());
    if (!is_gone) return refusal(no_response(route.argument));
    return page({.body = deleted_json(route.argument)});
  }
  const StoredResponse* kept = state.responses.find(route.argument, key.account, state.clock.now());
  if (kept == nullptr) return refusal(no_response(route.argument));
  if (route.endpoint != Endpoint::kResponseItems) return page({.body = kept->json});
  constexpr i64 kItemsMax = 100;
  Result<ListQuery> query = list_query(request.target, kItemsMax);
  if (!query.ok()) return refusal(invalid_value("", query.error().message));
  return page({.body = input_items_json(kept->input, kept->id, *query)});
}

// Ends a response that is being made for another connection of the same account.
Served cancel_response(GatewayState& state, const std::string& id, const KeyInfo& key) {
  for (Exchange* exchange : state.exchanges) {
    if (exchange->reply_id != id || exchange->key.account != key.account) continue;
    // Not 409: clients would try again by themselves.
    exchange->abort(Outcome::kBuyerAbort, ApiError{.status = 400,
                                                   .message = "the response was cancelled",
                                                   .code = "response_cancelled"});
    exchange->signal.cancel();
    return page({.body = cancelled_json(id)});
  }
  const StoredResponse* kept = state.responses.find(id, key.account, state.clock.now());
  if (kept == nullptr) return refusal(no_response(id));
  return refusal(invalid_value("response_id", "the response has already ended"));
}

// -------------------------------------------------------------------------------------------------

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

// Endpoints that everyone may see; nullopt for the others.
std::optional<Served> open_page(const GatewayState& state, const HttpRequest& request,
                                const Route& route) {
  if (route.endpoint == Endpoint::kUnknown) return refusal(unknown_path(request));
  if (request.method == "OPTIONS") return page(preflight());
  if (!is_allowed(route, request.method)) return refusal(wrong_method(request, route));
  if (route.endpoint == Endpoint::kHealth) return health(state);
  if (route.endpoint == Endpoint::kMetrics) return page(metrics_page(state));
  if (route.endpoint == Endpoint::kOllamaVersion) return page({.body = ollama_version_json()});
  if (route.endpoint == Endpoint::kAdminDocument) return page({.body = admin_openapi()});
  if (route.endpoint == Endpoint::kRoot) {
    return page(text_response("text/html; charset=utf-8", std::string(kRootPage)));
  }
  return std::nullopt;
}

Served show_page(const GatewayState& state, const HttpRequest& request) {
  ApiResult<std::string> shown = ollama_show_json(state.models, request.body);
  if (ApiError* error = std::get_if<ApiError>(&shown)) return refusal(std::move(*error));
  return page({.body = std::get<std::string>(std::move(shown))});
}

std::optional<Api> api_of(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::kChatCompletions: return Api::kChat;
    case Endpoint::kCompletions: return Api::kCompletions;
    case Endpoint::kMessages: return Api::kMessages;
    case Endpoint::kResponses: return Api::kResponses;
    case Endpoint::kOllamaChat: return Api::kOllamaChat;
    case Endpoint::kOllamaGenerate: return Api::kOllamaGenerate;
    case Endpoint::kEmbeddings: return Api::kEmbeddings;
    case Endpoint::kOllamaEmbed: return Api::kOllamaEmbed;
    case Endpoint::kOllamaEmbeddings: return Api::kOllamaEmbeddings;
    default: return std::nullopt;
  }
}

awaitable<Served> ready(Served served) {
  co_return std::move(served);
}

// No coroutine, nor is what calls it: a stream would hold on to the frames of both.
awaitable<Served> serve_endpoint(GatewayState* state, std::shared_ptr<Connection> connection,
                                 HttpRequest request, Route route, KeyInfo key) {
  connection->log.key = key.id;
  bool reads_usage = route.endpoint == Endpoint::kReceipt || route.endpoint == Endpoint::kUsage ||
                     route.endpoint == Endpoint::kUsageStream;
  std::optional<ApiError> denied =
      check_scope(key, reads_usage ? Scope::kUsageRead : Scope::kInference);
  if (denied) return ready(refusal(*std::move(denied)));
  if (std::optional<Api> api = api_of(route.endpoint))
    return serve_once(state, std::move(connection), std::move(request), *api, std::move(key));
  if (is_batch_page(route.endpoint))
    return serve_batches(state, std::move(request), std::move(route), std::move(key));
  if (is_counting(route.endpoint))
    return serve_counting(state, std::move(request), route.endpoint, std::move(key));
  switch (route.endpoint) {
    case Endpoint::kRoute: return explain_route(state, std::move(request), std::move(key));
    case Endpoint::kModels:
      return ready(page({.body = models_json(state->models, key.standing.get())}));
    case Endpoint::kModel: return ready(model_page(*state, route.argument, key));
    case Endpoint::kReceipt: return receipt_page(state, std::move(route.argument), std::move(key));
    case Endpoint::kUsage: return serve_usage(state, std::move(request.target), std::move(key));
    case Endpoint::kUsageStream:
      return stream_meters(state, std::move(connection), !request.is_http_1_0, std::move(key));
    case Endpoint::kResponse:
    case Endpoint::kResponseItems: return ready(response_page(*state, request, route, key));
    case Endpoint::kResponseCancel: return ready(cancel_response(*state, route.argument, key));
    case Endpoint::kOllamaTags: return ready(page({.body = ollama_tags_json(state->models)}));
    case Endpoint::kOllamaShow: return ready(show_page(*state, request));
    default: return ready(refusal(unknown_path(request)));
  }
}

awaitable<Served> serve_request(GatewayState* state, std::shared_ptr<Connection> connection,
                                HttpRequest request, Route route) {
  std::optional<Served> open = open_page(*state, request, route);
  if (open) return ready(*std::move(open));
  if (route.endpoint == Endpoint::kAdmin)
    return serve_admin(state, connection->request_id, std::move(request));
  std::string_view credential = credential_of(request);
  std::optional<KeyInfo> key = authenticate(*state, credential);
  if (!key) return ready(refusal(bad_key(credential.empty())));
  return serve_endpoint(state, std::move(connection), std::move(request), std::move(route),
                        *std::move(key));
}

// The reply as it goes to the socket.
std::string response_bytes(GatewayState& state, Connection& connection,
                           const HttpResponse& response, bool keep_alive, bool is_head) {
  ++state.metrics.responses[response.status];
  connection.log.status = response.status;
  WriteOptions options;
  options.keep_alive = keep_alive;
  options.is_head = is_head;
  options.request_id = connection.request_id;
  options.extra_headers = connection.extra_headers;
  connection.transport.expire_after_ms(state.options.limits.write_ms);
  return response_text(response, options);
}

// What of the reply the socket does not take at once. If it is broken, all of it: writing that
// fails.
std::string begin_response(GatewayState& state, Connection& connection,
                           const HttpResponse& response, bool keep_alive, bool is_head) {
  std::string bytes = response_bytes(state, connection, response, keep_alive, is_head);
  Written now = write_now(connection.transport, bytes);
  bool is_whole = !now.is_broken && now.count == bytes.size();
  return is_whole ? std::string() : bytes.substr(now.count);
}

// The path without its query, which may hold anything.
std::string logged_path(std::string_view target) {
  return std::string(target.substr(0, std::min<std::size_t>(target.find('?'), 200)));
}

void log_request(const GatewayState& state, const RequestLog& log, const Connection& connection) {
  i64 took_ns = state.clock.monotonic_ns() - log.began_ns;
  const LogField fields[] = {{"request_id", connection.request_id},
                             {"method", log.method},
                             {"path", log.path},
                             {"status", static_cast<i64>(log.status)},
                             {"ms", static_cast<f64>(took_ns / 1'000) / 1'000},
                             {"key", log.key},
                             {"model", log.model},
                             {"input_tokens", log.input_tokens},
                             {"output_tokens", log.output_tokens},
                             {"nominal_nst", log.nominal_nst},
                             {"outcome", log.outcome}};
  log_event(LogLevel::kInfo, "request", "served", fields);
}

// One request; true if the connection can carry another.
awaitable<bool> serve_one(GatewayState* state, std::shared_ptr<Connection> connection,
                          bool* linger) {
  ReadResult read = co_await read_request(state, connection.get());
  connection->request_id = new_id(*state, "req_");
  connection->extra_headers.clear();
  if (read.error) {
    *linger = true;
    std::string rest =
        begin_response(*state, *connection, error_response(*read.error), false, false);
    if (!rest.empty()) co_await write_all(&connection->transport, rest);
    co_return false;
  }
  if (!read.request) co_return false;
  connection->phase = Phase::kServing;
  bool keep_alive = read.request->keep_alive;
  bool is_head = read.request->method == "HEAD";
  connection->log = {.began_ns = state->clock.monotonic_ns(),
                     .method = read.request->method,
                     .path = logged_path(read.request->target)};
  Route route = route_of(read.request->target);
  ErrorShape shape = shape_of(route.endpoint);
  awaitable<Served> serving =
      serve_request(state, connection, std::move(*read.request), std::move(route));
  read.request.reset();
  Served served = co_await std::move(serving);
  if (served.error) {
    served.response = error_response(*served.error, shape, connection->request_id);
  }
  keep_alive = keep_alive && served.keep_alive && !state->is_draining;
  bool goes_on = keep_alive;
  if (served.response) {
    std::string rest = begin_response(*state, *connection, *served.response, keep_alive, is_head);
    bool is_written = rest.empty() || co_await write_all(&connection->transport, rest);
    goes_on = keep_alive && is_written;
  }
  if (state->options.logs_requests) log_request(*state, connection->log, *connection);
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
