// The embedded engine with the bundled models: what it says equals an independent implementation,
// on any number of threads, beside any neighbours; cancellation and shutdown leave nothing behind.
#include "node/embedded.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "model/model.h"

namespace tg::node {
namespace {

const std::string kModels = TG_SOURCE_DIR "/models/";
// Keys and values are kept in 16 bits here and in 32 in the reference: where the best two logits
// are closer than this, either may win, and from there on the texts may part.
constexpr f64 kMarginClear = 0.05;

struct Finished {
  std::vector<TokenId> tokens;
  fleet::SupplierEvent last;
};

class EmbeddedTest : public testing::Test {
 protected:
  void open(const std::string& file, i32 threads = 2, engine::EngineLimits limits = {}) {
    supplier_.reset();
    model_ = model::Model::open(kModels + file, {.exact = true}).value();
    EmbeddedOptions options;
    options.threads = threads;
    options.engine = limits;
    supplier_ =
        EmbeddedSupplier::start(model_->program(), model_->weights(), options, clock_).value();
  }
  fleet::SupplyRequest request(u64 id, std::vector<TokenId> prompt, i64 max_tokens,
                               f32 temperature = 0) {
    fleet::SupplyRequest r;
    r.id = id;
    r.prompt = std::move(prompt);
    r.max_tokens = max_tokens;
    r.sampling.temperature = temperature;
    r.sampling.seed = id;
    r.events = mailbox_;
    return r;
  }
  // Waits until `count` requests have finished.
  std::map<u64, Finished> collect(std::size_t count) {
    std::map<u64, Finished> out;
    std::size_t done = 0;
    for (int i = 0; i < 600 && done < count; ++i) {
      std::vector<fleet::SupplierEvent> events;
      mailbox_->wait(events, 100'000'000);
      for (fleet::SupplierEvent& event : events) {
        Finished& f = out[event.request];
        f.tokens.insert(f.tokens.end(), event.tokens.begin(), event.tokens.end());
        if (event.kind != fleet::SupplierEvent::Kind::kFinished) continue;
        f.last = std::move(event);
        ++done;
      }
    }
    EXPECT_EQ(done, count);
    return out;
  }

