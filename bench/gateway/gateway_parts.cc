// The gateway as `tokengrid serve` puts it together, with two of its parts exchangeable: metering
// (the cashier on the durable ledger with receipts, or none) and the supplier (an upstream over
// HTTP, or an engine that computes nothing). What the two differ in is what metering costs, and
// what a streamed token costs beside its engine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>

#include "apps/data_directory.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "bench/gateway/free_billing.h"
#include "bench/gateway/paced_supplier.h"
#include "gateway/access/budget_keeper.h"
#include "gateway/bookkeeper.h"
#include "gateway/books.h"
#include "gateway/cashier.h"
#include "gateway/server.h"
#include "ledger/open_store.h"
#include "node/engine_supplier.h"

namespace tg::bench {
namespace {

struct Options {
  std::string data;
  std::string upstream;  // "": the mock engine
  bool is_free = false;  // metering off
  i64 chunk_ms = 0;
};

// Destroyed in reverse, so that each outlives who uses it.
struct Parts {
  SystemClock clock;
  OsRandom random;
  apps::LoadedModel loaded;
  std::unique_ptr<ledger::Service> ledger;
  std::unique_ptr<gateway::Scribe> scribe;
  std::unique_ptr<gateway::Bookkeeper> bookkeeper;
  std::unique_ptr<gateway::Books> books;
  std::unique_ptr<gateway::BudgetKeeper> budgets;
  std::unique_ptr<node::Loop> loop;
  std::unique_ptr<fleet::Supplier> supplier;
  std::unique_ptr<gateway::Cashier> cashier;
  std::unique_ptr<FreeBilling> free;
  std::unique_ptr<gateway::Server> server;
};

Status start_ledger(const apps::DataDirectory& data, Parts& parts) {
  TG_ASSIGN(std::unique_ptr<ledger::Store> store,
            ledger::open_store(data.path, ledger::StoreKind::kLog));
  TG_ASSIGN(parts.ledger, ledger::Service::open(std::move(store), parts.clock));
  TG_ASSIGN(tlog::NoteSigner signer, apps::load_or_make_signer(data, parts.random));
  TG_ASSIGN(meter::ReceiptLog log,
            meter::ReceiptLog::open(data.file("receipts"), "bench.local", std::move(signer)));
  parts.scribe = std::make_unique<gateway::Scribe>(*parts.ledger, std::move(log));
  parts.books = std::make_unique<gateway::Books>(*parts.ledger, parts.clock, parts.random,
                                                 parts.scribe.get());
  parts.budgets = std::make_unique<gateway::BudgetKeeper>(*parts.ledger);
  parts.bookkeeper = std::make_unique<gateway::Bookkeeper>(*parts.ledger, parts.clock,
                                                           gateway::Bookkeeper::Options{});
  return parts.books->prepare();
}

Status start_cashier(Parts& parts) {
  const isa::VerifiedProgram& program = parts.loaded.model->program();
  gateway::TillOptions options;
  options.seller = gateway::seller_account();
  options.money_seller = gateway::money_seller_account();
  options.books = gateway::standard_books();
  options.contracts[parts.loaded.id] = {.device = "bench",
                                        .model = parts.loaded.id,
                                        .program = program.id(),
                                        .cost = &program.cost()};
  TG_ASSIGN(parts.cashier, gateway::Cashier::start(*parts.ledger, *parts.scribe, std::move(options),
                                                   parts.clock, parts.bookkeeper.get()));
  parts.books->tell(*parts.cashier);
  return {};
}

Status start_supplier(const Options& o, Parts& parts) {
  if (o.upstream.empty()) {
    parts.supplier = std::make_unique<PacedSupplier>(o.chunk_ms);
    return {};
  }
  parts.loop = std::make_unique<node::Loop>(node::Loop::Thread::kLent);
  node::EngineOptions engine{.kind = node::EngineKind::kVllm,
                             .url = o.upstream,
                             .model = "",
                             .api_key = "",
                             .open_max = 20'000};
  TG_ASSIGN(parts.supplier,
            node::EngineSupplier::start(engine, parts.loaded.tokenizer, *parts.loop, parts.clock));
  return {};
}

Result<std::string> make_key(gateway::KeyStore& keys, Parts& parts) {
  TG_ASSIGN(gateway::AccountName account, keys.ensure_account("bench"));
  if (parts.books != nullptr) {
    constexpr i64 kBundleNst = 1'000'000'000'000'000'000;
    std::string answer =
        parts.books->answer(fmt::format("topup {} {}", to_hex(account.id), kBundleNst));
    if (answer.starts_with("{\"error\"")) return Error{Code::kIo, answer};
  }
  TG_ASSIGN(gateway::CreatedKey made,
            keys.create({.name = "bench", .account = "bench"}, parts.clock.now()));
  return made.plaintext;
}

gateway::ServedModel served_model(Parts& parts) {
  const isa::VerifiedProgram& program = parts.loaded.model->program();
  gateway::ServedModel served;
  served.id = parts.loaded.id;
  served.tokenizer = parts.loaded.tokenizer;
  served.guard = std::make_shared<const gateway::ControlGuard>(*served.tokenizer);
  served.chat_template = std::move(parts.loaded.chat_template);
  served.supplier = parts.supplier.get();
  served.program = to_hex(program.id());
  served.context_max = program.program().bounds.context;
  served.cost = &program.cost();
  served.slots_max = 20'000;
  return served;
}

Status start(const Options& o, Parts& parts, std::string& key) {
  TG_ASSIGN(apps::DataDirectory data, apps::open_data_directory(o.data));
  TG_ASSIGN(std::string file, apps::bundled_model());
  TG_ASSIGN(parts.loaded, apps::load_model(file));
  if (!o.is_free) TG_TRY(start_ledger(data, parts));
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys,
            gateway::KeyStore::open(data.path, parts.random));
  TG_ASSIGN(key, make_key(*keys, parts));
  TG_TRY(start_supplier(o, parts));
  if (o.is_free) {
    parts.free = std::make_unique<FreeBilling>();
  } else {
    TG_TRY(start_cashier(parts));
  }
  gateway::ServerOptions options;
  options.limits.connections_max = 20'000;
  options.limits.requests_per_key_max = 20'000;
  gateway::ServerParts server{
      .models = {},
      .keys = std::move(keys),
      .billing = o.is_free ? parts.free->billing() : parts.cashier->billing(),
      .clock = parts.clock,
      .random = parts.random,
      .budgets = parts.budgets.get()};
  server.models.push_back(served_model(parts));
  server.loop = parts.loop.get();
  TG_ASSIGN(parts.server, gateway::Server::start(std::move(options), std::move(server)));
  return {};
}

int serve(const Options& o) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Parts parts;
  std::string key;
  Status started = start(o, parts, key);
  if (!started.ok()) {
    std::fprintf(stderr, "gateway_parts: %s\n", started.error().message.c_str());
    return 1;
  }
  std::printf("key %s\nlistening on http://127.0.0.1:%d\n", key.c_str(), parts.server->port());
  std::fflush(stdout);
  int received = 0;
  sigwait(&signals, &received);
  parts.server->stop(1'000);
  return 0;
}

}  // namespace
}  // namespace tg::bench

int main(int argc, char** argv) {
  tg::bench::Options options;
  CLI::App app("The gateway with a supplier and a metering of one's choice, for the benchmark");
  app.add_option("--data", options.data)->required();
  app.add_option("--upstream", options.upstream,
                 "http://host:port; none: an engine that computes nothing");
  app.add_flag("--no-metering", options.is_free);
  app.add_option("--chunk-ms", options.chunk_ms, "of that engine, between a stream's tokens");
  CLI11_PARSE(app, argc, argv);
  return tg::bench::serve(options);
}
