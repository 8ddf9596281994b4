// The project's own models mean what their makers meant: the imported program, run by the reference
// interpreter, gives the logits and tokens that a second implementation recorded beside the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "isa/reference/interpreter.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace tg::model {
namespace {

const std::string kFolder = std::string(TG_SOURCE_DIR) + "/models/";

// Logits after every token of `ids`, as one sequence from position 0. [n, V]
isa::Tensor logits_of(const Model& model, const std::vector<i32>& ids) {
  i32 count = static_cast<i32>(ids.size());
  i32 page_tokens = static_cast<i32>(model.program().program().kv[0].page_tokens);
  std::vector<i32> counting(ids.size());
  std::iota(counting.begin(), counting.end(), 0);
  std::vector<i32> cu = {0, count};
  std::vector<i32> past = {0};
  std::vector<i32> pages((ids.size() + static_cast<u64>(page_tokens) - 1) /
                         static_cast<u64>(page_tokens));
  std::iota(pages.begin(), pages.end(), 0);
  std::vector<i32> page_begin = {0, static_cast<i32>(pages.size())};
  isa::Interpreter interpreter =
      isa::Interpreter::make(model.program(), model.weights(), isa::Precision::kSameType,
                             static_cast<i64>(pages.size()))
          .value();
  // Slots, positions and rows all count from 0: the pages are in order.
  return interpreter
      .run({.ids = ids,
            .positions = counting,
            .cu = cu,
            .past = past,
            .page_begin = page_begin,
            .pages = pages,
            .slots = counting,
            .rows = counting,
            .params = {}})
      .value()[0];
}

// The recording kept K and V in f32, the program keeps them in f16: closer calls may flip.
constexpr f64 kLogitTolerance = 0.05;

void compare(const Model& model, const nlohmann::json& prompt) {
  std::vector<i32> ids = prompt["prompt_ids"].get<std::vector<i32>>();
  Tokenizer tokenizer = Tokenizer::create(model.vocab()).value();
  EXPECT_EQ(tokenizer.encode(prompt["text"].get<std::string>(), {.parse_special = true}).value(),
            ids);
  std::size_t first = ids.size() - 1;
  for (const nlohmann::json& token : prompt["greedy"]) ids.push_back(token.get<i32>());
  isa::Tensor logits = logits_of(model, ids);
  for (const nlohmann::json& entry : prompt["top5"])
    EXPECT_NEAR(logits.row(static_cast<i64>(first))[entry[0].get<std::size_t>()],
                entry[1].get<f64>(), kLogitTolerance);
  for (std::size_t i = 0; i < prompt["greedy"].size(); ++i) {
    if (prompt["margins"][i].get<f64>() < 2 * kLogitTolerance) continue;
    std::span<const f64> row = logits.row(static_cast<i64>(first + i));
    EXPECT_EQ(std::max_element(row.begin(), row.end()) - row.begin(),
              prompt["greedy"][i].get<i64>())
        << "token " << i;
  }
}

TEST(ProjectModels, AgreeWithTheRecordedReference) {
  if (!std::filesystem::exists(kFolder + "reference.json")) GTEST_SKIP() << "no models";
  std::ifstream in(kFolder + "reference.json");
  nlohmann::json reference = nlohmann::json::parse(in, nullptr, false);
  ASSERT_FALSE(reference.is_discarded());
  for (const nlohmann::json& entry : reference["models"]) {
    SCOPED_TRACE(entry["file"].get<std::string>());
    std::unique_ptr<Model> model =
        Model::open(kFolder + entry["file"].get<std::string>(), {.exact = true}).value();
    compare(*model, entry["prompts"][0]);
  }
}

}  // namespace
}  // namespace tg::model
