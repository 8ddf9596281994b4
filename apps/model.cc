// `tokengrid model {inspect,synth}`: what a model file holds, and files of any published shape with
// random weights.
#include "model/model.h"

#include <fmt/format.h>

#include <memory>

#include "apps/commands.h"
#include "apps/import_flags.h"
#include "apps/progress.h"
#include "base/json_out.h"
#include "model/synth.h"

namespace tg::apps {

namespace {

struct ModelOptions {
  std::string file;
  bool json = false;
  bool hashes = false;
  std::string shape;
  std::string codec = "q8_0";
  std::string output;
  u64 seed = 1;
  bool no_data = false;
  ImportFlags import;
};

std::string dims_text(const std::vector<i64>& dims) {
  return fmt::format("[{}]", fmt::join(dims, ","));
}

void print_json(const model::Model& m, const std::vector<model::ManifestEntry>& manifest) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("name").string(m.name()).key("architecture").string(m.architecture());
  json.key("parameters")
      .number(m.parameter_count())
      .key("context_length")
      .number(m.context_length());
  json.key("vocabulary").number_u64(m.vocab().tokens.size()).key("has_data").boolean(m.has_data());
  json.key("program").string(to_hex(m.program().id()));
  json.key("program_bytes").number_u64(m.program().bytes().size());
  json.key("manifest")
      .string(to_hex(model::manifest_digest(manifest)))
      .key("weights")
      .begin_array();
  for (const model::ManifestEntry& e : manifest) {
    json.begin_object()
        .key("symbol")
        .string(e.symbol)
        .key("layer")
        .number(e.layer)
        .key("tensor")
        .string(e.tensor);
    json.key("codec").string(isa::info(e.codec).name).key("bytes").number_u64(e.bytes);
    if (e.sha256) json.key("sha256").string(to_hex(*e.sha256));
    json.end_object();
  }
  json.end_array().end_object();
  fmt::print("{}\n", out);
}

void print_text(const model::Model& m, const std::vector<model::ManifestEntry>& manifest) {
  u64 bytes = 0;
  for (const model::ManifestEntry& e : manifest) bytes += e.bytes;
  fmt::print(
      "name         {}\narchitecture {}\nparameters   {}\nweights      {} tensors, {} bytes{}\n",
      m.name(), m.architecture(), m.parameter_count(), manifest.size(), bytes,
      m.has_data() ? "" : " (header only)");
  fmt::print("context      {}\nvocabulary   {}\nprogram      {} ({} bytes)\n", m.context_length(),
             m.vocab().tokens.size(), to_hex(m.program().id()), m.program().bytes().size());
  fmt::print("manifest     {}\n", to_hex(model::manifest_digest(manifest)));
  for (const model::ManifestEntry& e : manifest) {
    fmt::print("  {:<12} {:>4} {:<28} {:<6} {:<18} {}\n", "$" + e.symbol,
               e.layer < 0 ? "" : std::to_string(e.layer), e.tensor, isa::info(e.codec).name,
               dims_text(e.dims), e.sha256 ? to_hex(*e.sha256) : "");
  }
  for (const std::string& name : m.unused_tensors()) fmt::print("  unused            {}\n", name);
}

Status inspect(const ModelOptions& o) {
  TG_ASSIGN(std::unique_ptr<model::Model> m, model::Model::open(o.file, o.import.over()));
  std::vector<model::ManifestEntry> manifest = m->manifest();
  if (o.hashes) {
    TG_ASSIGN(manifest, m->manifest_with_hashes());
  }
  if (o.json) {
    print_json(*m, manifest);
  } else {
    print_text(*m, manifest);
  }
  return {};
}

Status synth(const ModelOptions& o) {
  TG_ASSIGN(model::SynthShape shape, model::find_synth_shape(o.shape));
  Progress progress("writing " + o.output);
  return model::synthesize(
      {.path = o.output,
       .shape = shape,
       .codec = o.codec,
       .seed = o.seed,
       .no_data = o.no_data,
       .progress = [&](u64 done, u64 total) { progress.update(done, total); }});
}

std::string shape_names() {
  std::string out;
  for (const model::SynthShape& shape : model::synth_shapes())
    out += (out.empty() ? "" : ", ") + std::string(shape.name);
  return out;
}

}  // namespace

void add_model(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("model", "Model files: inspect, synthesise");
  group->require_subcommand(1);
  std::shared_ptr<ModelOptions> o = std::make_shared<ModelOptions>();
  CLI::App* inspected =
      group->add_subcommand("inspect", "shape, tensors, program and tokenizer of a GGUF file");
  inspected->add_option("file", o->file, "GGUF file")->required();
  inspected->add_flag("--hashes", o->hashes, "SHA-256 of every tensor (reads the whole file)");
  add_import_flags(*inspected, o->import);
  inspected->add_flag("--json", o->json, "machine-readable output");
  inspected->callback([o, &exit_status] { exit_status = report(inspect(*o)); });
  CLI::App* made =
      group->add_subcommand("synth", "a model of a published shape with random weights");
  made->add_option("--shape", o->shape, "one of: " + shape_names())->required();
  made->add_option("--codec", o->codec, "f32 f16 bf16 q8_0 q4_0 q4_k q6_k q4_k_m")
      ->capture_default_str();
  made->add_option("-o,--output", o->output, "file to write")->required();
  made->add_option("--seed", o->seed, "the same seed gives the same file")->capture_default_str();
  made->add_flag("--no-data", o->no_data, "header only: can be priced, not run");
  made->callback([o, &exit_status] { exit_status = report(synth(*o)); });
}

}  // namespace tg::apps
