#include "node/engine_supplier.h"

#include "node/net/engine_state.h"

namespace tg::node {
namespace {

using StatePtr = std::shared_ptr<EngineSupplier::State>;

void cancel_call(EngineSupplier::State& state, u64 id) {
  std::unordered_map<u64, EngineCall>::iterator found = state.calls.find(id);
  if (found == state.calls.end()) return;
  found->second.is_cancelled = true;
  // Closing the connection is how every engine is told.
  if (found->second.exchange != nullptr) found->second.exchange->link->close();
}

void stop(EngineSupplier::State& state) {
  state.timer.cancel();
  for (auto& [id, call] : state.calls) {
    call.is_cancelled = true;
    if (call.exchange != nullptr) call.exchange->link->close();
  }
  for (const std::shared_ptr<Link>& link : state.peer.idle) link->close();
}

Status use_tls(EngineSupplier::State& state) {
  error_code error;
  state.tls.emplace(asio::ssl::context::tls_client);
  state.tls->set_default_verify_paths(error);
  if (error) return Error{Code::kIo, "no certificate authorities: " + error.message()};
  state.tls->set_verify_mode(asio::ssl::verify_peer, error);
  state.peer.tls = &*state.tls;
  return {};
}

}  // namespace

Result<std::unique_ptr<EngineSupplier>> EngineSupplier::start(
    EngineOptions options, std::shared_ptr<const Tokenizer> tokenizer, Loop& loop, Clock& clock) {
  TG_ASSIGN(Url url, parse_url(options.url));
  StatePtr state = std::make_shared<State>(std::move(options), std::move(tokenizer), loop, clock);
  state->peer.io = &state->io;
  state->peer.deadlines = &loop.state().deadlines;
  state->peer.url = url;
  if (!state->options.api_key.empty())
    state->peer.authorization = "Bearer " + state->options.api_key;
  if (url.is_tls) TG_TRY(use_tls(*state));
  state->facts.model = state->options.model;
  state->load.is_up = false;
  spawn(state->io, watch_engine(state));
  return std::unique_ptr<EngineSupplier>(new EngineSupplier(std::move(state)));
}

EngineSupplier::~EngineSupplier() {
  state_->is_stopped = true;
  asio::post(state_->io, [state = state_] { stop(*state); });
}

Status EngineSupplier::submit(fleet::SupplyRequest request) {
  TG_ASSERT(request.events != nullptr);
  // Said rather than ignored: a reply without the shape that was promised is worse than none.
  if (request.shape != nullptr || request.is_embedding) {
    return Error{Code::kUnsupported,
                 "this supplier, an engine of another kind, " +
                     std::string(request.is_embedding ? "is not asked for embeddings yet"
                                                      : "cannot hold replies to a shape yet")};
  }
  i64 tokens = static_cast<i64>(request.prompt.size()) + request.max_tokens;
  fleet::SupplierLoad now = load();
  bool is_too_long = now.context_max > 0 && tokens > now.context_max;
  if (request.prompt.empty() || request.max_tokens <= 0 || is_too_long) {
    return Error{Code::kInvalid, "request of " + std::to_string(tokens) +
                                     " tokens in all does not fit a context of " +
                                     std::to_string(now.context_max)};
  }
  if (state_->open.fetch_add(1) >= state_->options.open_max) {
    state_->open.fetch_sub(1);
    return Error{Code::kUnavailable, state_->options.url + " has " +
                                         std::to_string(state_->options.open_max) +
                                         " requests open"};
  }
  spawn(state_->io, serve_call(state_, std::move(request)));
  return {};
}

void EngineSupplier::cancel(u64 id) {
  asio::post(state_->io, [state = state_, id] { cancel_call(*state, id); });
}

fleet::SupplierLoad EngineSupplier::load() const {
  std::lock_guard lock(state_->mutex);
  return state_->load;
}

EngineFacts EngineSupplier::facts() const {
  std::lock_guard lock(state_->mutex);
  return state_->facts_seen;
}

}  // namespace tg::node
