#include "isa/reference/group.h"

#include <algorithm>
#include <string>

#include "base/assert.h"
#include "isa/reference/step.h"

namespace tg::isa {

static Status check_mesh(const FlatProgram& flat, std::span<const u32> mesh) {
  for (const FlatInstruction& op : flat.code) {
    if (!is_collective(op.op)) continue;
    u32 axis = op.word(AttributeKey::kMeshAxis);
    u32 ranks = op.word(AttributeKey::kRanks);
    if (axis >= mesh.size() || mesh[axis] != ranks)
      return Error{Code::kInvalid, std::string(name(op.op)) + " wants " + std::to_string(ranks) +
                                       " ranks on axis " + std::to_string(axis)};
  }
  return {};
}

Result<ReferenceGroup> ReferenceGroup::make(const VerifiedProgram& program,
                                            std::span<const WeightTable> weights,
                                            Precision precision, i64 pages, std::vector<u32> mesh,
                                            const InterpreterOptions& options) {
  std::size_t ranks = 1;
  for (u32 size : mesh) ranks *= size;
  if (weights.size() != ranks)
    return Error{Code::kInvalid, std::to_string(weights.size()) + " weight tables for " +
                                     std::to_string(ranks) + " ranks"};
  ReferenceGroup group;
  group.mesh_ = std::move(mesh);
  for (const WeightTable& table : weights) {
    TG_ASSIGN(Interpreter rank, Interpreter::make(program, table, precision, pages, options));
    group.ranks_.push_back(std::move(rank));
  }
  for (const Interpreter::Entry& entry : group.ranks_[0].entries_)
    TG_TRY(check_mesh(entry.flat, group.mesh_));
  return group;
}

// The ranks that differ from `rank` on the axis only, in order, itself included.
std::vector<std::size_t> ReferenceGroup::peers_of(std::size_t rank, u32 axis) const {
  std::size_t stride = 1;
  for (std::size_t a = mesh_.size(); a-- > axis + 1;) stride *= mesh_[a];
  std::size_t first = rank - rank / stride % mesh_[axis] * stride;
  std::vector<std::size_t> peers;
  for (std::size_t i = 0; i < mesh_[axis]; ++i) peers.push_back(first + i * stride);
  return peers;
}

template <typename F>
Result<std::vector<std::vector<Tensor>>> ReferenceGroup::run_steps(
    std::span<const ReferenceBatch> batches) {
  std::vector<Step<F>> steps;
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    steps.emplace_back(ranks_[r].context(batches[r]));
    TG_TRY(steps.back().set_inputs());
  }
  const Interpreter::Entry& entry = ranks_[0].entries_[ranks_[0].entry_];
  for (std::size_t at = 0; at < entry.flat.code.size(); ++at) {
    const FlatInstruction& op = entry.flat.code[at];
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      if (!is_collective(op.op)) {
        TG_TRY(steps[r].execute(op));
        continue;
      }
      std::vector<const Tensor*> operands;
      std::vector<std::size_t> peers = peers_of(r, op.word(AttributeKey::kMeshAxis));
      for (std::size_t peer : peers) operands.push_back(&steps[peer].value(op.in[0].index));
      i64 place = std::find(peers.begin(), peers.end(), r) - peers.begin();
      TG_TRY(steps[r].exchange(op, operands, place));
    }
    for (Step<F>& step : steps) {
      for (u32 id : entry.dies_after[at]) step.drop(id);
    }
  }
  std::vector<std::vector<Tensor>> results;
  for (const Step<F>& step : steps) results.push_back(step.results());
  return results;
}

Result<std::vector<std::vector<Tensor>>> ReferenceGroup::run(
    std::span<const ReferenceBatch> batches) {
  TG_ASSERT(batches.size() == ranks_.size());
  std::size_t entry = ranks_[0].entries_.size() - 1;
  for (std::size_t r = 0; r < ranks_.size(); ++r)
    entry = std::min(entry, ranks_[r].entry_for(batches[r]));
  for (std::size_t r = 0; r < ranks_.size(); ++r) TG_TRY(ranks_[r].begin(batches[r], entry));
  Result<std::vector<std::vector<Tensor>>> results = ranks_[0].precision_ == Precision::kGolden
                                                         ? run_steps<f64>(batches)
                                                         : run_steps<f32>(batches);
  for (Interpreter& rank : ranks_) rank.end(results.ok());
  return results;
}

}  // namespace tg::isa
