// For the structure-aware fuzz target and its quick test: what must hold of any program that
// verify() accepts. It survives both round trips, and, where it is small, a step of the reference
// interpreter gives results or an error, and on results the counters that the cost matrix says.
#pragma once

#include <string>

#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "isa/reference/interpreter.h"
#include "isa/verify/testing/program_shuffle.h"

namespace tg::isa {

// What is wrong, or nothing.
inline std::string round_trip_failure(const VerifiedProgram& program) {
  Result<VerifiedProgram> loaded = load(program.bytes());
  if (!(loaded.ok() && loaded->id() == program.id())) return "load() of what verify() made";
  if (!(loaded->bytes() == program.bytes() && loaded->cost() == program.cost()))
    return "the same bytes";
  Result<Program> again = assemble(disassemble(program.program()));
  if (!(again.ok())) return "its text assembles";
  Result<VerifiedProgram> same = verify(std::move(again).value());
  if (!(same.ok() && same->bytes() == program.bytes())) return "its text says the same program";
  for (const Function& f : program.program().functions)
    if (!(program.flatten(f.name).ok())) return "it flattens";
  return {};
}

// ---- A step of three tokens in two sequences.

inline constexpr i64 kElementsLimit = 1 << 16;

inline i64 size_of(const Dim& d) {
  return d.constant + 3 * i64{d.t} + 2 * i64{d.s} + 2 * i64{d.r};
}

inline bool is_small(const Type& type) {
  i64 elements = 1;
  for (const Dim& d : type.dims) elements = std::min(elements * size_of(d), kElementsLimit + 1);
  return elements <= kElementsLimit;
}

// Few elements, and little to do with them.
inline bool is_small(const VerifiedProgram& program) {
  const Program& p = program.program();
  i64 stored = 0;
  for (const WeightDecl& w : p.weights) {
    i64 elements = std::max<i64>(w.layers, 1);
    for (i64 d : w.dims) elements = std::min(elements * d, i64{1} << 40);
    stored += elements;
  }
  for (const KvDecl& kv : p.kv) {
    i64 width = i64{kv.heads} * std::max<i64>(kv.dk, 1) * (kv.is_state ? kv.dv : 2);
    stored += i64{kv.layers} * width * std::max<i64>(16 * kv.page_tokens, 2);
  }
  bool small = stored <= 4 << 20 && program.flatten("main")->code.size() <= 400;
  for (const Type& type : p.functions[0].value_types) small &= is_small(type);
  std::vector<unit::SequenceStep> steps = {{0, 2, 1}, {0, 1, 1}};
  std::vector<u64> hits(program.cost().experts.size());
  Result<unit::Counters> work = unit::evaluate(program.cost(), steps, hits);
  if (!small || !work.ok()) return false;
  u64 flops = 0;
  for (unit::Counter c : {unit::kMmF32, unit::kMmF16, unit::kMmFp8, unit::kMmInt8, unit::kMm4Bit,
                          unit::kAttn, unit::kEw})
    flops += std::min<u64>((*work)[c], 1 << 30);
  return flops < 20'000'000 && p.bounds.tokens >= 3 && p.bounds.sequences >= 2 &&
         p.bounds.rows >= 2 && p.bounds.context >= 3;
}

struct FilledWeights {
  std::vector<std::vector<u8>> storage;
  WeightTable table;

  // Small codes with small scales: zero bytes would hide what is wrong.
  explicit FilledWeights(const Program& p) {
    for (const WeightDecl& w : p.weights) {
      i64 bytes = row_bytes(w.codec, w.dims.back());
      for (std::size_t i = 0; i + 1 < w.dims.size(); ++i) bytes *= w.dims[i];
      std::vector<u8> one(static_cast<std::size_t>(bytes));
      for (std::size_t i = 0; i < one.size(); ++i) one[i] = static_cast<u8>(i * 37 % 49);
      storage.push_back(std::move(one));
    }
    for (std::size_t i = 0; i < p.weights.size(); ++i)
      table.by_symbol.emplace_back(std::max<std::size_t>(p.weights[i].layers, 1), storage[i]);
  }
};

inline std::string step_failure(const VerifiedProgram& program) {
  const Program& p = program.program();
  FilledWeights weights(p);
  Result<Interpreter> made =
      Interpreter::make(program, weights.table, Precision::kSameType, 16, {.state_slots = 2});
  if (!(made.ok())) return "the interpreter takes it";
  const Function& main = p.functions[0];
  auto type_of = [&](std::size_t i) -> const Type& { return main.value_types[main.parameters[i]]; };
  std::size_t positions =
      type_of(1).dims.size() == 1 ? 1 : static_cast<std::size_t>(type_of(1).dims[0].constant);
  i32 page = 16;
  for (const KvDecl& kv : p.kv) page = kv.is_state ? page : static_cast<i32>(kv.page_tokens);
  SamplingParams params;
  params.temperature = 0.7f;
  std::vector<i32> ids = {1, 2, 3}, pos(3 * positions, 1), cu = {0, 2, 3}, past = {0, 0};
  std::vector<i32> page_begin = {0, 2, 4}, pages = {0, 1, 2, 3}, rows = {1, 2};
  std::vector<i32> slots = {0, page > 1 ? 1 : page, 2 * page};
  std::vector<SampleRow> sampling(2, SampleRow{.params = params});
  std::vector<Tensor> extra;
  for (std::size_t i = 4; i < main.parameters.size(); ++i) {
    if (type_of(i).kind != ValueKind::kTensor) continue;
    Tensor t{.dtype = type_of(i).dtype};
    i64 elements = 1;
    for (const Dim& d : type_of(i).dims) {
      t.dims.push_back(size_of(d));
      elements *= size_of(d);
    }
    t.data.assign(static_cast<std::size_t>(elements), 0.0);
    extra.push_back(std::move(t));
  }
  ReferenceBatch batch{ids, pos, cu, past, page_begin, pages, slots, rows, sampling};
  batch.extra = extra;
  Interpreter interpreter = std::move(made).value();
  Result<std::vector<Tensor>> results = interpreter.run(batch);
  if (!results.ok()) return {};
  if (!(results->size() == main.results.size())) return "as many results as it has";
  std::vector<unit::SequenceStep> steps = {{0, 2, 1}, {0, 1, 1}};
  Result<unit::Counters> counted = unit::evaluate(program.cost(), steps, interpreter.expert_hits());
  if (!(counted.ok() && *counted == interpreter.counters()))
    return "the counters that its matrix says";
  return {};
}

// Which program a script changes, how, and what was found: the target's whole work.
struct StructureOutcome {
  bool accepted = false;
  bool ran = false;
  std::string failure;
};

inline StructureOutcome check_structure(std::span<const Program> bases,
                                        std::span<const u8> script) {
  if (script.empty()) return {};
  Program program = bases[script[0] % bases.size()];
  ProgramShuffle(program, script.subspan(1)).run();
  Result<VerifiedProgram> verified = verify(std::move(program));
  if (!verified.ok()) return {};
  StructureOutcome outcome{.accepted = true, .failure = round_trip_failure(*verified)};
  // A step costs many times what verifying does: one in four is enough.
  bool runs = script.back() % 4 == 0 && is_small(*verified);
  if (!outcome.failure.empty() || !runs) return outcome;
  outcome.ran = true;
  outcome.failure = step_failure(*verified);
  return outcome;
}

inline constexpr const char* kStructureBases[] = {"tiny",         "every_op",    "every_moe",
                                                  "every_sparse", "every_state", "every_spec",
                                                  "every_embed",  "every_dist",  "every_vision"};

}  // namespace tg::isa
