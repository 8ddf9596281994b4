// What a NodeServer's coroutines share: one thread's, the loop's, but for what says otherwise.
#pragma once

#include <atomic>
#include <deque>
#include <unordered_map>

#include "node/net/frame_link.h"
#include "node/net/loop_state.h"
#include "node/node_server.h"
#include "node/usage_statement.h"

namespace tg::node {

// A request of a gateway, from its submission until the gateway has taken its last event.
struct NodeStream {
  explicit NodeStream(std::span<const TokenId> prompt) : digest(prompt) {}
  u64 local = 0;  // the supplier's name for it
  TokensDigest digest;
  std::deque<wire::Event> kept;  // not acknowledged yet
  u32 next = 0;                  // number of the next event
  bool is_finished = false;
  // The gateway's connection knows of it: it was submitted or resumed there. Until then events
  // only gather.
  bool is_live = true;
};

// One gateway; outlives its connections for a while.
struct NodeSession {
  u64 id = 0;
  std::string name;
  std::shared_ptr<FrameLink> link;  // null while it is lost
  i64 lost_ns = 0;
  std::unordered_map<u64, NodeStream> streams;  // by the gateway's name
};

struct NodeServer::State {
  State(NodeOptions asked, fleet::Supplier& engine, tlog::NoteSigner with, Loop& on, Clock& time,
        u64 number)
      : options(std::move(asked)),
        supplier(engine),
        signer(std::move(with)),
        io(on.state().io),
        clock(time),
        instance(number),
        acceptor(io),
        timer(io),
        events(std::make_shared<Mailbox<fleet::SupplierEvent>>(1 << 20)) {}

  const NodeOptions options;
  fleet::Supplier& supplier;
  const tlog::NoteSigner signer;
  asio::io_context& io;
  Clock& clock;
  const u64 instance;
  asio::ssl::context tls{asio::ssl::context::tls_server};
  tcp::acceptor acceptor;
  asio::steady_timer timer;
  std::optional<asio::posix::stream_descriptor> watched;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> events;
  std::unordered_map<u64, std::shared_ptr<NodeSession>> sessions;
  struct Local {
    std::weak_ptr<NodeSession> session;
    u64 id = 0;
  };
  std::unordered_map<u64, Local> locals;
  i64 connections = 0;
  u64 local_next = 1;
  bool is_stopped = false;

  // Any thread.
  std::atomic<bool> is_draining = false;
  std::atomic<i64> open = 0;
  u16 port = 0;
};

// Obeys one frame of a gateway that has said hello.
void obey(NodeServer::State& state, NodeSession& session, wire::Frame frame);
// Gives the supplier's events to the sessions they belong to.
void deliver(NodeServer::State& state, fleet::SupplierEvent event);
// Forgets a gateway that has not come back.
void drop_session(NodeServer::State& state, NodeSession& session);

}  // namespace tg::node
