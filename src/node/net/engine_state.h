// What an EngineSupplier's coroutines share; theirs alone but for what says otherwise.
#pragma once

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "node/engine_supplier.h"
#include "node/net/http_call.h"
#include "node/net/loop_state.h"

namespace tg::node {

// One request under way.
struct EngineCall {
  std::shared_ptr<HttpExchange> exchange;  // null before the reply's head has come
  bool is_cancelled = false;
};

struct EngineSupplier::State {
  State(EngineOptions asked, std::shared_ptr<const Tokenizer> words, Loop& on, Clock& time)
      : options(std::move(asked)),
        tokenizer(std::move(words)),
        dialect(engine_dialect(options.kind)),
        io(on.state().io),
        clock(time),
        timer(io) {}

  const EngineOptions options;
  const std::shared_ptr<const Tokenizer> tokenizer;
  const EngineDialect& dialect;
  asio::io_context& io;
  Clock& clock;
  HttpPeer peer;
  std::optional<asio::ssl::context> tls;
  asio::steady_timer timer;  // of the watch
  std::unordered_map<u64, EngineCall> calls;
  EngineFacts facts;

  // Any thread.
  std::atomic<i64> open = 0;
  std::atomic<bool> is_stopped = false;
  mutable std::mutex mutex;
  fleet::SupplierLoad load;
  EngineFacts facts_seen;  // a copy for others
};

// Until the supplier stops: learns what the engine is, then how busy, again and again.
awaitable<void> watch_engine(std::shared_ptr<EngineSupplier::State> state);
// One request, from the call to its last event.
awaitable<void> serve_call(std::shared_ptr<EngineSupplier::State> state,
                           fleet::SupplyRequest request);

}  // namespace tg::node
