#include "isa/reference/interpreter.h"

#include <set>
#include <string>

#include "base/assert.h"
#include "isa/reference/step.h"

namespace tg::isa {

static Error trap(std::string message) {
  return Error{Code::kInvalid, "trap: " + std::move(message)};
}

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

Result<Interpreter> Interpreter::make(const VerifiedProgram& program, const WeightTable& weights,
                                      Precision precision, i64 pages) {
  TG_TRY(check_weights(program.program(), weights));
  Interpreter interpreter;
  interpreter.program_ = &program;
  interpreter.weights_ = weights;
  interpreter.precision_ = precision;
  TG_ASSIGN(interpreter.flat_, program.flatten("main"));
  interpreter.dies_after_ = last_reads(interpreter.flat_);
  for (const KvDecl& decl : program.program().kv) interpreter.kv_.emplace_back(decl, pages);
  return interpreter;
}

static Status check_sizes(const ReferenceBatch& b, const Program& program) {
  std::size_t tokens = b.ids.size();
  std::size_t sequences = b.past.size();
  bool good = b.positions.size() == tokens && b.slots.size() == tokens &&
              b.cu.size() == sequences + 1 && b.page_begin.size() == sequences + 1 && tokens > 0;
  bool has_params = program.functions[0].parameters.size() > 4;
  good &= !has_params || b.params.size() == b.rows.size();
  if (!good) return trap("the batch's arrays do not fit each other");
  if (static_cast<i64>(tokens) > program.bounds.tokens ||
      static_cast<i64>(sequences) > program.bounds.sequences ||
      static_cast<i64>(b.rows.size()) > program.bounds.rows)
    return trap("the step exceeds the program's bounds");
  return {};
}

static Status check_offsets(std::string_view what, std::span<const i32> offsets,
                            std::size_t total) {
  bool good = offsets.front() == 0 && static_cast<std::size_t>(offsets.back()) == total;
  for (std::size_t i = 1; i < offsets.size(); ++i) good &= offsets[i - 1] <= offsets[i];
  if (!good) return trap(std::string(what) + " is not a partition");
  return {};
}

static Status check_slots(const ReferenceBatch& b, i64 slots) {
  std::set<i32> written;
  for (i32 slot : b.slots) {
    if (slot == -1) continue;
    if (slot < 0 || slot >= slots)
      return trap("slot " + std::to_string(slot) + " of " + std::to_string(slots));
    if (!written.insert(slot).second) return trap("slot " + std::to_string(slot) + " twice");
  }
  return {};
}

static Status check_pages(const ReferenceBatch& b, const ReferenceKv& kv, i64 context) {
  i64 page_tokens = kv.decl().page_tokens;
  for (i32 page : b.pages) {
    if (page < 0 || page >= kv.slots() / page_tokens)
      return trap("page " + std::to_string(page) + " of " +
                  std::to_string(kv.slots() / page_tokens));
  }
  for (std::size_t s = 0; s < b.past.size(); ++s) {
    i64 keys = i64{b.past[s]} + b.cu[s + 1] - b.cu[s];
    i64 room = i64{b.page_begin[s + 1] - b.page_begin[s]} * page_tokens;
    if (b.past[s] < 0 || keys > room || keys > context)
      return trap("sequence " + std::to_string(s) + " needs " + std::to_string(keys) +
                  " keys, has room for " + std::to_string(std::min(room, context)));
  }
  return {};
}

static Status check_batch(const ReferenceBatch& b, const Program& program,
                          std::span<const ReferenceKv> caches) {
  TG_TRY(check_sizes(b, program));
  TG_TRY(check_offsets("cu", b.cu, b.ids.size()));
  TG_TRY(check_offsets("page_begin", b.page_begin, b.pages.size()));
  for (const ReferenceKv& kv : caches) {
    TG_TRY(check_slots(b, kv.slots()));
    TG_TRY(check_pages(b, kv, program.bounds.context));
  }
  return {};
}

namespace {

template <typename F>
Result<std::vector<Tensor>> run_step(const StepContext& context,
                                     const std::vector<std::vector<u32>>& dies_after) {
  Step<F> step(context);
  const FlatProgram& flat = context.flat;
  step.set(flat.parameters[0], context.batch.ids);
  step.set(flat.parameters[1], context.batch.positions);
  step.set(flat.parameters[2], context.batch.rows);
  for (std::size_t at = 0; at < flat.code.size(); ++at) {
    TG_TRY(step.execute(flat.code[at]));
    for (u32 id : dies_after[at]) step.drop(id);
  }
  std::vector<Tensor> results;
  for (u32 id : flat.results) results.push_back(step.value(id));
  return results;
}

}  // namespace

Result<std::vector<Tensor>> Interpreter::run(const ReferenceBatch& batch) {
  TG_TRY(check_batch(batch, program_->program(), kv_));
  unit::Counters before = counters_;
  StepContext context{program_->program(), flat_, weights_, batch, kv_, counters_};
  Result<std::vector<Tensor>> results = precision_ == Precision::kGolden
                                            ? run_step<f64>(context, dies_after_)
                                            : run_step<f32>(context, dies_after_);
  for (ReferenceKv& kv : kv_) {
    if (results.ok()) {
      kv.commit();
    } else {
      kv.roll_back();
    }
  }
  if (!results.ok()) counters_ = before;
  return results;
}

void Interpreter::copy_page(i64 from, i64 to) {
  for (ReferenceKv& kv : kv_) kv.copy_page(from, to);
}

}  // namespace tg::isa
