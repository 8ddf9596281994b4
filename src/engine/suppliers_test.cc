// Two suppliers in one process, a CPU and an OpenCL device, under the same engine: on the probe set
// they say the same greedily, or part where the two best scores are nearly equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "backend/bound_executor.h"
#include "backend/gpu/sanitized.h"
#include "engine/engine.h"
#include "model/model.h"

namespace tg::engine {
namespace {

// The margin of a clear row in conformance's E5 for f32 activations, of a row's root mean square;
// scores of this model have a root mean square of at most 16.
constexpr f64 kTie = 16.0 / 256.0;

struct Probe {
  std::vector<i32> prompt;
  i64 tokens = 0;
};

std::vector<Probe> probes(const std::string& file) {
  std::ifstream in(TG_SOURCE_DIR "/models/reference.json");
  nlohmann::json all = nlohmann::json::parse(in);
  std::vector<Probe> out;
  for (const nlohmann::json& model : all["models"]) {
    if (model["file"] != file) continue;
    for (const nlohmann::json& prompt : model["prompts"]) {
      out.push_back({prompt["prompt_ids"].get<std::vector<i32>>(),
                     static_cast<i64>(prompt["greedy"].size())});
    }
  }
  return out;
}

using Texts = std::map<u64, std::vector<i32>>;

// All probes at once, as requests of one engine over this supplier.
Texts say(backend::Executor& executor, const model::Model& model, const std::vector<Probe>& list) {
  SystemClock clock;
  Engine engine(executor, model.program().cost(), {.running_max = 4, .waiting_max = 64}, clock);
  for (std::size_t i = 0; i < list.size(); ++i) {
    EngineRequest request{.id = i, .prompt = list[i].prompt, .max_tokens = list[i].tokens};
    request.sampling.temperature = 0.0f;
    EXPECT_TRUE(engine.submit(std::move(request)).ok());
  }
  Texts texts;
  while (engine.has_work()) {
    for (const TokenEvent& event : engine.step().tokens) {
      texts[event.request].push_back(event.token);
    }
  }
  return texts;
}

// How far apart the two best scores are after `prompt` and the first `count` tokens.
f64 margin_after(backend::Executor& executor, std::vector<i32> tokens) {
  std::vector<i32> positions, pages, slots;
  for (i32 i = 0; i < std::ssize(tokens); ++i) {
    positions.push_back(i);
    slots.push_back(i);
  }
  i64 page = executor.page_tokens();
  for (i32 p = 0; p <= std::ssize(tokens) / page; ++p) pages.push_back(p);
  i32 n = static_cast<i32>(tokens.size());
  std::vector<i32> cu = {0, n}, past = {0}, rows = {n - 1};
  std::vector<i32> begin = {0, static_cast<i32>(pages.size())};
  Result<std::span<const f32>> logits = executor.run({.ids = tokens,
                                                      .positions = positions,
                                                      .cu = cu,
                                                      .past = past,
                                                      .page_begin = begin,
                                                      .pages = pages,
                                                      .slots = slots,
                                                      .rows = rows});
  if (!logits) return 1e9;
  std::vector<f32> sorted(logits->begin(), logits->end());
  std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
  return f64{sorted[0]} - f64{sorted[1]};
}

TEST(Suppliers, cpu_and_opencl_say_the_same) {
  if (backend::gpu::kIsSanitized) GTEST_SKIP() << "drivers are not sanitized";
  setenv("POCL_CACHE_DIR", TG_BACKENDS "/pocl", 0);
  setenv("TG_OPENCL_CACHE", TG_BACKENDS "/opencl", 0);
  Result<backend::Library> library = backend::load_library(TG_BACKENDS "/libtg_backend_opencl.so");
  if (!library) GTEST_SKIP() << library.error().message;
  u32 devices = 0;
  if (library->table->dev_count(&devices) != TG_OK) {
    GTEST_SKIP() << library->table->error_text(nullptr);
  }
  constexpr backend::ExecutorLimits kLimits = {.tokens_max = 64,
                                               .sequences_max = 4,
                                               .rows_max = 4,
                                               .context_max = 512,
                                               .kv_pages = 128,
                                               .threads = 1};
  i64 tokens = 0, parted = 0;
  for (const char* file : {"tokengrid-tiny.gguf", "tokengrid-tiny-draft.gguf"}) {
    std::vector<Probe> list = probes(file);
    std::unique_ptr<model::Model> model =
        model::Model::open(std::string(TG_SOURCE_DIR "/models/") + file, {}).value();
    std::unique_ptr<backend::Executor> cpu =
        backend::make_executor("cpu", model->program(), model->weights(), kLimits).value();
    Result<std::unique_ptr<backend::Executor>> opencl = backend::bind_executor(
        {.library = *library, .device = 0}, model->program(), model->weights(), kLimits);
    ASSERT_TRUE(opencl.ok()) << opencl.error().message;
    Texts theirs = say(**opencl, *model, list);
    Texts ours = say(*cpu, *model, list);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::vector<i32>&a = ours[i], &b = theirs[i];
      ASSERT_FALSE(a.empty());
      tokens += std::ssize(a);
      if (a == b) continue;
      std::size_t at = 0;
      while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
      std::vector<i32> so_far = list[i].prompt;
      so_far.insert(so_far.end(), a.begin(), a.begin() + static_cast<i64>(at));
      f64 margin = margin_after(*cpu, so_far);
      EXPECT_LT(margin, kTie) << file << " probe " << i << " token " << at;
      std::printf("%s probe %zu parts at token %zu, margin %g\n", file, i, at, margin);
      ++parted;
    }
  }
  EXPECT_GT(tokens, 0);
  RecordProperty("tokens", static_cast<int>(tokens));
  RecordProperty("parted", static_cast<int>(parted));
  std::printf("%lld tokens on both, %lld texts part\n", static_cast<long long>(tokens),
              static_cast<long long>(parted));
}

}  // namespace
}  // namespace tg::engine