  SystemClock clock_;
  std::unique_ptr<model::Model> model_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(100'000);
  std::unique_ptr<EmbeddedSupplier> supplier_;
};

TEST_F(EmbeddedTest, GreedyTextEqualsAnIndependentImplementation) {
  std::ifstream in(kModels + "reference.json");
  nlohmann::json reference = nlohmann::json::parse(in);
  for (const nlohmann::json& model : reference["models"]) {
    open(model["file"].get<std::string>());
    for (const nlohmann::json& prompt : model["prompts"]) {
      std::vector<i32> want = prompt["greedy"].get<std::vector<i32>>();
      std::vector<f64> margins = prompt["margins"].get<std::vector<f64>>();
      ASSERT_TRUE(
          supplier_->submit(request(1, prompt["prompt_ids"], static_cast<i64>(want.size()))).ok());
      std::vector<TokenId> got = collect(1)[1].tokens;
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t i = 0; i < want.size() && margins[i] >= kMarginClear; ++i) {
        ASSERT_EQ(got[i], want[i]) << model["file"] << " '" << prompt["prompt"] << "' token " << i;
      }
    }
  }
}

TEST_F(EmbeddedTest, TextDependsOnNeitherThreadsNorNeighboursNorChunks) {
  std::vector<std::vector<TokenId>> prompts;
  for (i32 i = 0; i < 12; ++i) {
    std::vector<TokenId>& prompt = prompts.emplace_back();
    for (i32 k = 0; k < 3 + 17 * i; ++k) prompt.push_back((k * 37 + i * 101) % 2'000);
  }
  auto alone = [&](u64 i) {
    EXPECT_TRUE(supplier_->submit(request(i, prompts[i], 24, i % 2 == 0 ? 0.0f : 0.9f)).ok());
    return collect(1)[i].tokens;
  };
  open("tokengrid-tiny.gguf", 1, {.step_tokens_max = 512});
  std::vector<std::vector<TokenId>> want;
  for (u64 i = 0; i < prompts.size(); ++i) want.push_back(alone(i));
  for (i64 chunk : {7, 64}) {
    open("tokengrid-tiny.gguf", 2, {.step_tokens_max = chunk});
    for (u64 i = 0; i < prompts.size(); ++i) {
      ASSERT_TRUE(supplier_->submit(request(i, prompts[i], 24, i % 2 == 0 ? 0.0f : 0.9f)).ok());
    }
    std::map<u64, Finished> together = collect(prompts.size());
    for (u64 i = 0; i < prompts.size(); ++i)
      EXPECT_EQ(together[i].tokens, want[i]) << i << " chunk " << chunk;
  }
}

TEST_F(EmbeddedTest, CancelEndsWithinAStepAndFreesEveryPage) {
  open("tokengrid-tiny.gguf");
  ASSERT_TRUE(supplier_->submit(request(5, {1, 2, 3}, 400, 1.0f)).ok());
  while (supplier_->load().output_tokens < 3) std::this_thread::yield();
  supplier_->cancel(5);
  Finished finished = collect(1)[5];
  EXPECT_EQ(finished.last.reason, fleet::FinishReason::kCancelled);
  EXPECT_LT(finished.tokens.size(), 400u);
  EXPECT_EQ(finished.last.usage.output_tokens, static_cast<i64>(finished.tokens.size()));
  fleet::SupplierLoad load = supplier_->load();
  EXPECT_EQ(load.kv_pages_free, load.kv_pages_total);
  EXPECT_EQ(load.running, 0);
}

TEST_F(EmbeddedTest, FundsEndARequestAndCanBeRaised) {
  open("tokengrid-tiny.gguf", 1, {.draft_tokens_max = 4});
  fleet::SupplyRequest whole = request(1, {1, 2, 3}, 40);
  ASSERT_TRUE(supplier_->submit(whole).ok());
  std::vector<TokenId> text = collect(1)[1].tokens;
  for (bool is_raised : {false, true}) {
    fleet::SupplyRequest paid = request(2, {1, 2, 3}, 40);
    paid.funded_tokens = 7;
    paid.service = fleet::ServiceClass::kInteractive;
    paid.deadline_ns = 1'000'000;
    ASSERT_TRUE(supplier_->submit(paid).ok());
    if (is_raised) {
      ASSERT_TRUE(supplier_->extend(2, 40, false).ok());
    }
    Finished finished = collect(1)[2];
    if (finished.last.reason == fleet::FinishReason::kFunds) {
      EXPECT_EQ(finished.tokens, std::vector<TokenId>(text.begin(), text.begin() + 7));
    } else {
      EXPECT_TRUE(is_raised);
      EXPECT_EQ(finished.tokens, text);
    }
  }
  EXPECT_GT(supplier_->load().step.ns_per_step + supplier_->load().step.ns_per_token, 0);
}

// What lies between steps is busy time too, and is in the steps that others forecast by.
TEST_F(EmbeddedTest, ItsLoopIsBusyBesideItsSteps) {
  open("tokengrid-tiny.gguf", 1);
  EXPECT_EQ(supplier_->busy_ns(), 0);
  ASSERT_TRUE(supplier_->submit(request(1, {1, 2, 3}, 30)).ok());
  i64 in_steps_ns = collect(1)[1].last.usage.attributed_ns;
  // The last turn of the first is counted before the second begins.
  ASSERT_TRUE(supplier_->submit(request(2, {1, 2, 3}, 30)).ok());
  collect(1);
  EXPECT_GT(in_steps_ns, 0);
  EXPECT_GT(supplier_->busy_ns(), in_steps_ns);
}

TEST_F(EmbeddedTest, RefusesWhatCannotRun) {
  open("tokengrid-tiny.gguf", 1, {.running_max = 1, .waiting_max = 1});
  i64 context = supplier_->context_max();
  EXPECT_EQ(supplier_->submit(request(1, {}, 1)).error().code, Code::kInvalid);
  EXPECT_EQ(supplier_->submit(request(1, {1}, 0)).error().code, Code::kInvalid);
  EXPECT_EQ(supplier_->submit(request(1, {1}, context)).error().code, Code::kInvalid);
  ASSERT_TRUE(supplier_->submit(request(1, {1}, 300, 1.0f)).ok());
  ASSERT_TRUE(supplier_->submit(request(2, {1}, 300, 1.0f)).ok());
  EXPECT_EQ(supplier_->submit(request(3, {1}, 1)).error().code, Code::kUnavailable);
  supplier_.reset();
  // Shutdown cancels both and still says so.
  std::map<u64, Finished> ended = collect(2);
  EXPECT_EQ(ended.size(), 2u);
}

}  // namespace
}  // namespace tg::node
