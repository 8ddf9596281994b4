// For tests: random steps for any program.
#pragma once

#include "isa/reference/op_test.h"

namespace tg::isa {

// Up to four sequences that step through a program: some new tokens each, a row for the last or for
// all of them, trees where rows are for all, images and other inputs at random.
class RandomSteps {
 public:
  RandomSteps(const VerifiedProgram& program, std::mt19937& random)
      : program_(program.program()), random_(random) {
    for (i32 s = 0; s < 4; ++s) {
      sequences_.push_back({{}, 0});
      for (i32 i = 0; i < 16; ++i) sequences_.back().pages.push_back(s * 16 + i);
    }
    std::span<const Instruction> body = program_.functions[0].body;
    is_dense_ = std::any_of(body.begin(), body.end(), [&](const Instruction& i) {
      return i.op == Opcode::kAttnDense && type_of_value(i.in[0].index).dims[0].t > 0;
    });
    has_tree_ = std::any_of(body.begin(), body.end(), [](const Instruction& i) {
      return i.op == Opcode::kSpecVerify || i.op == Opcode::kAttn;
    });
  }

  TestBatch next() {
    TestBatch batch;
    shapes_.clear();
    bool rows_for_all = random_() % 2 == 0;
    for (std::size_t s = 0; s < sequences_.size(); ++s) {
      if (random_() % 4 == 0 && s > 0) continue;
      if (is_dense_) sequences_[s].past = 0;
      step(batch, static_cast<i32>(s), rows_for_all);
    }
    inputs(batch);
    return batch;
  }

  // A step of `sequences` sequences without a single token.
  TestBatch empty(i32 sequences) {
    TestBatch batch;
    for (i32 s = 0; s < sequences; ++s)
      batch.add(sequences_[static_cast<std::size_t>(s)], std::span<const i32>{}, 4, false);
    inputs(batch);
    return batch;
  }

  // Of the step that next() made.
  const std::vector<unit::SequenceStep>& shapes() const { return shapes_; }

 private:
  const Type& type_of_value(u32 id) const { return program_.functions[0].value_types[id]; }
  const Type& parameter(std::size_t i) const {
    return type_of_value(program_.functions[0].parameters[i]);
  }

  // Half of the batches with rows for all tokens are trees (chains for `rejection`, which has them
  // only): a parent is the first token or any earlier one.
  void step(TestBatch& batch, i32 s, bool rows_for_all) {
    TestSequence& sequence = sequences_[static_cast<std::size_t>(s)];
    std::size_t fresh = 1 + random_() % 5;
    unit::SequenceStep shape{.cached = sequence.past, .fresh = static_cast<i64>(fresh)};
    i32 first = static_cast<i32>(batch.ids.size());
    bool row = random_() % 2 == 0;
    batch.add(sequence, random_ids(random_, fresh, 96), 4, row && !rows_for_all);
    batch.states.push_back(s);
    for (i32 t = first; rows_for_all && t < first + static_cast<i32>(fresh); ++t)
      batch.rows.push_back(t);
    shape.rows = rows_for_all ? static_cast<i64>(fresh) : row;
    shape.tree_pairs = 0;
    std::vector<i64> depth;
    for (std::size_t i = 0; i < fresh; ++i) {
      i32 parent = i > 0 && has_tree_ && !needs_chains() ? random_parent(i) : -1;
      batch.tree.push_back(parent);
      std::size_t above = parent >= 0 ? static_cast<std::size_t>(parent) : i - 1;
      depth.push_back(i == 0 ? 0 : depth[above] + 1);
      shape.tree_pairs += shape.cached + depth.back() + 1;
    }
    shapes_.push_back(shape);
  }

  i32 random_parent(std::size_t i) {
    return random_() % 2 == 0 ? -1 : static_cast<i32>(random_() % i);
  }

  bool needs_chains() const {
    std::span<const Instruction> body = program_.functions[0].body;
    return std::any_of(body.begin(), body.end(), [](const Instruction& i) {
      return i.op == Opcode::kSpecVerify && i.in.size() > 5;
    });
  }

  i64 evaluate(const Dim& d, const TestBatch& b) const {
    return d.constant + d.t * static_cast<i64>(b.ids.size()) +
           d.s * static_cast<i64>(b.past.size()) + d.r * static_cast<i64>(b.rows.size());
  }

  // Positions for every section, parameters of sampling, further tensors. Indices of an i32 input
  // stay small enough for whatever they index.
  void inputs(TestBatch& batch) {
    std::vector<i32> first = batch.positions;
    for (i64 n = 1; parameter(1).dims.size() > 1 && n < parameter(1).dims[0].constant; ++n)
      batch.positions.insert(batch.positions.end(), first.begin(), first.end());
    for (std::size_t i = 4; i < program_.functions[0].parameters.size(); ++i) {
      const Type& type = parameter(i);
      if (type.kind == ValueKind::kParams) {
        for (std::size_t r = 0; r < batch.rows.size(); ++r)
          batch.params.push_back({{}, sampling_, {}, {}, {}, static_cast<u64>(r)});
        continue;
      }
      std::vector<i64> dims;
      for (const Dim& d : type.dims) dims.push_back(evaluate(d, batch));
      Tensor input = random_tensor(random_, dims);
      input.dtype = type.dtype;
      if (type.dtype == DType::kI32) {
        for (f64& v : input.data) v = static_cast<f64>(random_() % 4) - 1.0;
      }
      batch.extra.push_back(std::move(input));
    }
  }

  const Program& program_;
  std::mt19937& random_;
  std::vector<TestSequence> sequences_;
  std::vector<unit::SequenceStep> shapes_;
  SamplingParams sampling_{.temperature = 0.7f, .seed = 9};
  bool is_dense_ = false;
  bool has_tree_ = false;
};

}  // namespace tg::isa
