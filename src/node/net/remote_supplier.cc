#include "node/remote_supplier.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "base/bytes.h"
#include "base/log.h"
#include "node/net/frame_link.h"
#include "node/net/loop_state.h"
#include "node/usage_statement.h"

namespace tg::node {

// A request at the node.
struct RemoteCall {
  explicit RemoteCall(fleet::SupplyRequest what)
      : request(std::move(what)), digest(request.prompt) {}
  fleet::SupplyRequest request;
  TokensDigest digest;
  u32 events = 0;  // taken
  u32 acked = 0;
  i64 tokens = 0;
  bool is_sent = false;
};

struct RemoteSupplier::State {
  State(RemoteOptions asked, Loop& on, Clock& time, u64 number)
      : options(std::move(asked)), io(on.state().io), clock(time), session(number), timer(io) {}

  const RemoteOptions options;
  Url url;
  std::optional<tlog::VerifierKey> pinned;
  asio::io_context& io;
  Clock& clock;
  const u64 session;
  asio::ssl::context tls{asio::ssl::context::tls_client};
  asio::steady_timer timer;
  std::shared_ptr<FrameLink> link;  // null while the node is not here
  std::unordered_map<u64, RemoteCall> calls;
  wire::NodeHello hello;  // of the connection now or last
  std::optional<tlog::VerifierKey> key;
  u64 instance = 0;  // 0: never met
  i64 lost_ns = 0;

