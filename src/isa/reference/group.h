// Several ranks of one program in lockstep, each with its own weights (shards), caches and states:
// what a program with collectives means.
#pragma once

#include <vector>

#include "isa/reference/interpreter.h"

namespace tg::isa {

class ReferenceGroup {
 public:
  // mesh[axis] is the axis's size; rank r's coordinates are row-major in it, and weights[r] its
  // weights. kInvalid if there is not one table for each rank, or a collective names an axis that
  // the mesh lacks or another number of ranks.
  static Result<ReferenceGroup> make(const VerifiedProgram& program,
                                     std::span<const WeightTable> weights, Precision precision,
                                     i64 pages, std::vector<u32> mesh,
                                     const InterpreterOptions& options = {});

  // Results by rank. A trap of any rank is the group's: no rank commits anything. main runs unless
  // every rank may run the second entry. REQUIRES: a batch for each rank.
  Result<std::vector<std::vector<Tensor>>> run(std::span<const ReferenceBatch> batches);

  std::size_t ranks() const { return ranks_.size(); }
  const Interpreter& rank(std::size_t i) const { return ranks_[i]; }

 private:
  ReferenceGroup() = default;
  std::vector<std::size_t> peers_of(std::size_t rank, u32 axis) const;
  template <typename F>
  Result<std::vector<std::vector<Tensor>>> run_steps(std::span<const ReferenceBatch> batches);

  std::vector<u32> mesh_;
  std::vector<Interpreter> ranks_;
};

}  // namespace tg::isa
