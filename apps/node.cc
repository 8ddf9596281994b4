// `tokengrid node`: serve this machine's engine to gateways elsewhere.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/data_directory.h"
#include "apps/import_flags.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "node/embedded.h"
#include "node/membership.h"
#include "node/node_server.h"

namespace tg::apps {

namespace {

constexpr u64 kTokenBytesMax = 4'096;
constexpr i64 kPollMs = 50;

struct NodeCommand {
  std::string model;
  std::string data;
  std::string name;
  std::string host = "127.0.0.1";
  i64 port = 7'070;
  std::string token_file;
  node::NodeTls tls;
  std::string nats;
  std::string advertise;
  std::string zone;
  std::string backend = "cpu";
  i64 memory_mib_max = 0;
  i64 threads = 0;
  i64 context = 0;
  i64 running_max = 64;
  i64 kv_tokens = 0;
  i64 drain_seconds = 20;
  std::string powercap = "/sys/class/powercap";
  f64 watts = 0;
  f64 pace_ms = 0;
  bool has_owner = false;  // whoever holds the other end of standard input
  bool quiet = false;
  ImportFlags import;
};

// The parts of a running node; destroyed in reverse, so that each outlives who uses it.
struct NodeParts {
  SystemClock clock;
  OsRandom random;
  LoadedModel loaded;
  std::unique_ptr<node::EmbeddedSupplier> engine;
  node::Loop loop;
  std::unique_ptr<node::NodeServer> server;
  std::unique_ptr<node::Membership> membership;
};

Result<std::string> read_token(const std::string& path) {
  if (path.empty())
    return Error{Code::kInvalid, "a node needs --token-file: what gateways must know to join it"};
  TG_ASSIGN(std::string token, read_file(path, kTokenBytesMax));
  while (!token.empty() && (token.back() == '\n' || token.back() == ' ')) token.pop_back();
  if (token.empty()) return Error{Code::kInvalid, path + " holds no token"};
  return token;
}

Status start_engine(const NodeCommand& c, NodeParts& parts) {
  std::string path = c.model;
  if (path.empty()) {
    TG_ASSIGN(path, bundled_model());
  }
  TG_ASSIGN(parts.loaded, load_model(path, c.import.over()));
  node::EmbeddedOptions options;
  constexpr u64 kMiB = 1 << 20;
  options.backend = c.backend;
  options.memory_max = static_cast<u64>(c.memory_mib_max) * kMiB;
  options.threads = static_cast<i32>(c.threads);
  options.context_max = c.context;
  options.kv_tokens = c.kv_tokens;
  options.engine.running_max = c.running_max;
  options.engine.funds_wait_ns = engine::kFundsWaitNs;
  options.engine.prefix_seed = parts.random.next_u64();
  const model::Model& model = *parts.loaded.model;
  options.packed = packed_file_of(model);
  options.powercap = c.powercap;
  options.watts = c.watts;
  constexpr f64 kNsPerMs = 1e6;
  options.step_ns_min = static_cast<i64>(c.pace_ms * kNsPerMs);
  TG_ASSIGN(parts.engine,
            node::EmbeddedSupplier::start(model.program(), model.weights(), options, parts.clock));
  return {};
}

Status start_server(const NodeCommand& c, const std::string& token, NodeParts& parts) {
  TG_ASSIGN(DataDirectory data, open_data_directory(c.data));
  TG_ASSIGN(tlog::NoteSigner signer, load_or_make_signer(data, parts.random));
  node::NodeOptions options;
  options.name = c.name.empty() ? signer.name() : c.name;
  options.address = c.host;
  options.port = static_cast<u16>(c.port);
  options.token = token;
  options.tls = c.tls;
  options.model = parts.loaded.id;
  options.device = parts.engine->device_name();
  options.program = parts.loaded.model->program().id();
  options.context_max = parts.engine->context_max();
  std::string name = options.name;
  std::string key = tlog::to_text(signer.verifier());
  TG_ASSIGN(parts.server,
            node::NodeServer::start(std::move(options), *parts.engine, std::move(signer),
                                    parts.loop, parts.clock, parts.random));
  if (c.nats.empty()) return {};
  std::string address = c.advertise;
  if (address.empty()) address = fmt::format("{}:{}", c.host, parts.server->port());
  node::Advert advert{.name = name,
                      .address = address,
                      .model = parts.loaded.id,
                      .program = parts.loaded.model->program().id(),
                      .zone = c.zone,
                      .key = key};
  TG_ASSIGN(parts.membership, node::Membership::announce(c.nats, token, std::move(advert),
                                                         *parts.engine, parts.clock));
  return {};
}

void print_banner(const NodeCommand& c, const NodeParts& parts) {
  fmt::print("tokengrid node {}\n  model     {} on {}\n  program   {}\n  key       {}\n",
             TG_VERSION, parts.loaded.id, parts.engine->device_name(),
             to_hex(parts.loaded.model->program().id()), c.data + "/meter.pub");
  fmt::print("listening on {}:{}\n", c.host, parts.server->port());
  std::fflush(stdout);
}

// Whoever started this process has closed standard input, by ending if not on purpose.
bool is_owner_gone() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  char dropped[256];
  while (::poll(&input, 1, 0) == 1) {
    if (::read(STDIN_FILENO, dropped, sizeof(dropped)) <= 0) return true;
  }
  return false;
}

// Until a signal comes, or the owner is gone; then nobody is left to drain for, and it is false.
bool wait_to_be_told(const NodeCommand& c, const sigset_t& signals, const timespec& pause) {
  for (;;) {
    if (sigtimedwait(&signals, nullptr, &pause) > 0) return true;
    if (c.has_owner && is_owner_gone()) return false;
  }
}

Status serve_node(const NodeCommand& c) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  TG_ASSIGN(std::string token, read_token(c.token_file));
  NodeParts parts;
  TG_TRY(start_engine(c, parts));
  TG_TRY(start_server(c, token, parts));
  print_banner(c, parts);
  timespec pause{.tv_sec = 0, .tv_nsec = kPollMs * 1'000'000};
  if (!wait_to_be_told(c, signals, pause)) {
    log_info("node", "its owner is gone");
    return {};
  }
  log_info("node", "draining for up to {} s", c.drain_seconds);
  if (parts.membership != nullptr) parts.membership->drain();
  parts.server->drain();
  constexpr i64 kMsPerSecond = 1'000;
  for (i64 ms = 0; ms < c.drain_seconds * kMsPerSecond && parts.server->open() > 0; ms += kPollMs) {
    // A second signal ends the wait.
    if (sigtimedwait(&signals, nullptr, &pause) > 0) break;
    if (c.has_owner && is_owner_gone()) break;
  }
  return {};
}

}  // namespace

