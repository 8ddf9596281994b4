// Sends the gateway's metrics to an OpenTelemetry collector now and then: OTLP/HTTP with JSON.
#pragma once

#include "gateway/net/gateway_state.h"

namespace tg::gateway {

// "http://host[:port]/path" in parts; kInvalid says what is wrong with it.
struct OtlpEndpoint {
  std::string host;
  std::string port;
  std::string path;
};
Result<OtlpEndpoint> parse_endpoint(const std::string& url);

std::vector<ModelSample> model_samples(const GatewayState& state);
// Nothing, of a gateway that does not lease.
std::optional<ledger::LeaseFigures> lease_figures(const GatewayState& state);

// Until the loop ends. A collector that is away costs a log line when it goes and one when it is
// back, and nothing else.
awaitable<void> export_metrics(GatewayState* state, OtlpEndpoint endpoint);

}  // namespace tg::gateway
