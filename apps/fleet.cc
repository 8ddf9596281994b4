#include "apps/fleet.h"

#include <algorithm>
#include <chrono>

#include "base/bytes.h"
#include "base/json_out.h"
#include "base/log.h"
#include "env/disk.h"
#include "node/engine_supplier.h"
#include "node/remote_supplier.h"

namespace tg::apps {

namespace {

constexpr i64 kWatchMs = 500;
constexpr i64 kScaleMs = 100;
constexpr std::size_t kTokenBytes = 32;

std::string record_json(const dispatch::SupplyRecord& record, Timestamp now) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("time").string(to_rfc3339(now));
  json.key("supplier").string(record.supplier).key("request").number_u64(record.request);
  json.key("prompt_tokens").number(record.prompt_tokens);
  json.key("cached_tokens").number(record.cached_tokens);
  json.key("output_tokens").number(record.output_tokens);
  json.key("claimed_tokens").number(record.claimed_tokens);
  json.key("served").boolean(record.is_served).key("failed").boolean(record.is_failed);
  json.key("dispute").string(record.dispute).end_object();
  return out;
}

std::vector<std::string> node_command(const AutoscaleConfig& c, const std::string& program,
                                      const Fleet::Nodes& nodes, const std::string& token_file) {
  std::vector<std::string> out = c.wrapper;
  out.insert(out.end(),
             {program, "node", "--owned", "--name", "{name}", "--host", "127.0.0.1", "--port", "0",
              "--token-file", token_file, "--data", nodes.data + "/{name}"});
  out.insert(out.end(), nodes.model_arguments.begin(), nodes.model_arguments.end());
  out.insert(out.end(), {"--backend", c.backend});
  for (const auto& [name, value] :
       {std::pair{"--threads", c.threads}, std::pair{"--kv-tokens", c.kv_tokens},
        std::pair{"--memory-mib-max", c.memory_mib_max}, std::pair{"--context", c.context},
        std::pair{"--running-max", c.running_max}, std::pair{"--drain-seconds", c.node_drain_s}})
    out.insert(out.end(), {name, std::to_string(value)});
  out.insert(out.end(), c.arguments.begin(), c.arguments.end());
  return out;
}

}  // namespace

Fleet::Fleet(FleetConfig config, std::string gateway, const Digest& program, Clock& clock,
             u64 instance)
    : config_(std::move(config)),
      gateway_(std::move(gateway)),
      program_(program),
      clock_(clock),
      outbox_(gateway_, instance) {}

Result<std::unique_ptr<Fleet>> Fleet::start(FleetConfig config, const std::string& gateway,
                                            Engines engines, Nodes nodes,
                                            std::shared_ptr<const Tokenizer> tokenizer,
                                            const Digest& program, Clock& clock, Random& random) {
  // Gateways that see the same pool should not all break ties alike.
  config.pool.seed = random.next_u64();
  std::unique_ptr<Fleet> fleet(
      new Fleet(std::move(config), gateway, program, clock, random.next_u64()));
  const FleetConfig& c = fleet->config_;
  std::vector<dispatch::PoolMember> members;
  if (engines.local != nullptr) members.push_back({c.local, std::move(engines.local)});
  for (const SupplierConfig& s : c.suppliers) {
    if (s.kind == SupplierKind::kDevice) {
      members.push_back({s.facts, std::move(engines.devices.at(s.facts.name))});
      continue;
    }
    if (s.kind == SupplierKind::kEngine) {
      node::EngineOptions options{.kind = s.engine,
                                  .url = s.url,
                                  .model = s.model,
                                  .api_key = s.api_key,
                                  .context_max = s.context};
      // The pool keeps to it; what it was told to send is not refused here.
      options.open_max = std::max(options.open_max, s.facts.requests_max);
      TG_ASSIGN(std::shared_ptr<fleet::Supplier> engine,
                node::EngineSupplier::start(std::move(options), tokenizer, fleet->loop_, clock));
      members.push_back({s.facts, std::move(engine)});
      continue;
    }
    node::RemoteOptions options = s.node;
    options.gateway = gateway;
    // Another program would count and cost differently.
    if (options.program == Digest{}) options.program = program;
    TG_ASSIGN(std::shared_ptr<fleet::Supplier> remote,
              node::RemoteSupplier::start(std::move(options), fleet->loop_, clock, fleet->random_));
    members.push_back({s.facts, std::move(remote)});
  }
  if (!c.nats.empty()) {
    TG_ASSIGN(fleet->bus_, node::Bus::connect(c.nats, gateway));
  }
  fleet->pool_ = std::make_unique<dispatch::Pool>(c.pool, std::move(members), clock);
  if (c.autoscale) TG_TRY(fleet->start_scaler(nodes));
  fleet->watcher_ = std::thread([raw = fleet.get()] { raw->watch(); });
  return fleet;
}

