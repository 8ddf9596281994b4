// The interpreter against the cost matrix, against itself under other batchings, and against bad
// batches.
#include "isa/reference/interpreter.h"

#include <cmath>

#include "isa/reference/test_model.h"

namespace tg::isa {
namespace {

TestSequence sequence_with(i32 first_page, i32 count) {
  TestSequence s;
  for (i32 i = 0; i < count; ++i) s.pages.push_back(first_page + i);
  return s;
}

std::vector<f64> logits_of(Interpreter& interpreter, const TestBatch& batch) {
  Result<std::vector<Tensor>> out = interpreter.run(batch.view());
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out.ok() ? (*out)[0].data : std::vector<f64>{};
}

// The last row's logits after feeding `ids` in pieces of at most `chunk`.
std::vector<f64> feed(const TestModel& model, Precision precision, std::span<const i32> ids,
                      std::size_t chunk, TestSequence sequence) {
  Interpreter interpreter = model.interpreter(precision);
  std::vector<f64> last;
  for (std::size_t at = 0; at < ids.size(); at += chunk) {
    TestBatch batch;
    batch.add(sequence, ids.subspan(at, std::min(chunk, ids.size() - at)), 4, true);
    last = logits_of(interpreter, batch);
  }
  return last;
}

class Steps : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Programs, Steps, testing::Values("tiny.tga", "every_op.tga"));

TEST_P(Steps, CountWhatTheCostMatrixSays) {
  TestModel model(read_testdata(GetParam()));
  SamplingParams greedy{.temperature = 0.0f};
  SampleRow row{{}, greedy, {}, {}, {}, 0};
  std::mt19937 random(3);
  for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
    Interpreter interpreter = model.interpreter(precision);
    std::vector<TestSequence> sequences;
    for (i32 i = 0; i < 4; ++i) sequences.push_back(sequence_with(i * 8, 8));
    unit::Counters expected{};
    for (int step = 0; step < 6; ++step) {
      TestBatch batch;
      std::vector<unit::SequenceStep> shape;
      for (TestSequence& s : sequences) {
        if (random() % 3 == 0) continue;
        std::size_t fresh = 1 + random() % 5;
        bool wants_row = random() % 2 == 0;
        shape.push_back({s.past, static_cast<i64>(fresh), wants_row});
        batch.add(s, random_ids(random, fresh, 80), 4, wants_row);
        if (wants_row) batch.params.push_back(row);
      }
      if (shape.empty()) continue;
      Result<unit::Counters> counters = unit::evaluate(model.program->cost(), shape, {});
      ASSERT_TRUE(unit::add_scaled(expected, counters.value(), 1));
      Result<std::vector<Tensor>> out = interpreter.run(batch.view());
      ASSERT_TRUE(out.ok()) << out.error().message;
      for (u8 c = 0; c < unit::kCounters; ++c)
        EXPECT_EQ(interpreter.counters()[c], expected[c])
            << unit::counter_name(static_cast<unit::Counter>(c)) << " after step " << step;
    }
  }
}

TEST(Interpreter, ChunksOfAPromptChangeNoBit) {
  TestModel model(read_testdata("tiny.tga"));
  std::mt19937 random(5);
  std::vector<i32> ids = random_ids(random, 21, 96);
  for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
    std::vector<f64> whole = feed(model, precision, ids, 21, sequence_with(0, 6));
    for (std::size_t chunk : {1u, 2u, 5u, 16u})
      EXPECT_EQ(feed(model, precision, ids, chunk, sequence_with(0, 6)), whole) << chunk;
  }
}

TEST(Interpreter, PageLayoutChangesNoBit) {
  TestModel model(read_testdata("tiny.tga"));
  std::mt19937 random(6);
  std::vector<i32> ids = random_ids(random, 18, 96);
  std::vector<f64> straight =
      feed(model, Precision::kSameType, ids, 7, TestSequence{{0, 1, 2, 3, 4}, 0});
  EXPECT_EQ(feed(model, Precision::kSameType, ids, 7, TestSequence{{63, 7, 30, 1, 5}, 0}),
            straight);
}

TEST(Interpreter, NeighboursChangeNoBit) {
  TestModel model(read_testdata("tiny.tga"));
  std::mt19937 random(7);
  Interpreter together = model.interpreter(Precision::kSameType);
  TestSequence a = sequence_with(0, 4);
  TestSequence b = sequence_with(4, 4);
  std::vector<i32> ids_a = random_ids(random, 9, 96);
  std::vector<i32> ids_b = random_ids(random, 13, 96);
  TestBatch batch;
  batch.add(a, ids_a, 4, true);
  batch.add(b, ids_b, 4, true);
  std::vector<f64> both = logits_of(together, batch);
  std::vector<f64> alone = feed(model, Precision::kSameType, ids_a, 9, sequence_with(0, 4));
  std::vector<f64> other = feed(model, Precision::kSameType, ids_b, 13, sequence_with(4, 4));
  alone.insert(alone.end(), other.begin(), other.end());
  EXPECT_EQ(both, alone);
}

