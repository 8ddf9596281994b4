#include "gateway/net/telemetry.h"

#include <fmt/format.h>

#include <boost/beast/http/read.hpp>
#include <chrono>

#include "base/log.h"

namespace tg::gateway {
namespace {

constexpr i64 kTimeoutMs = 5'000;
constexpr std::size_t kReplyBytesMax = 64 * 1024;

std::string request_text(const OtlpEndpoint& endpoint, const std::string& body) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\n"
      "content-length: {}\r\nconnection: close\r\n\r\n{}",
      endpoint.path, endpoint.host, endpoint.port, body.size(), body);
}

// "" if the collector took it.
awaitable<std::string> send(GatewayState* state, OtlpEndpoint endpoint, std::string body) {
  error_code error;
  tcp::resolver resolver(state->io);
  tcp::resolver::results_type found = co_await resolver.async_resolve(
      endpoint.host, endpoint.port, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return error.message();
  beast::tcp_stream stream(state->io);
  stream.expires_after(std::chrono::milliseconds(kTimeoutMs));
  co_await stream.async_connect(found, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return error.message();
  std::string text = request_text(endpoint, body);
  co_await asio::async_write(stream, asio::buffer(text),
                             asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return error.message();
  beast::flat_buffer buffer(kReplyBytesMax);
  http::response_parser<http::string_body> parser;
  parser.body_limit(kReplyBytesMax);
  co_await http::async_read(stream, buffer, parser,
                            asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return error.message();
  u32 status = parser.get().result_int();
  if (status < 300) co_return std::string();
  co_return fmt::format("status {}", status);
}

void report_change(const OtlpEndpoint& endpoint, const std::string& failure, bool& is_away) {
  if (failure.empty() == !is_away) return;
  is_away = !failure.empty();
  if (is_away) {
    log_warn("telemetry", "{}:{} takes no metrics: {}", endpoint.host, endpoint.port, failure);
  } else {
    log_info("telemetry", "{}:{} takes metrics again", endpoint.host, endpoint.port);
  }
}

}  // namespace

Result<OtlpEndpoint> parse_endpoint(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return Error{Code::kInvalid, "telemetry endpoint '" + url + "' must begin with http://"};
  }
  std::string rest = url.substr(kScheme.size());
  std::size_t slash = std::min(rest.find('/'), rest.size());
  OtlpEndpoint endpoint{.host = rest.substr(0, slash), .port = "4318", .path = rest.substr(slash)};
  if (endpoint.path.empty()) endpoint.path = "/v1/metrics";
  std::size_t colon = endpoint.host.rfind(':');
  if (colon != std::string::npos) {
    endpoint.port = endpoint.host.substr(colon + 1);
    endpoint.host.resize(colon);
  }
  bool is_plain = url.find_first_of(" \r\n\t") == std::string::npos;
  if (is_plain && !endpoint.host.empty() && !endpoint.port.empty()) return endpoint;
  return Error{Code::kInvalid, "telemetry endpoint '" + url + "' names no host and port"};
}

std::vector<ModelSample> model_samples(const GatewayState& state) {
  std::vector<ModelSample> samples;
  for (std::size_t i = 0; i < state.models.size(); ++i) {
    samples.push_back({.model = state.models[i].id,
                       .metrics = &state.model_metrics[i],
                       .load = state.models[i].supplier->load(),
                       .queue_waiting = state.turns[i]->waiting()});
  }
  return samples;
}

std::optional<ledger::LeaseFigures> lease_figures(const GatewayState& state) {
  if (state.leases == nullptr) return std::nullopt;
  return state.leases->figures();
}

awaitable<void> export_metrics(GatewayState* state, OtlpEndpoint endpoint) {
  const TelemetryOptions& options = state->options.telemetry;
  OtlpResource resource{.service_name = options.service_name,
                        .instance = new_id(*state, ""),
                        .started = state->clock.now()};
  asio::steady_timer timer(state->io);
  bool is_away = false;
  for (;;) {
    error_code error;
    timer.expires_after(std::chrono::seconds(options.interval_seconds));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    resource.now = state->clock.now();
    std::optional<ledger::LeaseFigures> leases = lease_figures(*state);
    std::string body =
        otlp_json(resource, state->metrics, model_samples(*state), leases ? &*leases : nullptr);
    std::string failure = co_await send(state, endpoint, std::move(body));
    report_change(endpoint, failure, is_away);
  }
}

}  // namespace tg::gateway
