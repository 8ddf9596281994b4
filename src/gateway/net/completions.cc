#include "gateway/net/completions.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "gateway/dialect/responses.h"
#include "gateway/funds_terms.h"
#include "gateway/net/admission.h"
#include "gateway/net/exchange.h"
#include "gateway/net/mail.h"
#include "gateway/net/once.h"
#include "gateway/route_wishes.h"
#include "market/usage/token_usage.h"

namespace tg::gateway {

std::optional<ApiError> check_admission(const GatewayState& state, const HttpRequest& request,
                                        const KeyInfo& key) {
  if (!request.content_type.empty() && !is_json_type(request.content_type)) {
    return ApiError{.status = 415,
                    .message = fmt::format("content-type must be application/json, not '{}'",
                                           request.content_type.substr(0, 100)),
                    .code = "unsupported_media_type"};
  }
  if (state.is_draining) return overloaded("the server is stopping");
  std::unordered_map<std::string, i64>::const_iterator open = state.open_by_key.find(key.id);
  i64 count = open == state.open_by_key.end() ? 0 : open->second;
  if (count < state.options.limits.requests_per_key_max) return std::nullopt;
  return ApiError{.status = 429,
                  .type = "rate_limit_error",
                  .message = fmt::format("this key has {} requests open; at most {} are served",
                                         count, state.options.limits.requests_per_key_max),
                  .code = "rate_limit_exceeded",
                  .retry_after_s = 1};
}

PrepareOptions prepare_options(GatewayState& state) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  return {.max_tokens_default = state.options.limits.max_tokens_default,
          .unix_seconds = state.clock.now().ns / kNsPerSecond};
}

