#include "gateway/server.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "base/log.h"
#include "gateway/http.h"
#include "gateway/net/batches.h"
#include "gateway/net/completions.h"
#include "gateway/net/connection.h"
#include "gateway/net/exchange.h"
#include "gateway/net/mail.h"
#include "gateway/net/telemetry.h"
#include "gateway/net/tending.h"

namespace tg::gateway {
namespace {

constexpr i32 kListenBacklog = 1024;
constexpr std::chrono::milliseconds kAcceptRetry(50);
constexpr std::chrono::milliseconds kDrainPoll(5);
constexpr i64 kGraceMs = 5'000;  // For replies and goodbyes, after the last limit has passed.

void log_exception(std::exception_ptr failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& e) {
    log_error("gateway", "a connection ended with an exception: {}", e.what());
  } catch (...) {
    log_error("gateway", "a connection ended with an unknown exception");
  }
}

awaitable<void> refuse(GatewayState* state, std::shared_ptr<Connection> connection) {
  WriteOptions options;
  options.keep_alive = false;
  connection->request_id = new_id(*state, "req_");
  options.request_id = connection->request_id;
  std::string text = response_text(error_response(overloaded("too many connections")), options);
  connection->transport.expire_after_ms(1'000);
  if (connection->transport.plain) co_await write_all(&connection->transport, text);
  co_await finish(&connection->transport, false);
}

void prepare_socket(const GatewayState& state, tcp::socket& socket) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  i32 bytes = static_cast<i32>(state.options.limits.send_buffer_bytes);
  socket.set_option(asio::socket_base::send_buffer_size(bytes), ignored);
}

void admit(GatewayState* state, tcp::socket socket) {
  prepare_socket(*state, socket);
  asio::ssl::context* tls = state->tls ? &*state->tls : nullptr;
  std::shared_ptr<Connection> connection =
      std::make_shared<Connection>(std::move(socket), tls, state->deadlines);
  ++state->metrics.connections_total;
  if (state->metrics.connections_open >= state->options.limits.connections_max) {
    ++state->metrics.connections_refused;
    asio::co_spawn(state->io, refuse(state, std::move(connection)), log_exception);
    return;
  }
  asio::co_spawn(state->io, serve_connection(state, std::move(connection)), log_exception);
}

awaitable<void> accept_connections(GatewayState* state, tcp::acceptor* acceptor) {
  asio::steady_timer timer(state->io);
  while (acceptor->is_open()) {
    error_code error;
    tcp::socket socket =
        co_await acceptor->async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      admit(state, std::move(socket));
      continue;
    }
    if (!acceptor->is_open()) co_return;
    // Out of descriptors, most likely: waiting lets connections end.
    timer.expires_after(kAcceptRetry);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

// Ends connections that wait for a request, and if told so those that are still reading one.
void close_unused(GatewayState& state, bool with_reading) {
  for (Connection* connection : state.connections) {
    bool is_reading = connection->phase == Phase::kReading;
    if (connection->phase != Phase::kIdle && !(with_reading && is_reading)) continue;
    error_code ignored;
    connection->transport.socket().cancel(ignored);
  }
}

void cancel_exchanges(GatewayState& state) {
  state.is_cancelling = true;
  for (Exchange* exchange : state.exchanges) {
    exchange->is_stopped = true;
    exchange->signal.cancel();
  }
}

// True once nothing is open; false if the time is up before.
awaitable<bool> wait_until_idle(GatewayState* state, std::chrono::milliseconds limit,
                                bool is_late) {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::now() + limit;
  asio::steady_timer timer(state->io);
  while (!state->connections.empty() || !state->exchanges.empty()) {
    if (std::chrono::steady_clock::now() >= deadline) co_return false;
    close_unused(*state, is_late);
    timer.expires_after(kDrainPoll);
    error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return true;
}

struct DrainTimes {
  i64 drain_ms = 0;
  i64 notice_ms = 0;
};

// Connections are accepted to the end: whoever asks for health shall hear 503, not a refused
// connection, and whoever sends a request shall be told to try elsewhere.
awaitable<void> drain(GatewayState* state, tcp::acceptor* acceptor, DrainTimes times) {
  error_code ignored;
  state->is_leaving = true;
  asio::steady_timer notice(state->io, std::chrono::milliseconds(times.notice_ms));
  if (times.notice_ms > 0) {
    co_await notice.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  state->is_draining = true;
  i64 drain_ms = times.drain_ms;
  bool is_idle = co_await wait_until_idle(state, std::chrono::milliseconds(drain_ms), false);
  if (!is_idle) {
    acceptor->close(ignored);
    cancel_exchanges(*state);
    const ServerLimits& limits = state->options.limits;
    is_idle = co_await wait_until_idle(
        state, std::chrono::milliseconds(limits.cancel_ms + limits.billing_ms + kGraceMs), true);
  }
  if (!is_idle) {
    log_error("gateway", "stopped with {} connections and {} holds open", state->connections.size(),
              state->metrics.holds_open);
  }
  acceptor->close(ignored);
  state->io.stop();
}

// What is looked at now and then rather than by a timer of its own; runs until the loop ends.
awaitable<void> look_around(GatewayState* state) {
  asio::steady_timer timer(state->io);
  for (;;) {
    error_code ignored;
    timer.expires_after(std::chrono::nanoseconds(Deadlines::kSweepEveryNs));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    close_late(state->deadlines);
    watch_lasting(*state);
  }
}

// Forgets who has used nothing for a while; runs until the loop ends.
awaitable<void> sweep_limits(GatewayState* state) {
  constexpr std::chrono::seconds kSweepEvery(30);
  asio::steady_timer timer(state->io);
  for (;;) {
    error_code ignored;
    timer.expires_after(kSweepEvery);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    state->limits.sweep(state->clock.monotonic_ns());
  }
}

Result<tcp::endpoint> endpoint_of(const ServerOptions& options) {
  error_code error;
  asio::ip::address address = asio::ip::make_address(options.address, error);
  if (error)
    return Error{Code::kInvalid, "listen address '" + options.address + "' is no IP address"};
  return tcp::endpoint(address, options.port);
}

Status listen(const ServerOptions& options, tcp::acceptor& acceptor) {
  TG_ASSIGN(tcp::endpoint endpoint, endpoint_of(options));
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kListenBacklog, error);
  if (!error) return {};
  return Error{Code::kUnavailable, "cannot listen on " + options.address + " port " +
                                       std::to_string(options.port) + ": " + error.message()};
}

Status load_certificate(const ServerOptions& options, std::optional<asio::ssl::context>& tls) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return Error{Code::kInvalid, "TLS needs both a certificate and a key"};
  }
  if (options.tls_certificate.empty()) return {};
  error_code error;
  tls.emplace(asio::ssl::context::tls_server);
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1,
                   error);
  tls->use_certificate_chain_file(options.tls_certificate, error);
  if (error) {
    return Error{Code::kInvalid,
                 "TLS certificate " + options.tls_certificate + ": " + error.message()};
  }
  tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, error);
  if (error) return Error{Code::kInvalid, "TLS key " + options.tls_key + ": " + error.message()};
  return {};
}

