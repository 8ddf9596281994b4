// Every family end to end: a tiny random model is written, imported and run by the reference
// interpreter, and what comes out is what tools/reference_model.py computed from the same weights
// by the makers' definitions. With TG_FAMILIES_FOLDER in the environment the models are left there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "isa/reference/interpreter.h"
#include "model/model.h"
#include "model/synth.h"

namespace tg::model {

// Names the model in a test's description.
inline void PrintTo(const SynthShape& shape, std::ostream* out) {
  *out << shape.name;
}

namespace {

using Rows = std::vector<std::vector<f64>>;

struct Record {
  std::string codec;
  u64 seed = 0;
  std::vector<i32> ids;
  std::vector<i32> rows;
  Rows outputs;
};

Record read_record(std::string_view name) {
  std::string path = std::string(TG_SOURCE_DIR) + "/src/model/testdata/families/";
  std::ifstream file(path.append(name).append(".json"));
  EXPECT_TRUE(file.good()) << path;
  nlohmann::json json = nlohmann::json::parse(file);
  return {.codec = json["codec"],
          .seed = json["seed"],
          .ids = json["ids"],
          .rows = json["rows"],
          .outputs = json["outputs"]};
}

// One sequence, fed in steps of the given sizes; the outputs of the recorded rows.
class Feeder {
 public:
  Feeder(const Model& model, const Record& record, bool fresh_entry)
      : record_(record),
        has_cache_(!model.program().program().kv.empty()),
        interpreter_(isa::Interpreter::make(model.program(), model.weights(),
                                            isa::Precision::kGolden, kPages,
                                            {.fresh_entry = fresh_entry})
                         .value()) {}

  Rows feed(const std::vector<i32>& steps) {
    Rows out;
    i32 past = 0;
    for (i32 count : steps) {
      step(past, count, out);
      past += count;
    }
    return out;
  }

 private:
  static constexpr i64 kPages = 4;  // of 16 tokens

  void step(i32 past, i32 count, Rows& out) {
    std::vector<i32> ids(record_.ids.begin() + past, record_.ids.begin() + past + count);
    std::vector<i32> positions(ids.size());
    std::iota(positions.begin(), positions.end(), past);
    std::vector<i32> rows;
    for (i32 row : record_.rows)
      if (row >= past && row < past + count) rows.push_back(row - past);
    std::vector<i32> cu = {0, count};
    std::vector<i32> cached = {past};
    std::vector<i32> pages(has_cache_ ? kPages : 0);
    std::iota(pages.begin(), pages.end(), 0);
    std::vector<i32> page_begin = {0, static_cast<i32>(pages.size())};
    std::vector<i32> begin = has_cache_ ? page_begin : std::vector<i32>{0};
    Result<std::vector<isa::Tensor>> results =
        interpreter_.run({.ids = ids,
                          .positions = positions,
                          .cu = cu,
                          .past = cached,
                          .page_begin = begin,
                          .pages = pages,
                          .slots = has_cache_ ? positions : std::vector<i32>{},
                          .rows = rows,
                          .params = {}});
    ASSERT_TRUE(results.ok()) << results.error().message;
    const isa::Tensor& result = results->front();
    for (i64 row = 0; row < result.rows(); ++row)
      out.emplace_back(result.row(row).begin(), result.row(row).end());
  }

  const Record& record_;
  bool has_cache_;
  isa::Interpreter interpreter_;
};

// The largest difference, as a share of the largest expected output.
f64 worst_difference(const Rows& computed, const Rows& expected) {
  EXPECT_EQ(computed.size(), expected.size());
  f64 largest = 0;
  f64 worst = 0;
  for (std::size_t r = 0; r < std::min(computed.size(), expected.size()); ++r) {
    EXPECT_EQ(computed[r].size(), expected[r].size());
    for (std::size_t i = 0; i < expected[r].size(); ++i) {
      largest = std::max(largest, std::abs(expected[r][i]));
      worst = std::max(worst, std::abs(computed[r][i] - expected[r][i]));
    }
  }
  return worst / largest;
}

class Families : public testing::TestWithParam<SynthShape> {
 protected:
  void SetUp() override {
    record_ = read_record(GetParam().name);
    const char* folder = std::getenv("TG_FAMILIES_FOLDER");
    is_kept_ = folder != nullptr;
    path_ = (is_kept_ ? std::string(folder) + "/" : testing::TempDir()) +
            std::string(GetParam().name) + ".gguf";
    ASSERT_TRUE(
        synthesize(
            {.path = path_, .shape = GetParam(), .codec = record_.codec, .seed = record_.seed})
            .ok());
    // An f32 cache rounds nothing away, so that only the arithmetic is compared.
    model_ = Model::open(path_, {.exact = true, .kv_format = isa::DType::kF32}).value();
  }
  void TearDown() override {
    if (!is_kept_) std::filesystem::remove(path_);
  }

  i32 tokens() const { return static_cast<i32>(record_.ids.size()); }
  Rows outputs(const std::vector<i32>& steps, bool fresh_entry) const {
    return Feeder(*model_, record_, fresh_entry).feed(steps);
  }

  Record record_;
  std::string path_;
  bool is_kept_ = false;
  std::unique_ptr<Model> model_;
};

// Constants such as rope tables are f32 in programs, so agreement ends near 1e-7.
constexpr f64 kTolerance = 2e-6;

TEST_P(Families, AgreeWithTheIndependentImplementation) {
  EXPECT_TRUE(model_->unused_tensors().empty());
  EXPECT_LT(worst_difference(outputs({tokens()}, false), record_.outputs), kTolerance);
}

class FamiliesWithCache : public Families {};
class FamiliesWithTwoEntries : public Families {};

TEST_P(FamiliesWithCache, StepsOfAnySizeGiveTheSame) {
  EXPECT_LT(worst_difference(outputs({17, 1, 5, tokens() - 23}, false), record_.outputs),
            kTolerance);
}

TEST_P(FamiliesWithTwoEntries, BothEntriesGiveTheSame) {
  ASSERT_EQ(model_->program().program().functions.size(), 2u);
  EXPECT_LT(worst_difference(outputs({tokens()}, true), record_.outputs), kTolerance);
  EXPECT_LT(worst_difference(outputs({11, tokens() - 11}, true), record_.outputs), kTolerance);
}

template <typename Predicate>
std::vector<SynthShape> tiny_shapes(const Predicate& wanted) {
  std::vector<SynthShape> out;
  for (const SynthShape& shape : synth_shapes())
    if (shape.name.starts_with("tiny-") && wanted(shape)) out.push_back(shape);
  return out;
}

bool any(const SynthShape&) {
  return true;
}
bool has_cache(const SynthShape& shape) {
  return shape.architecture != "bert";
}
bool has_two_entries(const SynthShape& shape) {
  return shape.latent.rank > 0;
}

std::string test_name(const testing::TestParamInfo<SynthShape>& shape) {
  std::string name(shape.param.name);
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Tiny, Families, testing::ValuesIn(tiny_shapes(any)), test_name);
INSTANTIATE_TEST_SUITE_P(Tiny, FamiliesWithCache, testing::ValuesIn(tiny_shapes(has_cache)),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Tiny, FamiliesWithTwoEntries,
                         testing::ValuesIn(tiny_shapes(has_two_entries)), test_name);

}  // namespace
}  // namespace tg::model
