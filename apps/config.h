// Configuration of a server: defaults, then one TOML file, then the command line. Unknown names and
// wrong types are errors with file and line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "gateway/server.h"
#include "ledger/open_store.h"
#include "market/tariff.h"
#include "model/architecture/blueprint.h"
#include "tlog/suite.h"

namespace tg::apps {

// One model and the engine that runs it.
struct ModelConfig {
  std::string file;  // "": the bundled one
  std::string id;    // "": the file's stem
  model::ImportOptions import;
  bool keep_packed = true;
  i64 context = 0;
  i64 kv_tokens = 0;
  i64 swap_tokens = 0;
  i64 threads = 0;
  std::string backend = "cpu";  // "opencl", "cuda:1", or the path of a module
  i64 memory_mib_max = 0;       // weights, KV pool and the rest on the device; 0: no quota
  std::string powercap = "/sys/class/powercap";  // where its energy is measured; "": nowhere
  i64 watts = 0;          // drawn while it computes, where there is no meter; 0: not known
  i64 idle_unload_s = 0;  // without requests until it is unloaded; 0: never
};

struct ServeConfig {
  std::string host = "127.0.0.1";
  i64 port = 8080;  // 0: any free port
  std::string tls_certificate;
  std::string tls_key;
  std::string data;
  std::optional<ledger::StoreKind> ledger_store;  // none: what is there, or the default
  bool leases = false;      // a shared ledger's accounts are leased, and spent here
  i64 lease_st = 10'000;    // what to have at hand of each at least
  i64 lease_seconds = 300;  // how long a gateway that is gone keeps it
  ModelConfig model;
  std::vector<ModelConfig> more_models;
  i64 memory_mib_total = 0;  // what all models may take together; 0: no quota
  engine::EngineLimits engine{.funds_wait_ns = engine::kFundsWaitNs};
  market::Tariff tariff;
  std::vector<std::string> rate_files;       // rate cards; none: the tariff's one price
  i64 capacity_ucredit_per_hour = 0;         // what an hour of the device costs; 0: not known
  std::string plans_file;                    // what is sold; "": what the data directory keeps
  std::string log_name = "tokengrid.local";  // the operator, as receipts name it
  tlog::Suite receipt_suite = tlog::Suite::kEd25519Sha256;  // of a meter made on the first start
  i64 demo_bundle_st = 100'000;                             // granted to the first account
  i64 drain_seconds = 20;
  i64 drain_notice_seconds = 0;  // health says 503 for so long before requests are refused
  gateway::ServerLimits limits;
  bool log_json = false;
  bool log_requests = false;
  bool has_admin = true;
  gateway::TelemetryOptions telemetry;
};

// Reads `path` over `config`.
Status read_config(const std::string& path, ServeConfig& config);

// Names of settings that differ and take effect only at a restart.
std::vector<std::string> changes_for_restart(const ServeConfig& running, const ServeConfig& wanted);

}  // namespace tg::apps
