// `tokengrid serve`: put the parts together from the bottom up, say where they are, and take them
// down in order.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>

#include "apps/commands.h"
#include "apps/config.h"
#include "apps/data_directory.h"
#include "apps/fleet.h"
#include "apps/import_flags.h"
#include "apps/ledgers.h"
#include "apps/local_model.h"
#include "apps/locate.h"
#include "apps/price_files.h"
#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "gateway/access/budget_keeper.h"
#include "gateway/admin/api.h"
#include "gateway/books.h"
#include "gateway/cashier.h"
#include "gateway/control.h"
#include "gateway/server.h"
#include "ledger/lease_service.h"

namespace tg::apps {

namespace {

struct ServeOptions {
  ServeConfig config;
  FleetConfig fleet;
  std::string config_file;
  // Given on the command line, so that they win over the file; empty or negative: not given.
  std::string host;
  i64 port = -1;
  std::string data;
  std::vector<std::string> models;
  std::string backend;
  i64 threads = -1;
  bool quiet = false;
  ImportFlags import;
};

template <typename Change>
void for_each_model(ServeConfig& config, const Change& change) {
  change(config.model);
  for (ModelConfig& model : config.more_models) change(model);
}

// The first one as [model] has it; others, like it, instead of the file's [[models]].
void take_models(const std::vector<std::string>& files, ServeConfig& config) {
  config.model.file = files[0];
  if (files.size() == 1) return;
  config.more_models.assign(files.size() - 1, config.model);
  for (std::size_t i = 1; i < files.size(); ++i) {
    config.more_models[i - 1].file = files[i];
    config.more_models[i - 1].id.clear();
  }
}

Result<ServeConfig> final_config(const ServeOptions& o) {
  ServeConfig config = o.config;
  if (!o.config_file.empty()) TG_TRY(read_config(o.config_file, config));
  if (!o.host.empty()) config.host = o.host;
  if (o.port >= 0) config.port = o.port;
  if (!o.data.empty()) config.data = o.data;
  if (!o.models.empty()) take_models(o.models, config);
  for_each_model(config, [&o](ModelConfig& model) {
    if (!o.backend.empty()) model.backend = o.backend;
    if (o.threads >= 0) model.threads = o.threads;
    model.import = o.import.over(model.import);
  });
  if (config.data.empty()) config.data = default_data_directory();
  if (config.model.file.empty()) {
    TG_ASSIGN(config.model.file, bundled_model());
  }
  return config;
}

// Balances for the admin API, from the books of this process.
class BooksDesk final : public gateway::LedgerDesk {
 public:
  explicit BooksDesk(gateway::Books& books) : books_(books) {}
  Result<std::string> ask(const std::string& command) override { return books_.answer(command); }

