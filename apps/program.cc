// `tokengrid program {show,verify,cost,asm,disasm}`: look at bytecode, prove it, price it.
#include "isa/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <sstream>

#include "apps/any_program.h"
#include "apps/commands.h"
#include "apps/import_flags.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/json_out.h"
#include "env/disk.h"
#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "isa/show.h"
#include "unit/nominal.h"
#include "unit/standard_token.h"

namespace tg::apps {

namespace {

struct ProgramOptions {
  std::string file;
  std::string output;
  bool json = false;
  ImportFlags import;
  i64 fresh = 1;
  i64 cached = 0;
  i64 rows = 1;
};

Status write_output(const std::string& path, std::string_view bytes) {
  if (!path.empty()) return write_file_durably(path, as_bytes(bytes), 0644);
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  return {};
}

Status verify(const ProgramOptions& o) {
  TG_ASSIGN(isa::VerifiedProgram program, load_any_program(o.file, o.import.over()));
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
  TG_ASSIGN(isa::VerifiedProgram program, load_any_program(o.file, o.import.over()));
  std::istringstream summary(isa::summarize(program));
  for (std::string line; std::getline(summary, line);) fmt::print("; {}\n", line);
  fmt::print("{}", isa::disassemble(program.program()));
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

constexpr std::string_view kPairKinds[] = {"causal", "full", "selected", "tree", "dense"};
static_assert(std::size(kPairKinds) == static_cast<std::size_t>(unit::PairKind::kCount));

void append_windows(JsonWriter& json, const unit::CostMatrix& m) {
  json.begin_array();
  for (const unit::WindowCost& w : m.windows) {
    json.begin_object().key("window").number(w.window);
    json.key("pairs").string(kPairKinds[static_cast<std::size_t>(w.kind)]);
    json.key("attn_flops_per_pair").number_u64(w.attn_flops_per_pair);
    json.key("ew_flops_per_pair").number_u64(w.ew_flops_per_pair);
    json.key("kv_rd_bytes_per_key").number_u64(w.kv_rd_bytes_per_key).end_object();
  }
  json.end_array();
}

void append_experts(JsonWriter& json, const unit::CostMatrix& m) {
  json.begin_array();
  for (const unit::ExpertCost& e : m.experts) {
    json.begin_object().key("experts").number_u64(e.experts).key("active").number_u64(e.active);
    json.key("layers").number_u64(e.layers);
    json.key("bytes_per_expert").number_u64(e.bytes_per_expert).end_object();
  }
  json.end_array();
}

void append_matrix(JsonWriter& json, const unit::CostMatrix& m) {
  json.key("per_pass");
  append_counters(json, m.per_pass);
  json.key("per_token");
  append_counters(json, m.per_token);
  json.key("per_row");
  append_counters(json, m.per_row);
  json.key("per_sequence");
  append_counters(json, m.per_sequence);
  json.key("head_bytes").number_u64(m.head_bytes).key("windows");
  append_windows(json, m);
  json.key("experts");
  append_experts(json, m);
}

// One pass, with the experts it is expected to hit and with the most it can.
struct PassCost {
  unit::Counters expected{};
  unit::Counters bound{};
  u128 atto_st = 0;  // of the expected counters
};

Result<PassCost> pass_cost(const unit::CostMatrix& m, const unit::SequenceStep& sequence) {
  std::vector<u64> expected;
  std::vector<u64> most;
  for (const unit::ExpertCost& e : m.experts) {
    u128 hits = u128{unit::expected_experts_q20(e.experts, e.active, sequence.fresh)} * e.layers;
    expected.push_back(static_cast<u64>(div_round_half_even(hits, u128{1} << 20)));
    u128 routed = static_cast<u128>(sequence.fresh) * e.active;
    most.push_back(static_cast<u64>(std::min<u128>(routed, e.experts)) * e.layers);
  }
  PassCost cost;
  TG_ASSIGN(cost.expected, unit::evaluate(m, {&sequence, 1}, expected));
  TG_ASSIGN(cost.bound, unit::evaluate(m, {&sequence, 1}, most));
  TG_ASSIGN(cost.atto_st, unit::atto_st(cost.expected));
  return cost;
}

std::string cost_json(const isa::VerifiedProgram& program, const unit::SequenceStep& sequence,
                      const PassCost& pass) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(to_hex(program.id()));
  json.key("bytes").number_u64(program.bytes().size());
  append_matrix(json, program.cost());
  json.key("pass").begin_object().key("new").number(sequence.fresh);
  json.key("cached").number(sequence.cached).key("rows").number(sequence.rows).end_object();
  json.key("step");
  append_counters(json, pass.expected);
  json.key("step_bound");
  append_counters(json, pass.bound);
  json.key("step_atto_st").string(to_string(pass.atto_st)).end_object();
  return out;
}

Status cost(const ProgramOptions& o) {
  if (o.fresh < 0 || o.cached < 0 || o.rows < 0)
    return Error{Code::kInvalid, "--new, --cached and --rows must not be negative"};
  if (std::max({o.fresh, o.cached, o.rows}) > unit::kTokensMax)
    return Error{Code::kInvalid,
                 "--new, --cached and --rows are at most " + std::to_string(unit::kTokensMax)};
  TG_ASSIGN(isa::VerifiedProgram program, load_any_program(o.file, o.import.over()));
  unit::SequenceStep sequence{.cached = o.cached, .fresh = o.fresh, .rows = o.rows};
  TG_ASSIGN(PassCost pass, pass_cost(program.cost(), sequence));
  if (o.json) {
    fmt::print("{}\n", cost_json(program, sequence, pass));
    return {};
  }
  fmt::print("one pass of {} new tokens after {} cached, {} logit rows\n", o.fresh, o.cached,
             o.rows);
  for (std::size_t i = 0; i < unit::kCounters; ++i) {
    if (pass.bound[i] == 0) continue;
    fmt::print("  {:<14} {:>20}", unit::counter_name(static_cast<unit::Counter>(i)),
               pass.expected[i]);
    if (pass.bound[i] != pass.expected[i]) fmt::print("   at most {}", pass.bound[i]);
    fmt::print("\n");
  }
  TG_ASSIGN(unit::NanoSt nano, unit::round_to_nano(pass.atto_st));
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
  TG_ASSIGN(isa::VerifiedProgram program, load_any_program(o.file, o.import.over()));
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
    command->add_option("file", o->file, ".tgp, assembly text, or a model file or directory")
        ->required();
    add_import_flags(*command, o->import);
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
