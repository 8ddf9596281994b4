// conv_state and scan against their recurrences written out again, and what a state is: zero at the
// start, one block per slot, untouched by a trap.
#include <cmath>

#include "isa/reference/op_test.h"

namespace tg::isa {
namespace {

OpText convolution(const std::string& format, bool bias) {
  return {.declarations = ".state $st layers=1 heads=1 dk=2 dv=2 fmt=" + format +
                          "\n.const $w f32[2,3] = 1 10 100 2 20 200\n.const $b f32[2] = 0.5 0.25",
          .inputs = ", %x f32[T,2]",
          .body = "%z = mul %x, $b -> f32[T,2]\n%y = conv_state %x, $w, $st[0], %bt" +
                  std::string(bias ? ", $b" : "") + " -> f32[T,2]",
          .results = "%y, %z"};
}

// Channel 0 sees 1, 2, 3, 4; channel 1 their negatives.
TEST(ConvState, RemembersTheLastInputs) {
  TestModel model(convolution("f32", true).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  TestBatch batch = batch_of({{0, 2}});
  batch.extra = {tensor({2, 2}, {1, -1, 2, -2})};
  expect_numbers(run_ok(interpreter, batch)[0].data,
                 {100.5, -199.75, 10 + 200 + 0.5, -20 - 400 + 0.25});
  expect_numbers(
      Numbers(interpreter.state(0).block(0, 0).begin(), interpreter.state(0).block(0, 0).end()),
      {1, 2, -1, -2});
  batch = batch_of({{2, 1}});
  batch.extra = {tensor({1, 2}, {3, -3})};
  expect_numbers(run_ok(interpreter, batch)[0].data, {1 + 20 + 300 + 0.5, -2 - 40 - 600 + 0.25});
  batch = batch_of({{3, 1}});
  batch.extra = {tensor({1, 2}, {4, -4})};
  expect_numbers(run_ok(interpreter, batch)[0].data, {2 + 30 + 400 + 0.5, -4 - 60 - 800 + 0.25});
  // Four tokens in three steps, each of one sequence.
  EXPECT_EQ(interpreter.counters()[unit::kState], 3u * 2 * 2 * 2 * 4);
  EXPECT_EQ(interpreter.counters()[unit::kEw], 4u * 2 * (2 * 3 + 1) + 4u * 2);
}

TEST(ConvState, StartsFromZeroWhateverTheSlotHolds) {
  TestModel model(convolution("f32", false).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  TestBatch batch = batch_of({{0, 1}});
  batch.extra = {tensor({1, 2}, {7, 7})};
  Numbers first = run_ok(interpreter, batch)[0].data;
  EXPECT_EQ(run_ok(interpreter, batch)[0].data, first);
  batch.past[0] = 1;
  EXPECT_NE(run_ok(interpreter, batch)[0].data, first);
}

TEST(ConvState, RoundsItsStateWhenTheStepEnds) {
  TestModel model(convolution("bf16", false).text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  f64 x = 1 + 1.0 / 1024;  // bf16 holds 1
  TestBatch batch = batch_of({{0, 2}});
  batch.extra = {tensor({2, 2}, {x, 0, 0, 0})};
  EXPECT_EQ(run_ok(interpreter, batch)[0].data[2], 10 * x);
  batch = batch_of({{2, 1}});
  batch.extra = {tensor({1, 2}, {0, 0})};
  EXPECT_EQ(run_ok(interpreter, batch)[0].data[0], 1.0);
}

// Slots as the batch names them, a copy, an empty sequence, an empty step.
TEST(ConvState, LivesInTheSlotsOfTheBatch) {
  TestModel model(convolution("f32", false).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType, 8, {.state_slots = 12});
  TestBatch batch = batch_of({{0, 1}, {0, 0}, {0, 1}});
  batch.states = {11, 4, 3};
  batch.extra = {tensor({2, 2}, {5, 6, 7, 8})};
  run_ok(interpreter, batch);
  EXPECT_EQ(interpreter.state(0).block(0, 11)[1], 5);
  EXPECT_EQ(interpreter.state(0).block(0, 3)[3], 8);
  EXPECT_EQ(interpreter.state(0).block(0, 4)[1], 0);
  EXPECT_EQ(interpreter.counters()[unit::kState], 3u * 2 * 2 * 2 * 4);
  interpreter.copy_state(11, 0);
  TestBatch next = batch_of({{1, 1}, {1, 1}});
  next.states = {11, 0};
  next.extra = {tensor({2, 2}, {1, 1, 1, 1})};
  Numbers y = run_ok(interpreter, next)[0].data;
  EXPECT_EQ(y[0], y[2]);
  EXPECT_EQ(y[1], y[3]);
  TestBatch none = batch_of({});
  none.extra = {tensor({0, 2}, {})};
  EXPECT_TRUE(run_ok(interpreter, none)[0].data.empty());
}

TEST(ConvState, BadSlotsTrap) {
  TestModel model(convolution("f32", false).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType, 8, {.state_slots = 2});
  TestBatch batch = batch_of({{0, 1}, {0, 1}});
  batch.extra = {tensor({2, 2}, {5, 6, 7, 8})};
  batch.states = {0, 2};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: state slot 2 of 2");
  batch.states = {-1, 0};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: state slot -1 of 2");
  batch.states = {1, 1};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: state slot 1 twice");
  batch.states = {1};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: the batch's arrays do not fit each other");
  batch = batch_of({{0, 1}, {0, 1}, {0, 0}});
  batch.extra = {tensor({2, 2}, {5, 6, 7, 8})};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: 3 sequences for 2 state slots");
}

// ---- scan

constexpr std::size_t kHeads = 2, kDk = 3, kDv = 4;

struct Rule {
  const char* name;
  bool per_channel;  // g, and rwkv7's beta and b
  int extras;
  i64 flops;
};
const Rule kRules[] = {{"gdn", false, 1, 8},
                       {"kda", true, 1, 8},
                       {"gla", true, 0, 5},
                       {"mamba2", false, 1, 6},
                       {"rwkv7", true, 2, 9}};

OpText scanning(const Rule& rule) {
  std::string wide = "f32[T,6]";
  std::string narrow = "f32[T,2]";
  std::string name = rule.name;
  std::string extra = name == "rwkv7" ? wide : narrow;
  OpText op{.declarations = ".state $st layers=1 heads=2 dk=3 dv=4 fmt=f32",
            .inputs = ", %q f32[T,6], %k f32[T,6], %v f32[T,8], %g " +
                      (rule.per_channel ? wide : narrow)};
  std::string operands;
  for (int i = 0; i < rule.extras; ++i) {
    op.inputs += ", %e" + std::to_string(i) + " " + extra;
    operands += ", %e" + std::to_string(i);
  }
  op.body = "%y = scan %q, %k, %v, %g, $st[0], %bt" + operands + " {heads=2 rule=" + name +
            "} -> f32[T,8]";
  return op;
}

// The recurrence with matrices: S as rows of kDk, each of kDv.
Numbers naive_scan(const std::string& rule, const std::vector<Tensor>& in) {
  Numbers out(static_cast<std::size_t>(in[0].rows()) * kHeads * kDv);
  for (std::size_t h = 0; h < kHeads; ++h) {
    f64 S[kDk][kDv] = {};
    for (std::size_t t = 0; t < static_cast<std::size_t>(in[0].rows()); ++t) {
      auto at = [&](std::size_t operand, std::size_t i) {
        const Tensor& x = in[operand];
        std::size_t width = static_cast<std::size_t>(x.columns()) / kHeads;
        return x.row(static_cast<i64>(t))[h * width + (width == 1 ? 0 : i)];
      };
      f64 old[kDk][kDv];
      std::copy(&S[0][0], &S[0][0] + kDk * kDv, &old[0][0]);
      for (std::size_t c = 0; c < kDv; ++c) {
        f64 predicted = 0;  // (decayed S)' k
        f64 seen = 0;       // beta' S
        for (std::size_t i = 0; i < kDk; ++i) {
          predicted += std::exp(at(3, i)) * old[i][c] * at(1, i);
          if (rule == "rwkv7") seen += at(4, i) * old[i][c];
        }
        for (std::size_t i = 0; i < kDk; ++i) {
          f64 kept = std::exp(at(3, i)) * old[i][c];
          f64 k = at(1, i), v = at(2, c);
          if (rule == "gdn" || rule == "kda") S[i][c] = kept + k * at(4, 0) * (v - predicted);
          if (rule == "gla") S[i][c] = kept + k * v;
          if (rule == "mamba2") S[i][c] = kept + at(4, 0) * k * v;
          if (rule == "rwkv7") S[i][c] = kept + at(5, i) * seen + k * v;
        }
        for (std::size_t i = 0; i < kDk; ++i) out[(t * kHeads + h) * kDv + c] += S[i][c] * at(0, i);
      }
    }
  }
  return out;
}

std::vector<Tensor> scan_inputs(std::mt19937& random, const Rule& rule, i64 tokens) {
  i64 extra = std::string(rule.name) == "rwkv7" ? 6 : 2;
  std::vector<Tensor> in{random_tensor(random, {tokens, 6}), random_tensor(random, {tokens, 6}),
                         random_tensor(random, {tokens, 8}),
                         random_tensor(random, {tokens, rule.per_channel ? 6 : 2})};
  for (int i = 0; i < rule.extras; ++i) in.push_back(random_tensor(random, {tokens, extra}));
  for (f64& v : in[3].data) v = -std::fabs(v);
  for (f64& v : in[1].data) v /= 8;
  return in;
}

Tensor rows_of(const Tensor& x, i64 first, i64 count) {
  Tensor out{.dtype = x.dtype, .dims = {count, x.columns()}, .data = {}};
  out.data.assign(x.data.begin() + first * x.columns(),
                  x.data.begin() + (first + count) * x.columns());
  return out;
}

TEST(Scan, EveryRuleIsItsRecurrence) {
  std::mt19937 random(2);
  for (const Rule& rule : kRules) {
    TestModel model(scanning(rule).text());
    std::vector<Tensor> in = scan_inputs(random, rule, 6);
    Numbers expected = naive_scan(rule.name, in);
    for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
      Interpreter interpreter = model.interpreter(precision);
      TestBatch batch = batch_of({{0, 6}});
      batch.extra = in;
      expect_numbers(run_ok(interpreter, batch)[0].data, expected,
                     precision == Precision::kGolden ? 1e-12 : 1e-4);
      EXPECT_EQ(interpreter.counters()[unit::kAttn], static_cast<u64>(rule.flops) * 6 * 2 * 3 * 4);
      EXPECT_EQ(interpreter.counters()[unit::kState], 2u * 2 * 3 * 4 * 4);
    }
  }
}

// One token by hand: gdn on an empty state is u = beta v, S = k u', y = (k.q) beta v.
TEST(Scan, OneTokenByHand) {
  std::vector<Tensor> in{tensor({1, 6}, {1, 2, 3, 0, 0, 1}), tensor({1, 6}, {1, 0, 1, 2, 2, 2}),
                         tensor({1, 8}, {1, 2, 3, 4, 5, 6, 7, 8}), tensor({1, 2}, {-1, -2}),
                         tensor({1, 2}, {0.5, 0.25})};
  expect_numbers(run_once(scanning(kRules[0]), {{0, 1}}, in)[0].data, {2, 4, 6, 8, 2.5, 3, 3.5, 4});
}

TEST(Scan, CutsOfAPromptChangeNoBit) {
  std::mt19937 random(3);
  for (const Rule& rule : kRules) {
    TestModel model(scanning(rule).text());
    std::vector<Tensor> in = scan_inputs(random, rule, 9);
    Numbers whole;
    for (i64 chunk : {9, 1, 4}) {
      Interpreter interpreter = model.interpreter(Precision::kSameType);
      Numbers got;
      for (i64 at = 0; at < 9; at += chunk) {
        i64 count = std::min<i64>(chunk, 9 - at);
        // A neighbour that starts over in every step.
        TestBatch batch = batch_of({{static_cast<i32>(at), static_cast<i32>(count)}, {0, 1}});
        for (const Tensor& x : in) {
          Tensor part = rows_of(x, at, count);
          part.dims[0] += 1;
          part.data.insert(part.data.end(), x.row(0).begin(), x.row(0).end());
          batch.extra.push_back(part);
        }
        Numbers y = run_ok(interpreter, batch)[0].data;
        got.insert(got.end(), y.begin(), y.end() - 8);
      }
      if (whole.empty()) whole = got;
      EXPECT_EQ(got, whole) << rule.name << " in pieces of " << chunk;
    }
  }
}

}  // namespace
}  // namespace tg::isa
