// `tokengrid program {show,verify,cost,asm,disasm}`: look at bytecode, prove it, price it.
#include "isa/program.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/json_out.h"
#include "env/disk.h"
#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "model/model.h"
#include "unit/standard_token.h"

namespace tg::apps {

namespace {

constexpr u64 kProgramFileBytesMax = 16 * 1024 * 1024;

struct ProgramOptions {
  std::string file;
  std::string output;
  bool json = false;
  i64 fresh = 1;
  i64 cached = 0;
  i64 rows = 1;
};

// A .tgp file, an assembly text, or the program that a GGUF file imports to.
Result<isa::VerifiedProgram> load_any(const std::string& path) {
  if (path.ends_with(".gguf")) {
    TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, {}));
    return model->program();
  }
  TG_ASSIGN(std::string bytes, read_file(path, kProgramFileBytesMax));
  if (bytes.starts_with("TGP1")) return isa::load(as_bytes(bytes));
  TG_ASSIGN(isa::Program program, isa::assemble(bytes));
  return isa::verify(std::move(program));
}

Status write_output(const std::string& path, std::string_view bytes) {
  if (!path.empty()) return write_file_durably(path, as_bytes(bytes), 0644);
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  return {};
}

Status verify(const ProgramOptions& o) {
  TG_ASSIGN(isa::VerifiedProgram program, load_any(o.file));
  if (o.json) {
    std::string out;
    JsonWriter(out)
        .begin_object()
        .key("valid")
        .boolean(true)
        .key("id")
        .string(to_hex(program.id()))
        .end_object();
    fmt::print("{}\n", out);
  } else {
    fmt::print("valid  id {}\n", to_hex(program.id()));
  }
  return {};
}

Status show(const ProgramOptions& o) {
  TG_ASSIGN(isa::VerifiedProgram program, load_any(o.file));
  const isa::Program& p = program.program();
  fmt::print("; id     {}\n; bytes  {}\n; weights {}, kv {}, constants {}, functions {}\n",
             to_hex(program.id()), program.bytes().size(), p.weights.size(), p.kv.size(),
             p.constants.size(), p.functions.size());
  fmt::print("{}", isa::disassemble(p));
  return {};
}

void append_counters(JsonWriter& json, const unit::Counters& counters) {
  json.begin_object();
  for (std::size_t i = 0; i < unit::kCounters; ++i) {
    if (counters[i] == 0) continue;
    json.key(unit::counter_name(static_cast<unit::Counter>(i))).number_u64(counters[i]);
  }
  json.end_object();
}

std::string cost_json(const isa::VerifiedProgram& program, const unit::Counters& step, u128 atto) {
  const unit::CostMatrix& m = program.cost();
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(to_hex(program.id()));
  json.key("per_pass");
  append_counters(json, m.per_pass);
  json.key("per_token");
  append_counters(json, m.per_token);
  json.key("per_row");
  append_counters(json, m.per_row);
  json.key("per_sequence");
  append_counters(json, m.per_sequence);
  json.key("head_bytes").number_u64(m.head_bytes).key("windows").begin_array();
  for (const unit::WindowCost& w : m.windows) {
    json.begin_object()
        .key("window")
        .number(w.window)
        .key("attn_flops_per_pair")
        .number_u64(w.attn_flops_per_pair);
    json.key("ew_flops_per_pair").number_u64(w.ew_flops_per_pair);
    json.key("kv_rd_bytes_per_key").number_u64(w.kv_rd_bytes_per_key).end_object();
  }
  json.end_array().key("step");
  append_counters(json, step);
  json.key("step_atto_st").string(to_string(atto)).end_object();
  return out;
}

Status cost(const ProgramOptions& o) {
  if (o.fresh < 0 || o.cached < 0 || o.rows < 0)
    return Error{Code::kInvalid, "--new, --cached and --rows must not be negative"};
  TG_ASSIGN(isa::VerifiedProgram program, load_any(o.file));
  unit::SequenceStep sequence{o.cached, o.fresh, o.rows};
  std::vector<u64> hits;
  for (const unit::ExpertCost& e : program.cost().experts)
    hits.push_back(static_cast<u64>(e.active) * e.layers);
  TG_ASSIGN(unit::Counters step, unit::evaluate(program.cost(), {&sequence, 1}, hits));
  TG_ASSIGN(u128 atto, unit::atto_st(step));
  if (o.json) {
    fmt::print("{}\n", cost_json(program, step, atto));
    return {};
  }
  fmt::print("one pass of {} new tokens after {} cached, {} logit rows\n", o.fresh, o.cached,
             o.rows);
  for (std::size_t i = 0; i < unit::kCounters; ++i) {
    if (step[i] == 0) continue;
    fmt::print("  {:<14} {:>20}\n", unit::counter_name(static_cast<unit::Counter>(i)), step[i]);
  }
  TG_ASSIGN(unit::NanoSt nano, unit::round_to_nano(atto));
  fmt::print("  {:<14} {:>20} ST\n", "actual work", unit::to_decimal(nano));
  return {};
}

Status assemble(const ProgramOptions& o) {
  TG_ASSIGN(std::string text, read_file(o.file, kProgramFileBytesMax));
  TG_ASSIGN(isa::Program parsed, isa::assemble(text));
  TG_ASSIGN(isa::VerifiedProgram program, isa::verify(std::move(parsed)));
  return write_output(o.output, as_text(program.bytes()));
}

Status disassemble(const ProgramOptions& o) {
  TG_ASSIGN(isa::VerifiedProgram program, load_any(o.file));
  return write_output(o.output, isa::disassemble(program.program()));
}

}  // namespace

void add_program(CLI::App& root, int& exit_status) {
  CLI::App* group =
      root.add_subcommand("program", "Bytecode: show, verify, cost, assemble, disassemble");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const ProgramOptions&)) {
    std::shared_ptr<ProgramOptions> o = std::make_shared<ProgramOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("file", o->file, ".tgp, assembly text, or a GGUF model")->required();
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  add("show", "header and text of a program", show);
  auto verify_command = add("verify", "check every rule", verify);
  verify_command.first->add_flag("--json", verify_command.second->json, "machine-readable output");
  auto cost_command = add("cost", "cost matrix and the counters of one step", cost);
  cost_command.first->add_option("--new", cost_command.second->fresh, "new tokens of the step");
  cost_command.first->add_option("--cached", cost_command.second->cached,
                                 "cached tokens before it");
  cost_command.first->add_option("--rows", cost_command.second->rows, "logit rows");
  cost_command.first->add_flag("--json", cost_command.second->json, "machine-readable output");
  auto asm_command = add("asm", "text to binary", assemble);
  asm_command.first->add_option("-o,--output", asm_command.second->output,
                                "file; standard output if left out");
  auto disasm_command = add("disasm", "binary to text", disassemble);
  disasm_command.first->add_option("-o,--output", disasm_command.second->output,
                                   "file; standard output if left out");
}

}  // namespace tg::apps
