// One step of the interpreter: values, operands and the ops' loops. Instantiated for f32 and f64
// arithmetic. Each step_*.cc holds the ops of one topic.
#pragma once

#include <string>

#include "isa/reference/attention_math.h"
#include "isa/reference/interpreter.h"

namespace tg::isa {

// What a step reads and writes; all borrowed.
struct StepContext {
  const Program& program;
  const FlatProgram& flat;
  const WeightTable& weights;
  const ReferenceBatch& batch;
  std::vector<ReferenceKv>& kv;         // by kv symbol; those of states are empty
  std::vector<ReferenceState>& states;  // by kv symbol; those of caches are empty
  unit::Counters& counters;
  std::vector<u64>& route_hits;  // distinct experts of each `route`, in order of execution
};

// One query of attention: a new token of a sequence and the keys it sees, in order.
struct AttnQuery {
  i64 sequence = 0;
  i64 token = 0;
  std::vector<i64> keys;
};

// Rows first..first+count of a value whose rows belong to sequences.
struct RowRange {
  i64 first = 0;
  i64 count = 0;
};

// "trap: message", kInvalid.
Error trap(std::string message);
// A dimension with this step's T, S and R.
i64 evaluate(const Dim& dim, const ReferenceBatch& batch);
// The parent of a sequence's i-th new token among them, i - 1 in a chain; -1: none.
i64 tree_parent(const ReferenceBatch& batch, i64 sequence, i64 i);
bool is_collective(Opcode op);
// The class of a product's FLOP.
unit::Counter product_class(DType weight, ActivationQuant xq);

template <typename F>
class Step {
 public:
  explicit Step(const StepContext& context)
      : context_(context), values_(context.flat.values.size()) {}

  // A collective traps: it needs its peers.
  Status execute(const FlatInstruction& op);
  // A collective, given every rank's operand (its own among them, at `rank`).
  Status exchange(const FlatInstruction& op, std::span<const Tensor* const> peers, i64 rank);
  // The function's parameters, from the batch. Traps if a further tensor is not of its type.
  Status set_inputs();
  void drop(u32 value) { values_[value] = Tensor{}; }
  const Tensor& value(u32 id) const { return values_[id]; }
  // The function's results, in order.
  std::vector<Tensor> results() const;

 private:
  void set(u32 value, std::span<const i32> data);
  Status set(u32 value, const Tensor& tensor);
  // The tensor of a value operand.
  const Tensor& in(const FlatInstruction& op, std::size_t i) const;
  // A new result with the declared type and this step's dimensions.
  Tensor make(u32 id) const;
  // All elements of a value, weight or constant.
  std::vector<F> table(const FlatOperand& operand) const;
  std::vector<f32> weight_row(const FlatOperand& operand, i64 row) const;
  const std::vector<i64>& weight_dims(const FlatOperand& operand) const;
  std::span<const u8> weight_bytes(const FlatOperand& operand) const;
  bool has_type(const FlatOperand& operand, DType dtype) const;
  // Rounds to the result's type (kSameType) and stores.
  void finish(u32 id, Tensor tensor);
  void count(unit::Counter counter, i64 amount);

  Status embed(const FlatInstruction& op);
  Status gather(const FlatInstruction& op);
  Status splice(const FlatInstruction& op);
  void view(const FlatInstruction& op);
  void concat(const FlatInstruction& op);
  void cast(const FlatInstruction& op);

  void linear(const FlatInstruction& op);
  void bmm(const FlatInstruction& op);
  void bmm_weight(const FlatInstruction& op);
  void rmsnorm(const FlatInstruction& op);
  void layernorm(const FlatInstruction& op);

  void add_or_mul(const FlatInstruction& op);
  void glu(const FlatInstruction& op);
  void act(const FlatInstruction& op);
  void ew(const FlatInstruction& op);
  void reduce(const FlatInstruction& op);
  void rope(const FlatInstruction& op);

  Status kv_append(const FlatInstruction& op);
  Status attn(const FlatInstruction& op);
  Result<AttnQuery> causal_or_selected(const FlatInstruction& op, i64 sequence, i64 token) const;
  AttnQuery masked(Mask mask, i64 sequence, i64 token) const;
  void attend(const FlatInstruction& op, const AttnQuery& query, std::span<f64> out) const;
  HeadKeys<f32> cached_keys(const FlatOperand& cache, const AttnQuery& query, i64 head) const;
  void count_pairs(const FlatInstruction& op, i64 pairs);
  void count_keys(const FlatInstruction& op, i64 sequence);
  i64 slot_of(const ReferenceKv& kv, i64 sequence, i64 key) const;
  Status index(const FlatInstruction& op);

  Status logits(const FlatInstruction& op);
  Status sample(const FlatInstruction& op);
  Status spec_verify(const FlatInstruction& op);

  Status route(const FlatInstruction& op);
  void grouped_linear(const FlatInstruction& op);
  void combine(const FlatInstruction& op);

  void conv_state(const FlatInstruction& op);
  void scan(const FlatInstruction& op);
  i64 state_slot(i64 sequence) const;
  // The state before the step; zeros for a sequence with nothing cached.
  std::vector<f64> state_of(const FlatOperand& state, i64 sequence) const;
  void count_state(const KvDecl& decl);

  // Which rows of a value with `rows` = T or n*S rows are the sequence's.
  RowRange rows_of(const Dim& rows, i64 sequence) const;
  const Dim& row_dim(const FlatInstruction& op) const;
  i64 sequences() const { return static_cast<i64>(context_.batch.past.size()); }
  Status attn_dense(const FlatInstruction& op);
  void pool(const FlatInstruction& op);

  void patchify(const FlatInstruction& op);
  void conv2d(const FlatInstruction& op);
  void pool2d(const FlatInstruction& op);
  void interp2d(const FlatInstruction& op);
  void permute(const FlatInstruction& op);

  StepContext context_;
  std::vector<Tensor> values_;
};

extern template class Step<f32>;
extern template class Step<f64>;

}  // namespace tg::isa
