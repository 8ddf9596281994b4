// `tokengrid bench`: what this machine allows, and which part of it the steps of a model reach.
// Every figure is a median over repetitions in one process. Shared machines change: reads are
// measured between the repetitions, peaks before and after.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "apps/bench_ablation.h"
#include "apps/bench_load.h"
#include "apps/bench_plot.h"
#include "apps/bench_probes.h"
#include "apps/bench_quality.h"
#include "apps/bench_report.h"
#include "apps/bench_serve.h"
#include "apps/bench_steps.h"
#include "apps/commands.h"
#include "apps/import_flags.h"
#include "apps/locate.h"
#include "backend/cpu/limits.h"
#include "base/json_out.h"
#include "base/log.h"

namespace tg::apps {

namespace {

using backend::cpu::Limits;

struct BenchOptions {
  std::string model;
  i32 threads = 0;
  std::vector<i64> batches, contexts, prompts;
  i64 repeats = 15;
  u64 seed = 1;
  bool json = false;
  std::string svg;  // file for the plot; "": none
  ImportFlags import;
};

struct Row {
  BenchShape shape;
  BenchTimes times;
  bool rounds_bf16 = false;  // the program's 16-bit products declare xq=bf16
};

bool rounds_bf16(const isa::Program& program) {
  constexpr u32 kBf16 = static_cast<u32>(isa::ActivationQuant::kBf16);
  for (const isa::Instruction& i : program.functions[0].body) {
    for (const isa::Attribute& a : i.attributes) {
      if (a.key == isa::AttributeKey::kXq && a.words[0] == kBf16) return true;
    }
  }
  return false;
}

i32 threads_of(const BenchOptions& o) {
  return o.threads > 0 ? o.threads
                       : std::max(1, static_cast<i32>(std::thread::hardware_concurrency()));
}

Result<Limits> limits_of(const BenchOptions& o) {
  backend::cpu::Pool pool(threads_of(o));
  return backend::cpu::measure_limits(*backend::cpu::supported_variants().front(), pool);
}

// The better of two measurements, so that a disturbed one does not flatter.
Limits better(const Limits& a, const Limits& b) {
  std::vector<f64> passes = a.read_passes;
  passes.insert(passes.end(), b.read_passes.begin(), b.read_passes.end());
  return {.read_bytes = std::max(a.read_bytes, b.read_bytes),
          .read_passes = std::move(passes),
          .f32_ops = std::max(a.f32_ops, b.f32_ops),
          .int8_ops = std::max(a.int8_ops, b.int8_ops),
          .bf16_ops = std::max(a.bf16_ops, b.bf16_ops)};
}

f64 bytes_of(const unit::Counters& c) {
  return static_cast<f64>(c[unit::kWBytes] + c[unit::kKvRd] + c[unit::kKvWr] + c[unit::kState]);
}

f64 int8_ops_of(const unit::Counters& c) {
  return static_cast<f64>(c[unit::kMmInt8]);
}

f64 bf16_ops_of(const Row& row) {
  return row.rounds_bf16 ? static_cast<f64>(row.times.counters[unit::kMmF16]) : 0.0;
}

// Everything that is not declared int8 or bf16 is held against the f32 peak.
f64 f32_ops_of(const Row& row) {
  const unit::Counters& c = row.times.counters;
  return static_cast<f64>(c[unit::kMmF32] + c[unit::kMmF16] + c[unit::kMmFp8] + c[unit::kMm4Bit] +
                          c[unit::kAttn]) -
         bf16_ops_of(row);
}

struct Figures {
  f64 ms, tokens_per_second, gigabytes_per_second, gigaops_per_second, of_read, of_peak;
  f64 read_gigabytes_per_second;  // the median of passes beside the steps, which of_read is of
};

Figures figures_of(const Row& row, const Limits& limits) {
  f64 seconds = row.times.median_ns() * 1e-9;
  const unit::Counters& c = row.times.counters;
  f64 peak_seconds = int8_ops_of(c) / limits.int8_ops + bf16_ops_of(row) / limits.bf16_ops +
                     f32_ops_of(row) / limits.f32_ops;
  f64 tokens = static_cast<f64>(row.shape.sequences * row.shape.step_tokens);
  return {
      .ms = seconds * 1e3,
      .tokens_per_second = tokens / seconds,
      .gigabytes_per_second = bytes_of(c) / seconds * 1e-9,
      .gigaops_per_second = (int8_ops_of(c) + bf16_ops_of(row) + f32_ops_of(row)) / seconds * 1e-9,
      .of_read = bytes_of(c) / row.times.median_read_bytes() / seconds,
      .of_peak = peak_seconds / seconds,
      .read_gigabytes_per_second = row.times.median_read_bytes() * 1e-9};
}

std::string limits_text(const Limits& limits) {
  return fmt::format("limits: read {:.1f} GB/s, f32 {:.0f}, bf16 {:.0f}, int8 {:.0f} Gop/s\n",
                     limits.read_bytes * 1e-9, limits.f32_ops * 1e-9, limits.bf16_ops * 1e-9,
                     limits.int8_ops * 1e-9);
}

void write_limits(JsonWriter& json, const Limits& limits) {
  json.key("limits").begin_object();
  json.key("read_bytes_per_second").real(limits.read_bytes);
  json.key("f32_ops_per_second").real(limits.f32_ops);
  json.key("bf16_ops_per_second").real(limits.bf16_ops);
  json.key("int8_ops_per_second").real(limits.int8_ops);
  json.key("read_passes").begin_array();
  for (f64 pass : limits.read_passes) json.real(pass);
  json.end_array();
  json.end_object();
}

void print_table(const std::vector<Row>& rows, const Limits& limits) {
  fmt::print("{:>5} {:>7} {:>6} {:>10} {:>9} {:>7} {:>10} {:>7} {:>8} {:>7}\n", "batch", "context",
             "new", "ms", "tok/s", "GB/s", "reads GB/s", "of read", "Gop/s", "of peak");
  for (const Row& row : rows) {
    Figures f = figures_of(row, limits);
    fmt::print(
        "{:>5} {:>7} {:>6} {:>10.3f} {:>9.1f} {:>7.1f} {:>10.1f} {:>7.3f} {:>8.1f} {:>7.3f}\n",
        row.shape.sequences, row.shape.context, row.shape.step_tokens, f.ms, f.tokens_per_second,
        f.gigabytes_per_second, f.read_gigabytes_per_second, f.of_read, f.gigaops_per_second,
        f.of_peak);
  }
}

void write_row(JsonWriter& json, const Row& row, const Limits& limits) {
  Figures f = figures_of(row, limits);
  json.begin_object().key("batch").number(row.shape.sequences);
  json.key("context").number(row.shape.context).key("new_tokens").number(row.shape.step_tokens);
  json.key("median_ms").real(f.ms).key("tokens_per_second").real(f.tokens_per_second);
  json.key("bytes_per_second").real(f.gigabytes_per_second * 1e9).key("of_read").real(f.of_read);
  json.key("reads_bytes_per_second").real(f.read_gigabytes_per_second * 1e9);
  json.key("ops_per_second").real(f.gigaops_per_second * 1e9).key("of_peak").real(f.of_peak);
  json.key("step_ns").begin_array();
  for (i64 ns : row.times.step_ns) json.number(ns);
  json.end_array().end_object();
}

void print_report(const BenchOptions& o, const std::string& model, const std::string& device,
                  const std::vector<Row>& rows, const Limits& limits) {
  if (!o.json) {
    fmt::print("{} on {}, {} threads, {} repetitions, seed {}\n{}", model, device, threads_of(o),
               o.repeats, o.seed, limits_text(limits));
    print_table(rows, limits);
    return;
  }
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("model").string(model).key("device").string(device);
  json.key("threads").number(threads_of(o)).key("repeats").number(o.repeats);
  json.key("seed").number_u64(o.seed);
  write_limits(json, limits);
  json.key("rows").begin_array();
  for (const Row& row : rows) write_row(json, row, limits);
  json.end_array().end_object();
  fmt::print("{}\n", out);
}

Plot plot_of(const BenchOptions& o, const std::string& model, const std::vector<Row>& rows,
             const Limits& limits) {
  std::string said = limits_text(limits);
  said.pop_back();
  Plot plot{.title = fmt::format("{}, {} threads; {}", model, threads_of(o), said),
            .labels = {},
            .columns = {{"tokens a second", {}}, {"of read bandwidth", {}}, {"of peak", {}}}};
  for (const Row& row : rows) {
    Figures f = figures_of(row, limits);
    plot.labels.push_back(fmt::format("batch {}, {} keys, {} new", row.shape.sequences,
                                      row.shape.context, row.shape.step_tokens));
    plot.columns[0].values.push_back(f.tokens_per_second);
    plot.columns[1].values.push_back(f.of_read);
    plot.columns[2].values.push_back(f.of_peak);
  }
  return plot;
}

// A depth that the model was not made for is measured all the same.
Result<std::unique_ptr<model::Model>> open_for(const std::string& path,
                                               model::ImportOptions options, i64 context) {
  TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, options));
  if (context <= model->program().program().bounds.context) return model;
  options.bounds.context = context;
  return model::Model::open(path, options);
}

