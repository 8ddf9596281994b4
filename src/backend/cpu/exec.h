// A plan bound to memory: runs ops of the program front to back. What the kernels are called with
// follows from the plan, the memory and a few sizes of the step: they are listed when those sizes
// change, and steps of one shape, as decoding has, only run the list.
#pragma once

#include <vector>

#include "backend/abi.h"
#include "backend/cpu/calls.h"
#include "backend/cpu/kernels/args.h"
#include "backend/cpu/plain_ops.h"
#include "backend/cpu/plan.h"
#include "backend/cpu/pool.h"
#include "backend/cpu/sample_ops.h"
#include "backend/cpu/scratch.h"

namespace tg::backend::cpu {

// Everything bind() is given, as host pointers.
struct Memory {
  const u8* weights = nullptr;
  u8* kv = nullptr;
  const u8* params = nullptr;
  u8* activations = nullptr;
  u8* workspace = nullptr;
  u8* output = nullptr;
};

class Exec {
 public:
  // The plan, the kernels and the memory must outlive it; the bindings' arrays are copied.
  Exec(const Plan& plan, const Kernels& kernels, const Memory& memory, const tg_bindings& bindings);

  // Runs ops [first, first + count). REQUIRES: the step is within the plan's limits and its
  // parameter block was checked by the host.
  void run(u32 first, u32 count, const tg_step& step);
  // Nanoseconds of each op in the last run that had it; zeros until the run after the first call.
  std::span<const u64> op_times();

 private:
  // Where an operand comes from.
  struct Source {
    isa::OperandKind kind = isa::OperandKind::kValue;
    u32 value = 0;               // kValue
    u32 kv = 0;                  // kKv: index into kv_
    Tensor table;                // kWeight, kConst: f32, if the op reads it as a vector
    const u8* panels = nullptr;  // kWeight: if the op reads it as a matrix, or as several
    PanelForm form = PanelForm::kF32;
    i64 matrices = 1, rows = 0, columns = 0;  // of the panels
    i64 matrix_bytes = 0;
  };
  struct BoundOp {
    isa::Opcode op{};
    OpAttributes attributes;
    std::vector<Source> in;
    std::vector<u32> out;
    PlannedOp planned;
    Scratch scratch;
  };

  Source bind_weight(isa::Opcode op, std::size_t index, const isa::FlatOperand& operand,
                     const tg_bindings& bindings) const;
  Source bind_operand(isa::Opcode op, std::size_t index, const isa::FlatOperand& operand,
                      const tg_bindings& bindings);
  u32 bind_kv(const isa::FlatOperand& operand, const tg_bindings& bindings);

  // All of a step that arguments follow from; the rest is read by the kernels from the parameter
  // block.
  struct Shape {
    u32 first = 0, count = 0;  // ops
    u32 tokens = 0, sequences = 0, rows = 0;
    u64 params = 0;    // where the block is
    i64 segments = 0;  // of the longest sequence

    bool operator==(const Shape&) const = default;
  };

  BatchView batch_at(u64 params) const;
  void list_calls();
  void run_timed(i64 context);
  Tensor tensor(u32 value) const;
  Tensor tensor(const Source& source) const;
  const i32* param(u64 offset) const;

  // The op's scratch for all shares, behind what it shares.
  f32* scratch(const BoundOp& op) const;
  // Rows each sequence has of a value of n*S rows; 0 for one of T rows, which go by cu.
  i64 rows_each(u32 value) const;

  void list_op(const BoundOp& op);
  void list_profile_op(const BoundOp& op, const Tensor& out);
  void round_results(const BoundOp& op);

  // x, or its rows as xq rounds them.
  const f32* activations(const BoundOp& op, const Tensor& x);
  // The rows of x as int8, made once for neighbouring products with weights of one form.
  // REQUIRES: int8_rounding(op) is not kNone.
  Int8Rows int8_activations(const BoundOp& op, const Tensor& x);
  static Int8Rounding int8_rounding(const BoundOp& op);
  // Whether the rows that a product made are those that this one needs.
  bool is_rounded_alike(const BoundOp& op) const;
  // Whether the product takes its activations in bf16, and those, made once as int8's are.
  bool is_split(const BoundOp& op) const;
  SplitRows split_activations(const BoundOp& op, const Tensor& x);
  void list_linear(const BoundOp& op, const Tensor& out);
  void list_grouped_linear(const BoundOp& op, const Tensor& out);
  void list_bmm(const BoundOp& op, const Tensor& out);
  void list_embed(const BoundOp& op, const Tensor& out);
  void list_rms_norm(const BoundOp& op, const Tensor& out);
  void list_binary(const BoundOp& op, const Tensor& out);
  bool list_glu(const BoundOp& op, const Tensor& out);
  void list_rope(const BoundOp& op, const Tensor& out);
  void list_kv_append(const BoundOp& op);
  // Segments of the longest sequence if sharing each query's keys helps, else 0.
  i64 attention_segments(const KvPages& kv, i64 tokens) const;
  void list_attention(const BoundOp& op, const Tensor& out);
  void list_attention_dense(const BoundOp& op, const Tensor& out);
  void list_pool(const BoundOp& op, const Tensor& out);
  void list_route(const BoundOp& op, const Tensor& out);
  Samples samples() const;
  void list_logits(const BoundOp& op, const Tensor& out);
  void list_sample(const BoundOp& op, const Tensor& out);
  void list_verify(const BoundOp& op, const Tensor& out);
  void list_plain_op(const BoundOp& op, const Tensor& out);

  const Plan& plan_;
  const Kernels& kernels_;
  Memory memory_;
  tg_param_layout layout_;
  u64 tree_offset_, samples_offset_, lists_offset_;
  std::vector<KvPages> kv_;
  std::vector<BoundOp> ops_;
  Pool pool_;
  std::vector<i32> sequence_of_;
  // What calls_ is for.
  Shape shape_;
  BatchView batch_{};
  CallList calls_;
  std::vector<u32> op_of_call_;
  bool is_timed_ = false;
  std::vector<u64> call_ns_, op_ns_;
  // The last listed product whose int8 or bf16 activations are still at the start of the workspace.
  const BoundOp* rounded_ = nullptr;
  Int8Rows rounded_rows_;
  SplitRows split_rows_;
};

}  // namespace tg::backend::cpu
