// A node on another machine as a supplier here: one connection that is kept up, resumed when it
// breaks, and believed only as far as what it sends agrees with what it signs.
#pragma once

#include <memory>
#include <string>

#include "env/clock.h"
#include "env/random.h"
#include "fleet/supplier.h"
#include "node/loop.h"
#include "node/node_server.h"

namespace tg::node {

struct RemoteOptions {
  std::string address;  // "host:port"
  std::string token;    // the node's join token
  std::string gateway;  // our name, for its log
  NodeTls tls;
  std::string key;   // what it must sign with, as tlog::VerifierKey writes it; "" trusts its word
  Digest program{};  // what it must run; zeros: anything
  // How long requests wait for a lost node to come back, before they are given up here.
  i64 resume_ms = 1'500;
  i64 retry_ms_max = 2'000;  // between attempts to connect
  i64 open_max = 4'096;
};

// What a node said of itself.
struct NodeFacts {
  std::string name;
  std::string model;
  std::string device;
  std::string key;
  i64 context_max = 0;
  i64 rtt_ns = 0;          // of the last ping
  u64 connections = 0;     // made so far
  std::string last_error;  // why it is not here, if it is not
};

class RemoteSupplier final : public fleet::Supplier {
 public:
  // Begins to connect and returns; until then load() says that it is not up. Loop, clock and random
  // must outlive the supplier; random is used here only.
  static Result<std::unique_ptr<RemoteSupplier>> start(RemoteOptions options, Loop& loop,
                                                       Clock& clock, Random& random);
  // Cancels what runs; the last events come from the loop, also afterwards.
  ~RemoteSupplier() override;
  RemoteSupplier(const RemoteSupplier&) = delete;
  RemoteSupplier& operator=(const RemoteSupplier&) = delete;

  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  Status extend(u64 id, i64 funded_tokens, bool is_final) override;
  fleet::SupplierLoad load() const override;
  NodeFacts facts() const;

  struct State;

 private:
  explicit RemoteSupplier(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace tg::node