// The model, and one executor for all shapes, so that they share the packed weights.
struct Bench {
  std::unique_ptr<model::Model> model;
  BenchSteps steps;
};

Result<Bench> open_bench(const BenchOptions& o, const std::vector<BenchShape>& shapes) {
  std::string path = o.model;
  if (path.empty()) {
    TG_ASSIGN(path, bundled_model());
  }
  BenchShape most;
  for (const BenchShape& shape : shapes) {
    most.sequences = std::max(most.sequences, shape.sequences);
    most.context = std::max(most.context, shape.context);
    most.step_tokens = std::max(most.step_tokens, shape.step_tokens);
  }
  TG_ASSIGN(std::unique_ptr<model::Model> model,
            open_for(path, o.import.over(), most.context + most.step_tokens));
  TG_ASSIGN(BenchSteps steps, BenchSteps::open(*model, most, o.threads));
  return Bench{std::move(model), std::move(steps)};
}

Status measure_all(const BenchOptions& o, const std::vector<BenchShape>& shapes) {
  TG_ASSIGN(Bench bench, open_bench(o, shapes));
  const model::Model& model = *bench.model;
  TG_ASSIGN(Limits before, limits_of(o));
  TG_ASSIGN(
      backend::cpu::ReadProbe reads,
      backend::cpu::ReadProbe::open(*backend::cpu::supported_variants().front(), threads_of(o)));
  std::vector<Row> rows;
  for (const BenchShape& shape : shapes) {
    TG_ASSIGN(BenchTimes times, bench.steps.measure(shape, o.repeats, o.seed, reads));
    rows.push_back({shape, std::move(times), rounds_bf16(model.program().program())});
  }
  TG_ASSIGN(Limits after, limits_of(o));
  Limits limits = better(before, after);
  print_report(o, model.name(), bench.steps.device(), rows, limits);
  return write_svg(plot_of(o, model.name(), rows, limits), o.svg);
}

