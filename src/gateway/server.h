// The HTTP front as one object: it listens, serves on a thread of its own, and drains when told to.
// Boost stays behind it, in net/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "env/random.h"
#include "env/shared_loop.h"
#include "gateway/access/budget_keeper.h"
#include "gateway/admin/api.h"
#include "gateway/batch/batch_book.h"
#include "gateway/billing.h"
#include "gateway/keys.h"
#include "gateway/once/reply_book.h"
#include "gateway/served_model.h"
#include "ledger/lease_service.h"

namespace tg::gateway {

struct ServerLimits {
  i64 connections_max = 4096;
  i64 requests_per_key_max = 1024;  // Completion requests served at once; beyond it 429.
  i64 header_bytes_max = 32 * 1024;
  i64 body_bytes_max = 8 * 1024 * 1024;
  i64 idle_ms = 75'000;     // Between requests of a connection.
  i64 header_ms = 10'000;   // From a request's first byte to the end of its header.
  i64 body_ms = 60'000;     // From there to the end of its body.
  i64 write_ms = 30'000;    // For one write to be taken by a slow reader.
  i64 supply_ms = 600'000;  // Without any event from the supplier.
  i64 cancel_ms = 10'000;   // From a cancel to the supplier's last word.
  i64 billing_ms = 30'000;  // For an answer from billing.
  i64 ping_ms = 15'000;     // A silent stream gets a comment, so that proxies keep it.
  // Supplier events a slow reader may fall behind before its request is cancelled.
  i64 events_pending_max = 4096;
  i64 send_buffer_bytes = 128 * 1024;  // SO_SNDBUF: bounds what counts as delivered unread.
  i64 max_tokens_default = 4096;       // Chat, if the client names none.
  i64 queue_max = 4096;                // Requests that wait for a model's capacity; beyond: 503.
  i64 queue_ms = 60'000;               // How long one may wait.
};

// Metrics sent as OTLP/HTTP JSON (opentelemetry.io), besides those that /metrics shows.
struct TelemetryOptions {
  std::string endpoint;  // "http://host:port/v1/metrics"; "": none. No TLS: a collector is near.
  i64 interval_seconds = 15;
  std::string service_name = "tokengrid";
};

struct ServerOptions {
  std::string address = "127.0.0.1";
  u16 port = 0;                 // 0: any free one.
  std::string tls_certificate;  // PEM chain; "" = plain HTTP.
  std::string tls_key;          // PEM
  ServerLimits limits;
  TelemetryOptions telemetry;
  bool logs_requests = false;  // One line per request; never its content.
};

// What a running server takes over.
struct ServerReload {
  ServerLimits limits;
  bool logs_requests = false;
  std::string tls_certificate;  // Read anew, if the server speaks TLS.
  std::string tls_key;
};

struct ServerParts {
  std::vector<ServedModel> models;
  std::unique_ptr<KeyStore> keys;
  Billing billing;
  Clock& clock;    // Outlives the server; also used by the server's thread.
  Random& random;  // Outlives the server; used by the server's thread only.
  // Outlives the server; without one, budgets in `keys` are not looked at.
  BudgetKeeper* budgets = nullptr;
  // Outlives the server; of a gateway that leases, for its metrics.
  const ledger::LeaseService* leases = nullptr;
  std::unique_ptr<AdminApi> admin = nullptr;     // Without one, /admin/v1 refuses everybody.
  std::unique_ptr<ReplyBook> replies = nullptr;  // Without one, idempotency keys are refused.
  // Without one, or without replies, files and batches are refused.
  std::unique_ptr<BatchBook> batches = nullptr;
  // Runs on this, which nobody else runs, and ends it with itself; null: on one of its own.
  SharedLoop* loop = nullptr;
};

class Server {
 public:
  // Listens before it returns. kUnavailable names a port in use, kInvalid a bad address or
  // certificate.
  static Result<std::unique_ptr<Server>> start(ServerOptions options, ServerParts parts);
  // stop(0).
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  u16 port() const;

  // From the next request and connection on. On an error nothing has changed. Not for the server's
  // own thread.
  Status reload(const ServerReload& reload);

  // Says 503 on /health, after `notice_ms` also to new requests; lets open ones go on for up to
  // `drain_ms` more, then cancels them; every hold is closed before it returns, unless billing or a
  // supplier does not answer within its limit. Waits; later calls do nothing. Not for the server's
  // own thread.
  void stop(i64 drain_ms, i64 notice_ms = 0);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tg::gateway