void add_node(CLI::App& root, int& exit_status) {
  std::shared_ptr<NodeCommand> c = std::make_shared<NodeCommand>();
  c->data = default_data_directory() + "-node";
  CLI::App* command = root.add_subcommand(
      "node", "Serve this machine's engine to gateways elsewhere (see docs/fleet.md)");
  command->add_option("--model", c->model, "model file (default: the bundled one)");
  command->add_option("--host", c->host, "address to listen on")->capture_default_str();
  command->add_option("--port", c->port, "port, 0 for any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--token-file", c->token_file, "file with the join token")->required();
  command->add_option("--name", c->name, "how gateways call it (default: that of its key)");
  command->add_option("--data", c->data, "data directory, for its key")->capture_default_str();
  command->add_option("--tls-certificate", c->tls.certificate, "PEM (default: made on the spot)");
  command->add_option("--tls-key", c->tls.key, "PEM");
  command->add_option("--tls-ca", c->tls.ca, "PEM; gateways must show a certificate it signed");
  command->add_option("--nats", c->nats, "announce it at this NATS server, nats://host:port");
  command->add_option("--advertise", c->advertise, "host:port to announce (default: --host)");
  command->add_option("--zone", c->zone, "where it is, for routing");
  command->add_option("--backend", c->backend, "cpu, opencl, cuda, cuda:1, or a module's path")
      ->capture_default_str();
  command
      ->add_option("--memory-mib-max", c->memory_mib_max,
                   "what the model may take on the device in all (default: no quota)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--threads", c->threads, "compute threads (default: one per core)")
      ->check(CLI::Range(0, 1024));
  command->add_option("--context", c->context, "context length offered (default: the model's)");
  command->add_option("--kv-tokens", c->kv_tokens, "KV pool in tokens (default: eight contexts)");
  command->add_option("--running-max", c->running_max, "sequences in a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--powercap", c->powercap, "where its energy is measured; \"\": nowhere")
      ->capture_default_str();
  command->add_option("--watts", c->watts, "drawn while it computes, where there is no meter")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--pace-ms", c->pace_ms,
                   "a step takes at least so long, as on a slower device: for demonstrations")
      ->check(CLI::Range(0.0, 10'000.0));
  command->add_option("--drain-seconds", c->drain_seconds, "for open requests, after SIGTERM")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  add_import_flags(*command, c->import);
  command->add_flag("--owned", c->has_owner, "end when standard input does");
  command->add_flag("--quiet", c->quiet, "log warnings only");
  command->callback([c, &exit_status] {
    set_log_level(c->quiet ? LogLevel::kWarn : LogLevel::kInfo);
    exit_status = report(serve_node(*c));
  });
}

}  // namespace tg::apps
