// What the templates write, kept: the program text of each tiny family, and for each published
// shape its parameters, its program's size and its cost matrix. With TG_GOLDEN=write in the
// environment the files are written instead of compared.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/bytes.h"
#include "base/hash.h"
#include "model/model.h"
#include "model/synth.h"

namespace tg::model {
namespace {

const std::string kFolder = std::string(TG_SOURCE_DIR) + "/src/model/architecture/testdata/golden/";

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void expect_golden(const std::string& name, const std::string& text) {
  const char* mode = std::getenv("TG_GOLDEN");
  if (mode != nullptr && std::string_view(mode) == "write") {
    std::ofstream(kFolder + name) << text;
    return;
  }
  EXPECT_EQ(read_text(kFolder + name), text) << name;
}

bool is_tiny(const SynthShape& shape) {
  return shape.name.starts_with("tiny-");
}

// Calls `use` with a model of the shape, whose file is gone afterwards.
template <typename Use>
void with_model(const SynthShape& shape, const std::string& codec, bool no_data, const Use& use) {
  std::string path = testing::TempDir() + "tg_golden_" + std::string(shape.name) + ".gguf";
  Status made = synthesize({.path = path, .shape = shape, .codec = codec, .no_data = no_data});
  ASSERT_TRUE(made.ok()) << made.error().message;
  Result<std::unique_ptr<Model>> model = Model::open(path, {});
  EXPECT_TRUE(model.ok()) << model.error().message;
  if (model.ok()) use(**model);
  std::filesystem::remove(path);
}

TEST(Golden, TheProgramOfEachFamily) {
  for (const SynthShape& shape : synth_shapes()) {
    if (!is_tiny(shape)) continue;
    std::string path = testing::TempDir() + "tg_golden_" + std::string(shape.name) + ".gguf";
    ASSERT_TRUE(synthesize({.path = path, .shape = shape, .codec = "f32"}).ok());
    std::string bytes = read_text(path);
    std::filesystem::remove(path);
    gguf::File file = gguf::File::parse(as_bytes(bytes)).value();
    expect_golden(std::string(shape.name) + ".tga", import_program(file, {}).value().text);
  }
}

std::string counters_text(const unit::Counters& counters) {
  std::string text;
  for (u8 i = 0; i < unit::kCounters; ++i) {
    if (counters[i] == 0) continue;
    text += " " + std::string(unit::counter_name(static_cast<unit::Counter>(i))) + "=" +
            std::to_string(counters[i]);
  }
  return text + "\n";
}

std::string matrix_text(const unit::CostMatrix& m) {
  std::string text = "  per_pass" + counters_text(m.per_pass);
  text += "  per_token" + counters_text(m.per_token);
  text += "  per_row" + counters_text(m.per_row);
  text += "  per_sequence" + counters_text(m.per_sequence);
  text += "  head_bytes=" + std::to_string(m.head_bytes) + "\n";
  for (const unit::WindowCost& w : m.windows)
    text += "  window=" + std::to_string(w.window) +
            " kind=" + std::to_string(static_cast<int>(w.kind)) +
            " attn=" + std::to_string(w.attn_flops_per_pair) +
            " ew=" + std::to_string(w.ew_flops_per_pair) +
            " kv_rd=" + std::to_string(w.kv_rd_bytes_per_key) + "\n";
  for (const unit::ExpertCost& e : m.experts)
    text += "  experts=" + std::to_string(e.experts) + " active=" + std::to_string(e.active) +
            " layers=" + std::to_string(e.layers) +
            " bytes_per_expert=" + std::to_string(e.bytes_per_expert) + "\n";
  return text;
}

std::string published_text(const SynthShape& shape, const Model& model, std::string_view codec) {
  std::string text = std::string(shape.name) + " " + std::string(codec) + "\n";
  text += "  parameters=" + std::to_string(model.parameter_count()) +
          " program_bytes=" + std::to_string(model.program().bytes().size()) + "\n";
  text += "  program=" + to_hex(model.program().id()) + "\n";
  text += matrix_text(model.program().cost());
  for (const unit::CostMatrix& matrix : model.program().program().entry_costs)
    text += "  entry\n" + matrix_text(matrix);
  return text;
}

TEST(Golden, TheCostOfEachPublishedShape) {
  std::string all;
  for (const SynthShape& shape : synth_shapes()) {
    if (is_tiny(shape)) continue;
    std::string codec = shape.architecture == "gpt-oss" ? "mxfp4" : "f16";
    with_model(shape, codec, true,
               [&](const Model& model) { all += published_text(shape, model, codec); });
  }
  expect_golden("published.txt", all);
}

// Exact where the makers publish an exact count, otherwise what follows from their configuration.
TEST(Golden, ParameterCountsAreThePublishedOnes) {
  const std::map<std::string_view, i64> counts = {
      {"mixtral-8x7b", 46'702'792'704},
      {"qwen2.5-7b", 7'615'616'512},
      {"qwen3-8b", 8'190'735'360},
      {"qwen3-30b-a3b", 30'532'122'624},
      {"gemma-2-9b", 9'241'705'984},
      {"phi-3-mini", 3'821'079'552},
      {"glm-4-9b", 9'400'279'040},
      {"gpt-oss-20b", 20'914'757'184},
      {"gpt-oss-120b", 116'829'156'672},
      {"deepseek-v2-lite", 15'706'484'224},
      {"deepseek-v3", 671'026'419'200},
      {"gemma-3-4b", 3'880'263'168},
      {"gemma-3-12b", 11'766'034'176},
      // The published 33,360,000 count a pooling matrix of 384 * 384 + 384, which embeddings skip,
      // and a second type of tokens, which they do not use.
      {"bge-small", 33'360'000 - 147'840 - 384},
  };
  for (const auto& [name, count] : counts) {
    SynthShape shape = find_synth_shape(name).value();
    with_model(shape, "f16", true,
               [&](const Model& model) { EXPECT_EQ(model.parameter_count(), count) << name; });
  }
}

// A program is a recipe, not an unrolled list: a stack of like layers is a loop. Rope tables come
// on top, and latent attention is written twice for two kinds of layers.
TEST(Golden, ProgramsAreSmall) {
  for (const SynthShape& shape : synth_shapes()) {
    if (is_tiny(shape)) continue;
    with_model(shape, "q8_0", true, [&](const Model& model) {
      std::size_t tables = 0;
      for (const isa::ConstDecl& table : model.program().program().constants)
        tables += table.bytes.size();
      EXPECT_LE(model.program().bytes().size() - tables, shape.latent.rank > 0 ? 6'400u : 2'048u)
          << shape.name;
    });
  }
}

}  // namespace
}  // namespace tg::model
