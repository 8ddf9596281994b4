// Programs of every profile: what the interpreter counts while it runs is what the cost matrix says
// of the step's integers; and the properties that hold whatever the program: cuts of a prompt,
// neighbours and slots change no bit, a trap commits nothing.
#include <cmath>

#include "isa/reference/group.h"
#include "isa/reference/random_program.h"
#include "isa/reference/random_steps.h"

namespace tg::isa {
namespace {

void expect_counters(const unit::Counters& got, const unit::Counters& expected,
                     const std::string& what) {
  for (u8 c = 0; c < unit::kCounters; ++c)
    EXPECT_EQ(got[c], expected[c])
        << unit::counter_name(static_cast<unit::Counter>(c)) << ", " << what;
}

const unit::CostMatrix& cost_of(const TestModel& model, std::size_t entry) {
  const Program& program = model.program->program();
  return entry == 0 ? program.cost : program.entry_costs[entry - 1];
}

// Steps of random shape over the same sequences; after each, counted against evaluated.
void expect_counts_match(const TestModel& model, Precision precision,
                         const InterpreterOptions& options, u32 seed) {
  std::mt19937 random(seed);
  RandomSteps steps(*model.program, random);
  Interpreter interpreter = model.interpreter(precision, 64, options);
  unit::Counters expected{};
  for (int i = 0; i < 5; ++i) {
    TestBatch batch = steps.next();
    run_ok(interpreter, batch);
    Result<unit::Counters> counters = unit::evaluate(cost_of(model, interpreter.entry()),
                                                     steps.shapes(), interpreter.expert_hits());
    ASSERT_TRUE(counters.ok()) << counters.error().message;
    ASSERT_TRUE(unit::add_scaled(expected, counters.value(), 1));
    expect_counters(interpreter.counters(), expected, "step " + std::to_string(i));
  }
}

class Profiles : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Programs, Profiles,
                         testing::Values("every_moe.tga", "every_sparse.tga", "every_state.tga",
                                         "every_spec.tga", "every_embed.tga", "every_vision.tga"));

TEST_P(Profiles, CountWhatTheCostMatrixSays) {
  TestModel model(read_testdata(GetParam()));
  for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
    expect_counts_match(model, precision, {}, 3);
    if (model.program->program().functions.size() > 1)
      expect_counts_match(model, precision, {.fresh_entry = true}, 4);
  }
}

// No sequence, or none with a new token: nothing is read that belongs to tokens or rows.
TEST_P(Profiles, EmptyStepsRun) {
  TestModel model(read_testdata(GetParam()));
  std::mt19937 random(9);
  RandomSteps steps(*model.program, random);
  for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
    Interpreter interpreter = model.interpreter(precision);
    bool has_images = std::string(GetParam()) == "every_vision.tga";
    for (const Tensor& result : run_ok(interpreter, steps.empty(0)))
      EXPECT_TRUE(result.data.empty() || has_images);
    if (has_images) continue;
    EXPECT_EQ(interpreter.counters(), unit::Counters{});
    run_ok(interpreter, steps.empty(2));
    for (u8 c : {unit::kAttn, unit::kKvRd, unit::kKvWr, unit::kIo})
      EXPECT_EQ(interpreter.counters()[c], 0u);
  }
}

// The two arithmetics stay close over several steps, though each rounds its own caches and states.
TEST_P(Profiles, PrecisionsAgreeUpToRounding) {
  TestModel model(read_testdata(GetParam()));
  std::mt19937 random(10);
  RandomSteps steps(*model.program, random);
  Interpreter golden = model.interpreter(Precision::kGolden);
  Interpreter same = model.interpreter(Precision::kSameType);
  for (int i = 0; i < 4; ++i) {
    TestBatch batch = steps.next();
    std::vector<Tensor> expected = run_ok(golden, batch);
    std::vector<Tensor> got = run_ok(same, batch);
    for (std::size_t r = 0; r < expected.size(); ++r) {
      f64 error = 0;
      f64 scale = 0;
      for (std::size_t k = 0; k < expected[r].data.size(); ++k) {
        if (!std::isfinite(expected[r].data[k])) continue;
        error = std::max(error, std::fabs(expected[r].data[k] - got[r].data[k]));
        scale = std::max(scale, std::fabs(expected[r].data[k]));
      }
      EXPECT_LE(error, 0.02 * scale) << "result " << r << " of step " << i;
    }
  }
}

// The same sequences in the same order, once as they come and once with other slots and pages.
TEST_P(Profiles, PagesAndStateSlotsChangeNoBit) {
  TestModel model(read_testdata(GetParam()));
  std::mt19937 random(5);
  RandomSteps steps(*model.program, random);
  Interpreter plain = model.interpreter(Precision::kSameType);
  Interpreter moved = model.interpreter(Precision::kSameType, 64, {.state_slots = 20});
  for (int i = 0; i < 4; ++i) {
    TestBatch batch = steps.next();
    std::vector<Tensor> expected = run_ok(plain, batch);
    for (i32& page : batch.pages) page = 63 - page;
    for (i32& slot : batch.slots) slot = (63 - slot / 4) * 4 + slot % 4;
    for (i32& state : batch.states) state = 19 - state;
    std::vector<Tensor> got = run_ok(moved, batch);
    for (std::size_t r = 0; r < expected.size(); ++r) EXPECT_EQ(got[r].data, expected[r].data);
  }
}

