// `tokengrid calibrate`: measure a supplier over the published suite and sign what was found.
#include "fleet/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "apps/capability_file.h"
#include "apps/commands.h"
#include "apps/data_directory.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "env/disk.h"
#include "node/embedded.h"
#include "node/engine_supplier.h"
#include "node/remote_supplier.h"

namespace tg::apps {

namespace {

constexpr u64 kTokenBytesMax = 4'096;
constexpr u32 kPublic = 0644;
constexpr i64 kUpMs = 15'000;
constexpr i64 kPollMs = 20;
constexpr const char* kRaplFolder = "/sys/class/powercap";

struct CalibrateOptions {
  std::string model;
  std::string engine;  // kind; "": this process' own
  std::string url;
  std::string engine_model;
  std::string api_key_file;
  std::string node;
  std::string token_file;
  std::string name;
  std::string data = default_data_directory();
  std::string out;
  std::string check;
  std::string key_file;
  i64 seconds = 300;
  i64 batch_max = 16;
  i64 context = 0;
  std::string backend = "cpu";
  i64 threads = 0;
  i64 probes = 8;
  f64 watts = 0;
  bool has_reference = true;
  bool quiet = false;
};

struct Parts {
  SystemClock clock;
  OsRandom random;
  LoadedModel loaded;
  std::unique_ptr<fleet::EnergyMeter> meter;
  node::Loop loop;
  std::unique_ptr<node::EmbeddedSupplier> embedded;  // measured, or the reference
  std::unique_ptr<node::EngineSupplier> engine;
  std::unique_ptr<node::RemoteSupplier> remote;
  fleet::Supplier* measured = nullptr;
  std::string device;
};

Result<std::string> secret_of(const std::string& path) {
  TG_ASSIGN(std::string text, read_file(path, kTokenBytesMax));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Status start_embedded(const CalibrateOptions& o, Parts& parts) {
  node::EmbeddedOptions options;
  options.backend = o.backend;
  options.threads = static_cast<i32>(o.threads);
  options.context_max = o.context;
  const model::Model& model = *parts.loaded.model;
  TG_ASSIGN(parts.embedded,
            node::EmbeddedSupplier::start(model.program(), model.weights(), options, parts.clock));
  return {};
}

Status wait_up(fleet::Supplier& supplier, const std::function<std::string()>& why) {
  for (i64 ms = 0; ms < kUpMs; ms += kPollMs) {
    if (supplier.load().is_up) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
  return Error{Code::kUnavailable, "it cannot be reached" + why()};
}

Status start_engine(const CalibrateOptions& o, Parts& parts) {
  std::optional<node::EngineKind> kind = node::engine_kind_by_name(o.engine);
  if (!kind) return Error{Code::kInvalid, "'" + o.engine + "' is no kind of engine"};
  node::EngineOptions options{.kind = *kind, .url = o.url, .model = o.engine_model};
  if (!o.api_key_file.empty()) {
    TG_ASSIGN(options.api_key, secret_of(o.api_key_file));
  }
  TG_ASSIGN(parts.engine, node::EngineSupplier::start(std::move(options), parts.loaded.tokenizer,
                                                      parts.loop, parts.clock));
  TG_TRY(wait_up(*parts.engine, [&] { return " at " + o.url; }));
  parts.measured = parts.engine.get();
  parts.device = o.engine + " " + parts.engine->facts().version;
  return {};
}

Status start_remote(const CalibrateOptions& o, Parts& parts) {
  node::RemoteOptions options{.address = o.node, .gateway = "calibrate"};
  options.program = parts.loaded.model->program().id();
  TG_ASSIGN(options.token, secret_of(o.token_file));
  TG_ASSIGN(parts.remote,
            node::RemoteSupplier::start(std::move(options), parts.loop, parts.clock, parts.random));
  TG_TRY(wait_up(*parts.remote, [&] { return ": " + parts.remote->facts().last_error; }));
  parts.measured = parts.remote.get();
  parts.device = parts.remote->facts().device;
  return {};
}

Status start_supplier(const CalibrateOptions& o, Parts& parts) {
  std::string path = o.model;
  if (path.empty()) {
    TG_ASSIGN(path, bundled_model());
  }
  TG_ASSIGN(parts.loaded, load_model(path));
  if (!o.engine.empty()) TG_TRY(start_engine(o, parts));
  if (!o.node.empty()) TG_TRY(start_remote(o, parts));
  bool is_own = parts.measured == nullptr;
  if (is_own || o.has_reference) TG_TRY(start_embedded(o, parts));
  if (!is_own) return {};
  parts.measured = parts.embedded.get();
  parts.device = parts.embedded->device_name();
  // Only this machine's counters say anything about this machine's engine.
  node::EmbeddedOptions where;
  where.backend = o.backend;
  where.powercap = kRaplFolder;
  parts.meter = node::open_meter(where);
  return {};
}

// Ids that are text: control tokens would end replies or mean something.
i64 first_text_token(const Tokenizer& tokenizer) {
  i64 first = 0;
  for (TokenId id = 0; id < tokenizer.size() / 2; ++id) {
    if (tokenizer.is_special(id) || tokenizer.is_end_of_generation(id)) first = id + 1;
  }
  return first;
}

i64 last_text_token(const Tokenizer& tokenizer, i64 first) {
  i64 last = first;
  while (last < tokenizer.size() && !tokenizer.is_special(static_cast<TokenId>(last)) &&
         !tokenizer.is_end_of_generation(static_cast<TokenId>(last)))
    ++last;
  return last;
}

fleet::CalibrationOptions options_of(const CalibrateOptions& o, const Parts& parts) {
  fleet::CalibrationOptions options;
  options.seconds = o.seconds;
  i64 bound = parts.loaded.model->program().program().bounds.context;
  i64 known = parts.measured->load().context_max;
  options.context_max = known > 0 ? std::min(known, bound) : bound;
  if (o.context > 0) options.context_max = std::min(options.context_max, o.context);
  options.batch_max = o.batch_max;
  options.first_token = first_text_token(*parts.loaded.tokenizer);
  options.vocabulary = last_text_token(*parts.loaded.tokenizer, options.first_token);
  options.probes = o.probes;
  options.cost = &parts.loaded.model->program().cost();
  options.meter = parts.meter.get();
  return options;
}

void show(const fleet::CellResult& r, i64 number, i64 planned) {
  constexpr f64 kMs = 1e6;
  fmt::print(stderr,
             "{:>3}/{} prompt {:>6} batch {:>3} output {:>3}: ttft {:>8.1f} ms  tpot {:>7.2f} ms  "
             "{:>9.1f} ST/s{}\n",
             number, planned, r.cell.prompt, r.cell.batch, r.cell.output,
             static_cast<f64>(r.ttft_ns_p50) / kMs, static_cast<f64>(r.tpot_ns_p50) / kMs,
             r.st_per_second(), r.failures > 0 ? fmt::format("  {} failed", r.failures) : "");
}

Result<fleet::Capability> measure(const CalibrateOptions& o, Parts& parts) {
  fleet::Calibration calibration(*parts.measured, options_of(o, parts), parts.clock);
  fleet::Capability capability;
  capability.supplier = o.name.empty() ? (o.url + o.node) : o.name;
  if (capability.supplier.empty()) capability.supplier = "local";
  capability.device = parts.device;
  capability.model = parts.loaded.id;
  capability.program = parts.loaded.model->program().id();
  capability.time = parts.clock.now();
  capability.seed = 1;
  capability.cells_planned = calibration.cells_planned();
  bool is_own = parts.measured == parts.embedded.get();
  fleet::Supplier* reference = is_own ? nullptr : parts.embedded.get();
  // First, because a wrong model is worth knowing before five minutes have passed.
  TG_ASSIGN(capability.quality, calibration.probe(reference));
  for (;;) {
    TG_ASSIGN(bool goes_on, calibration.step());
    if (!goes_on) break;
    if (o.quiet) continue;
    show(calibration.cells().back(), static_cast<i64>(calibration.cells().size()),
         calibration.cells_planned());
  }
  capability.cells = calibration.cells();
  capability.seconds = calibration.seconds_spent();
  fleet::conclude(capability, o.watts, parts.meter == nullptr ? "" : parts.meter->name());
  return capability;
}

Status check(const CalibrateOptions& o) {
  if (o.key_file.empty()) return Error{Code::kInvalid, "--check needs --key"};
  TG_ASSIGN(fleet::Capability capability, read_capability(o.check, o.key_file));
  TG_ASSIGN(std::string key_text, secret_of(o.key_file));
  TG_ASSIGN(tlog::VerifierKey key, tlog::parse_verifier_key(key_text));
  fmt::print("{} on {}: signed by {}, {} of {} cells\n", capability.supplier, capability.device,
             key.name, capability.cells.size(), capability.cells_planned);
  return {};
}

Status calibrate(const CalibrateOptions& o) {
  if (!o.check.empty()) return check(o);
  if (!o.engine.empty() && !o.node.empty())
    return Error{Code::kInvalid, "--engine and --node are two suppliers: one at a time"};
  if (o.engine.empty() != o.url.empty())
    return Error{Code::kInvalid, "--engine and --url come together"};
  if (o.node.empty() != o.token_file.empty())
    return Error{Code::kInvalid, "--node and --token-file come together"};
  Parts parts;
  TG_ASSIGN(DataDirectory data, open_data_directory(o.data));
  TG_ASSIGN(tlog::NoteSigner signer, load_or_make_signer(data, parts.random));
  TG_TRY(start_supplier(o, parts));
  TG_ASSIGN(fleet::Capability capability, measure(o, parts));
  std::string record = fleet::sign(capability, signer);
  if (o.out.empty()) {
    fmt::print("{}", record);
    return {};
  }
  TG_TRY(write_file_durably(o.out, as_bytes(record), kPublic));
  for (const fleet::TierRate& tier : capability.tiers)
    fmt::print("{:<12} {:>12.1f} ST/s\n", tier.tier, tier.st_per_second);
  fmt::print("record in {}\n", o.out);
  return {};
}

}  // namespace

void add_calibrate(CLI::App& root, int& exit_status) {
  std::shared_ptr<CalibrateOptions> o = std::make_shared<CalibrateOptions>();
  CLI::App* command = root.add_subcommand(
      "calibrate", "Measure a supplier over the published suite and sign what was found");
  command->add_option("-m,--model", o->model, "the model it serves (default: the bundled one)");
  command->add_option("--engine", o->engine,
                      "an engine elsewhere: vllm, sglang, llama.cpp, tgi, ollama, mindie, openai");
  command->add_option("--url", o->url, "where that engine is, http://host:port");
  command->add_option("--engine-model", o->engine_model, "how it names the model");
  command->add_option("--api-key-file", o->api_key_file, "file with its key");
  command->add_option("--node", o->node, "a node elsewhere, host:port");
  command->add_option("--token-file", o->token_file, "file with its join token");
  command->add_option("--name", o->name, "the supplier's name in the record");
  command->add_option("--seconds", o->seconds, "at most so long")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  command->add_option("--batch-max", o->batch_max, "requests at once")
      ->check(CLI::Range(1, 1'024))
      ->capture_default_str();
  command->add_option("--context", o->context, "longest request (default: what it offers)");
  command->add_option("--backend", o->backend, "of this process' engine: cpu, opencl, cuda, cuda:1")
      ->capture_default_str();
  command->add_option("--threads", o->threads, "of this process' engine");
  command->add_option("--probes", o->probes, "of quality")
      ->check(CLI::Range(0, 1'000))
      ->capture_default_str();
  command->add_option("--watts", o->watts, "drawn under load, where no meter says")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("!--no-reference", o->has_reference,
                    "do not compare replies with this process' engine");
  command->add_option("--data", o->data, "data directory, for the signing key")
      ->capture_default_str();
  command->add_option("-o,--out", o->out, "file for the record (default: printed)");
  command->add_option("--check", o->check, "verify this record instead")->check(CLI::ExistingFile);
  command->add_option("--key", o->key_file, "file with the verifier key, for --check");
  command->add_flag("--quiet", o->quiet, "no line per cell");
  command->callback([o, &exit_status] { exit_status = report(calibrate(*o)); });
}

}  // namespace tg::apps
