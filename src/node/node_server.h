// A node: serves a supplier of this process (an engine) to gateways elsewhere, over wire/frames.h.
// A connection that breaks does not end its requests: the gateway has some seconds to come back and
// go on reading where it was.
#pragma once

#include <memory>
#include <string>

#include "base/hash.h"
#include "env/clock.h"
#include "env/random.h"
#include "fleet/supplier.h"
#include "node/loop.h"
#include "tlog/note.h"

namespace tg::node {

// Of one end of the protocol. Without files a key and a certificate are made for this process: the
// join token, bound to the TLS session, then is what tells the peers who they talk to. With a CA
// both must also show a certificate that it signed.
struct NodeTls {
  std::string certificate;  // PEM files
  std::string key;
  std::string ca;
};

struct NodeOptions {
  std::string name;
  std::string address = "127.0.0.1";
  u16 port = 0;       // 0: any free one
  std::string token;  // what gateways must know; not empty
  NodeTls tls;
  std::string model;
  std::string device;
  Digest program{};
  i64 context_max = 0;
  i64 grace_ms = 10'000;  // for a gateway that was lost to come back
  i64 connections_max = 64;
  i64 requests_max = 4'096;
};

class NodeServer {
 public:
  // Listens before it returns. All arguments must outlive the server.
  static Result<std::unique_ptr<NodeServer>> start(NodeOptions options, fleet::Supplier& supplier,
                                                   tlog::NoteSigner signer, Loop& loop,
                                                   Clock& clock, Random& random);
  // Cancels what is open and closes all connections.
  ~NodeServer();
  NodeServer(const NodeServer&) = delete;
  NodeServer& operator=(const NodeServer&) = delete;

  u16 port() const;
  // Tells gateways to send nothing new; open requests go on.
  void drain();
  // Requests of gateways that have not ended, or whose end no gateway has taken yet.
  i64 open() const;

  struct State;

 private:
  explicit NodeServer(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace tg::node
