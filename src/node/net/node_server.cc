#include "node/node_server.h"

#include <unistd.h>

#include <future>

#include "base/log.h"
#include "node/net/node_state.h"

namespace tg::node {
namespace {

using State = NodeServer::State;
using StatePtr = std::shared_ptr<State>;

constexpr i64 kHandshakeMs = 5'000;
// A gateway pings more often than this.
constexpr i64 kSilentMs = 5'000;
constexpr i64 kTickMs = 100;
constexpr i64 kNsPerMs = 1'000'000;

// The gateway's first frame, checked; an error is what it is told.
awaitable<Result<wire::ClientHello>> take_hello(StatePtr state, std::shared_ptr<FrameLink> link) {
  Result<wire::Frame> frame = co_await read_frame(link, kHandshakeMs);
  if (!frame.ok()) co_return frame.error();
  const wire::ClientHello* hello = std::get_if<wire::ClientHello>(&*frame);
  if (hello == nullptr) co_return Error{Code::kInvalid, "the first frame is no hello"};
  if (hello->version != wire::kVersion) {
    co_return Error{Code::kUnsupported,
                    "protocol version " + std::to_string(hello->version) + " is not spoken here"};
  }
  Result<std::vector<u8>> exporter = session_exporter(*link->link->tls);
  if (!exporter.ok()) co_return exporter.error();
  Digest wanted = wire::proof_of(state->options.token, wire::kGatewayRole, *exporter);
  bool is_equal = CRYPTO_memcmp(wanted.data(), hello->proof.data(), wanted.size()) == 0;
  if (!is_equal) co_return Error{Code::kDenied, "the join token is not this node's"};
  co_return *hello;
}

wire::NodeHello own_hello(State& state, const std::vector<u8>& exporter) {
  wire::NodeHello hello;
  hello.instance = state.instance;
  hello.proof = wire::proof_of(state.options.token, wire::kNodeRole, exporter);
  hello.name = state.options.name;
  hello.model = state.options.model;
  hello.device = state.options.device;
  hello.key = tlog::to_text(state.signer.verifier());
  hello.program = state.options.program;
  hello.context_max = state.options.context_max;
  return hello;
}

wire::Load load_of(State& state) {
  wire::Load load{.load = state.supplier.load()};
  load.load.is_draining = state.is_draining;
  return load;
}

std::shared_ptr<NodeSession> enter(State& state, const wire::ClientHello& hello,
                                   std::shared_ptr<FrameLink> link) {
  std::shared_ptr<NodeSession>& session = state.sessions[hello.session];
  if (session == nullptr) {
    session = std::make_shared<NodeSession>();
    session->id = hello.session;
  }
  session->name = hello.name;
  // A new connection of the same gateway takes the place of one that looks alive.
  if (session->link != nullptr) close(*session->link);
  session->link = std::move(link);
  for (auto& [id, stream] : session->streams) stream.is_live = false;
  return session;
}

void leave(State& state, NodeSession& session, const std::shared_ptr<FrameLink>& link) {
  close(*link);
  if (session.link != link) return;
  session.link = nullptr;
  session.lost_ns = state.clock.monotonic_ns();
}

awaitable<void> refuse(std::shared_ptr<FrameLink> link, std::string reason) {
  std::string bytes;
  wire::append_frame(bytes, wire::Refusal{std::move(reason)});
  link->link->expire_after_ms(kHandshakeMs);
  co_await write_all(link->link, bytes);
  close(*link);
}

awaitable<void> talk(StatePtr state, std::shared_ptr<FrameLink> link) {
  Result<wire::ClientHello> hello = co_await take_hello(state, link);
  if (!hello.ok()) {
    log_warn("node", "a gateway was refused: {}", hello.error().message);
    co_await refuse(link, hello.error().message);
    co_return;
  }
  Result<std::vector<u8>> exporter = session_exporter(*link->link->tls);
  if (!exporter.ok() || state->is_stopped) co_return;
  std::shared_ptr<NodeSession> session = enter(*state, *hello, link);
  log_info("node", "gateway {} is here", session->name);
  send(*link, own_hello(*state, *exporter));
  send(*link, load_of(*state));
  spawn(state->io, write_frames(link));
  for (;;) {
    Result<wire::Frame> frame = co_await read_frame(link, kSilentMs);
    if (!frame.ok() || state->is_stopped) break;
    obey(*state, *session, *std::move(frame));
    if (session->link != link) break;
  }
  leave(*state, *session, link);
}

awaitable<void> serve_link(StatePtr state, std::shared_ptr<Link> raw) {
  ++state->connections;
  error_code error;
  raw->expire_after_ms(kHandshakeMs);
  raw->tcp_stream().socket().set_option(tcp::no_delay(true), error);
  co_await raw->tls->async_handshake(asio::ssl::stream_base::server,
                                     asio::redirect_error(asio::use_awaitable, error));
  if (!error) {
    std::shared_ptr<FrameLink> link = std::make_shared<FrameLink>(raw, state->io);
    co_await talk(state, link);
  }
  raw->close();
  --state->connections;
}

awaitable<void> accept_links(StatePtr state) {
  while (!state->is_stopped) {
    error_code error;
    tcp::socket socket =
        co_await state->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (state->is_stopped) co_return;
    if (error) {
      // Out of descriptors, mostly: some will come back.
      asio::steady_timer pause(state->io);
      co_await sleep_ms(&pause, kTickMs);
      continue;
    }
    if (state->connections >= state->options.connections_max) continue;
    std::shared_ptr<Link> link = std::make_shared<Link>(std::move(socket), &state->tls);
    spawn(state->io, serve_link(state, link));
  }
}

awaitable<void> pump_events(StatePtr state) {
  std::vector<fleet::SupplierEvent> events;
  while (!state->is_stopped) {
    error_code error;
    co_await state->watched->async_wait(asio::posix::stream_descriptor::wait_read,
                                        asio::redirect_error(asio::use_awaitable, error));
    if (error || state->is_stopped) co_return;
    events.clear();
    state->events->drain(events);
    for (fleet::SupplierEvent& event : events) deliver(*state, std::move(event));
  }
}

awaitable<void> tick(StatePtr state) {
  while (!state->is_stopped) {
    i64 now_ns = state->clock.monotonic_ns();
    wire::Load load = load_of(*state);
    std::vector<u64> lost;
    for (auto& [id, session] : state->sessions) {
      if (session->link != nullptr) {
        send(*session->link, load);
      } else if (now_ns - session->lost_ns > state->options.grace_ms * kNsPerMs) {
        lost.push_back(id);
      }
    }
    for (u64 id : lost) {
      drop_session(*state, *state->sessions.at(id));
      state->sessions.erase(id);
    }
    co_await sleep_ms(&state->timer, kTickMs);
  }
}

Status listen(State& state) {
  error_code error;
  asio::ip::address address = asio::ip::make_address(state.options.address, error);
  if (error)
    return Error{Code::kInvalid, "'" + state.options.address + "' is not an address to listen on"};
  tcp::endpoint endpoint(address, state.options.port);
  state.acceptor.open(endpoint.protocol(), error);
  if (!error) state.acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) state.acceptor.bind(endpoint, error);
  if (!error) state.acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return Error{Code::kUnavailable, "cannot listen on " + state.options.address + ":" +
                                         std::to_string(state.options.port) + ": " +
                                         error.message()};
  }
  state.port = state.acceptor.local_endpoint().port();
  return {};
}

