// How an engine is asked what it is and how busy.
#include <algorithm>

#include "base/log.h"
#include "node/net/engine_state.h"

namespace tg::node {
namespace {

using StatePtr = std::shared_ptr<EngineSupplier::State>;

constexpr i64 kAskMs = 3'000;
constexpr std::size_t kAnswerBytesMax = 4 << 20;
constexpr i64 kOk = 200;

// The first question decides whether the engine is there at all.
awaitable<bool> probe(StatePtr state) {
  EngineFacts facts;
  facts.model = state->options.model;
  facts.gives_ids = state->facts.gives_ids;
  std::vector<HttpCall> probes = state->dialect.probes();
  for (std::size_t i = 0; i < probes.size(); ++i) {
    HttpCall call = probes[i];
    Result<HttpAnswer> answer = co_await ask(&state->peer, call, kAskMs, kAnswerBytesMax);
    bool is_answered = answer.ok() && answer->status == kOk;
    if (!is_answered && i == 0) co_return false;
    if (is_answered) state->dialect.learn(i, answer->body, facts);
  }
  if (!facts.has_model) {
    log_warn("node", "{} offers no model '{}'", state->options.url, state->options.model);
    co_return false;
  }
  state->facts = facts;
  std::lock_guard lock(state->mutex);
  state->facts_seen = facts;
  co_return true;
}

void note(EngineSupplier::State& state, fleet::SupplierLoad load) {
  load.slots = state.facts.slots;
  load.context_max = state.facts.context_max;
  if (state.options.context_max > 0) {
    load.context_max = load.context_max > 0 ? std::min(load.context_max, state.options.context_max)
                                            : state.options.context_max;
  }
  std::lock_guard lock(state.mutex);
  if (load.is_up != state.load.is_up)
    log_info("node", "{} is {}", state.options.url, load.is_up ? "up" : "down");
  state.load = load;
}

awaitable<bool> scrape(StatePtr state) {
  bool has_metrics = !state->dialect.metrics_path().empty();
  HttpCall call;
  call.path = has_metrics ? state->dialect.metrics_path() : state->dialect.health_path();
  Result<HttpAnswer> answer = co_await ask(&state->peer, call, kAskMs, kAnswerBytesMax);
  // llama.cpp has its metrics only if started with them; being there is enough.
  bool is_there = answer.ok() && answer->status < 500;
  fleet::SupplierLoad load;
  load.is_up = is_there;
  load.running = state->open.load();
  bool is_read = has_metrics && is_there && answer->status == kOk;
  if (is_read) state->dialect.read_metrics(Metrics::parse(answer->body), state->facts, load);
  note(*state, load);
  co_return is_there;
}

}  // namespace

awaitable<void> watch_engine(StatePtr state) {
  bool is_known = false;
  while (!state->is_stopped) {
    if (is_known) {
      is_known = co_await scrape(state);
    } else {
      is_known = co_await probe(state);
      if (!is_known) {
        fleet::SupplierLoad down;
        down.is_up = false;
        note(*state, down);
      } else {
        continue;
      }
    }
    if (state->is_stopped) co_return;
    co_await sleep_ms(&state->timer, state->options.scrape_ms);
  }
}

}  // namespace tg::node