TEST(Interpreter, CopiedPagesContinueTheSame) {
  TestModel model(read_testdata("tiny.tga"));
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  std::vector<i32> prompt{1, 2, 3, 4, 5, 6};
  std::vector<i32> next{7};
  TestSequence original = sequence_with(0, 2);
  TestBatch first;
  first.add(original, prompt, 4, true);
  logits_of(interpreter, first);
  interpreter.copy_page(0, 20);
  interpreter.copy_page(1, 21);
  TestSequence fork{{20, 21}, original.past};
  TestBatch a;
  a.add(fork, next, 4, true);
  std::vector<f64> forked = logits_of(interpreter, a);
  TestBatch b;
  b.add(original, next, 4, true);
  EXPECT_EQ(logits_of(interpreter, b), forked);
}

TEST(Interpreter, PrecisionsAgreeUpToRounding) {
  TestModel model(read_testdata("tiny.tga"));
  std::mt19937 random(8);
  std::vector<i32> ids = random_ids(random, 20, 96);
  std::vector<f64> golden = feed(model, Precision::kGolden, ids, 20, sequence_with(0, 5));
  std::vector<f64> same = feed(model, Precision::kSameType, ids, 20, sequence_with(0, 5));
  f64 error = 0;
  f64 scale = 0;
  for (std::size_t i = 0; i < golden.size(); ++i) {
    error = std::max(error, std::fabs(golden[i] - same[i]));
    scale = std::max(scale, std::fabs(golden[i]));
  }
  EXPECT_GT(scale, 0.1);
  // The cache is f16 in both: a value near a rounding boundary may fall on either side.
  EXPECT_LT(error, 2e-3 * scale);
}

struct BadBatch {
  const char* expected;
  void (*spoil)(TestBatch&);
};

TEST(Interpreter, TrapsCommitNothing) {
  const BadBatch cases[] = {
      {"token id 96", [](TestBatch& b) { b.ids[3] = 96; }},
      {"token id -1", [](TestBatch& b) { b.ids[0] = -1; }},
      {"row 6", [](TestBatch& b) { b.rows[0] = 6; }},
      {"row -1", [](TestBatch& b) { b.rows[0] = -1; }},
      {"slot 256", [](TestBatch& b) { b.slots[1] = 256; }},
      {"slot -2", [](TestBatch& b) { b.slots[1] = -2; }},
      {"slot 0 twice", [](TestBatch& b) { b.slots[1] = 0; }},
      {"page 64", [](TestBatch& b) { b.pages[1] = 64; }},
      {"page -1", [](TestBatch& b) { b.pages[1] = -1; }},
      {"has room for 8", [](TestBatch& b) { b.past[0] = 3; }},
      {"has room", [](TestBatch& b) { b.past[0] = -1; }},
      {"cu is not a partition", [](TestBatch& b) { b.cu[1] = 5; }},
      {"page_begin is not", [](TestBatch& b) { b.page_begin[0] = 1; }},
      {"do not fit", [](TestBatch& b) { b.positions.pop_back(); }},
      {"do not fit", [](TestBatch& b) { b.cu.push_back(6); }},
      {"bounds", [](TestBatch& b) { b.rows.assign(17, 0); }},
  };
  TestModel model(read_testdata("tiny.tga"));
  std::vector<i32> prompt{1, 2, 3, 4, 5, 6};
  std::vector<i32> next{7};
  for (const BadBatch& bad : cases) {
    Interpreter interpreter = model.interpreter(Precision::kSameType);
    TestSequence sequence = sequence_with(0, 2);
    TestBatch good;
    good.add(sequence, prompt, 4, true);
    logits_of(interpreter, good);
    std::vector<f32> before(interpreter.kv(0).key(1, 5).begin(), interpreter.kv(0).key(1, 5).end());
    unit::Counters counted = interpreter.counters();
    // The same slots again with other tokens, spoiled.
    TestSequence again = sequence_with(0, 2);
    TestBatch batch;
    batch.add(again, std::vector<i32>{9, 9, 9, 9, 9, 9}, 4, true);
    bad.spoil(batch);
    Result<std::vector<Tensor>> out = interpreter.run(batch.view());
    ASSERT_FALSE(out.ok()) << bad.expected;
    EXPECT_NE(out.error().message.find(bad.expected), std::string::npos) << out.error().message;
    std::vector<f32> after(interpreter.kv(0).key(1, 5).begin(), interpreter.kv(0).key(1, 5).end());
    EXPECT_EQ(before, after) << bad.expected;
    EXPECT_EQ(interpreter.counters(), counted) << bad.expected;
  }
}

TEST(Interpreter, RefusesWeightsThatDoNotFit) {
  TestModel model(read_testdata("tiny.tga"));
  WeightTable fewer = model.weights;
  fewer.by_symbol.pop_back();
  EXPECT_FALSE(Interpreter::make(*model.program, fewer, Precision::kGolden, 8).ok());
  WeightTable shorter = model.weights;
  shorter.by_symbol[0][0] = shorter.by_symbol[0][0].subspan(1);
  EXPECT_FALSE(Interpreter::make(*model.program, shorter, Precision::kGolden, 8).ok());
  WeightTable layers = model.weights;
  layers.by_symbol[1].pop_back();
  EXPECT_FALSE(Interpreter::make(*model.program, layers, Precision::kGolden, 8).ok());
}

}  // namespace
}  // namespace tg::isa