TEST_P(Profiles, ATrapCommitsNothing) {
  TestModel model(read_testdata(GetParam()));
  std::mt19937 random(6);
  RandomSteps steps(*model.program, random);
  Interpreter disturbed = model.interpreter(Precision::kSameType);
  Interpreter calm = model.interpreter(Precision::kSameType);
  for (int i = 0; i < 4; ++i) {
    TestBatch batch = steps.next();
    // The rows are gathered after every layer has written its keys and states.
    TestBatch bad = batch;
    if (!bad.rows.empty()) {
      bad.rows.back() = static_cast<i32>(batch.ids.size());
      run_trap(disturbed, bad);
    }
    std::vector<Tensor> expected = run_ok(calm, batch);
    std::vector<Tensor> got = run_ok(disturbed, batch);
    for (std::size_t r = 0; r < expected.size(); ++r) EXPECT_EQ(got[r].data, expected[r].data);
    EXPECT_EQ(disturbed.counters(), calm.counters());
    EXPECT_EQ(disturbed.route_hits(), calm.route_hits());
  }
}

TEST(Profiles, RandomProgramsCountWhatTheirMatrixSays) {
  for (u32 seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    std::string text = random_program(random);
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + text);
    TestModel model(text, seed);
    expect_counts_match(model, seed % 2 == 0 ? Precision::kGolden : Precision::kSameType, {}, seed);
    if (testing::Test::HasFailure()) return;
  }
}

// A router before the loop orders the rows of every layer: an expert hit is read in all of them.
TEST(Profiles, OneRouterServesALoop) {
  TestModel model(
      ".tgp 1.0 profile=TEXT,MOE\n.dim T<=64 S<=8 R<=64 C<=256\n"
      ".w $embd f16[96,64]\n.w $r f32[8,64]\n.w $e[3] q8_0[8,64,64]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %out\n"
      "%x0 = embed $embd, %ids -> f32[T,64]\n"
      "%l = linear %x0, $r -> f32[T,8]\n"
      "%w, %pm = route %l {k=2} -> f32[T,2], perm[T,2,8]\n"
      "%out = repeat l 3 carry %x0 as %x\n"
      "%g = grouped_linear %x, $e[l], %pm -> f32[2*T,64]\n"
      "%y = combine %g, %pm, %w -> f32[T,64]\n"
      "yield %y\n.end\n");
  expect_counts_match(model, Precision::kSameType, {}, 7);
}

// Exact caches, and no more tokens than the selection holds: both entries attend the same keys.
TEST(Entries, GiveTheSameOverTheSameCache) {
  std::string text = read_testdata("every_sparse.tga");
  text.replace(text.find("fmt=bf16"), 8, "fmt=f32");
  text.replace(text.find("fmt=q8_0"), 8, "fmt=f32");
  TestModel model(text);
  Interpreter one = model.interpreter(Precision::kGolden);
  Interpreter both = model.interpreter(Precision::kGolden, 64, {.fresh_entry = true});
  TestSequence a{{0, 1}, 0}, b{{2, 3}, 0};
  TestBatch prompt;
  prompt.add(a, std::vector<i32>{1, 2, 3}, 4, true);
  prompt.add(b, std::vector<i32>{4, 5}, 4, true);
  std::vector<Tensor> first = run_ok(one, prompt);
  std::vector<Tensor> fresh = run_ok(both, prompt);
  EXPECT_EQ(one.entry(), 0u);
  EXPECT_EQ(both.entry(), 1u);
  EXPECT_GT(std::fabs(first[0].data[0]), 1e-3);
  expect_numbers(fresh[0].data, first[0].data, 1e-5);
  TestBatch next;
  next.add(a, std::vector<i32>{6}, 4, true);
  next.add(b, std::vector<i32>{7}, 4, true);
  std::vector<Tensor> second = run_ok(one, next);
  std::vector<Tensor> cached = run_ok(both, next);
  EXPECT_EQ(both.entry(), 0u);
  expect_numbers(cached[0].data, second[0].data, 1e-5);
}

TEST(Entries, OneThatIsNotThereIsRefused) {
  TestModel model(read_testdata("tiny.tga"));
  EXPECT_FALSE(
      Interpreter::make(*model.program, model.weights, Precision::kGolden, 8, {.fresh_entry = true})
          .ok());
}

// A prompt in pieces: f32 arithmetic, f32 and 16-bit caches, f32 states.
TEST(Cuts, OfAPromptChangeNoBit) {
  for (const char* file : {"every_moe.tga", "every_sparse.tga"}) {
    TestModel model(read_testdata(file));
    std::mt19937 random(8);
    std::vector<i32> ids = random_ids(random, 19, 96);
    Numbers whole;
    for (std::size_t chunk : {19u, 1u, 4u, 7u}) {
      Interpreter interpreter = model.interpreter(Precision::kSameType);
      TestSequence sequence{{0, 1, 2, 3, 4}, 0};
      Numbers last;
      for (std::size_t at = 0; at < ids.size(); at += chunk) {
        TestBatch batch;
        std::span<const i32> part = ids;
        batch.add(sequence, part.subspan(at, std::min(chunk, ids.size() - at)), 4, true);
        last = run_ok(interpreter, batch)[0].data;
      }
      if (whole.empty()) whole = last;
      EXPECT_EQ(last, whole) << file << " in pieces of " << chunk;
    }
  }
}

}  // namespace
}  // namespace tg::isa
