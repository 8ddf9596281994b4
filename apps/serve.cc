// `tokengrid serve`: put the parts together from the bottom up, say where they are, and take them
// down in order.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/config.h"
#include "apps/data_directory.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "gateway/books.h"
#include "gateway/cashier.h"
#include "gateway/control.h"
#include "gateway/server.h"
#include "ledger/open_store.h"
#include "node/embedded.h"

namespace tg::apps {

namespace {

struct ServeOptions {
  ServeConfig config;
  std::string config_file;
  // Given on the command line, so that they win over the file; empty or negative: not given.
  std::string host;
  i64 port = -1;
  std::string data;
  std::string model;
  i64 threads = -1;
  bool quiet = false;
};

Result<ServeConfig> final_config(const ServeOptions& o) {
  ServeConfig config = o.config;
  if (!o.config_file.empty()) TG_TRY(read_config(o.config_file, config));
  if (!o.host.empty()) config.host = o.host;
  if (o.port >= 0) config.port = o.port;
  if (!o.data.empty()) config.data = o.data;
  if (!o.model.empty()) config.model = o.model;
  if (o.threads >= 0) config.threads = o.threads;
  if (config.data.empty()) config.data = default_data_directory();
  if (config.model.empty()) {
    TG_ASSIGN(config.model, bundled_model());
  }
  return config;
}

// The parts of a running server; destroyed in reverse, so that each outlives who uses it.
struct Parts {
  SystemClock clock;
  OsRandom random;
  LoadedModel loaded;
  std::unique_ptr<ledger::Service> ledger;
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;  // of the receipt log
  std::unique_ptr<gateway::Scribe> scribe;
  std::unique_ptr<gateway::Books> books;
  std::unique_ptr<node::EmbeddedSupplier> supplier;
  std::unique_ptr<gateway::Cashier> cashier;
  std::unique_ptr<gateway::ControlServer> control;
  std::unique_ptr<gateway::Server> server;
};

// On an empty directory: an account with a bundle and one key, kept in first-key and returned.
Result<std::string> first_key(const DataDirectory& data, gateway::KeyStore& keys, Parts& parts,
                              i64 bundle_st) {
  TG_ASSIGN(std::vector<gateway::KeyInfo> all, keys.list());
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
  if (parts.suite != config.receipt_suite)
    log_warn("serve", "the meter's key is of {}: receipts stay so", tlog::name(parts.suite));
  TG_ASSIGN(meter::ReceiptLog log,
            meter::ReceiptLog::open(data.file("receipts"), config.log_name, std::move(signer)));
  parts.scribe = std::make_unique<gateway::Scribe>(*parts.ledger, std::move(log));
  parts.books = std::make_unique<gateway::Books>(*parts.ledger, parts.clock, parts.random,
                                                 parts.scribe.get());
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
  return start_scribe(config, data, parts);
}

Status start_engine(const ServeConfig& config, Parts& parts) {
  TG_ASSIGN(parts.loaded, load_model(config.model));
  if (!config.model_id.empty()) parts.loaded.id = config.model_id;
  node::EmbeddedOptions options;
  options.threads = static_cast<i32>(config.threads);
  options.context_max = config.context;
  options.kv_tokens = config.kv_tokens;
  options.engine = config.engine;
  options.engine.prefix_seed = parts.random.next_u64();
  const model::Model& model = *parts.loaded.model;
  TG_ASSIGN(parts.supplier,
            node::EmbeddedSupplier::start(model.program(), model.weights(), options, parts.clock));
  return {};
}

Status start_cashier(const ServeConfig& config, const DataDirectory& data, Parts& parts) {
  const isa::VerifiedProgram& program = parts.loaded.model->program();
  TG_TRY(save_program(data, program));
  gateway::CashierOptions options;
  options.seller = gateway::seller_account();
  options.contracts[parts.loaded.id] = {.device = parts.supplier->device_name(),
                                        .model = parts.loaded.id,
                                        .program = program.id(),
                                        .cost = &program.cost(),
                                        .tariff = config.tariff,
                                        .suite = parts.suite};
  parts.cashier = std::make_unique<gateway::Cashier>(*parts.ledger, *parts.scribe,
                                                     std::move(options), parts.clock);
  return {};
}

Status start_server(const ServeConfig& config, std::unique_ptr<gateway::KeyStore> keys,
                    Parts& parts) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  gateway::ServedModel served;
  served.id = parts.loaded.id;
  served.created = parts.clock.now().ns / kNsPerSecond;
  served.tokenizer = parts.loaded.tokenizer;
  served.guard = std::make_shared<const gateway::ControlGuard>(*served.tokenizer);
  served.chat_template = std::move(parts.loaded.chat_template);
  served.supplier = parts.supplier.get();
  served.program = to_hex(parts.loaded.model->program().id());
  served.context_max = parts.supplier->context_max();
  served.cost = &parts.loaded.model->program().cost();
  served.tariff = config.tariff;
  gateway::ServerOptions options;
  options.address = config.host;
  options.port = static_cast<u16>(config.port);
  options.tls_certificate = config.tls_certificate;
  options.tls_key = config.tls_key;
  gateway::ServerParts server_parts{.models = {},
                                    .keys = std::move(keys),
                                    .billing = parts.cashier->billing(),
                                    .clock = parts.clock,
                                    .random = parts.random};
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
             parts.loaded.id, parts.supplier->device_name(),
             to_hex(parts.loaded.model->program().id()), data.path);
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

// Blocks until SIGINT or SIGTERM; both must be blocked in every thread beforehand.
void wait_for_signal(const sigset_t& signals) {
  int received = 0;
  sigwait(&signals, &received);
}

Status serve(const ServeOptions& o) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  TG_ASSIGN(ServeConfig config, final_config(o));
  TG_ASSIGN(DataDirectory data, open_data_directory(config.data));
  Parts parts;
  // The ledger first: its lock says whether the directory is ours.
  TG_TRY(start_ledger(config, data, parts));
  TG_TRY(start_engine(config, parts));
  TG_TRY(start_cashier(config, data, parts));
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys,
            gateway::KeyStore::open(data.path, parts.random));
  TG_ASSIGN(std::string key, first_key(data, *keys, parts, config.demo_bundle_st));
  TG_TRY(start_server(config, std::move(keys), parts));
  TG_ASSIGN(parts.control, gateway::ControlServer::start(data.file("control.sock"), *parts.books));
  print_banner(config, data, parts, key);
  wait_for_signal(signals);
  log_info("serve", "draining for up to {} s", config.drain_seconds);
  constexpr i64 kMsPerSecond = 1'000;
  parts.server->stop(config.drain_seconds * kMsPerSecond);
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
  command->add_flag("--quiet", o->quiet, "log warnings only");
  command->callback([o, &exit_status] {
    set_log_level(o->quiet ? LogLevel::kWarn : LogLevel::kInfo);
    exit_status = report(serve(*o));
  });
}

}  // namespace tg::apps