void stop(State& state) {
  state.is_stopped = true;
  error_code ignored;
  state.acceptor.close(ignored);
  state.timer.cancel();
  state.watched->cancel(ignored);
  for (auto& [id, session] : state.sessions) {
    drop_session(state, *session);
    if (session->link != nullptr) close(*session->link);
  }
  state.sessions.clear();
}

}  // namespace

Result<std::unique_ptr<NodeServer>> NodeServer::start(NodeOptions options,
                                                      fleet::Supplier& supplier,
                                                      tlog::NoteSigner signer, Loop& loop,
                                                      Clock& clock, Random& random) {
  if (options.token.empty()) return Error{Code::kInvalid, "a node needs a join token"};
  StatePtr state = std::make_shared<State>(std::move(options), supplier, std::move(signer), loop,
                                           clock, random.next_u64());
  TG_TRY(configure_tls(state->tls, state->options.tls, true));
  TG_TRY(listen(*state));
  // The descriptor closes what it owns, and the mailbox keeps its own.
  state->watched.emplace(state->io, ::dup(state->events->fd()));
  spawn(state->io, accept_links(state));
  spawn(state->io, pump_events(state));
  spawn(state->io, tick(state));
  return std::unique_ptr<NodeServer>(new NodeServer(std::move(state)));
}

NodeServer::~NodeServer() {
  // Nothing may touch the supplier afterwards.
  std::promise<void> done;
  asio::post(state_->io, [&] {
    stop(*state_);
    done.set_value();
  });
  done.get_future().wait();
}

u16 NodeServer::port() const {
  return state_->port;
}

void NodeServer::drain() {
  state_->is_draining = true;
}

i64 NodeServer::open() const {
  return state_->open.load();
}

}  // namespace tg::node
