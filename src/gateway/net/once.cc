#include "gateway/net/once.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "gateway/till.h"

namespace tg::gateway {
namespace {

constexpr std::size_t kKeyBytesMax = 255;
constexpr std::size_t kStreamBytesMax = std::size_t{8} << 20;
constexpr i64 kWaitingMax = 64;  // Requests that wait for one.

using Begun = ReplyBook::Begun;

Served refusal(ApiError error) {
  Served served;
  served.error = std::move(error);
  return served;
}

std::optional<ApiError> check_key(std::string_view key) {
  bool is_text = std::all_of(key.begin(), key.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (is_text && key.size() <= kKeyBytesMax) return std::nullopt;
  return invalid_value(
      "Idempotency-Key",
      fmt::format("the Idempotency-Key must be 1 to {} printable ASCII characters", kKeyBytesMax));
}

// Keys mean something within the project and account that they were sent for. Lengths keep apart
// what only reads alike.
Digest name_of(const KeyInfo& key, std::string_view text) {
  const std::string& project = key.standing->at(Level::kProject).id;
  return sha256(fmt::format("{} {} {} {}", to_hex(key.account), project.size(), project, text));
}

Digest request_of(const HttpRequest& request) {
  std::string_view path = request.target;
  path = path.substr(0, path.find_first_of("?#"));
  const FundsHeaders& funds = request.funds;
  std::string text = fmt::format("{} {}\n{}\n{}\n{}\n", request.method, path, funds.max_cost,
                                 funds.hold, funds.quote);
  return sha256(text + request.body);
}

ApiError conflict(std::string message, std::string code) {
  return {.status = 409,
          .message = std::move(message),
          .param = "Idempotency-Key",
          .code = std::move(code),
          .is_final = true};
}

ApiError other_request() {
  return conflict("this Idempotency-Key was used with another request", "idempotency_conflict");
}

ApiError interrupted(const std::string& request_id) {
  return conflict(
      fmt::format("the request {} with this Idempotency-Key was interrupted after it may have been "
                  "charged, and its reply is lost; receipt {} says what it cost, if anything",
                  request_id, to_hex(run_id(request_id, 0))),
      "idempotency_interrupted");
}

ApiError too_many_waiting() {
  return {.status = 409,
          .message = "too many requests wait for the one with this Idempotency-Key",
          .param = "Idempotency-Key",
          .code = "idempotency_in_progress",
          .retry_after_s = 1};
}

// What a pool's thread did; optional because a spawned coroutine's result must have a default.
template <typename T>
using Spawned = std::optional<T>;

awaitable<Spawned<Result<Begun>>> begin_entry(ReplyBook* book, Digest name, Digest request,
                                              std::string id, Timestamp now) {
  co_return book->begin(name, request, id, now);
}
awaitable<Spawned<Status>> charge_entry(ReplyBook* book, Digest name) {
  co_return book->charge(name);
}
awaitable<Spawned<Status>> finish_entry(ReplyBook* book, Digest name, KeptReply reply) {
  co_return book->finish(name, reply);
}
awaitable<Spawned<Status>> drop_entry(ReplyBook* book, Digest name) {
  co_return book->drop(name);
}

template <typename T>
awaitable<T> on_disk(GatewayState* state, awaitable<Spawned<T>> work) {
  Spawned<T> done =
      co_await asio::co_spawn(state->store_pool, std::move(work), asio::use_awaitable);
  co_return *std::move(done);
}

Served replayed(Begun begun) {
  HttpResponse response{.status = begun.reply.status,
                        .content_type = std::move(begun.reply.content_type),
                        .headers = std::move(begun.reply.headers),
                        .body = std::move(begun.reply.body)};
  response.headers.emplace_back("idempotent-replayed", "true");
  response.headers.emplace_back("x-tokengrid-first-request-id", begun.request_id);
  Served served;
  served.response = std::move(response);
  return served;
}

KeptReply kept(const HttpResponse& response) {
  return {.status = response.status,
          .content_type = response.content_type,
          .headers = response.headers,
          .body = response.body};
}

// The reply that the same request shall get again; none if it may run again.
std::optional<KeptReply> reply_to_keep(Once& once, const Served& served) {
  if (served.response && !served.error && served.response->status == 200)
    return kept(*served.response);
  if (once.unsent) return kept(*once.unsent);
  bool is_stream = !once.stream.empty() && once.is_stream_kept;
  if (!is_stream || (!once.is_stream_whole && once.charged == 0)) return std::nullopt;
  return KeptReply{.content_type = once.stream_type, .body = std::move(once.stream)};
}

// A reply that costs something and is not kept leaves its entry as it is: it must not run again.
awaitable<Status> conclude(GatewayState* state, std::shared_ptr<Once> once, const Served* served) {
  ReplyBook* book = state->replies.get();
  std::optional<KeptReply> reply = reply_to_keep(*once, *served);
  if (reply) {
    awaitable<Spawned<Status>> work = finish_entry(book, once->name, *std::move(reply));
    Status done = co_await on_disk(state, std::move(work));
    co_return done;
  }
  if (once->charged > 0 || !once->is_settled) co_return Status{};
  awaitable<Spawned<Status>> work = drop_entry(book, once->name);
  Status done = co_await on_disk(state, std::move(work));
  co_return done;
}

// Leaves the state's registry however the coroutine ends.
struct Entered {
  Entered(GatewayState& owner, std::shared_ptr<Once> entry) : state(owner), once(std::move(entry)) {
    state.once_open.emplace(to_hex(once->name), once);
  }
  ~Entered() {
    once->has_ended = true;
    once->signal.cancel();
    state.once_open.erase(to_hex(once->name));
  }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
  GatewayState& state;
  std::shared_ptr<Once> once;
};

// Until nobody in this process runs it. The refusal, if it may not wait.
awaitable<std::optional<ApiError>> wait_for_first(GatewayState* state, std::string name,
                                                  Digest request) {
  for (;;) {
    auto open = state->once_open.find(name);
    if (open == state->once_open.end()) co_return std::nullopt;
    std::shared_ptr<Once> first = open->second;
    if (first->request != request) co_return other_request();
    if (first->waiting >= kWaitingMax) co_return too_many_waiting();
    ++first->waiting;
    first->signal.expires_at(asio::steady_timer::time_point::max());
    error_code ignored;
    co_await first->signal.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    --first->waiting;
  }
}

awaitable<Served> serve_first(GatewayState* state, std::shared_ptr<Connection> connection,
                              HttpRequest request, Api api, KeyInfo key,
                              std::shared_ptr<Once> once) {
  Entered entered(*state, once);
  std::string id = connection->request_id;
  awaitable<Spawned<Result<Begun>>> beginning = begin_entry(
      state->replies.get(), once->name, once->request, std::move(id), state->clock.now());
  Result<Begun> begun = co_await on_disk(state, std::move(beginning));
  if (!begun.ok()) {
    log_error("gateway", "{}: {}", connection->request_id, begun.error().message);
    co_return refusal(overloaded("idempotency keys cannot be kept at the moment"));
  }
  switch (begun->state) {
    case Begun::State::kConflict: co_return refusal(other_request());
    case Begun::State::kInterrupted: co_return refusal(interrupted(begun->request_id));
    case Begun::State::kDone: co_return replayed(std::move(*begun));
    case Begun::State::kNew: break;
  }
  Served served =
      co_await serve_completion(state, connection, std::move(request), api, std::move(key), once);
  Status concluded = co_await conclude(state, once, &served);
  if (!concluded.ok())
    log_error("gateway", "{}: {}", connection->request_id, concluded.error().message);
  co_return served;
}

}  // namespace

awaitable<std::optional<ApiError>> begin_charging(GatewayState* state, std::shared_ptr<Once> once) {
  if (once->is_charging) co_return std::nullopt;
  awaitable<Spawned<Status>> work = charge_entry(state->replies.get(), once->name);
  Status done = co_await on_disk(state, std::move(work));
  once->is_charging = done.ok();
  if (done.ok()) co_return std::nullopt;
  log_error("gateway", "an idempotency key is not kept: {}", done.error().message);
  co_return overloaded("idempotency keys cannot be kept at the moment");
}

void note_stream(Once& once, std::string_view events) {
  once.is_stream_kept = once.is_stream_kept && once.stream.size() + events.size() < kStreamBytesMax;
  if (once.is_stream_kept) once.stream += events;
}

awaitable<Served> serve_named(GatewayState* state, std::shared_ptr<Connection> connection,
                              HttpRequest request, Api api, KeyInfo key, std::string name) {
  std::shared_ptr<Once> once = std::make_shared<Once>(state->io);
  once->name = name_of(key, name);
  once->request = request_of(request);
  std::string digits = to_hex(once->name);
  std::optional<ApiError> refused =
      co_await wait_for_first(state, std::move(digits), once->request);
  if (refused) co_return refusal(*std::move(refused));
  Served served = co_await serve_first(state, std::move(connection), std::move(request), api,
                                       std::move(key), std::move(once));
  co_return served;
}

static awaitable<Served> serve_keyed(GatewayState* state, std::shared_ptr<Connection> connection,
                                     HttpRequest request, Api api, KeyInfo key) {
  if (state->replies == nullptr) {
    co_return refusal(unsupported("Idempotency-Key", "this server keeps no idempotency keys"));
  }
  if (std::optional<ApiError> problem = check_key(request.idempotency_key))
    co_return refusal(*std::move(problem));
  std::string name = "client " + request.idempotency_key;
  Served served = co_await serve_named(state, std::move(connection), std::move(request), api,
                                       std::move(key), std::move(name));
  co_return served;
}

awaitable<Served> serve_once(GatewayState* state, std::shared_ptr<Connection> connection,
                             HttpRequest request, Api api, KeyInfo key) {
  if (!request.idempotency_key.empty())
    return serve_keyed(state, std::move(connection), std::move(request), api, std::move(key));
  return serve_completion(state, std::move(connection), std::move(request), api, std::move(key),
                          nullptr);
}

}  // namespace tg::gateway
