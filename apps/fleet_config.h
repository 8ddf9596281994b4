// Who serves, besides this process: the [[supplier]] and [pool] tables of a server's configuration.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dispatch/pool_core.h"
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

struct FleetConfig {
  bool has_local = true;  // the engine of this process serves too
  dispatch::PoolSupplier local{.name = "local"};
  dispatch::PoolSettings pool;
  std::vector<SupplierConfig> suppliers;
  std::string nats;        // where nodes announce themselves; "": nowhere
  std::string join_token;  // of those that do
  node::NodeTls tls;       // towards nodes

  bool is_needed() const { return !has_local || !suppliers.empty() || !nats.empty(); }
};

// Reads the file once more for those tables. Errors name file, line and setting.
Result<FleetConfig> read_fleet_config(const std::string& path);

}  // namespace tg::apps