Status bench_limits(const BenchOptions& o) {
  TG_ASSIGN(Limits limits, limits_of(o));
  if (!o.json) {
    fmt::print("{}", limits_text(limits));
    return {};
  }
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("threads").number(threads_of(o));
  write_limits(json, limits);
  json.end_object();
  fmt::print("{}\n", out);
  return {};
}

std::vector<BenchShape> decode_shapes(const BenchOptions& o) {
  std::vector<BenchShape> shapes;
  for (i64 batch : o.batches) {
    for (i64 context : o.contexts) shapes.push_back({.sequences = batch, .context = context});
  }
  return shapes;
}

Status bench_decode(const BenchOptions& o) {
  return measure_all(o, decode_shapes(o));
}

// What a step pays for being a program's, and metered.
Status bench_overhead(const BenchOptions& o) {
  std::vector<BenchShape> shapes = decode_shapes(o);
  TG_ASSIGN(Bench bench, open_bench(o, shapes));
  Report report("overhead", {"batch", "context", "kernels us", "program us", "metering us",
                             "percent of the kernels"});
  report.note("model", bench.model->name());
  report.note("device", bench.steps.device());
  report.note("threads", i64{threads_of(o)});
  for (const BenchShape& shape : shapes) {
    TG_ASSIGN(BenchOverhead overhead, bench.steps.measure_overhead(shape, o.repeats, o.seed));
    constexpr f64 kNsPerUs = 1e3, kPercent = 100;
    report.row({shape.sequences, shape.context, overhead.kernels_ns / kNsPerUs,
                overhead.program_ns / kNsPerUs, overhead.metering_ns / kNsPerUs,
                overhead.of_kernels() * kPercent});
  }
  report.print(o.json);
  return report.plot(o.svg);
}

