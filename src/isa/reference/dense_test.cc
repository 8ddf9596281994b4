// attn_dense and pool against the formula, over tokens of sequences and over n rows of each.
#include <cmath>

#include "isa/reference/op_test.h"

namespace tg::isa {
namespace {

struct DenseCase {
  const char* attributes;
  bool full;
  i64 window;
  f64 softcap;
};

// Two query heads share one of keys; dk 2, dv 3.
Numbers naive_attention(const DenseCase& c, const std::vector<Tensor>& in,
                        const std::vector<std::pair<i64, i64>>& ranges) {
  Numbers out(static_cast<std::size_t>(in[0].rows()) * 6);
  for (std::pair<i64, i64> range : ranges) {
    for (i64 i = range.first; i < range.second; ++i) {
      for (std::size_t h = 0; h < 2; ++h) {
        f64 sum = 0;
        f64 mixed[3] = {};
        for (i64 j = range.first; j < range.second; ++j) {
          bool near = c.window == 0 || std::abs(i - j) < c.window;
          if (!near || (!c.full && j > i)) continue;
          f64 score = 0;
          for (std::size_t x = 0; x < 2; ++x) score += in[0].row(i)[h * 2 + x] * in[1].row(j)[x];
          score *= 0.5;
          if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
          sum += std::exp(score);
          for (std::size_t x = 0; x < 3; ++x) mixed[x] += std::exp(score) * in[2].row(j)[x];
        }
        for (std::size_t x = 0; x < 3; ++x)
          out[static_cast<std::size_t>(i) * 6 + h * 3 + x] = mixed[x] / sum;
      }
    }
  }
  return out;
}

OpText attending(const DenseCase& c, const std::string& rows) {
  return {.inputs = ", %q f32[" + rows + ",4], %k f32[" + rows + ",2], %v f32[" + rows + ",3]",
          .body = "%y = attn_dense %q, %k, %v, %bt {heads=2 kv_heads=1 scale=0.5" +
                  std::string(c.attributes) + "} -> f32[" + rows + ",6]"};
}

const DenseCase kCases[] = {
    {"", false, 0, 0},
    {" mask=full", true, 0, 0},
    {" window=2", false, 2, 0},
    {" mask=full window=2", true, 2, 0},
    {" mask=full window=1", true, 1, 0},
    {" mask=full window=9", true, 9, 0},
    {" softcap=0.75", false, 0, 0.75},
};

std::vector<Tensor> qkv(std::mt19937& random, i64 rows) {
  return {random_tensor(random, {rows, 4}), random_tensor(random, {rows, 2}),
          random_tensor(random, {rows, 3})};
}

TEST(AttnDense, OverTheTokensOfEachSequence) {
  std::mt19937 random(1);
  for (const DenseCase& c : kCases) {
    std::vector<Tensor> in = qkv(random, 7);
    Numbers expected = naive_attention(c, in, {{0, 4}, {4, 4}, {4, 7}});
    std::vector<Shape> shapes{{0, 4}, {0, 0}, {0, 3}};
    expect_numbers(run_once(attending(c, "T"), shapes, in)[0].data, expected, 1e-12);
    expect_numbers(run_once(attending(c, "T"), shapes, in, Precision::kSameType)[0].data, expected,
                   1e-5);
  }
}

TEST(AttnDense, OverTheRowsOfEachImage) {
  std::mt19937 random(2);
  for (const DenseCase& c : kCases) {
    std::vector<Tensor> in = qkv(random, 10);
    // What is cached does not matter: these rows are not the sequence's tokens.
    expect_numbers(run_once(attending(c, "5*S"), {{3, 1}, {0, 0}}, in)[0].data,
                   naive_attention(c, in, {{0, 5}, {5, 10}}), 1e-12);
  }
}

TEST(AttnDense, CountsThePairsItAttends) {
  struct Count {
    const char* attributes;
    u64 pairs;
  };
  // Sequences of 4 and 3.
  const Count counts[] = {
      {"", 10 + 6}, {" mask=full", 16 + 9}, {" window=2", 7 + 5}, {" mask=full window=2", 10 + 7}};
  std::mt19937 random(3);
  for (const Count& c : counts) {
    TestModel model(attending({c.attributes, false, 0, 0}, "T").text());
    Interpreter interpreter = model.interpreter(Precision::kGolden);
    TestBatch batch = batch_of({{0, 4}, {0, 3}});
    batch.extra = qkv(random, 7);
    run_ok(interpreter, batch);
    EXPECT_EQ(interpreter.counters()[unit::kAttn], c.pairs * 2 * 2 * 5) << c.attributes;
    EXPECT_EQ(interpreter.counters()[unit::kEw], c.pairs * 5 * 2) << c.attributes;
  }
}

TEST(AttnDense, AContinuedSequenceTraps) {
  TestModel model(attending(kCases[0], "T").text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  std::mt19937 random(4);
  TestBatch batch = batch_of({{0, 1}, {2, 1}});
  batch.extra = qkv(random, 2);
  EXPECT_EQ(run_trap(interpreter, batch),
            "trap: attn_dense sees no cache, sequence 1 has 2 cached keys");
}

struct PoolCase {
  const char* attributes;
  Numbers expected;  // of sequences of 3, 0 and 1 tokens
};

TEST(Pool, Table) {
  const std::vector<Tensor> x = {tensor({4, 2}, {3, -1, 0, 5, 3, -4, 0, 0})};
  const PoolCase cases[] = {
      {"", {3, -4, 0, 0, 0, 0}},
      {" {pooling=cls}", {3, -1, 0, 0, 0, 0}},
      {" {pooling=mean}", {2, 0, 0, 0, 0, 0}},
      {" {pooling=max}", {3, 5, 0, 0, 0, 0}},
      {" {norm=1}", {0.6, -0.8, 0, 0, 0, 0}},
      {" {pooling=mean norm=1}", {1, 0, 0, 0, 0, 0}},
  };
  for (const PoolCase& c : cases) {
    OpText op{.inputs = ", %x f32[T,2]",
              .body = "%y = pool %x, %bt" + std::string(c.attributes) + " -> f32[S,2]"};
    for (Precision precision : {Precision::kGolden, Precision::kSameType})
      expect_numbers(run_once(op, {{0, 3}, {0, 0}, {0, 1}}, x, precision)[0].data, c.expected,
                     1e-7);
  }
  OpText rows{.inputs = ", %x f32[2*S,2]", .body = "%y = pool %x, %bt {pooling=mean} -> f32[S,2]"};
  expect_numbers(run_once(rows, {{0, 1}, {0, 0}}, x)[0].data, {1.5, 2, 1.5, -2});
  OpText none{.inputs = ", %x f32[T,2]", .body = "%y = pool %x, %bt -> f32[S,2]"};
  EXPECT_TRUE(run_once(none, {}, {tensor({0, 2}, {})})[0].data.empty());
}

}  // namespace
}  // namespace tg::isa
