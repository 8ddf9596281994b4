// One step of the interpreter: values, operands and the ops' loops. Instantiated for f32 and f64
// arithmetic.
#pragma once

#include "isa/reference/interpreter.h"

namespace tg::isa {

// What a step reads and writes; all borrowed.
struct StepContext {
  const Program& program;
  const FlatProgram& flat;
  const WeightTable& weights;
  const ReferenceBatch& batch;
  std::vector<ReferenceKv>& kv;
  unit::Counters& counters;
};

// One query of attention: a new token of a sequence and the keys it sees, first to last.
struct AttnQuery {
  i64 sequence = 0;
  i64 token = 0;
  i64 first = 0;
  i64 last = 0;
};

template <typename F>
class Step {
 public:
  explicit Step(const StepContext& context)
      : context_(context), values_(context.flat.values.size()) {}

  Status execute(const FlatInstruction& op);
  void set(u32 value, std::span<const i32> data);
  void drop(u32 value) { values_[value] = Tensor{}; }
  const Tensor& value(u32 id) const { return values_[id]; }

 private:
  // The tensor of a value operand.
  const Tensor& in(const FlatInstruction& op, std::size_t i) const;
  // A new result with the declared type and this step's dimensions.
  Tensor make(u32 id) const;
  // All elements of a value, weight or constant.
  std::vector<F> table(const FlatOperand& operand) const;
  std::vector<f32> weight_row(const FlatOperand& operand, i64 row) const;
  const std::vector<i64>& weight_dims(const FlatOperand& operand) const;
  std::span<const u8> weight_bytes(const FlatOperand& operand) const;
  // Rounds to the result's type (kSameType) and stores.
  void finish(u32 id, Tensor tensor);
  void count(unit::Counter counter, i64 amount);

  Status embed(const FlatInstruction& op);
  Status gather(const FlatInstruction& op);
  void view(const FlatInstruction& op);
  void concat(const FlatInstruction& op);
  void cast(const FlatInstruction& op);
  void linear(const FlatInstruction& op);
  void bmm(const FlatInstruction& op);
  void rmsnorm(const FlatInstruction& op);
  void layernorm(const FlatInstruction& op);
  void add_or_mul(const FlatInstruction& op);
  void glu(const FlatInstruction& op);
  void act(const FlatInstruction& op);
  void ew(const FlatInstruction& op);
  void reduce(const FlatInstruction& op);
  void rope(const FlatInstruction& op);
  void kv_append(const FlatInstruction& op);
  void attn(const FlatInstruction& op);
  std::vector<F> scores(const FlatInstruction& op, const AttnQuery& query, i64 head) const;
  void attend(const FlatInstruction& op, const AttnQuery& query, std::span<const F> sinks,
              std::span<f64> out) const;
  i64 slot_of(const ReferenceKv& kv, i64 sequence, i64 key) const;
  Status logits(const FlatInstruction& op);
  Status sample(const FlatInstruction& op);

  StepContext context_;
  std::vector<Tensor> values_;
};

extern template class Step<f32>;
extern template class Step<f64>;

}  // namespace tg::isa