 private:
  gateway::Books& books_;
};

constexpr i64 kPoolSlots = 4'096;

// The parts of a running server; destroyed in reverse, so that each outlives who uses it.
struct Parts {
  SystemClock clock;
  OsRandom random;
  Ledgers ledgers;
  std::unique_ptr<ledger::LeaseService> leases;     // if accounts are leased
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;  // of the receipt log
  std::optional<tlog::NoteSigner> signer;           // the meter's, for quotes too
  std::unique_ptr<gateway::Archive> archive;        // if accounts are leased
  std::unique_ptr<gateway::Scribe> scribe;
  std::unique_ptr<gateway::Bookkeeper> bookkeeper;
  std::unique_ptr<gateway::Books> books;
  std::unique_ptr<BooksDesk> desk;
  std::unique_ptr<gateway::BudgetKeeper> budgets;
  std::unique_ptr<ModelHost> host;
  std::vector<std::unique_ptr<LocalModel>> models;  // the first is the fleet's, if there is one
  std::unique_ptr<Fleet> fleet;                     // if there are other suppliers
  std::unique_ptr<gateway::Cashier> sweeper;        // of leased accounts where they are whole
  std::unique_ptr<gateway::Cashier> cashier;
  std::unique_ptr<gateway::ControlServer> control;
  std::unique_ptr<gateway::Server> server;
};

// On an empty directory: an account with a bundle and one key, kept in first-key and returned.
Result<std::string> first_key(const DataDirectory& data, gateway::KeyStore& keys, Parts& parts,
                              i64 bundle_st) {
  TG_ASSIGN(std::vector<gateway::KeyRecord> all, keys.list());
  if (!all.empty()) return std::string();
  TG_ASSIGN(gateway::AccountName account, keys.ensure_account("demo"));
  constexpr i64 kNanoPerSt = 1'000'000'000;
  std::string id = to_hex(account.id);
  std::string command =
      bundle_st > 0 ? fmt::format("topup {} {}", id, bundle_st * kNanoPerSt) : "ensure " + id;
  std::string answer = parts.books->answer(command);
  if (answer.starts_with("{\"error\"")) return Error{Code::kIo, "first account: " + answer};
  TG_ASSIGN(gateway::CreatedKey made,
            keys.create({.name = "first", .account = "demo"}, parts.clock.now()));
  TG_TRY(write_file_durably(data.file("first-key"), as_bytes(made.plaintext + "\n"), 0600));
  return made.plaintext;
}

// The meter's log and who keeps it; the books read through it.
Status start_scribe(const ServeConfig& config, const DataDirectory& data, Parts& parts) {
  TG_ASSIGN(tlog::NoteSigner signer, load_or_make_signer(data, parts.random, config.receipt_suite));
  parts.suite = signer.suite();
  parts.signer = signer;
  if (parts.suite != config.receipt_suite)
    log_warn("serve", "the meter's key is of {}: receipts stay so", tlog::name(parts.suite));
  TG_ASSIGN(meter::ReceiptLog log,
            meter::ReceiptLog::open(data.file("receipts"), config.log_name, std::move(signer)));
  ledger::Service& served = parts.ledgers.served();
  bool is_leasing = parts.leases != nullptr;
  if (is_leasing) parts.archive = open_archive(data, parts.ledgers, parts.clock);
  parts.scribe = std::make_unique<gateway::Scribe>(served, std::move(log), parts.archive.get());
  parts.books = std::make_unique<gateway::Books>(*parts.ledgers.accounts, parts.clock, parts.random,
                                                 parts.scribe.get());
  if (parts.leases != nullptr) parts.books->serve_from(served, parts.leases.get());
  parts.desk = std::make_unique<BooksDesk>(*parts.books);
  parts.budgets = std::make_unique<gateway::BudgetKeeper>(*parts.ledgers.accounts);
  TG_ASSIGN(std::vector<market::Plan> plans, load_plans(data));
  parts.books->offer(std::move(plans));
  parts.bookkeeper = std::make_unique<gateway::Bookkeeper>(
      served, parts.clock,
      gateway::Bookkeeper::Options{.capacity_ucredit_per_hour = config.capacity_ucredit_per_hour,
                                   .is_exclusive = !served.is_shared(),
                                   .shared = is_leasing ? parts.ledgers.accounts.get() : nullptr,
                                   .meter = parts.signer->verifier()});
  parts.books->ask_usage_of(*parts.bookkeeper);
  Status prepared = parts.books->prepare();
  bool is_away = !prepared.ok() && prepared.error().code == Code::kUnavailable;
  if (!is_away || parts.leases == nullptr) return prepared;
  log_warn("serve", "the shared ledger is away; served is what was leased before, while it lasts");
  return {};
}

Status start_ledger(const ServeConfig& config, const DataDirectory& data, Parts& parts) {
  TG_ASSIGN(parts.ledgers, open_ledgers(data, config, parts.clock));
  if (config.leases) {
    TG_ASSIGN(parts.leases, ledger::LeaseService::start(*parts.ledgers.own, *parts.ledgers.accounts,
                                                        parts.clock, lease_options(config)));
  }
  if (!config.plans_file.empty()) TG_TRY(save_plans(data, config.plans_file));
  return start_scribe(config, data, parts);
}

Status start_models(const ServeConfig& config, const FleetConfig& fleet, Parts& parts) {
  constexpr u64 kMiB = 1 << 20;
  parts.host = std::make_unique<ModelHost>(
      ModelHost{.limits = config.engine, .clock = parts.clock, .random = parts.random});
  if (config.memory_mib_total > 0) {
    parts.host->memory =
        std::make_unique<backend::MemoryBudget>(static_cast<u64>(config.memory_mib_total) * kMiB);
  }
  auto start = [&](const ModelConfig& model, bool has_engine) -> Status {
    TG_ASSIGN(std::unique_ptr<LocalModel> started, start_model(model, has_engine, *parts.host));
    parts.models.push_back(std::move(started));
    return {};
  };
  ModelConfig first = config.model;
  // Counters of the whole machine do not say which of several engines drew what.
  bool is_alone = config.more_models.empty();
  if (!is_alone) first.powercap.clear();
  TG_TRY(start(first, fleet.has_local));
  for (ModelConfig model : config.more_models) {
    model.powercap.clear();
    TG_TRY(start(model, true));
  }
  return {};
}

// The first model once more, on another device.
Result<std::shared_ptr<node::LocalEngine>> start_device(const ServeConfig& config,
                                                        const SupplierConfig& supplier,
                                                        Parts& parts) {
  ModelConfig there = config.model;
  there.backend = supplier.backend;
  there.threads = supplier.threads;
  there.kv_tokens = supplier.kv_tokens;
  there.memory_mib_max = supplier.memory_mib_max;
  there.watts = static_cast<i64>(supplier.facts.power.watts);
  there.powercap.clear();
  Result<std::shared_ptr<node::LocalEngine>> engine =
      start_beside(*parts.models[0], there, *parts.host);
  if (engine) return engine;
  return Error{engine.error().code,
               fmt::format("supplier '{}': {}", supplier.facts.name, engine.error().message)};
}

// What a node needs to be told to make the same program of the same file.
std::vector<std::string> node_arguments(const ModelConfig& model) {
  std::vector<std::string> out = {"--model", model.file, "--kv-format",
                                  std::string(isa::info(model.import.kv_format).name)};
  if (model.import.exact) out.push_back("--exact");
  return out;
}

Status start_fleet(const ServeConfig& config, const FleetConfig& fleet, const DataDirectory& data,
                   Parts& parts) {
  if (!fleet.is_needed()) return {};
  const LocalModel& first = *parts.models[0];
  Fleet::Engines engines{.local = first.engine, .devices = {}};
  for (const SupplierConfig& s : fleet.suppliers) {
    if (s.kind != SupplierKind::kDevice) continue;
    TG_ASSIGN(std::shared_ptr<node::LocalEngine> engine, start_device(config, s, parts));
    log_info("serve", "supplier {} is {}", s.facts.name, engine->device_name());
    engines.devices[s.facts.name] = std::move(engine);
  }
  Fleet::Nodes nodes{.model_id = first.loaded.id,
                     .model_arguments = node_arguments(config.model),
                     .data = data.file("replicas")};
  TG_ASSIGN(parts.fleet,
            Fleet::start(fleet, config.log_name, std::move(engines), std::move(nodes),
                         first.loaded.tokenizer, first.program().id(), parts.clock, parts.random));
  return {};
}

Status start_cashier(const ServeConfig& config, const DataDirectory& data, Parts& parts) {
  for (const std::unique_ptr<LocalModel>& model : parts.models)
    TG_TRY(save_program(data, model->program()));
  gateway::TillOptions options;
  options.seller = gateway::seller_account();
  options.money_seller = gateway::money_seller_account();
  options.books = gateway::standard_books();
  options.tariff = config.tariff;
  options.signer = parts.signer;
  TG_ASSIGN(options.plans, load_plans(data));
  TG_ASSIGN(options.rates, load_rates(config.rate_files));
  if (options.rates) TG_TRY(save_rates(data, *options.rates));
  for (const std::unique_ptr<LocalModel>& model : parts.models) {
    options.contracts[model->loaded.id] = {.device = model->device_name(),
                                           .model = model->loaded.id,
                                           .program = model->program().id(),
                                           .cost = &model->program().cost(),
                                           .suite = parts.suite};
  }
  if (parts.leases != nullptr) {
    gateway::TillOptions sweeps{.plans = options.plans, .books = options.books};
    TG_ASSIGN(parts.sweeper, gateway::Cashier::start(*parts.ledgers.accounts, *parts.scribe,
                                                     std::move(sweeps), parts.clock));
    options.is_leased = true;
  }
  TG_ASSIGN(parts.cashier,
            gateway::Cashier::start(parts.ledgers.served(), *parts.scribe, std::move(options),
                                    parts.clock, parts.bookkeeper.get(), parts.leases.get()));
  parts.books->tell(*parts.cashier, parts.sweeper.get());
  return {};
}

std::vector<gateway::ServedModel> offers(const ServeConfig& config, Parts& parts) {
  std::vector<gateway::ServedModel> out;
  for (const std::unique_ptr<LocalModel>& model : parts.models) {
    out.push_back(offer(*model, config.tariff, parts.clock));
    // Enough beyond what runs that the engine never waits for the gateway.
    out.back().slots_max = config.engine.running_max + config.engine.running_max / 4 + 1;
  }
  if (parts.fleet != nullptr) {
    out[0].supplier = &parts.fleet->pool();
    // A pool keeps what nobody has room for, fairly too, and knows better who will be free.
    out[0].slots_max = kPoolSlots;
  }
  return out;
}

Status start_server(const ServeConfig& config, const DataDirectory& data,
                    std::unique_ptr<gateway::KeyStore> keys, Parts& parts) {
  gateway::ServerOptions options;
  options.address = config.host;
  options.port = static_cast<u16>(config.port);
  options.tls_certificate = config.tls_certificate;
  options.tls_key = config.tls_key;
  options.limits = config.limits;
  options.logs_requests = config.log_requests;
  options.telemetry = config.telemetry;
  gateway::ServerParts server_parts{.models = {},
                                    .keys = std::move(keys),
                                    .billing = parts.cashier->billing(),
                                    .clock = parts.clock,
                                    .random = parts.random,
                                    .budgets = parts.budgets.get(),
                                    .leases = parts.leases.get()};
  TG_ASSIGN(server_parts.replies, gateway::ReplyBook::open(data.path));
  TG_ASSIGN(server_parts.batches, gateway::BatchBook::open(data.path));
  // A connection of its own: the admin API runs on another thread than the key feed.
  if (config.has_admin) {
    TG_ASSIGN(std::unique_ptr<gateway::KeyStore> store,
              gateway::KeyStore::open(data.path, parts.random));
    server_parts.admin =
        std::make_unique<gateway::AdminApi>(std::move(store), *parts.desk, parts.clock);
  }
  server_parts.models = offers(config, parts);
  if (parts.fleet != nullptr) server_parts.loop = &parts.fleet->loop();
  TG_ASSIGN(parts.server, gateway::Server::start(std::move(options), std::move(server_parts)));
  return {};
}

void print_banner(const ServeConfig& config, const DataDirectory& data, const Parts& parts,
                  const std::string& key) {
  bool tls = !config.tls_certificate.empty();
  std::string url =
      fmt::format("{}://{}:{}", tls ? "https" : "http", config.host, parts.server->port());
  fmt::print("tokengrid {}\n", TG_VERSION);
  for (const std::unique_ptr<LocalModel>& model : parts.models) {
    fmt::print("  model     {} on {}\n  program   {}\n", model->loaded.id, model->device_name(),
               to_hex(model->program().id()));
  }
  fmt::print("  data      {}\n", data.path);
  fmt::print("  console   {}/\n  metrics   {}/metrics\n", url, url);
  if (!key.empty()) {
    fmt::print("\nA first account 'demo' with {} ST was made. Its key, also in {}:\n  {}\n",
               config.demo_bundle_st, data.file("first-key"), key);
  }
  std::string shown = key.empty() ? "$(cat " + data.file("first-key") + ")" : key;
  fmt::print(
      "\nTry it:\n  curl -N {}/v1/chat/completions \\\n    -H \"Authorization: Bearer {}\" \\\n"
      "    -H \"Content-Type: application/json\" \\\n    -d '{{\"model\": \"{}\", \"stream\": "
      "true, "
      "\"messages\": [{{\"role\": \"user\", \"content\": \"Tell me a short story about a "
      "fox.\"}}]}}'\n\n",
      url, shown, parts.models[0]->loaded.id);
  fmt::print("listening on {}\n", url);
  std::fflush(stdout);
}

// When a file was last written; differs if it was replaced.
struct FileStamp {
  i64 written_ns = 0;
  u64 inode = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

FileStamp stamp_of(const std::string& path) {
  struct stat info = {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0) return {};
  constexpr i64 kNsPerSecond = 1'000'000'000;
  return {info.st_mtim.tv_sec * kNsPerSecond + info.st_mtim.tv_nsec, info.st_ino};
}

// The files that a server follows while it runs.
std::vector<FileStamp> stamps_of(const ServeOptions& o, const ServeConfig& config) {
  return {stamp_of(o.config_file), stamp_of(config.tls_certificate), stamp_of(config.tls_key)};
}

void apply_logging(const ServeConfig& config) {
  set_log_format(config.log_json ? LogFormat::kJson : LogFormat::kText);
}

Status take_over(const ServeConfig& wanted, ServeConfig& running, Parts& parts) {
  for (const std::string& name : changes_for_restart(running, wanted)) {
    log_warn("serve", "{} has changed; it takes effect at the next start", name);
  }
  TG_TRY(parts.server->reload({.limits = wanted.limits,
                               .logs_requests = wanted.log_requests,
                               .tls_certificate = wanted.tls_certificate,
                               .tls_key = wanted.tls_key}));
  running.limits = wanted.limits;
  running.log_json = wanted.log_json;
  running.log_requests = wanted.log_requests;
  running.tls_certificate = wanted.tls_certificate;
  running.tls_key = wanted.tls_key;
  running.drain_seconds = wanted.drain_seconds;
  running.drain_notice_seconds = wanted.drain_notice_seconds;
  apply_logging(running);
  return {};
}

Status reload_fleet(const ServeOptions& o, Parts& parts) {
  if (o.config_file.empty()) return {};
  TG_ASSIGN(FleetConfig wanted, read_fleet_config(o.config_file));
  if (parts.fleet != nullptr) parts.fleet->reload(wanted);
  return {};
}

void reload(const ServeOptions& o, ServeConfig& running, Parts& parts) {
  Result<ServeConfig> wanted = final_config(o);
  Status taken = wanted.ok() ? reload_fleet(o, parts) : Status(wanted.error());
  if (taken.ok()) taken = take_over(*wanted, running, parts);
  if (taken.ok()) {
    log_info("serve", "configuration and certificate read again");
  } else {
    log_error("serve", "the configuration stays as it was: {}", taken.error().message);
  }
}

// Until SIGINT or SIGTERM; SIGHUP and changed files reload. All three must be blocked in every
// thread beforehand.
void follow_signals(const sigset_t& signals, const ServeOptions& o, ServeConfig& config,
                    Parts& parts) {
  constexpr timespec kPoll = {.tv_sec = 0, .tv_nsec = 400'000'000};
  std::vector<FileStamp> seen = stamps_of(o, config);
  std::vector<FileStamp> last = seen;
  for (;;) {
    int received = sigtimedwait(&signals, nullptr, &kPoll);
    if (received == SIGINT || received == SIGTERM) return;
    std::vector<FileStamp> now = stamps_of(o, config);
    // A file that still changes may be half written.
    bool is_settled = now == std::exchange(last, now);
    if (received != SIGHUP && (now == seen || !is_settled)) continue;
    reload(o, config, parts);
    seen = stamps_of(o, config);
    last = seen;
  }
}

Status serve(ServeOptions o) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  TG_ASSIGN(ServeConfig config, final_config(o));
  apply_logging(config);
  if (!o.config_file.empty()) {
    TG_ASSIGN(o.fleet, read_fleet_config(o.config_file));
  }
  TG_ASSIGN(DataDirectory data, open_data_directory(config.data));
  Parts parts;
  // The ledger first: its lock says whether the directory is ours.
  TG_TRY(start_ledger(config, data, parts));
  TG_TRY(start_models(config, o.fleet, parts));
  TG_TRY(start_fleet(config, o.fleet, data, parts));
  TG_TRY(start_cashier(config, data, parts));
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys,
            gateway::KeyStore::open(data.path, parts.random));
  TG_ASSIGN(std::string key, first_key(data, *keys, parts, config.demo_bundle_st));
  TG_TRY(start_server(config, data, std::move(keys), parts));
  TG_ASSIGN(parts.control, gateway::ControlServer::start(data.file("control.sock"), *parts.books));
  print_banner(config, data, parts, key);
  follow_signals(signals, o, config, parts);
  log_info("serve", "draining for up to {} s", config.drain_seconds);
  constexpr i64 kMsPerSecond = 1'000;
  parts.server->stop(config.drain_seconds * kMsPerSecond,
                     config.drain_notice_seconds * kMsPerSecond);
  return {};
}

}  // namespace