namespace {

// While pipelined input waits unread, a closed connection is looked for this often.
constexpr std::chrono::milliseconds kPeerPoll(20);

Served refusal(const ApiError& error) {
  Served served;
  served.error = error;
  return served;
}

awaitable<meter::Content> content_of(const Billing* billing, std::string_view body) {
  co_return billing->content(body);
}

awaitable<ApiResult<CompletionRequest>> parse(Api api, std::string body) {
  co_return parse_completion_request(api, body);
}

awaitable<ApiResult<Job>> prepare(GatewayState* state, CompletionRequest request,
                                  PrepareOptions options) {
  co_return prepare_request(state->models, std::move(request), options);
}

// Puts the conversation before the request that continues it.
std::optional<ApiError> continue_response(GatewayState& state, const KeyInfo& key,
                                          CompletionRequest& request) {
  if (!request.responses || request.responses->previous_id.empty()) return std::nullopt;
  const std::string& id = request.responses->previous_id;
  const StoredResponse* previous = state.responses.find(id, key.account, state.clock.now());
  if (previous == nullptr) {
    ApiError missing = invalid_value(
        "previous_response_id",
        fmt::format("no response '{}' is stored here; responses are kept for an hour if they were "
                    "made with 'store': true",
                    id.substr(0, 100)));
    missing.code = "previous_response_not_found";
    return missing;
  }
  request.messages.insert(request.messages.begin(), previous->messages.begin(),
                          previous->messages.end());
  return std::nullopt;
}

// Before the client hears of the end, so that it finds what it asks for next.
void keep_response(GatewayState& state, const Exchange& exchange,
                   const std::vector<Message>& conversation) {
  const std::optional<ResponsesFields>& fields = exchange.job.request.responses;
  std::string json = exchange.writer->final_json();
  if (!fields || !fields->is_stored || json.empty()) return;
  StoredResponse kept;
  kept.id = exchange.reply_id;
  kept.account = exchange.key.account;
  kept.json = std::move(json);
  kept.input = fields->input;
  kept.messages = conversation;
  kept.messages.push_back(message_of(exchange.writer->final_blocks()));
  state.responses.put(std::move(kept), state.clock.now());
}

// Ends a wait for news as soon as the client has gone. No coroutine: every stream has one waiting.
void watch_peer(std::shared_ptr<Connection> connection, std::shared_ptr<Exchange> exchange) {
  if (exchange->is_done) return;
  tcp::socket& socket = connection->transport.socket();
  socket.async_wait(tcp::socket::wait_read, [connection = std::move(connection),
                                             exchange = std::move(exchange)](error_code error) {
    if (exchange->is_done) return;
    if (error || is_peer_gone(connection->transport.socket())) {
      exchange->is_disconnected = true;
      exchange->signal.cancel();
      return;
    }
    std::shared_ptr<asio::steady_timer> timer =
        std::make_shared<asio::steady_timer>(exchange->state.io, kPeerPoll);
    timer->async_wait(
        [timer, connection, exchange](error_code) { watch_peer(connection, exchange); });
  });
}

HoldOpen open_question(const Exchange& exchange, const Run& run) {
  HoldOpen open;
  open.account = exchange.key.account;
  open.model = exchange.job.model->id;
  open.program = exchange.job.model->program;
  const PreparedPrompt& prompt = exchange.job.prompts[run.prompt];
  open.prompt_tokens = prompt.count;
  open.output_tokens_max = prompt.max_tokens;
  open.request_id = exchange.connection.request_id;
  if (run.prompt > 0) open.request_id += "." + std::to_string(run.prompt);
  open.choice = run.number;
  open.budgets = exchange.budgets;
  open.funds = exchange.job.request.funds;
  // The limit is the request's; its runs share it.
  if (open.funds.max_cost) open.funds.max_cost->nano /= static_cast<i64>(exchange.runs.size());
  open.is_embedding = run.wants_vector;
  open.is_whole = !exchange.is_stream();
  open.run = run.id;
  open.sent = exchange.sent;
  open.key = exchange.key.id;
  if (exchange.key.standing) {
    open.project = exchange.key.standing->at(Level::kProject).id;
    open.service = name(exchange.key.standing->service);
  }
  return open;
}

ApiError from_billing(const BillingReply& reply) {
  switch (reply.status) {
    case BillingReply::Status::kInsufficientFunds:
      return {.status = 402,
              .type = "insufficient_quota",
              .message =
                  "the account's balance, or the max_cost given, does not cover the prompt and a "
                  "first token",
              .code = "insufficient_quota"};
    case BillingReply::Status::kBudgetExceeded:
      return {.status = 402,
              .type = "insufficient_quota",
              .message =
                  "a budget of this key, its project, team or organisation does not cover this "
                  "request; a smaller max_tokens needs less",
              .code = "budget_exceeded"};
    case BillingReply::Status::kNotFound:
      return {.status = 402,
              .type = "insufficient_quota",
              .message = "the key's account has no balance",
              .code = "insufficient_quota"};
    case BillingReply::Status::kOk:
    case BillingReply::Status::kInvalid: {
      ApiError error;
      error.message = reply.message;
      error.param = "tokengrid.quote";
      error.code = "invalid_quote";
      return error;
    }
    case BillingReply::Status::kFailed: break;
  }
  log_error("gateway", "billing: {}", reply.message);
  ApiError error = overloaded("billing is not available");
  error.code = "billing_unavailable";
  return error;
}

// All or none go on: after a refusal the granted ones are closed as REJECTED by the usual end.
awaitable<void> open_holds(GatewayState* state, std::shared_ptr<Exchange> exchange) {
  std::vector<BillingQuestion> questions;
  for (const Run& run : exchange->runs) questions.push_back(open_question(*exchange, run));
  std::vector<BillingReply> replies = co_await ask_billing(state, std::move(questions));
  for (std::size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].status == BillingReply::Status::kOk) {
      exchange->runs[i].hold = replies[i].hold;
      exchange->runs[i].has_hold = true;
      exchange->note_edge(replies[i].notice);
      ++state->metrics.holds_open;
    } else if (!exchange->error) {
      exchange->error = from_billing(replies[i]);
    }
  }
}

// Before anything can be charged of a reply that is kept under an idempotency key.
awaitable<void> charge_kept(GatewayState* state, std::shared_ptr<Exchange> exchange) {
  std::optional<ApiError> refused = co_await begin_charging(state, exchange->once);
  if (!refused) co_return;
  exchange->output.clear();
  exchange->abort(Outcome::kSellerFault, std::move(refused));
}

