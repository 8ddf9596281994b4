// Who serves, besides this process: the [[supplier]], [pool] and [autoscale] tables of a server's
// configuration.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dispatch/pool_core.h"
#include "dispatch/replica_set.h"
#include "node/engines/dialect.h"
#include "node/remote_supplier.h"

namespace tg::apps {

enum class SupplierKind { kNode, kEngine, kDevice };

struct SupplierConfig {
  dispatch::PoolSupplier facts;
  std::optional<SupplierKind> kind;
  node::EngineKind engine{};
  std::string url;    // of an engine
  std::string model;  // as the engine names it
  std::string api_key;
  i64 context = 0;
  node::RemoteOptions node;  // its token read from the file
  // Of another device of this process, as [engine] has them.
  std::string backend;
  i64 threads = 0, kv_tokens = 0, memory_mib_max = 0;
};

// Replicas that come and go with the traffic.
struct AutoscaleConfig {
  bool launches = true;  // nodes, as processes of this machine; else the count is only told
  dispatch::ScaleSettings scale{.cold_start_ns = 10'000'000'000, .replicas_max = 4};
  dispatch::ReplicaSettings replicas;
  dispatch::PoolSupplier facts;   // of each replica
  i64 requests_at_once = 0;       // planned for one; 0: as many as keep the pool's target
  i64 wait_ns = 120'000'000'000;  // that requests wait for one to start
  // What a launched node is told.
  std::vector<std::string> wrapper;    // what its command line begins with
  std::vector<std::string> arguments;  // what it ends with
  std::string backend = "cpu";
  i64 threads = 0, kv_tokens = 0, memory_mib_max = 0, context = 0;
  i64 running_max = 64;
  i64 node_drain_s = 20;
};

struct FleetConfig {
  bool has_local = true;  // the engine of this process serves too
  dispatch::PoolSupplier local{.name = "local"};
  dispatch::PoolSettings pool;
  std::vector<SupplierConfig> suppliers;
  std::string nats;        // where nodes announce themselves; "": nowhere
  std::string join_token;  // of those that do
  node::NodeTls tls;       // towards nodes
  std::optional<AutoscaleConfig> autoscale;

  bool is_needed() const {
    return !has_local || !suppliers.empty() || !nats.empty() || autoscale.has_value();
  }
};

// Reads the file once more for those tables. Errors name file, line and setting.
Result<FleetConfig> read_fleet_config(const std::string& path);

}  // namespace tg::apps
