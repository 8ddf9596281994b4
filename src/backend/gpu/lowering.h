// One op of a plan as launches: an op is a function of a few lines that names its kernel and lists
// its arguments in the kernel's order.
#pragma once

#include <bit>
#include <string>

#include "backend/cpu/tensor.h"
#include "backend/gpu/lower.h"
#include "backend/gpu/packed.h"

namespace tg::backend::gpu {

// A tensor as rows of a constant width; a width that differs from step to step counts as rows of 1.
struct Matrix {
  Size rows;
  i64 columns = 1;
};

// A kernel's arguments, in order.
class Args {
 public:
  Args() { args_.push_back({.kind = ArgKind::kStep}); }
  Args& size(const Size& size) {
    return word(size.constant).word(size.t).word(size.s).word(size.r);
  }
  Args& place(const Arg& place) {
    args_.push_back(place);
    return *this;
  }
  Args& word(i64 value) {
    args_.push_back({.kind = ArgKind::kInt, .value = static_cast<u64>(value)});
    return *this;
  }
  Args& bytes(i64 value) {
    args_.push_back({.kind = ArgKind::kLong, .value = static_cast<u64>(value)});
    return *this;
  }
  // Where an array of the parameter block begins, in words.
  Args& param(u32 array) {
    args_.push_back({.kind = ArgKind::kParamIndex, .symbol = array});
    return *this;
  }
  Args& real(f32 value) {
    args_.push_back({.kind = ArgKind::kFloat, .value = std::bit_cast<u32>(value)});
    return *this;
  }
  std::vector<Arg> take() { return std::move(args_); }

 private:
  std::vector<Arg> args_;
};

class Lowering {
 public:
  Lowering(Lowered& out, const std::vector<u64>& constants, std::size_t index);

  Status run();
  i64 workspace() const { return workspace_; }

 private:
  using Grid = Extent[3];

  // ---- operands
  const isa::FlatOperand& in(std::size_t i) const { return op_.in[i]; }
  const isa::Type& type(std::size_t i) const { return out_.plan.flat.values[op_.in[i].index]; }
  const isa::Type& result(std::size_t i = 0) const { return out_.plan.flat.values[op_.out[i]]; }
  bool has(std::size_t i) const { return op_.in.size() > i; }
  Arg value(u32 id) const;
  Arg at(std::size_t i) const;  // operand i: a value, or a weight or constant as a vector
  Arg to(std::size_t i = 0) const { return value(op_.out[i]); }
  Arg block() const { return {.kind = ArgKind::kParams, .symbol = kParamBlock}; }
  Arg none() const { return {.kind = ArgKind::kTables}; }
  Arg scratch(i64 bytes);
  const isa::WeightDecl& weight(std::size_t i) const;
  Result<Packed> packed(std::size_t i) const;
  i64 elements_of(std::size_t i) const;  // of a weight or constant
  bool is_row(std::size_t i) const;      // one row that serves all rows of the result
  int mode() const;                      // how the result is rounded
  Error unsupported(const std::string& what) const;

  // ---- launches
  void add(Kernel kernel, Args& args, Extent x, Extent y = {}, Extent z = {}, When when = {});
  void add_elements(Kernel kernel, Args& args, const Size& elements);
  Variant variant(Kernel kernel) const;

  // ---- ops
  Status run_plain();
  void copy(const Arg& from, const Matrix& m, i64 stride, i64 offset, i64 y_stride, i64 y_offset,
            const Size& first);
  Status embed();
  Status gather();
  void view();
  void concat();
  void cast();
  void permute();
  Status binary();
  void glu();
  Status ew();
  void rms_norm();
  void layer_norm();
  void reduce();
  Status rope();
  Status linear();
  Status grouped_linear();
  Status bmm();
  // How an op multiplies int8 codes of x: not at all, for few rows, always.
  enum class Codes { kNever, kFew, kAlways };
  struct Product {
    Packed w;
    Arg x, bias, perm;
    Codes codes = Codes::kNever;
    Arg x_codes;
    Size rows, perm_rows;
    i64 x_stride = 0, x_step = 0, y_stride = 0, y_step = 0, bias_step = 0, ranks = 1, parts = 3;
    bool grouped = false, has_bias = false;

    // In which steps one work-group has few rows, and in which it has tiles.
    When is_few() const;
    When is_many() const;
  };
  void product(std::size_t w, const Product& product);
  void set_x(std::size_t x, const Matrix& m, Product& product);
  Arg quantized(std::size_t x, const Matrix& m, bool as_codes, const When& when);
  Codes codes_of(std::size_t w) const;
  i64 parts_of(std::size_t x) const;
  void kv_append();
  Status attention();
  Status route();
  void combine();
  void logits();
  void sample();

  Lowered& out_;
  const std::vector<u64>& constants_;
  std::size_t index_;
  const isa::FlatInstruction& op_;
  cpu::OpAttributes attributes_;
  i64 workspace_ = 0;
  Variant variant_;
};

Size operator*(const Size& size, i64 factor);
Matrix matrix_of(const isa::Type& type);

}  // namespace tg::backend::gpu