// Nodes of ours know each other by a token that nobody else has, of this start.
Status Fleet::start_scaler(const Nodes& nodes) {
  const AutoscaleConfig& a = *config_.autoscale;
  dispatch::ScalerOptions options{.pool = nodes.model_id,
                                  .scale = a.scale,
                                  .replicas = a.replicas,
                                  .facts = a.facts,
                                  .requests_at_once = a.requests_at_once,
                                  .tpot_target_ns = config_.pool.route.tpot_target_ns};
  if (config_.has_local) options.fixed.insert(config_.local.name);
  for (const SupplierConfig& s : config_.suppliers) options.fixed.insert(s.facts.name);
  if (a.launches) {
    // As many at once as its node is told.
    if (options.facts.requests_max == 0) options.facts.requests_max = a.running_max;
    TG_ASSIGN(std::string program, own_program());
    std::vector<u8> secret(kTokenBytes);
    random_.fill(secret);
    TG_TRY(ensure_writable_directory(nodes.data));
    std::string token_file = nodes.data + "/join-token";
    constexpr u32 kPrivate = 0600;
    TG_TRY(write_file_durably(token_file, as_bytes(to_hex(secret)), kPrivate));
    node::ProcessLauncherOptions launching;
    launching.command = node_command(a, program, nodes, token_file);
    launching.remote.token = to_hex(secret);
    launching.remote.gateway = gateway_;
    launching.remote.program = program_;
    launching.stop_ms_max = (a.node_drain_s + 1) * 1'000;
    launcher_ =
        std::make_unique<node::ProcessLauncher>(std::move(launching), loop_, clock_, random_);
  }
  scaler_ =
      std::make_unique<dispatch::PoolScaler>(std::move(options), *pool_, launcher_.get(), clock_);
  scaling_ = std::thread([this] { scale(); });
  return {};
}

void Fleet::scale() {
  std::unique_lock lock(mutex_);
  while (!is_stopped_) {
    lock.unlock();
    scaler_->turn();
    lock.lock();
    changed_.wait_for(lock, std::chrono::milliseconds(kScaleMs));
  }
}

void Fleet::reload(const FleetConfig& config) {
  if (config.autoscale.has_value() != config_.autoscale.has_value()) {
    log_warn("fleet", "[autoscale] has come or gone; it takes effect at the next start");
    return;
  }
  if (scaler_ != nullptr)
    scaler_->set_settings(config.autoscale->scale, config.autoscale->replicas);
}

Fleet::~Fleet() {
  if (!watcher_.joinable() && !scaling_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  changed_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  if (scaling_.joinable()) scaling_.join();
  scaler_.reset();
  pool_.reset();
  launcher_.reset();
}

void Fleet::watch() {
  node::MemberWatch members(config_.join_token);
  std::unique_lock lock(mutex_);
  while (!is_stopped_) {
    lock.unlock();
    if (bus_ != nullptr) look_once(members);
    note_usage();
    lock.lock();
    changed_.wait_for(lock, std::chrono::milliseconds(kWatchMs));
  }
  lock.unlock();
  note_usage();
}

void Fleet::look_once(node::MemberWatch& members) {
  node::MemberWatch::Change change = members.look(*bus_, clock_.monotonic_ns());
  for (const node::Advert& advert : change.joined) {
    if (advert.program != program_) {
      log_warn("fleet", "node {} runs another program and is not taken", advert.name);
      continue;
    }
    node::RemoteOptions options{.address = advert.address,
                                .token = config_.join_token,
                                .gateway = gateway_,
                                .tls = config_.tls,
                                .key = advert.key,
                                .program = program_};
    Result<std::unique_ptr<node::RemoteSupplier>> remote =
        node::RemoteSupplier::start(std::move(options), loop_, clock_, random_);
    if (!remote.ok()) {
      log_warn("fleet", "node {} cannot join: {}", advert.name, remote.error().message);
      continue;
    }
    log_info("fleet", "node {} joins from {}", advert.name, advert.address);
    dispatch::PoolSupplier facts{.name = advert.name, .zone = advert.zone};
    facts.step = {.ns_per_step = 2e7, .ns_per_token = 1e5};
    pool_->join({facts, std::shared_ptr<fleet::Supplier>(std::move(*remote))});
  }
  for (const std::string& name : change.left) {
    log_info("fleet", "node {} leaves", name);
    pool_->leave(name);
  }
}

void Fleet::note_usage() {
  std::vector<dispatch::SupplyRecord> records = pool_->take_records();
  if (bus_ == nullptr) return;
  Timestamp now = clock_.now();
  for (const dispatch::SupplyRecord& record : records) outbox_.add(record_json(record, now));
  outbox_.flush(*bus_);
}

}  // namespace tg::apps
