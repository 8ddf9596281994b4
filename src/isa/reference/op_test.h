// For tests of single ops: a program around a few instructions whose operands are inputs of main,
// and the batch to run it with.
#pragma once

#include "isa/reference/test_model.h"

namespace tg::isa {

using Numbers = std::vector<f64>;

// The parts of a program; `inputs` are further parameters of main, each with a leading comma.
struct OpText {
  std::string declarations;
  std::string inputs;
  std::string body;
  std::string results = "%y";

  std::string text() const {
    return ".tgp least profile=TEXT,MOE,SPARSE,STATE,SPEC,EMBED,DIST,VISION\n"
           ".dim T<=64 S<=8 R<=64 C<=64\n" +
           declarations + "\n.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch" +
           inputs + ") -> " + results + "\n" + body + "\n.end\n";
  }
};

inline Tensor tensor(std::vector<i64> dims, Numbers data, DType dtype = DType::kF32) {
  return {.dtype = dtype, .dims = std::move(dims), .data = std::move(data)};
}

// Numbers that f32 and its sums of a few hold exactly: multiples of 1/8.
inline Tensor random_tensor(std::mt19937& random, std::vector<i64> dims) {
  i64 elements = 1;
  for (i64 d : dims) elements *= d;
  Numbers data;
  for (i64 i = 0; i < elements; ++i) data.push_back((static_cast<f64>(random() % 33) - 16.0) / 8.0);
  return tensor(std::move(dims), std::move(data));
}

// New tokens of each sequence after its cached ones; sequence s has pages s*16.. of `page` tokens.
struct Shape {
  i32 past = 0;
  i32 fresh = 0;
};

inline TestBatch batch_of(const std::vector<Shape>& shapes, i32 page = 4) {
  TestBatch batch;
  i32 first = 0;
  for (const Shape& shape : shapes) {
    TestSequence sequence{{}, shape.past};
    for (i32 i = 0; i < 16; ++i) sequence.pages.push_back(first++);
    std::vector<i32> fresh(static_cast<std::size_t>(shape.fresh), 0);
    batch.add(sequence, fresh, page, false);
  }
  return batch;
}

inline std::vector<Tensor> run_ok(Interpreter& interpreter, const TestBatch& batch) {
  Result<std::vector<Tensor>> out = interpreter.run(batch.view());
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out.ok() ? std::move(out).value() : std::vector<Tensor>(8);
}

// The message of the trap that the step must be.
inline std::string run_trap(Interpreter& interpreter, const TestBatch& batch) {
  Result<std::vector<Tensor>> out = interpreter.run(batch.view());
  EXPECT_FALSE(out.ok());
  return out.ok() ? "" : out.error().message;
}

// One step of a fresh interpreter. No sequence has cached keys unless the shapes say so.
inline std::vector<Tensor> run_once(const OpText& op, const std::vector<Shape>& shapes,
                                    std::vector<Tensor> inputs,
                                    Precision precision = Precision::kGolden) {
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(precision, 128);
  TestBatch batch = batch_of(shapes);
  batch.extra = std::move(inputs);
  return run_ok(interpreter, batch);
}

inline void expect_numbers(const Numbers& got, const Numbers& expected, f64 tolerance = 0) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], tolerance) << "element " << i;
}

}  // namespace tg::isa