// Hands over what is ready, the head first if it has not gone yet; what the socket does not take.
std::string hand_over(GatewayState& state, Exchange& exchange, bool is_chunked) {
  if (exchange.once) {
    exchange.once->stream_type = exchange.writer->stream_type();
    note_stream(*exchange.once, exchange.output);
  }
  // One text for all streams: what the socket does not take at once is rare, and copied.
  thread_local std::string bytes;
  bytes.clear();
  if (!exchange.is_head_written) {
    bytes = stream_head_text(exchange.connection.request_id, exchange.writer->stream_type(),
                             is_chunked, is_chunked, exchange.connection.extra_headers);
    exchange.is_head_written = true;
    ++state.metrics.responses[200];
  }
  if (is_chunked) {
    append_chunk(bytes, exchange.output);
  } else {
    bytes += exchange.output;
  }
  Written now = write_now(exchange.connection.transport, bytes);
  bool is_whole = !now.is_broken && now.count == bytes.size();
  if (is_whole) exchange.confirm_output();
  if (now.is_broken) exchange.is_disconnected = true;
  return is_whole || now.is_broken ? std::string() : bytes.substr(now.count);
}

awaitable<void> write_rest(GatewayState* state, std::shared_ptr<Exchange> exchange,
                           std::string rest) {
  Transport* transport = &exchange->connection.transport;
  transport->expire_after_ms(state->options.limits.write_ms);
  bool is_written = co_await write_all(transport, rest);
  if (is_written) {
    exchange->confirm_output();
  } else {
    exchange->is_disconnected = true;
  }
}

// How long the next news may take, from now on; 0: a ping was due, and is ready. None: the
// supplier's last word did not come in time after a cancel.
std::optional<i64> patience_ns(GatewayState& state, Exchange& exchange) {
  const ServerLimits& limits = state.options.limits;
  i64 now_ns = state.clock.monotonic_ns();
  i64 until_ns = exchange.news_ns + limits.supply_ms * 1'000'000;
  if (exchange.is_aborted()) until_ns = exchange.aborted_ns + limits.cancel_ms * 1'000'000;
  if (exchange.is_aborted() && now_ns >= until_ns) {
    log_error("gateway", "{}: a supplier of {} did not confirm a cancel",
              exchange.connection.request_id, exchange.job.model->id);
    return std::nullopt;
  }
  i64 ping_ns = exchange.written_ns + limits.ping_ms * 1'000'000;
  bool may_ping = exchange.is_stream() && !exchange.is_aborted();
  if (may_ping && now_ns >= ping_ns) {
    exchange.begin_stream();
    exchange.writer->ping(exchange.output);
    return 0;
  }
  if (may_ping) until_ns = std::min(until_ns, ping_ns);
  return std::max<i64>(1, until_ns - now_ns);
}

