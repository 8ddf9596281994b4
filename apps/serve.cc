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
#include "apps/loaded_model.h"
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
#include "ledger/open_store.h"
#include "node/encoder.h"

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
  std::string model;
  i64 threads = -1;
  bool quiet = false;
  ImportFlags import;
};

Result<ServeConfig> final_config(const ServeOptions& o) {
  ServeConfig config = o.config;
  if (!o.config_file.empty()) TG_TRY(read_config(o.config_file, config));
  if (!o.host.empty()) config.host = o.host;
  if (o.port >= 0) config.port = o.port;
  if (!o.data.empty()) config.data = o.data;
  if (!o.model.empty()) config.model = o.model;
  if (o.threads >= 0) config.threads = o.threads;
  config.import = o.import.over(config.import);
  if (config.data.empty()) config.data = default_data_directory();
  if (config.model.empty()) {
    TG_ASSIGN(config.model, bundled_model());
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
  LoadedModel loaded;
  std::unique_ptr<ledger::Service> ledger;
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;  // of the receipt log
  std::optional<tlog::NoteSigner> signer;           // the meter's, for quotes too
  std::unique_ptr<gateway::Scribe> scribe;
  std::unique_ptr<gateway::Bookkeeper> bookkeeper;
  std::unique_ptr<gateway::Books> books;
  std::unique_ptr<BooksDesk> desk;
  std::unique_ptr<gateway::BudgetKeeper> budgets;
  std::shared_ptr<grammar::ModelGrammars> grammars;  // none: replies cannot be held to a shape
  std::shared_ptr<node::EmbeddedSupplier>
      supplier;  // shared with the fleet; none if it is not to serve, or the model is an encoder
  std::unique_ptr<node::EncoderSupplier> encoder;  // then this
  std::unique_ptr<Fleet> fleet;                    // if there are other suppliers
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
  parts.scribe = std::make_unique<gateway::Scribe>(*parts.ledger, std::move(log));
  parts.books = std::make_unique<gateway::Books>(*parts.ledger, parts.clock, parts.random,
                                                 parts.scribe.get());
  parts.desk = std::make_unique<BooksDesk>(*parts.books);
  parts.budgets = std::make_unique<gateway::BudgetKeeper>(*parts.ledger);
  TG_ASSIGN(std::vector<market::Plan> plans, load_plans(data));
  parts.books->offer(std::move(plans));
  parts.bookkeeper = std::make_unique<gateway::Bookkeeper>(
      *parts.ledger, parts.clock,
      gateway::Bookkeeper::Options{
          .capacity_ucredit_per_hour = config.capacity_ucredit_per_hour,
          .is_exclusive = config.ledger_store != ledger::StoreKind::kPostgres});
  parts.books->ask_usage_of(*parts.bookkeeper);
  return parts.books->prepare();
}

Status start_ledger(const ServeConfig& config, const DataDirectory& data, Parts& parts) {
  TG_ASSIGN(std::unique_ptr<ledger::Store> store,
            ledger::open_store(data.path, config.ledger_store));
  TG_ASSIGN(parts.ledger, ledger::Service::open(std::move(store), parts.clock));
  if (parts.ledger->holds_released_at_open() > 0) {
    log_warn("serve", "released {} holds that a crash left open",
             parts.ledger->holds_released_at_open());
  }
  if (!config.plans_file.empty()) TG_TRY(save_plans(data, config.plans_file));
  return start_scribe(config, data, parts);
}

// Gateway and supplier share them: what the one has checked the other finds compiled.
std::shared_ptr<grammar::ModelGrammars> grammars_of(const LoadedModel& loaded) {
  std::vector<TokenId> markers;
  if (loaded.chat_template) {
    markers = gateway::marker_tokens(*loaded.tokenizer, reply_format_of(*loaded.chat_template));
  }
  Result<grammar::TokenTable> table = grammar::TokenTable::create(*loaded.tokenizer, markers);
  if (!table.ok()) {
    log_warn("serve", "no structured output: {}", table.error().message);
    return nullptr;
  }
  return std::make_shared<grammar::ModelGrammars>(
      std::make_shared<const grammar::TokenTable>(std::move(table).value()));
}

Status start_engine(const ServeConfig& config, const FleetConfig& fleet, Parts& parts) {
  TG_ASSIGN(parts.loaded, load_model(config.model, config.import));
  if (!config.model_id.empty()) parts.loaded.id = config.model_id;
  node::EmbeddedOptions options;
  options.threads = static_cast<i32>(config.threads);
  options.backend = config.backend;
  options.context_max = config.context;
  options.kv_tokens = config.kv_tokens;
  options.engine = config.engine;
  options.engine.prefix_seed = parts.random.next_u64();
  const model::Model& model = *parts.loaded.model;
  parts.grammars = grammars_of(parts.loaded);
  options.grammars = parts.grammars;
  if (!fleet.has_local) return {};
  if (node::makes_embeddings(model.program().program())) {
    TG_ASSIGN(parts.encoder,
              node::EncoderSupplier::start(model.program(), model.weights(), options, parts.clock));
    return {};
  }
  if (config.keep_packed) options.packed = packed_file_of(model);
  TG_ASSIGN(std::unique_ptr<node::EmbeddedSupplier> engine,
            node::EmbeddedSupplier::start(model.program(), model.weights(), options, parts.clock));
  model.release_weights();
  parts.supplier = std::move(engine);
  return {};
}

Status start_fleet(const ServeConfig& config, const FleetConfig& fleet, Parts& parts) {
  if (!fleet.is_needed()) return {};
  TG_ASSIGN(parts.fleet,
            Fleet::start(fleet, config.log_name, parts.supplier, parts.loaded.tokenizer,
                         parts.loaded.model->program().id(), parts.clock, parts.random));
  return {};
}

// What served where nobody else is named.
std::string device_name(const Parts& parts) {
  if (parts.encoder != nullptr) return parts.encoder->device_name();
  return parts.supplier == nullptr ? "fleet" : parts.supplier->device_name();
}

i64 context_max(const ServeConfig& config, const Parts& parts) {
  if (parts.encoder != nullptr) return parts.encoder->context_max();
  if (parts.supplier != nullptr) return parts.supplier->context_max();
  i64 bound = parts.loaded.model->program().program().bounds.context;
  return config.context == 0 ? bound : std::min(config.context, bound);
}

Status start_cashier(const ServeConfig& config, const DataDirectory& data, Parts& parts) {
  const isa::VerifiedProgram& program = parts.loaded.model->program();
  TG_TRY(save_program(data, program));
  gateway::TillOptions options;
  options.seller = gateway::seller_account();
  options.money_seller = gateway::money_seller_account();
  options.books = gateway::standard_books();
  options.tariff = config.tariff;
  options.signer = parts.signer;
  TG_ASSIGN(options.plans, load_plans(data));
  TG_ASSIGN(options.rates, load_rates(config.rate_files));
  if (options.rates) TG_TRY(save_rates(data, *options.rates));
  options.contracts[parts.loaded.id] = {.device = device_name(parts),
                                        .model = parts.loaded.id,
                                        .program = program.id(),
                                        .cost = &program.cost(),
                                        .suite = parts.suite};
  TG_ASSIGN(parts.cashier, gateway::Cashier::start(*parts.ledger, *parts.scribe, std::move(options),
                                                   parts.clock, parts.bookkeeper.get()));
  parts.books->tell(*parts.cashier);
  return {};
}

Status start_server(const ServeConfig& config, const DataDirectory& data,
                    std::unique_ptr<gateway::KeyStore> keys, Parts& parts) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  gateway::ServedModel served;
  served.id = parts.loaded.id;
  served.created = parts.clock.now().ns / kNsPerSecond;
  served.tokenizer = parts.loaded.tokenizer;
  served.guard = std::make_shared<const gateway::ControlGuard>(*served.tokenizer);
  served.chat_template = std::move(parts.loaded.chat_template);
  served.supplier = parts.supplier.get();
  if (parts.encoder != nullptr) {
    served.supplier = parts.encoder.get();
    served.embedding_width = parts.encoder->width();
    served.generates = false;
  }
  served.grammars = parts.grammars;
  if (parts.fleet != nullptr) served.supplier = &parts.fleet->pool();
  served.program = to_hex(parts.loaded.model->program().id());
  served.context_max = context_max(config, parts);
  served.cost = &parts.loaded.model->program().cost();
  served.tariff = config.tariff;
  // Enough beyond what runs that the engine never waits for the gateway.
  served.slots_max = config.engine.running_max + config.engine.running_max / 4 + 1;
  // A pool keeps what nobody has room for, fairly too, and knows better who will be free.
  if (parts.fleet != nullptr) served.slots_max = kPoolSlots;
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
                                    .budgets = parts.budgets.get()};
  TG_ASSIGN(server_parts.replies, gateway::ReplyBook::open(data.path));
  TG_ASSIGN(server_parts.batches, gateway::BatchBook::open(data.path));
  // A connection of its own: the admin API runs on another thread than the key feed.
  if (config.has_admin) {
    TG_ASSIGN(std::unique_ptr<gateway::KeyStore> store,
              gateway::KeyStore::open(data.path, parts.random));
    server_parts.admin =
        std::make_unique<gateway::AdminApi>(std::move(store), *parts.desk, parts.clock);
  }
  server_parts.models.push_back(std::move(served));
  TG_ASSIGN(parts.server, gateway::Server::start(std::move(options), std::move(server_parts)));
  return {};
}

void print_banner(const ServeConfig& config, const DataDirectory& data, const Parts& parts,
                  const std::string& key) {
  bool tls = !config.tls_certificate.empty();
  std::string url =
      fmt::format("{}://{}:{}", tls ? "https" : "http", config.host, parts.server->port());
  fmt::print("tokengrid {}\n  model     {} on {}\n  program   {}\n  data      {}\n", TG_VERSION,
             parts.loaded.id, device_name(parts), to_hex(parts.loaded.model->program().id()),
             data.path);
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
      url, shown, parts.loaded.id);
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

void reload(const ServeOptions& o, ServeConfig& running, Parts& parts) {
  Result<ServeConfig> wanted = final_config(o);
  Status taken = wanted.ok() ? take_over(*wanted, running, parts) : Status(wanted.error());
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
  TG_TRY(start_engine(config, o.fleet, parts));
  TG_TRY(start_fleet(config, o.fleet, parts));
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
  command->add_option("--model", o->model, "GGUF file (default: the bundled model)");
  command->add_option("--config", o->config_file,
                      "TOML file; docs/configuration.md lists the settings");
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