Status bench_prefill(const BenchOptions& o) {
  std::vector<BenchShape> shapes;
  for (i64 prompt : o.prompts) shapes.push_back({.step_tokens = prompt});
  return measure_all(o, shapes);
}

void add_decode_options(CLI::App& command, BenchOptions& o) {
  command.add_option("--batch", o.batches, "sequences in a step; several values: several rows")
      ->check(CLI::Range(1, 4'096))
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--context", o.contexts, "keys of each before the step; several values too")
      ->check(CLI::Range(0, 1 << 20))
      ->delimiter(',')
      ->capture_default_str();
}

void add_common(CLI::App& command, BenchOptions& o) {
  command.add_option("--threads", o.threads, "compute threads (default: one per core)")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--json", o.json, "one JSON object instead of a table");
}

void add_svg(CLI::App& command, BenchOptions& o) {
  command.add_option("--svg", o.svg, "file for a plot of it");
}

void add_model_options(CLI::App& command, BenchOptions& o) {
  add_common(command, o);
  add_svg(command, o);
  command.add_option("-m,--model", o.model, "model file or directory (default: the bundled model)");
  command.add_option("--repeats", o.repeats, "measured steps; the median counts")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command.add_option("--seed", o.seed, "of the random tokens")->capture_default_str();
  add_import_flags(command, o.import);
}

// A bench of a model: the bundled one unless another is named.
template <typename Options>
Status on_a_model(Options& o, Status (*bench)(const Options&)) {
  set_log_level(LogLevel::kWarn);
  if (o.model.empty()) {
    TG_ASSIGN(o.model, bundled_model());
  }
  return bench(o);
}

void add_bench_quality(CLI::App& group, int& exit_status) {
  std::shared_ptr<QualityOptions> o = std::make_shared<QualityOptions>();
  CLI::App* command = group.add_subcommand(
      "quality", "what rounding costs: probes, perplexity and first choices by arithmetic");
  command->add_option("-m,--model", o->model, "model file (default: the bundled model)");
  command->add_option("--probes", o->probes,
                      "questions with answers (default: probes.jsonl beside it)");
  command->add_option("--threads", o->threads, "compute threads (default: one per core)")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", o->json, "one JSON object instead of a table");
  command->add_option("--svg", o->svg, "file for a plot of it");
  command->callback([o, &exit_status] {
    set_log_level(LogLevel::kWarn);
    auto body = [&]() -> Status {
      if (o->model.empty()) {
        TG_ASSIGN(o->model, bundled_model());
      }
      if (o->probes.empty()) o->probes = probes_beside(o->model);
      return bench_quality(*o);
    };
    exit_status = report(body());
  });
}

void add_bench_serve(CLI::App& group, int& exit_status) {
  std::shared_ptr<ServeBenchOptions> o = std::make_shared<ServeBenchOptions>();
  CLI::App* command =
      group.add_subcommand("serve", "a server under load, seen from its clients over HTTP");
  command->add_option("--url", o->url,
                      "http://HOST:PORT of one that runs (default: start our own)");
  command->add_option("--key", o->key, "API key for it");
  command->add_option("--name", o->name, "its name in the report");
  command->add_option("-m,--model", o->model, "for our own (default: the bundled model)");
  command->add_option("--threads", o->threads, "for our own")->check(CLI::NonNegativeNumber);
  command->add_option("--case", o->case_name, "load, stall or prefix")
      ->check(CLI::IsMember({"load", "stall", "prefix"}))
      ->capture_default_str();
  command->add_option("--clients", o->clients, "at once")
      ->check(CLI::Range(1, 1'024))
      ->capture_default_str();
  command->add_option("--requests", o->requests, "in all (load)")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--prompt-bytes", o->prompt_bytes, "of each prompt, or of the common prefix")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--own-bytes", o->own_bytes, "of each prompt after the prefix (prefix)")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--output-tokens", o->output_tokens, "of each answer")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seed", o->seed, "of the prompts")->capture_default_str();
  command->add_flag("--json", o->json, "one JSON object instead of a table");
  command->add_option("--svg", o->svg, "file for a plot of it");
  command->callback([o, &exit_status] {
    set_log_level(LogLevel::kWarn);
    exit_status = report(bench_serve(*o));
  });
}

void add_bench_load(CLI::App& group, int& exit_status) {
  std::shared_ptr<LoadBenchOptions> o = std::make_shared<LoadBenchOptions>();
  CLI::App* command =
      group.add_subcommand("load", "how long a model takes to load, and how much memory");
  command->add_option("-m,--model", o->model, "model file (default: the bundled model)");
  command->add_option("--threads", o->threads, "compute threads (default: one per core)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--kv-tokens", o->kv_tokens, "size of the KV pool")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  command->add_option("--repeats", o->repeats, "loads, one after the other")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command->add_flag("--json", o->json, "one JSON object instead of a table");
  command->add_option("--svg", o->svg, "file for a plot of it");
  command->callback([o, &exit_status] { exit_status = report(on_a_model(*o, bench_load)); });
}

void add_bench_ablation(CLI::App& group, int& exit_status) {
  std::shared_ptr<AblationOptions> o = std::make_shared<AblationOptions>();
  CLI::App* command =
      group.add_subcommand("ablation", "the same load with each technique and without it");
  command->add_option("-m,--model", o->model, "with a chat template (default: the bundled model)");
  command->add_option("--threads", o->threads, "compute threads (default: one per core)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", o->seed, "of the load")->capture_default_str();
  command->add_option("--only", o->only, "some of the cases")
      ->check(CLI::IsMember({"batching", "memory", "prefixes", "trace", "chunks", "speculation",
                             "priorities", "keys"}))
      ->delimiter(',');
  command
      ->add_option("--trace", o->trace,
                   "published trace of conversations to replay with and without prefix cache")
      ->check(CLI::ExistingFile);
  command->add_flag("--json", o->json, "one JSON object instead of a table");
  command->add_option("--svg", o->svg, "file for a plot of it");
  command->callback([o, &exit_status] { exit_status = report(on_a_model(*o, bench_ablation)); });
}

}  // namespace

void add_bench(CLI::App& root, int& exit_status) {
  std::shared_ptr<BenchOptions> o = std::make_shared<BenchOptions>();
  o->batches = {1};
  o->contexts = {0};
  o->prompts = {512};
  CLI::App* group =
      root.add_subcommand("bench", "Steps of a model, as parts of what this machine allows");
  group->require_subcommand(1);
  auto run = [o, &exit_status](Status (*body)(const BenchOptions&)) {
    set_log_level(LogLevel::kWarn);
    exit_status = report(body(*o));
  };

  CLI::App* limits = group->add_subcommand("limits", "read bandwidth, f32, bf16 and int8 peak");
  add_common(*limits, *o);
  limits->callback([run] { run(bench_limits); });

  CLI::App* decode = group->add_subcommand("decode", "one new token of each sequence");
  add_model_options(*decode, *o);
  add_decode_options(*decode, *o);
  decode->callback([run] { run(bench_decode); });

  CLI::App* overhead = group->add_subcommand(
      "overhead",
      "what a step pays for being a program's, checked and metered, beside its kernels");
  add_model_options(*overhead, *o);
  add_decode_options(*overhead, *o);
  overhead->callback([run] { run(bench_overhead); });

  std::shared_ptr<BenchOptions> many = std::make_shared<BenchOptions>();
  many->batches = {1, 2, 4, 8, 16, 32};
  many->contexts = {128};
  CLI::App* batch = group->add_subcommand("batch", "decode with 1 to 32 sequences of 128 keys");
  add_model_options(*batch, *many);
  batch->callback([many, &exit_status] {
    set_log_level(LogLevel::kWarn);
    exit_status = report(bench_decode(*many));
  });

  CLI::App* prefill = group->add_subcommand("prefill", "a whole prompt in one step");
  add_model_options(*prefill, *o);
  prefill->add_option("--prompt", o->prompts, "tokens of the prompt; several values: several rows")
      ->check(CLI::Range(1, 1 << 20))
      ->delimiter(',')
      ->capture_default_str();
  prefill->callback([run] { run(bench_prefill); });
  add_bench_quality(*group, exit_status);
  add_bench_serve(*group, exit_status);
  add_bench_load(*group, exit_status);
  add_bench_ablation(*group, exit_status);
}

}  // namespace tg::apps