void add_serve(CLI::App& root, int& exit_status) {
  std::shared_ptr<ServeOptions> o = std::make_shared<ServeOptions>();
  CLI::App* command =
      root.add_subcommand("serve", "Serve a model through the OpenAI-compatible API");
  command->add_option("--host", o->host, "address to listen on (default 127.0.0.1)");
  command->add_option("--port", o->port, "port, 0 for any free one (default 8080)")
      ->check(CLI::Range(0, 65535));
  command->add_option("--data", o->data,
                      "data directory (default " + default_data_directory() + ")");
  command->add_option("--model", o->models,
                      "model file or directory (default: the bundled one); give it again to serve "
                      "several");
  command->add_option("--config", o->config_file,
                      "TOML file; docs/configuration.md lists the settings");
  command->add_option("--backend", o->backend,
                      "cpu (default), opencl, cuda, cuda:1, or a module's path");
  command->add_option("--threads", o->threads, "compute threads (default: one per core)")
      ->check(CLI::Range(0, 1024));
  add_import_flags(*command, o->import);
  command->add_flag("--quiet", o->quiet, "log warnings only");
  command->callback([o, &exit_status] {
    set_log_level(o->quiet ? LogLevel::kWarn : LogLevel::kInfo);
    exit_status = report(serve(*o));
  });
}

}  // namespace tg::apps
