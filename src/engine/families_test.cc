// Every model family on the CPU backend: tiny random models, two sequences packed into chunked and
// single-token steps, held against the reference interpreter row by row.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "backend/executor.h"
#include "isa/reference/interpreter.h"
#include "model/model.h"
#include "model/synth.h"

namespace tg::model {

// Names the model in a test's description.
inline void PrintTo(const SynthShape& shape, std::ostream* out) {
  *out << shape.name;
}

}  // namespace tg::model

namespace tg::engine {
namespace {

constexpr i32 kPageTokens = 16;
constexpr i64 kPages = 8;

// The arrays of one step over sequences whose pages are fixed.
struct Step {
  std::vector<i32> ids, positions, cu{0}, past, page_begin{0}, pages, slots, rows;

  // The tokens past..past+count-1 of a sequence; every one's logits are asked for.
  void add(i32 seed, i32 cached, i32 count, const std::vector<i32>& own_pages, bool has_cache) {
    past.push_back(cached);
    for (i32 i = cached; i < cached + count; ++i) {
      rows.push_back(static_cast<i32>(ids.size()));
      ids.push_back((seed + 7 * i * i + 13 * i) % 319);
      positions.push_back(i);
      i32 page = own_pages[static_cast<std::size_t>(i / kPageTokens)];
      slots.push_back(has_cache ? page * kPageTokens + i % kPageTokens : -1);
    }
    cu.push_back(static_cast<i32>(ids.size()));
    if (has_cache) pages.insert(pages.end(), own_pages.begin(), own_pages.end());
    page_begin.push_back(static_cast<i32>(pages.size()));
  }
};

const std::vector<i32> kPagesOfA = {5, 2, 6};
const std::vector<i32> kPagesOfB = {3, 4};

// A prompt in two chunks beside another sequence, then a token each. An encoder's sequences are
// whole.
std::vector<Step> steps_of(bool has_cache) {
  if (!has_cache) {
    std::vector<Step> whole(1);
    whole[0].add(5, 0, 33, kPagesOfA, false);
    whole[0].add(77, 0, 9, kPagesOfB, false);
    return whole;
  }
  std::vector<Step> steps(3);
  steps[0].add(5, 0, 17, kPagesOfA, true);
  steps[0].add(77, 0, 18, kPagesOfB, true);
  steps[1].add(5, 17, 22, kPagesOfA, true);
  steps[1].add(77, 18, 1, kPagesOfB, true);
  steps[2].add(5, 39, 1, kPagesOfA, true);
  steps[2].add(77, 19, 1, kPagesOfB, true);
  return steps;
}

class FamiliesOnCpu : public testing::TestWithParam<model::SynthShape> {
 protected:
  void SetUp() override {
    const model::SynthShape& shape = GetParam();
    path_ = testing::TempDir() + "tg_engine_" + std::string(shape.name) + ".gguf";
    std::string codec = shape.architecture == "gpt-oss" ? "mxfp4" : "q8_0";
    ASSERT_TRUE(model::synthesize({.path = path_, .shape = shape, .codec = codec}).ok());
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void open(bool exact) { model_ = model::Model::open(path_, {.exact = exact}).value(); }
  bool has_cache() const { return !model_->program().program().kv.empty(); }
  f64 distance_to_reference(bool compares_hits) const;

  std::string path_;
  std::unique_ptr<model::Model> model_;
};

// Root of the summed squares of differences and of the expected values.
struct Distance {
  f64 squares = 0;
  f64 errors = 0;

  void add(const isa::Tensor& expected, std::span<const f32> computed) {
    ASSERT_EQ(expected.rows() * static_cast<i64>(expected.row(0).size()),
              static_cast<i64>(computed.size()));
    std::size_t columns = expected.row(0).size();
    for (i64 row = 0; row < expected.rows(); ++row) {
      for (std::size_t i = 0; i < columns; ++i) {
        f64 truth = expected.row(row)[i];
        f64 ours = static_cast<f64>(computed[static_cast<std::size_t>(row) * columns + i]);
        squares += truth * truth;
        errors += (ours - truth) * (ours - truth);
      }
    }
  }
  f64 relative() const { return std::sqrt(errors / squares); }
};

f64 FamiliesOnCpu::distance_to_reference(bool compares_hits) const {
  const isa::VerifiedProgram& program = model_->program();
  Result<std::unique_ptr<backend::Executor>> executor =
      backend::make_executor("cpu", program, model_->weights(),
                             {.tokens_max = 64,
                              .sequences_max = 4,
                              .rows_max = 64,
                              .context_max = 64,
                              .kv_pages = has_cache() ? kPages : 0,
                              .threads = 1,
                              .fresh_entry = true});
  EXPECT_TRUE(executor.ok()) << executor.error().message;
  // As asked for, the second entry, if there is one, runs in steps without cached keys.
  bool has_two_entries = program.program().functions.size() > 1;
  isa::Interpreter interpreter =
      isa::Interpreter::make(program, model_->weights(), isa::Precision::kGolden, kPages,
                             {.fresh_entry = has_two_entries})
          .value();
  Distance distance;
  for (const Step& step : steps_of(has_cache())) {
    Result<std::vector<isa::Tensor>> expected = interpreter.run({.ids = step.ids,
                                                                 .positions = step.positions,
                                                                 .cu = step.cu,
                                                                 .past = step.past,
                                                                 .page_begin = step.page_begin,
                                                                 .pages = step.pages,
                                                                 .slots = step.slots,
                                                                 .rows = step.rows,
                                                                 .params = {}});
    EXPECT_TRUE(expected.ok()) << expected.error().message;
    Result<std::span<const f32>> computed = (*executor)->run({.ids = step.ids,
                                                              .positions = step.positions,
                                                              .cu = step.cu,
                                                              .past = step.past,
                                                              .page_begin = step.page_begin,
                                                              .pages = step.pages,
                                                              .slots = step.slots,
                                                              .rows = step.rows});
    EXPECT_TRUE(computed.ok()) << computed.error().message;
    EXPECT_EQ((*executor)->entry(), interpreter.entry());
    std::vector<u64> hits = interpreter.expert_hits();
    std::span<const u64> ours = (*executor)->expert_hits();
    if (compares_hits) {
      EXPECT_TRUE(std::equal(hits.begin(), hits.end(), ours.begin(), ours.end()));
    }
    distance.add(expected->front(), *computed);
  }
  return distance.relative();
}

// Sums in f32 end near 1e-6 of the result; a cache in f16 may turn a last bit into 2^-11.
constexpr f64 kTolerance = 5e-4;
// What lies half-way between two int8 codes may be rounded to either, by any difference in f32; a
// wrong scale, row or block would end near 1.
constexpr f64 kRoundedTolerance = 5e-2;

TEST_P(FamiliesOnCpu, AgreeWithTheReferenceInterpreter) {
  open(true);
  EXPECT_LT(distance_to_reference(true), kTolerance);
}

TEST_P(FamiliesOnCpu, AgreeWithTheReferenceInterpreterWithRoundedActivations) {
  open(false);
  EXPECT_LT(distance_to_reference(false), kRoundedTolerance);
}

std::vector<model::SynthShape> tiny_shapes() {
  std::vector<model::SynthShape> out;
  for (const model::SynthShape& shape : model::synth_shapes())
    if (shape.name.starts_with("tiny-")) out.push_back(shape);
  return out;
}

std::string test_name(const testing::TestParamInfo<model::SynthShape>& shape) {
  std::string name(shape.param.name);
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Tiny, FamiliesOnCpu, testing::ValuesIn(tiny_shapes()), test_name);

}  // namespace
}  // namespace tg::engine
