// attn, kv_append and index: every way of choosing keys, every cache format, against a softmax
// written out again over the rows that the cache holds.
#include <cmath>

#include "isa/reference/op_test.h"

namespace tg::isa {
namespace {

// Two query heads on one of keys; dk 4, dv 3. `seen` names attributes, `sel` adds the operand.
OpText attending(const std::string& seen, bool sel = false) {
  return {
      .declarations = ".kv $kv layers=1 heads=1 dk=4 dv=3 fmt=f32 page=4",
      .inputs =
          std::string(", %q f32[T,8], %k f32[T,4], %v f32[T,3]") + (sel ? ", %sel i32[T,3]" : ""),
      .body = "kv_append $kv[0], %k, %v, %bt\n%y = attn %q, $kv[0], %bt" +
              std::string(sel ? ", %sel" : "") + " {heads=2 scale=0.5" + seen + "} -> f32[T,6]"};
}

// One query's result over the given rows of k and v.
Numbers attend(std::span<const f64> q, const Tensor& k, const Tensor& v,
               const std::vector<i64>& keys) {
  Numbers out(6);
  for (std::size_t h = 0; h < 2; ++h) {
    f64 sum = 0;
    Numbers weights;
    for (i64 key : keys) {
      f64 score = 0;
      for (std::size_t i = 0; i < 4; ++i) score += q[h * 4 + i] * k.row(key)[i];
      weights.push_back(std::exp(0.5 * score));
      sum += weights.back();
    }
    for (std::size_t j = 0; j < keys.size(); ++j) {
      for (std::size_t i = 0; i < 3; ++i) out[h * 3 + i] += weights[j] / sum * v.row(keys[j])[i];
    }
  }
  return out;
}

// A sequence of three cached keys and five new ones; its rows in one tensor each.
struct Feed {
  Tensor q, k, v;
  explicit Feed(u32 seed) {
    std::mt19937 random(seed);
    q = random_tensor(random, {8, 8});
    k = random_tensor(random, {8, 4});
    v = random_tensor(random, {8, 3});
  }
};

Tensor part(const Tensor& x, i64 first, i64 count) {
  Tensor out{.dtype = x.dtype, .dims = {count, x.columns()}, .data = {}};
  for (i64 i = 0; i < count; ++i)
    out.data.insert(out.data.end(), x.row(first + i).begin(), x.row(first + i).end());
  return out;
}

// The batch of rows first..first+count, with `sel` where the program takes one.
TestBatch rows_batch(const Feed& feed, i64 first, i64 count, const Numbers& sel = {}) {
  TestBatch batch = batch_of({{static_cast<i32>(first), static_cast<i32>(count)}});
  batch.extra = {part(feed.q, first, count), part(feed.k, first, count),
                 part(feed.v, first, count)};
  if (!sel.empty()) batch.extra.push_back(tensor({count, 3}, sel, DType::kI32));
  return batch;
}

void expect_queries(const Numbers& got, const Feed& feed,
                    const std::vector<std::vector<i64>>& keys) {
  Numbers expected;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Numbers y = attend(feed.q.row(3 + static_cast<i64>(i)), feed.k, feed.v, keys[i]);
    expected.insert(expected.end(), y.begin(), y.end());
  }
  expect_numbers(got, expected, 1e-12);
}

TEST(Attn, TreeSeesCachedKeysAncestorsAndItself) {
  Feed feed(1);
  TestModel model(attending(" mask=tree").text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  run_ok(interpreter, rows_batch(feed, 0, 3));
  unit::Counters before = interpreter.counters();
  // Root 0; 1 and 2 are its children; 3 is a child of 1, 4 of the token before it.
  TestBatch batch = rows_batch(feed, 3, 5);
  batch.tree = {-1, 0, 0, 1, -1};
  Numbers y = run_ok(interpreter, batch)[0].data;
  expect_queries(
      y, feed,
      {{0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 5}, {0, 1, 2, 3, 4, 6}, {0, 1, 2, 3, 4, 6, 7}});
  u64 pairs = 4 + 5 + 5 + 6 + 7;
  EXPECT_EQ(interpreter.counters()[unit::kAttn] - before[unit::kAttn], pairs * 2 * 2 * 7);
  EXPECT_EQ(interpreter.counters()[unit::kKvRd] - before[unit::kKvRd], 8u * 7 * 4);
}

TEST(Attn, ATreeOfChainsIsCausal) {
  Feed feed(2);
  TestModel causal_model(attending("").text());
  TestModel tree_model(attending(" mask=tree").text());
  Interpreter a = causal_model.interpreter(Precision::kSameType);
  Interpreter b = tree_model.interpreter(Precision::kSameType);
  for (i64 first : {0, 3}) {
    TestBatch batch = rows_batch(feed, first, first == 0 ? 3 : 5);
    std::vector<Tensor> expected = run_ok(a, batch);
    EXPECT_EQ(run_ok(b, batch)[0].data, expected[0].data);
  }
  EXPECT_EQ(a.counters(), b.counters());
}

TEST(Attn, BadTreesTrap) {
  Feed feed(3);
  TestModel model(attending(" mask=tree").text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = rows_batch(feed, 0, 3);
  batch.tree = {-1, 1, 0};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: token 1 has parent 1");
  batch.tree = {-1, -2, 0};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: token 1 has parent -2");
  batch.tree = {-1, 0};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: the batch's arrays do not fit each other");
}

TEST(Attn, FullSeesAllCachedAndNewKeys) {
  Feed feed(4);
  TestModel model(attending(" mask=full").text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  run_ok(interpreter, rows_batch(feed, 0, 3));
  unit::Counters before = interpreter.counters();
  Numbers y = run_ok(interpreter, rows_batch(feed, 3, 5))[0].data;
  expect_queries(y, feed, std::vector<std::vector<i64>>(5, {0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(interpreter.counters()[unit::kAttn] - before[unit::kAttn], 40u * 2 * 2 * 7);
}

TEST(Attn, SelectedKeysOnly) {
  Feed feed(5);
  TestModel model(attending("", true).text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  run_ok(interpreter, rows_batch(feed, 0, 3, {0, -1, -1, 1, 0, -1, 0, 1, 2}));
  unit::Counters before = interpreter.counters();
  // In any order; twice is twice; none at all gives zeros.
  Numbers sel = {3, 0, -1, -1, 4, 1, -1, -1, -1, 2, 2, -1, 7, 6, 5};
  Numbers y = run_ok(interpreter, rows_batch(feed, 3, 5, sel))[0].data;
  expect_numbers({y.begin() + 12, y.begin() + 18}, Numbers(6, 0.0));
  Numbers rest = y;
  rest.erase(rest.begin() + 12, rest.begin() + 18);
  Numbers expected;
  std::vector<std::vector<i64>> keys = {{0, 3}, {1, 4}, {}, {2, 2}, {5, 6, 7}};
  for (std::size_t i : {0u, 1u, 3u, 4u}) {
    Numbers row = attend(feed.q.row(3 + static_cast<i64>(i)), feed.k, feed.v, keys[i]);
    expected.insert(expected.end(), row.begin(), row.end());
  }
  expect_numbers(rest, expected, 1e-12);
  // Ordered: three pairs for each query, whatever was listed, and no more keys than there are.
  EXPECT_EQ(interpreter.counters()[unit::kAttn] - before[unit::kAttn], 15u * 2 * 2 * 7);
  EXPECT_EQ(interpreter.counters()[unit::kKvRd] - before[unit::kKvRd], 8u * 7 * 4);
}

TEST(Attn, AKeyThatIsNotThereTraps) {
  Feed feed(6);
  TestModel model(attending("", true).text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  EXPECT_EQ(run_trap(interpreter, rows_batch(feed, 0, 2, {0, -1, -1, 2, -1, -1})),
            "trap: token 1 selects key 2 of 2");
  EXPECT_EQ(run_trap(interpreter, rows_batch(feed, 0, 2, {0, -1, -1, -2, -1, -1})),
            "trap: token 1 selects key -2 of 2");
}

// A sink and no key: its share of nothing.
TEST(Attn, SinksWithoutKeysGiveZeros) {
  OpText op = attending("", true);
  op.declarations += "\n.const $sink f32[2] = 1 2";
  op.body.replace(op.body.find("%bt, %sel"), 9, "%bt, $sink, %sel");
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  Feed feed(7);
  Numbers y = run_ok(interpreter, rows_batch(feed, 0, 1, {-1, -1, -1}))[0].data;
  expect_numbers(y, Numbers(6, 0.0));
  y = run_ok(interpreter, rows_batch(feed, 0, 1, {0, -1, -1}))[0].data;
  f64 score = 0;
  for (std::size_t i = 0; i < 4; ++i) score += 0.5 * feed.q.row(0)[i] * feed.k.row(0)[i];
  EXPECT_NEAR(y[0], std::exp(score) / (std::exp(score) + std::exp(1.0)) * feed.v.row(0)[0], 1e-6);
}

// The first two channels of a key are its value; keys alone are written and read.
TEST(Attn, LatentKeysServeAsValues) {
  OpText op{.declarations = ".kv $kv layers=1 heads=1 dk=4 dv=0 latent=2 fmt=f32 page=4",
            .inputs = ", %q f32[T,8], %k f32[T,4]",
            .body =
                "kv_append $kv[0], %k, %bt\n"
                "%y = attn %q, $kv[0], %bt {heads=2 scale=0.5} -> f32[T,4]"};
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  Feed feed(8);
  TestBatch batch = batch_of({{0, 3}});
  batch.extra = {part(feed.q, 0, 3), part(feed.k, 0, 3)};
  Numbers y = run_ok(interpreter, batch)[0].data;
  Tensor values{.dims = {3, 3}, .data = {}};
  for (i64 t = 0; t < 3; ++t) {
    for (std::size_t i : {0u, 1u, 1u}) values.data.push_back(feed.k.row(t)[i]);
  }
  Numbers last = attend(feed.q.row(2), feed.k, values, {0, 1, 2});
  expect_numbers({y.begin() + 8, y.end()}, {last[0], last[1], last[3], last[4]}, 1e-12);
  EXPECT_EQ(interpreter.counters()[unit::kAttn], 6u * 2 * 2 * (4 + 2));
  EXPECT_EQ(interpreter.counters()[unit::kKvRd], 3u * 4 * 4);
  EXPECT_EQ(interpreter.counters()[unit::kKvWr], 3u * 4 * 4);
}

// ---- formats

OpText caching(const std::string& format) {
  return {.declarations = ".kv $kv layers=1 heads=2 dk=32 dv=64 fmt=" + format + " page=4",
          .inputs = ", %q f32[T,64], %k f32[T,64], %v f32[T,128]",
          .body =
              "kv_append $kv[0], %k, %v, %bt\n"
              "%y = attn %q, $kv[0], %bt {heads=2 scale=0.25} -> f32[T,128]"};
}

TestBatch cached_batch(u32 seed) {
  std::mt19937 random(seed);
  std::normal_distribution<f64> spread(0, 3);
  TestBatch batch = batch_of({{0, 2}});
  batch.extra = {random_tensor(random, {2, 64}), random_tensor(random, {2, 64}),
                 random_tensor(random, {2, 128})};
  for (f64& v : batch.extra[1].data) v = static_cast<f32>(spread(random));
  for (f64& v : batch.extra[2].data) v = static_cast<f32>(spread(random));
  return batch;
}

// What is cached is the row through the codec, head by head; both precisions store the same.
TEST(KvFormats, RoundEachHeadThroughTheCodec) {
  for (DType format :
       {DType::kF32, DType::kF16, DType::kBf16, DType::kE4m3, DType::kQ8_0, DType::kQ4_0}) {
    std::string label(info(format).name);
    TestModel model(caching(label).text());
    Interpreter golden = model.interpreter(Precision::kGolden);
    Interpreter same = model.interpreter(Precision::kSameType);
    TestBatch batch = cached_batch(4);
    run_ok(golden, batch);
    run_ok(same, batch);
    for (i64 t = 0; t < 2; ++t) {
      std::vector<f32> expected;
      for (std::size_t h = 0; h < 2; ++h) {
        std::span<const f64> head = batch.extra[1].row(t).subspan(h * 32, 32);
        std::vector<f32> row(head.begin(), head.end());
        std::vector<u8> bytes(static_cast<std::size_t>(row_bytes(format, 32)));
        quantize_row(format, row, bytes);
        dequantize_row(format, bytes, row);
        expected.insert(expected.end(), row.begin(), row.end());
      }
      std::span<const f32> got = golden.kv(0).key(0, t);
      EXPECT_EQ(std::vector<f32>(got.begin(), got.end()), expected) << label;
      got = same.kv(0).key(0, t);
      EXPECT_EQ(std::vector<f32>(got.begin(), got.end()), expected) << label;
    }
    u64 row = static_cast<u64>(2 * (row_bytes(format, 32) + row_bytes(format, 64)));
    EXPECT_EQ(golden.counters()[unit::kKvWr], 2 * row) << label;
    EXPECT_EQ(golden.counters()[unit::kKvRd], 2 * row) << label;
  }
}

// By hand: q8_0 keeps multiples of max/127, e4m3 three bits of fraction.
TEST(KvFormats, ByHand) {
  for (const char* format : {"q8_0", "e4m3"}) {
    TestModel model(caching(format).text());
    Interpreter interpreter = model.interpreter(Precision::kGolden);
    TestBatch batch = cached_batch(5);
    std::fill(batch.extra[1].data.begin(), batch.extra[1].data.end(), 0.0);
    batch.extra[1].data[0] = 127;
    batch.extra[1].data[1] = 1.25;
    batch.extra[1].data[2] = -17.6;
    run_ok(interpreter, batch);
    std::span<const f32> key = interpreter.kv(0).key(0, 0);
    bool is_q8 = std::string(format) == "q8_0";
    EXPECT_EQ(key[0], is_q8 ? 127.0f : 128.0f);
    EXPECT_EQ(key[1], is_q8 ? 1.0f : 1.25f);
    EXPECT_EQ(key[2], is_q8 ? -18.0f : -18.0f);
  }
}

TEST(KvFormats, WhatABlockCannotHoldTraps) {
  for (const char* format : {"q8_0", "q4_0"}) {
    for (f64 number : {f64{INFINITY}, f64{NAN}, 1e30}) {
      TestModel model(caching(format).text());
      Interpreter interpreter = model.interpreter(Precision::kGolden);
      TestBatch batch = cached_batch(6);
      batch.extra[2].data[128 + 5] = number;
      EXPECT_EQ(run_trap(interpreter, batch),
                "trap: a key or value of token 1 does not fit " + std::string(format));
      EXPECT_EQ(interpreter.kv(0).key(0, 0)[0], 0.0f);
    }
  }
}

TEST(KvFormats, ATokenWithoutASlotIsNotWritten) {
  TestModel model(caching("f32").text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = cached_batch(7);
  batch.slots[1] = -1;
  run_ok(interpreter, batch);
  EXPECT_NE(interpreter.kv(0).key(0, 0)[0], 0.0f);
  EXPECT_EQ(interpreter.kv(0).key(0, 1)[0], 0.0f);
  EXPECT_EQ(interpreter.counters()[unit::kKvWr], 2u * 2 * (32 + 64) * 4);
}

// ---- index

OpText indexing(int k) {
  return {.declarations = ".kv $ki layers=1 heads=1 dk=2 dv=0 fmt=f32 page=4",
          .inputs = ", %q f32[T,4], %k f32[T,2], %w f32[T,2]",
          .body = "kv_append $ki[0], %k, %bt\n%y = index %q, $ki[0], %w, %bt {heads=2 k=" +
                  std::to_string(k) + "} -> i32[T," + std::to_string(k) + "]"};
}

// Scores of the last query, (2,-1) and (0,1) weighed 1 and 3:
//   key (1,0): 2; key (0,1): 3; key (-1,-1): 0; key (2,1): 3 + 3
TEST(Index, ChoosesTheBestKeysUpToTheToken) {
  std::vector<Tensor> in{tensor({4, 4}, {2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1}),
                         tensor({4, 2}, {1, 0, 0, 1, -1, -1, 2, 1}),
                         tensor({4, 2}, {1, 3, 1, 3, 1, 3, 1, 3})};
  expect_numbers(run_once(indexing(2), {{0, 4}}, in)[0].data, {0, -1, 0, 1, 0, 1, 1, 3});
  expect_numbers(run_once(indexing(5), {{0, 4}}, in)[0].data,
                 {0, -1, -1, -1, -1, 0, 1, -1, -1, -1, 0, 1, 2, -1, -1, 0, 1, 2, 3, -1});
}

TEST(Index, TiesGoToTheLowerKeyAndAcrossSteps) {
  TestModel model(indexing(2).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  TestBatch batch = batch_of({{0, 3}});
  Numbers q(12, 1.0);
  batch.extra = {tensor({3, 4}, q), tensor({3, 2}, {1, 0, 1, 0, 1, 0}),
                 tensor({3, 2}, Numbers(6, 1.0))};
  expect_numbers(run_ok(interpreter, batch)[0].data, {0, -1, 0, 1, 0, 1});
  TestBatch next = batch_of({{3, 1}});
  next.extra = {tensor({1, 4}, {1, 1, 1, 1}), tensor({1, 2}, {1, 0}), tensor({1, 2}, {1, -1})};
  expect_numbers(run_ok(interpreter, next)[0].data, {0, 1});
  EXPECT_EQ(interpreter.counters()[unit::kAttn], (6u + 4) * 2 * 2 * 2);
  EXPECT_EQ(interpreter.counters()[unit::kEw], (6u + 4) * 3 * 2);
  EXPECT_EQ(interpreter.counters()[unit::kKvRd], (3u + 4) * 2 * 4);
  next.extra[2].data[0] = NAN;
  next.past[0] = 3;
  EXPECT_EQ(run_trap(interpreter, next), "trap: the score of key 0 is not a number");
}

}  // namespace
}  // namespace tg::isa