Status check_parts(const ServerParts& parts) {
  if (parts.keys == nullptr) return Error{Code::kInvalid, "the gateway needs a key store"};
  for (std::size_t i = 0; i < parts.models.size(); ++i) {
    const ServedModel& model = parts.models[i];
    TG_ASSERT(model.tokenizer != nullptr && model.supplier != nullptr && model.context_max > 0);
    if (model.id.empty()) return Error{Code::kInvalid, "a served model has no name"};
    for (std::size_t j = 0; j < i; ++j) {
      if (parts.models[j].id != model.id) continue;
      return Error{Code::kExists, "two served models are named '" + model.id + "'"};
    }
  }
  return {};
}

}  // namespace

struct Server::State {
  State(ServerOptions options, ServerParts parts)
      : gateway(std::move(options), std::move(parts)), acceptor(gateway.io) {}

  GatewayState gateway;
  tcp::acceptor acceptor;
  u16 port = 0;
  bool speaks_tls = false;
  std::thread thread;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  stop(0);
}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, ServerParts parts) {
  TG_TRY(check_parts(parts));
  std::unique_ptr<KeyStore> keys = std::move(parts.keys);
  std::unique_ptr<State> state = std::make_unique<State>(std::move(options), std::move(parts));
  GatewayState* gateway = &state->gateway;
  std::optional<OtlpEndpoint> collector;
  if (!gateway->options.telemetry.endpoint.empty()) {
    TG_ASSIGN(collector, parse_endpoint(gateway->options.telemetry.endpoint));
  }
  TG_ASSIGN(gateway->feed, DirectoryFeed::start(std::move(keys)));
  gateway->directory = gateway->feed->current();
  TG_TRY(load_certificate(gateway->options, gateway->tls));
  state->speaks_tls = gateway->tls.has_value();
  TG_TRY(listen(gateway->options, state->acceptor));
  state->port = state->acceptor.local_endpoint().port();
  for (const std::unique_ptr<Tended>& tended : gateway->tended)
    asio::co_spawn(gateway->io, tend(gateway, tended.get()), log_exception);
  asio::co_spawn(gateway->io, pump_supplier_events(gateway), log_exception);
  asio::co_spawn(gateway->io, pump_billing_replies(gateway), log_exception);
  asio::co_spawn(gateway->io, accept_connections(gateway, &state->acceptor), log_exception);
  asio::co_spawn(gateway->io, sweep_limits(gateway), log_exception);
  asio::co_spawn(gateway->io, look_around(gateway), log_exception);
  asio::co_spawn(gateway->io, resume_batches(gateway), log_exception);
  if (collector) {
    asio::co_spawn(gateway->io, export_metrics(gateway, *collector), log_exception);
  }
  state->thread = std::thread([gateway] { gateway->io.run(); });
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

u16 Server::port() const {
  return state_->port;
}

Status Server::reload(const ServerReload& reload) {
  GatewayState* gateway = &state_->gateway;
  ServerOptions wanted;
  wanted.tls_certificate = reload.tls_certificate;
  wanted.tls_key = reload.tls_key;
  std::shared_ptr<std::optional<asio::ssl::context>> tls =
      std::make_shared<std::optional<asio::ssl::context>>();
  if (state_->speaks_tls) {
    TG_TRY(load_certificate(wanted, *tls));
    if (!*tls) return Error{Code::kInvalid, "TLS cannot be turned off while the server runs"};
  }
  asio::post(gateway->io, [gateway, reload, tls] {
    gateway->options.limits = reload.limits;
    gateway->options.logs_requests = reload.logs_requests;
    // Connections that are open hold what they need of the old one themselves.
    if (*tls) gateway->tls.emplace(std::move(**tls));
  });
  return {};
}

void Server::stop(i64 drain_ms, i64 notice_ms) {
  if (!state_->thread.joinable()) return;
  TG_ASSERT(std::this_thread::get_id() != state_->thread.get_id());
  DrainTimes times{.drain_ms = drain_ms, .notice_ms = notice_ms};
  asio::co_spawn(state_->gateway.io, drain(&state_->gateway, &state_->acceptor, times),
                 log_exception);
  state_->thread.join();
  give_back(state_->gateway);
  // A tokenizing task ends by itself; what it would resume is gone with the loop.
  state_->gateway.pool.join();
  state_->gateway.slow_pool.join();
  state_->gateway.store_pool.join();
  state_->gateway.admin_pool.join();
  state_->gateway.grammar_pool.join();
}

}  // namespace tg::gateway
