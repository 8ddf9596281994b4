#include "isa/reference/interpreter.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/assert.h"
#include "isa/reference/batch_check.h"
#include "isa/reference/step.h"

namespace tg::isa {

// Every declared weight is there with the bytes its type says.
static Status check_weights(const Program& program, const WeightTable& weights) {
  if (weights.by_symbol.size() != program.weights.size())
    return Error{Code::kInvalid, std::to_string(weights.by_symbol.size()) + " weights for " +
                                     std::to_string(program.weights.size()) + " symbols"};
  for (std::size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& decl = program.weights[i];
    i64 bytes = row_bytes(decl.codec, decl.dims.back());
    for (std::size_t k = 0; k + 1 < decl.dims.size(); ++k) bytes *= decl.dims[k];
    std::size_t layers = decl.layers > 0 ? decl.layers : 1;
    bool good = weights.by_symbol[i].size() == layers;
    for (std::span<const u8> layer : weights.by_symbol[i])
      good &= static_cast<i64>(layer.size()) == bytes;
    if (!good)
      return Error{Code::kInvalid, "weight $" + decl.name + " does not have " +
                                       std::to_string(layers) + " x " + std::to_string(bytes) +
                                       " bytes"};
  }
  return {};
}

// For each instruction, the values that nothing after it reads.
static std::vector<std::vector<u32>> last_reads(const FlatProgram& flat) {
  std::vector<std::size_t> last(flat.values.size(), flat.code.size());
  for (std::size_t at = 0; at < flat.code.size(); ++at) {
    for (u32 id : flat.code[at].out) last[id] = at;
    for (const FlatOperand& o : flat.code[at].in) {
      if (o.kind == OperandKind::kValue) last[o.index] = at;
    }
  }
  for (u32 id : flat.results) last[id] = flat.code.size();
  std::vector<std::vector<u32>> dies(flat.code.size() + 1);
  for (u32 id = 0; id < last.size(); ++id) dies[last[id]].push_back(id);
  return dies;
}

// Bytes that one distinct expert of each perm costs, over the products that use it.
static std::map<u32, u64> expert_bytes(const Program& program, const FlatProgram& flat) {
  std::map<u32, u64> bytes;
  for (const FlatInstruction& op : flat.code) {
    if (op.op != Opcode::kGroupedLinear) continue;
    const WeightDecl& w = program.weights[op.in[1].index];
    bytes[op.in[2].index] += static_cast<u64>(w.dims[1] * row_bytes(w.codec, w.dims[2]));
  }
  return bytes;
}

// Which line of the cost matrix each route belongs to; none (past the end) if no product uses it.
static std::vector<std::size_t> route_classes(const Program& program, const FlatProgram& flat,
                                              const unit::CostMatrix& cost) {
  std::map<u32, u64> bytes = expert_bytes(program, flat);
  std::vector<std::size_t> classes;
  for (const FlatInstruction& op : flat.code) {
    if (op.op != Opcode::kRoute) continue;
    const Type& perm = flat.values[op.out[1]];
    std::vector<unit::ExpertCost>::const_iterator found =
        std::find_if(cost.experts.begin(), cost.experts.end(), [&](const unit::ExpertCost& line) {
          return line.experts == perm.dims[2].constant && line.active == perm.dims[1].constant &&
                 line.bytes_per_expert == bytes[op.out[1]];
        });
    classes.push_back(static_cast<std::size_t>(found - cost.experts.begin()));
  }
  return classes;
}

static const unit::CostMatrix& cost_of(const Program& program, std::size_t entry) {
  return entry == 0 ? program.cost : program.entry_costs[entry - 1];
}

Result<Interpreter> Interpreter::make(const VerifiedProgram& verified, const WeightTable& weights,
                                      Precision precision, i64 pages,
                                      const InterpreterOptions& options) {
  const Program& program = verified.program();
  TG_TRY(check_weights(program, weights));
  if (options.fresh_entry && program.functions.size() < 2)
    return Error{Code::kInvalid, "the program has no second entry"};
  Interpreter interpreter;
  interpreter.program_ = &verified;
  interpreter.weights_ = weights;
  interpreter.precision_ = precision;
  interpreter.fresh_entry_ = options.fresh_entry;
  for (std::size_t i = 0; i < (options.fresh_entry ? 2u : 1u); ++i) {
    TG_ASSIGN(FlatProgram flat, verified.flatten(program.functions[i].name));
    Entry entry{.flat = std::move(flat), .dies_after = {}, .route_class = {}};
    entry.dies_after = last_reads(entry.flat);
    entry.route_class = route_classes(program, entry.flat, cost_of(program, i));
    interpreter.entries_.push_back(std::move(entry));
  }
  i64 slots = options.state_slots > 0 ? options.state_slots : program.bounds.sequences;
  for (const KvDecl& decl : program.kv) {
    interpreter.kv_.emplace_back(decl, pages);
    interpreter.states_.emplace_back(decl, slots);
  }
  return interpreter;
}

std::size_t Interpreter::entry_for(const ReferenceBatch& batch) const {
  bool fresh = std::all_of(batch.past.begin(), batch.past.end(), [](i32 c) { return c == 0; });
  return fresh_entry_ && fresh ? 1 : 0;
}

Status Interpreter::begin(const ReferenceBatch& batch, std::size_t entry) {
  TG_TRY(check_batch(batch, program_->program(), kv_, states_));
  entry_ = entry;
  counters_before_ = counters_;
  route_hits_.clear();
  return {};
}

StepContext Interpreter::context(const ReferenceBatch& batch) {
  return {program_->program(), entries_[entry_].flat, weights_, batch, kv_, states_, counters_,
          route_hits_};
}

void Interpreter::end(bool good) {
  for (ReferenceKv& kv : kv_) good ? kv.commit() : kv.roll_back();
  for (ReferenceState& state : states_) good ? state.commit() : state.roll_back();
  if (good) return;
  counters_ = counters_before_;
  route_hits_.clear();
}

template <typename F>
Result<std::vector<Tensor>> Interpreter::run_step(const ReferenceBatch& batch) {
  const Entry& entry = entries_[entry_];
  Step<F> step(context(batch));
  TG_TRY(step.set_inputs());
  for (std::size_t at = 0; at < entry.flat.code.size(); ++at) {
    TG_TRY(step.execute(entry.flat.code[at]));
    for (u32 id : entry.dies_after[at]) step.drop(id);
  }
  return step.results();
}

Result<std::vector<Tensor>> Interpreter::run(const ReferenceBatch& batch) {
  TG_TRY(begin(batch, entry_for(batch)));
  Result<std::vector<Tensor>> results =
      precision_ == Precision::kGolden ? run_step<f64>(batch) : run_step<f32>(batch);
  end(results.ok());
  return results;
}

std::vector<u64> Interpreter::expert_hits() const {
  std::vector<u64> hits(cost_of(program_->program(), entry_).experts.size());
  for (std::size_t i = 0; i < route_hits_.size(); ++i) {
    std::size_t line = entries_[entry_].route_class[i];
    if (line < hits.size()) hits[line] += route_hits_[i];
  }
  return hits;
}

void Interpreter::copy_page(i64 from, i64 to) {
  for (ReferenceKv& kv : kv_) kv.copy_page(from, to);
}

void Interpreter::copy_state(i64 from, i64 to) {
  for (ReferenceState& state : states_) state.copy_slot(from, to);
}

}  // namespace tg::isa