// Until every run has ended: events in, bytes out. What it does for every piece of a stream it does
// itself: a coroutine for each would cost as much as the doing.
awaitable<void> produce(GatewayState* state, std::shared_ptr<Exchange> exchange, bool is_chunked) {
  for (;;) {
    bool had_events = exchange->take_events();
    exchange->check_abort();
    if (exchange->has_output() && exchange->once) co_await charge_kept(state, exchange);
    if (exchange->has_output()) {
      std::string rest = hand_over(*state, *exchange, is_chunked);
      if (!rest.empty()) co_await write_rest(state, exchange, std::move(rest));
      continue;
    }
    if (exchange->is_all_finished()) co_return;
    if (had_events) continue;
    std::optional<i64> wait_ns = patience_ns(*state, *exchange);
    if (!wait_ns) co_return;
    if (*wait_ns == 0) continue;
    exchange->signal.expires_after(std::chrono::nanoseconds(*wait_ns));
    error_code ignored;
    co_await exchange->signal.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

HoldClose close_question(const Exchange& exchange, const Run& run) {
  HoldClose close;
  close.hold = run.hold;
  close.outcome = run.outcome;
  if (run.choice.is_finished()) {
    const fleet::SupplierEvent& last = run.choice.finished();
    close.usage = last.usage;
    close.is_estimated = last.is_estimated;
    // Billed by what came; that the supplier claims otherwise is on the receipt.
    if (!last.dispute.empty()) close.usage_flags = market::usage_flag::kTotalDiffers;
    close.device = last.supplier;
  }
  close.delivered_tokens = run.delivered;
  // A vector has no tokens; that it was handed over is what its prefill is paid for.
  if (run.wants_vector && run.outcome == Outcome::kCompleted) close.delivered_tokens = 1;
  close.reasoning_tokens = std::min(run.reasoning_tokens, run.delivered);
  bool has_all = !exchange.is_aborted() && !run.wants_vector && run.choice.is_finished();
  if (has_all) close.received = exchange.state.billing.content(run.said);
  close.timing.started = exchange.started;
  close.timing.ended = exchange.state.clock.now();
  close.timing.first_delivery_ns = exchange.first_delivery_ns;
  return close;
}

awaitable<void> close_holds(GatewayState* state, std::shared_ptr<Exchange> exchange) {
  std::vector<BillingQuestion> questions;
  std::vector<Run*> closing;
  for (Run& run : exchange->runs) {
    if (!run.has_hold) continue;
    run.has_hold = false;
    closing.push_back(&run);
    questions.push_back(close_question(*exchange, run));
  }
  if (questions.empty()) co_return;
  // A reply is whole when it is paid for, and it will be, however long the ledger is away: who was
  // let in is not told that it failed, and then charged. Who failed already need not wait for that.
  Patience patience = exchange->error ? Patience::kLimited : Patience::kEndless;
  std::vector<BillingReply> replies = co_await ask_billing(state, std::move(questions), patience);
  TG_ASSERT(replies.size() == closing.size());
  for (std::size_t i = 0; i < replies.size(); ++i) {
    --state->metrics.holds_open;
    if (replies[i].status == BillingReply::Status::kOk) {
      closing[i]->settlement = std::move(replies[i].settlement);
      if (exchange->once) exchange->once->charged += closing[i]->settlement.charged;
      continue;
    }
    ++state->metrics.billing_failures;
    if (exchange->once) exchange->once->is_settled = false;
    log_error("gateway", "{}: not settled: {}", exchange->connection.request_id,
              replies[i].message);
    if (!exchange->error) exchange->error = internal_error("this request could not be settled");
  }
}

// The stream's last events; true if the connection can carry another request.
awaitable<bool> end_stream(GatewayState* state, std::shared_ptr<Exchange> exchange, bool is_chunked,
                           const std::vector<Message>* conversation) {
  std::string tail;
  if (exchange->error) {
    exchange->writer->fail(tail, *exchange->error);
  } else {
    exchange->writer->end(tail, exchange->usage());
    keep_response(*state, *exchange, *conversation);
  }
  if (exchange->once) {
    note_stream(*exchange->once, tail);
    exchange->once->is_stream_whole = !exchange->error;
  }
  std::string bytes = is_chunked ? chunk_text(tail) + std::string(kLastChunk) : tail;
  Transport* transport = &exchange->connection.transport;
  transport->expire_after_ms(state->options.limits.write_ms);
  bool is_written = co_await write_all(transport, bytes);
  co_return is_written&& is_chunked && !exchange->error;
}

HttpResponse whole_response(Exchange& exchange) {
  HttpResponse response;
  UsageReport usage = exchange.usage();
  response.headers.emplace_back("x-tokengrid-nominal-nst", std::to_string(usage.nominal_nst));
  if (!usage.receipt_ids.empty()) {
    response.headers.emplace_back("x-tokengrid-receipt-id", usage.receipt_ids.front());
  }
  response.body = exchange.reply();
  return response;
}

void submit(Exchange& exchange) {
  std::optional<ApiError> refused = exchange.submit();
  if (refused) exchange.abort(Outcome::kSellerFault, std::move(refused));
}

awaitable<void> run_exchange(GatewayState* state, std::shared_ptr<Exchange> exchange,
                             bool is_chunked) {
  if (!take_turn(*state, *exchange)) co_await wait_for_turn(state, exchange);
  bool may_go_on = !exchange->error && !exchange->is_aborted();
  if (may_go_on && !take_budgets(*state, *exchange)) co_await open_budgets(state, exchange);
  if (!exchange->error && !exchange->is_aborted()) co_await open_holds(state, exchange);
  exchange->check_abort();
  if (!exchange->error && !exchange->is_aborted()) {
    submit(*exchange);
    co_await produce(state, exchange, is_chunked);
  }
  bool may_charge = exchange->once && !exchange->is_aborted() && !exchange->error;
  if (may_charge) co_await charge_kept(state, exchange);
  // The model is free for the next one; what was estimated wrongly is corrected when it is settled.
  exchange->turn.end_use();
  exchange->conclude();
  co_await close_holds(state, exchange);
  exchange->record_use();
  exchange->record_metrics();
}

// The client has gone; if it comes back with the same idempotency key it shall have what it paid
// for.
void keep_for_return(Exchange& exchange) {
  Once& once = *exchange.once;
  if (!exchange.is_stream()) {
    bool is_whole = !exchange.error && !exchange.is_aborted();
    if (is_whole) once.unsent = whole_response(exchange);
    return;
  }
  std::string tail;
  ApiError cut = internal_error("the client left here when this stream was first sent");
  cut.code = "stream_interrupted";
  exchange.writer->fail(tail, cut);
  note_stream(once, tail);
}

// `conversation` lives until it ends: its caller awaits it.
awaitable<Served> answer(GatewayState* state, std::shared_ptr<Exchange> exchange, bool is_chunked,
                         const std::vector<Message>* conversation) {
  Served served;
  if (exchange->is_disconnected || exchange->is_overrun) {
    served.keep_alive = false;
    if (exchange->once) keep_for_return(*exchange);
  } else if (exchange->is_head_written) {
    served.keep_alive = co_await end_stream(state, exchange, is_chunked, conversation);
  } else if (exchange->error) {
    served.error = *exchange->error;
  } else {
    TG_ASSERT(!exchange->is_stream());
    served.response = whole_response(*exchange);
    keep_response(*state, *exchange, *conversation);
  }
  co_return served;
}

}  // namespace

void watch_lasting(GatewayState& state) {
  constexpr i64 kLastingNs = 5'000'000;
  i64 before_ns = state.clock.monotonic_ns() - kLastingNs;
  while (!state.unwatched.empty()) {
    std::shared_ptr<Exchange> oldest = state.unwatched.front().lock();
    if (oldest != nullptr && oldest->started_ns > before_ns) return;
    state.unwatched.pop_front();
    if (oldest == nullptr || oldest->is_done) continue;
    oldest->is_watched = true;
    std::shared_ptr<Connection> connection = oldest->connection.shared_from_this();
    watch_peer(std::move(connection), std::move(oldest));
  }
}

// What runs, or why nothing does.
struct BegunCompletion {
  std::shared_ptr<Exchange> exchange;  // Null: refused.
  Boxed<ApiError> refused;
  std::vector<Message> conversation;
};

static BegunCompletion not_begun(ApiError error) {
  BegunCompletion out;
  out.refused = std::move(error);
  return out;
}

// Up to where it may run. A coroutine of its own, so that a stream does not hold on to what its
// request was read with.
static awaitable<BegunCompletion> begin_completion(GatewayState* state,
                                                   std::shared_ptr<Connection> connection,
                                                   Boxed<HttpRequest> request, Api api,
                                                   KeyInfo key) {
  std::optional<ApiError> refused = check_admission(*state, *request, key);
  if (refused) co_return not_begun(*std::move(refused));
  bool is_large = request->body.size() > kOffloadBytes;
  ApiResult<RouteRequest> route = read_route_wishes(request->extensions, request->body);
  if (ApiError* error = std::get_if<ApiError>(&route)) co_return not_begun(std::move(*error));
  meter::Content sent;
  ApiResult<CompletionRequest> parsed;
  if (is_large) {
    awaitable<meter::Content> hashing = content_of(&state->billing, request->body);
    sent = co_await asio::co_spawn(state->pool, std::move(hashing), asio::use_awaitable);
    awaitable<ApiResult<CompletionRequest>> parsing = parse(api, std::move(request->body));
    parsed = co_await asio::co_spawn(state->pool, std::move(parsing), asio::use_awaitable);
  } else {
    sent = state->billing.content(request->body);
    parsed = parse_completion_request(api, request->body);
  }
  if (ApiError* error = std::get_if<ApiError>(&parsed)) co_return not_begun(std::move(*error));
  CompletionRequest& wanted = std::get<CompletionRequest>(parsed);
  wanted.wishes = std::get<RouteRequest>(route).wishes;
  wanted.ttft_target_ns = std::get<RouteRequest>(route).ttft_target_ns;
  refused = read_funds_headers(request->funds, wanted.funds);
  if (refused) co_return not_begun(*std::move(refused));
  if (connection->is_detached && wanted.is_stream)
    co_return not_begun(invalid_value("stream", "a batch's requests cannot be streamed"));
  refused = continue_response(*state, key, wanted);
  if (refused) co_return not_begun(*std::move(refused));
  BegunCompletion out;
  if (wanted.responses && wanted.responses->is_stored) out.conversation = wanted.messages;
  PrepareOptions options = prepare_options(*state);
  options.compiles_shape = wanted.may_have_shape();
  ApiResult<Job> job;
  if (is_large || options.compiles_shape) {
    asio::thread_pool& pool = options.compiles_shape ? state->grammar_pool : state->pool;
    awaitable<ApiResult<Job>> preparing = prepare(state, std::move(wanted), options);
    job = co_await asio::co_spawn(pool, std::move(preparing), asio::use_awaitable);
  } else {
    job = prepare_request(state->models, std::move(wanted), options);
  }
  if (ApiError* error = std::get_if<ApiError>(&job)) co_return not_begun(std::move(*error));
  refused = check_model(key, *std::get<Job>(job).model);
  if (refused) co_return not_begun(*std::move(refused));
  std::unique_ptr<Admission> admission;
  refused = admit(*state, *connection, key, std::get<Job>(job), admission);
  if (refused) co_return not_begun(*std::move(refused));
  const std::optional<ResponsesFields>& fields = std::get<Job>(job).request.responses;
  if (fields && !fields->tools_left_out.empty()) {
    connection->extra_headers +=
        "x-tokengrid-tools-left-out: " + header_value(fields->tools_left_out) + "\r\n";
  }
  out.exchange = std::make_shared<Exchange>(*state, *connection, std::get<Job>(std::move(job)),
                                            std::move(key));
  out.exchange->sent = sent;
  out.exchange->admission = std::move(admission);
  co_return out;
}

awaitable<Served> serve_completion(GatewayState* state, std::shared_ptr<Connection> connection,
                                   Boxed<HttpRequest> request, Api api, KeyInfo key,
                                   std::shared_ptr<Once> once) {
  // HTTP/1.0 knows no chunks: its stream ends with the connection.
  bool is_chunked = !request->is_http_1_0;
  awaitable<BegunCompletion> beginning =
      begin_completion(state, connection, std::move(request), api, std::move(key));
  BegunCompletion begun = co_await std::move(beginning);
  if (begun.exchange == nullptr) co_return refusal(*begun.refused);
  std::shared_ptr<Exchange> exchange = begun.exchange;
  exchange->once = std::move(once);
  if (!connection->is_detached) state->unwatched.push_back(exchange);
  // A stream lasts: what its request was read into is not kept meanwhile.
  if (exchange->is_stream()) connection->buffer.shrink_to_fit();
  co_await run_exchange(state, exchange, is_chunked);
  exchange->is_done = true;
  // Nothing else waits on the socket now; this ends the watcher.
  error_code ignored;
  if (exchange->is_watched) connection->transport.socket().cancel(ignored);
  Served served = co_await answer(state, exchange, is_chunked, &begun.conversation);
  co_return served;
}

// A body with messages is a chat, another is a prompt.
static ApiResult<Job> route_job(GatewayState& state, const HttpRequest& request) {
  ApiResult<RouteRequest> route = read_route_wishes(request.extensions, request.body);
  if (ApiError* error = std::get_if<ApiError>(&route)) return std::move(*error);
  bool is_chat = request.body.find("\"messages\"") != std::string::npos;
  ApiResult<Job> job = prepare_job(state.models, is_chat ? Api::kChat : Api::kCompletions,
                                   request.body, prepare_options(state));
  if (Job* prepared = std::get_if<Job>(&job)) {
    prepared->request.wishes = std::get<RouteRequest>(route).wishes;
    prepared->request.ttft_target_ns = std::get<RouteRequest>(route).ttft_target_ns;
  }
  return job;
}

awaitable<Served> explain_route(GatewayState* state, HttpRequest request, KeyInfo key) {
  std::optional<ApiError> refused = check_admission(*state, request, key);
  if (refused) co_return refusal(*refused);
  ApiResult<Job> job = route_job(*state, request);
  if (const ApiError* error = std::get_if<ApiError>(&job)) co_return refusal(*error);
  const Job& prepared = std::get<Job>(job);
  fleet::SupplyRequest question;
  question.prompt = prepared.prompts.front().ids;
  question.max_tokens = prepared.prompts.front().max_tokens;
  question.cache_salt = static_cast<u64>(key.account >> 64) ^ static_cast<u64>(key.account);
  question.wishes = prepared.request.wishes;
  question.deadline_ns = prepared.request.ttft_target_ns;
  HttpResponse response;
  response.body = prepared.model->supplier->explain(question);
  Served served;
  served.response = std::move(response);
  co_return served;
}

}  // namespace tg::gateway