  // Any thread.
  std::atomic<i64> open = 0;
  std::atomic<bool> is_stopped = false;
  mutable std::mutex mutex;
  fleet::SupplierLoad load;
  NodeFacts facts;
};

namespace {

using State = RemoteSupplier::State;
using StatePtr = std::shared_ptr<State>;
using fleet::FinishReason;
using Kind = fleet::SupplierEvent::Kind;

constexpr i64 kConnectMs = 3'000;
constexpr i64 kHelloMs = 3'000;
constexpr i64 kPingMs = 500;
// The node reports its load ten times a second.
constexpr i64 kSilentMs = 2'000;
constexpr i64 kRetryMs = 50;
constexpr i64 kNsPerMs = 1'000'000;
constexpr u32 kAckEvery = 32;

void end_call(State& state, std::unordered_map<u64, RemoteCall>::iterator call,
              fleet::SupplierEvent event) {
  event.request = call->first;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> to = call->second.request.events;
  state.calls.erase(call);
  state.open.fetch_sub(1);
  if (!to->try_push(event)) log_warn("node", "a reader of {} is gone", state.options.address);
}

fleet::SupplierEvent ended(FinishReason reason, std::string error) {
  fleet::SupplierEvent event;
  event.kind = Kind::kFinished;
  event.reason = reason;
  event.error = std::move(error);
  return event;
}

void end_all(State& state, FinishReason reason, const std::string& error) {
  while (!state.calls.empty()) {
    fleet::SupplierEvent event = ended(reason, error);
    event.usage.prompt_tokens = static_cast<i64>(state.calls.begin()->second.request.prompt.size());
    event.usage.output_tokens = state.calls.begin()->second.tokens;
    end_call(state, state.calls.begin(), std::move(event));
  }
}

void send_submit(State& state, RemoteCall& call) {
  call.is_sent = true;
  fleet::SupplyRequest copy = call.request;
  copy.events = nullptr;
  send(*state.link, wire::Submit{std::move(copy)});
}

// What the node claims is checked against what came; the claim is kept for whoever judges it.
void check_claim(State& state, RemoteCall& call, const wire::Event& frame,
                 fleet::SupplierEvent& event) {
  unit::Usage came = event.usage;
  came.prompt_tokens = static_cast<i64>(call.request.prompt.size());
  came.output_tokens = call.tokens;
  came.cached_tokens = std::clamp<i64>(came.cached_tokens, 0, came.prompt_tokens);
  UsageStatement expected{.node = state.hello.name,
                          .session = state.session,
                          .request = call.request.id,
                          .usage = came,
                          .tokens = call.digest.finish()};
  if (!state.key) return;
  Status checked = check_statement(frame.statement, frame.signature, expected, *state.key);
  if (!checked.ok()) event.dispute = checked.error().message;
}

void take_event(State& state, wire::Event frame) {
  std::unordered_map<u64, RemoteCall>::iterator found = state.calls.find(frame.event.request);
  if (found == state.calls.end()) {
    // Given up here; it need not run or be kept there.
    if (frame.event.kind != Kind::kFinished) send(*state.link, wire::Cancel{frame.event.request});
    send(*state.link, wire::Ack{frame.event.request, frame.number + 1});
    return;
  }
  RemoteCall& call = found->second;
  // One that came twice, by a resume.
  if (frame.number < call.events) return;
  if (frame.number > call.events) {
    return end_call(state, found, ended(FinishReason::kError, "the node left out an event"));
  }
  ++call.events;
  fleet::SupplierEvent event = std::move(frame.event);
  // Those are ours to say.
  event.supplier.clear();
  event.route.clear();
  event.dispute.clear();
  if (event.kind == Kind::kFinished) {
    check_claim(state, call, frame, event);
    send(*state.link, wire::Ack{found->first, call.events});
    return end_call(state, found, std::move(event));
  }
  call.digest.add(event.tokens);
  call.tokens += static_cast<i64>(event.tokens.size());
  if (call.events - call.acked >= kAckEvery) {
    call.acked = call.events;
    send(*state.link, wire::Ack{found->first, call.events});
  }
  if (call.request.events->try_push(event)) return;
  send(*state.link, wire::Cancel{found->first});
}

void note_load(State& state, fleet::SupplierLoad load) {
  load.is_up = true;
  if (load.context_max <= 0) load.context_max = state.hello.context_max;
  std::lock_guard lock(state.mutex);
  state.load = load;
}

void obey(State& state, wire::Frame frame) {
  if (wire::Event* event = std::get_if<wire::Event>(&frame)) {
    take_event(state, std::move(*event));
  } else if (const wire::Load* load = std::get_if<wire::Load>(&frame)) {
    note_load(state, load->load);
  } else if (const wire::Gone* gone = std::get_if<wire::Gone>(&frame)) {
    std::unordered_map<u64, RemoteCall>::iterator found = state.calls.find(gone->id);
    if (found != state.calls.end())
      end_call(state, found, ended(FinishReason::kError, "the node has lost the request"));
  } else if (const wire::Pong* pong = std::get_if<wire::Pong>(&frame)) {
    std::lock_guard lock(state.mutex);
    state.facts.rtt_ns = state.clock.monotonic_ns() - static_cast<i64>(pong->stamp);
  } else {
    log_warn("node", "{} sent a frame that is not a node's", state.options.address);
    close(*state.link);
  }
}

Error denied(const std::string& what) {
  return Error{Code::kDenied, what};
}

Status check_hello(State& state, const wire::NodeHello& hello, std::span<const u8> exporter) {
  if (hello.version != wire::kVersion)
    return denied("it speaks version " + std::to_string(hello.version));
  Digest wanted = wire::proof_of(state.options.token, wire::kNodeRole, exporter);
  if (CRYPTO_memcmp(wanted.data(), hello.proof.data(), wanted.size()) != 0)
    return denied("it does not know the join token");
  bool any_program = state.options.program == Digest{};
  if (!any_program && hello.program != state.options.program) {
    return denied("it runs program " + to_hex(hello.program) + ", not " +
                  to_hex(state.options.program));
  }
  TG_ASSIGN(tlog::VerifierKey key, tlog::parse_verifier_key(hello.key));
  if (state.pinned && !(key == *state.pinned)) return denied("it signs with another key");
  state.key = std::move(key);
  return {};
}

awaitable<Result<std::shared_ptr<FrameLink>>> meet(StatePtr state) {
  Result<std::shared_ptr<Link>> raw =
      co_await connect_link(&state->io, state->url, &state->tls, kConnectMs);
  if (!raw.ok()) co_return raw.error();
  std::shared_ptr<FrameLink> link = std::make_shared<FrameLink>(*raw, state->io);
  Result<std::vector<u8>> exporter = session_exporter(*link->link->tls);
  if (!exporter.ok()) co_return exporter.error();
  wire::ClientHello ours;
  ours.session = state->session;
  ours.proof = wire::proof_of(state->options.token, wire::kGatewayRole, *exporter);
  ours.name = state->options.gateway;
  send(*link, ours);
  spawn(state->io, write_frames(link));
  Result<wire::Frame> frame = co_await read_frame(link, kHelloMs);
  if (!frame.ok()) {
    close(*link);
    co_return frame.error();
  }
  if (const wire::Refusal* refusal = std::get_if<wire::Refusal>(&*frame)) {
    close(*link);
    co_return denied("it refuses us: " + refusal->reason);
  }
  const wire::NodeHello* hello = std::get_if<wire::NodeHello>(&*frame);
  Status checked = hello == nullptr ? Status(denied("it says no hello"))
                                    : check_hello(*state, *hello, *exporter);
  if (!checked.ok()) {
    close(*link);
    co_return checked.error();
  }
  state->hello = *hello;
  co_return link;
}

// After a reconnect: goes on reading, or learns that the node has started anew and knows nothing.
void take_up(State& state) {
  bool is_other = state.instance != 0 && state.instance != state.hello.instance;
  state.instance = state.hello.instance;
  if (is_other) {
    std::vector<u64> lost;
    for (const auto& [id, call] : state.calls) {
      if (call.is_sent) lost.push_back(id);
    }
    for (u64 id : lost)
      end_call(state, state.calls.find(id), ended(FinishReason::kError, "the node has restarted"));
  }
  for (auto& [id, call] : state.calls) {
    if (call.is_sent) {
      send(*state.link, wire::Resume{id, call.events});
    } else {
      send_submit(state, call);
    }
  }
}

void note_here(State& state) {
  std::lock_guard lock(state.mutex);
  state.facts.name = state.hello.name;
  state.facts.model = state.hello.model;
  state.facts.device = state.hello.device;
  state.facts.key = state.hello.key;
  state.facts.context_max = state.hello.context_max;
  state.facts.last_error.clear();
  ++state.facts.connections;
  state.load.is_up = true;
  state.load.context_max = state.hello.context_max;
}

void note_lost(State& state, const std::string& why) {
  std::lock_guard lock(state.mutex);
  bool is_news = state.facts.last_error != why;
  if (is_news) log_warn("node", "{} is not here: {}", state.options.address, why);
  state.facts.last_error = why;
  state.load.is_up = false;
}

awaitable<void> ping(StatePtr state, std::shared_ptr<FrameLink> link) {
  asio::steady_timer timer(state->io);
  while (!link->link->is_closed) {
    send(*link, wire::Ping{static_cast<u64>(state->clock.monotonic_ns())});
    co_await sleep_ms(&timer, kPingMs);
  }
}

awaitable<void> talk(StatePtr state, std::shared_ptr<FrameLink> link) {
  state->link = link;
  note_here(*state);
  take_up(*state);
  spawn(state->io, ping(state, link));
  std::string why;
  for (;;) {
    Result<wire::Frame> frame = co_await read_frame(link, kSilentMs);
    if (state->is_stopped) break;
    if (!frame.ok()) {
      why = frame.error().message;
      break;
    }
    obey(*state, *std::move(frame));
  }
  close(*link);
  state->link = nullptr;
  state->lost_ns = state->clock.monotonic_ns();
  if (!state->is_stopped) note_lost(*state, why);
}

// Connects, talks until the link breaks, connects again; gives up what waited too long for that.
awaitable<void> keep_up(StatePtr state) {
  i64 pause_ms = kRetryMs;
  state->lost_ns = state->clock.monotonic_ns();
  while (!state->is_stopped) {
    Result<std::shared_ptr<FrameLink>> link = co_await meet(state);
    if (state->is_stopped) {
      if (link.ok()) close(**link);
      break;
    }
    if (link.ok()) {
      std::shared_ptr<FrameLink> met = *link;
      co_await talk(state, met);
      pause_ms = kRetryMs;
      continue;
    }
    note_lost(*state, link.error().message);
    i64 away_ns = state->clock.monotonic_ns() - state->lost_ns;
    if (away_ns > state->options.resume_ms * kNsPerMs)
      end_all(*state, FinishReason::kError, "the node is lost: " + link.error().message);
    // While requests wait it is asked again soon.
    i64 ms = state->calls.empty() ? pause_ms : std::min(pause_ms, 4 * kRetryMs);
    co_await sleep_ms(&state->timer, ms);
    pause_ms = std::min(2 * pause_ms, state->options.retry_ms_max);
  }
  end_all(*state, FinishReason::kCancelled, "");
}

void begin(State& state, fleet::SupplyRequest request) {
  u64 id = request.id;
  auto [entry, is_new] = state.calls.try_emplace(id, std::move(request));
  TG_ASSERT(is_new);
  if (state.is_stopped) return end_call(state, entry, ended(FinishReason::kCancelled, ""));
  if (state.link != nullptr) send_submit(state, entry->second);
}

void cancel_call(State& state, u64 id) {
  std::unordered_map<u64, RemoteCall>::iterator found = state.calls.find(id);
  if (found == state.calls.end()) return;
  if (state.link != nullptr && found->second.is_sent) return send(*state.link, wire::Cancel{id});
  // Nobody can confirm it now; a node that is lost cancels by itself.
  fleet::SupplierEvent event = ended(FinishReason::kCancelled, "");
  event.usage.prompt_tokens = static_cast<i64>(found->second.request.prompt.size());
  event.usage.output_tokens = found->second.tokens;
  end_call(state, found, std::move(event));
}

}  // namespace

Result<std::unique_ptr<RemoteSupplier>> RemoteSupplier::start(RemoteOptions options, Loop& loop,
                                                              Clock& clock, Random& random) {
  TG_ASSIGN(Url url, parse_address(options.address));
  if (options.token.empty())
    return Error{Code::kInvalid, "node " + options.address + " needs its join token"};
  StatePtr state = std::make_shared<State>(std::move(options), loop, clock, random.next_u64());
  state->url = std::move(url);
  if (!state->options.key.empty()) {
    TG_ASSIGN(tlog::VerifierKey key, tlog::parse_verifier_key(state->options.key));
    state->pinned = std::move(key);
  }
  TG_TRY(configure_tls(state->tls, state->options.tls, false));
  state->load.is_up = false;
  spawn(state->io, keep_up(state));
  return std::unique_ptr<RemoteSupplier>(new RemoteSupplier(std::move(state)));
}

RemoteSupplier::~RemoteSupplier() {
  state_->is_stopped = true;
  asio::post(state_->io, [state = state_] {
    state->timer.cancel();
    // The node is not told one by one: it hears of it when the session does not come back.
    for (const auto& [id, call] : state->calls) {
      if (state->link != nullptr && call.is_sent) send(*state->link, wire::Cancel{id});
    }
    if (state->link != nullptr) close(*state->link);
  });
}

Status RemoteSupplier::submit(fleet::SupplyRequest request) {
  TG_ASSERT(request.events != nullptr);
  i64 tokens = static_cast<i64>(request.prompt.size()) + request.max_tokens;
  fleet::SupplierLoad now = load();
  if (now.is_draining) return Error{Code::kUnavailable, state_->options.address + " is draining"};
  bool is_too_long = now.context_max > 0 && tokens > now.context_max;
  if (request.prompt.empty() || request.max_tokens <= (request.is_embedding ? -1 : 0) ||
      is_too_long) {
    return Error{Code::kInvalid, "request of " + std::to_string(tokens) +
                                     " tokens in all does not fit a context of " +
                                     std::to_string(now.context_max)};
  }
  if (state_->open.fetch_add(1) >= state_->options.open_max) {
    state_->open.fetch_sub(1);
    return Error{Code::kUnavailable, state_->options.address + " has too many requests open"};
  }
  asio::post(state_->io, [state = state_, request = std::move(request)]() mutable {
    begin(*state, std::move(request));
  });
  return {};
}

void RemoteSupplier::cancel(u64 id) {
  asio::post(state_->io, [state = state_, id] { cancel_call(*state, id); });
}

Status RemoteSupplier::extend(u64 id, i64 funded_tokens, bool is_final) {
  asio::post(state_->io, [state = state_, id, funded_tokens, is_final] {
    std::unordered_map<u64, RemoteCall>::iterator found = state->calls.find(id);
    if (found == state->calls.end()) return;
    found->second.request.funded_tokens =
        std::max(found->second.request.funded_tokens, funded_tokens);
    found->second.request.is_funding_final = is_final;
    if (state->link != nullptr && found->second.is_sent)
      send(*state->link, wire::Extend{id, funded_tokens, is_final});
  });
  return {};
}

fleet::SupplierLoad RemoteSupplier::load() const {
  std::lock_guard lock(state_->mutex);
  return state_->load;
}

NodeFacts RemoteSupplier::facts() const {
  std::lock_guard lock(state_->mutex);
  return state_->facts;
}

}  // namespace tg::node
