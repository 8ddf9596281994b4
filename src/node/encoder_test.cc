// An encoder as a supplier: each text's vector is its own, whatever it is packed with; what cannot
// run is refused; cancellation and shutdown leave nothing behind.
#include "node/encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "model/model.h"
#include "model/synth.h"
#include "unit/nominal.h"

namespace tg::node {
namespace {

class EncoderTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "tg_encoder.gguf";
    model::SynthShape shape = model::find_synth_shape("tiny-bert").value();
    ASSERT_TRUE(model::synthesize({.path = path_, .shape = shape, .codec = "q8_0"}).ok());
    model_ = model::Model::open(path_, {}).value();
  }
  void TearDown() override {
    supplier_.reset();
    std::filesystem::remove(path_);
  }
  void open(engine::EngineLimits limits = {}) {
    EmbeddedOptions options;
    options.threads = 2;
    options.engine = limits;
    supplier_ =
        EncoderSupplier::start(model_->program(), model_->weights(), options, clock_).value();
  }
  fleet::SupplyRequest request(u64 id, std::vector<TokenId> prompt) {
    fleet::SupplyRequest r;
    r.id = id;
    r.prompt = std::move(prompt);
    r.is_embedding = true;
    r.events = mailbox_;
    return r;
  }
  static std::vector<TokenId> text(i32 seed, i32 tokens) {
    std::vector<TokenId> out;
    for (i32 i = 0; i < tokens; ++i) out.push_back((seed * 31 + i * 7) % 256);
    return out;
  }
  std::map<u64, fleet::SupplierEvent> collect(std::size_t count) {
    std::map<u64, fleet::SupplierEvent> out;
    for (int i = 0; i < 600 && out.size() < count; ++i) {
      std::vector<fleet::SupplierEvent> events;
      mailbox_->wait(events, 100'000'000);
      for (fleet::SupplierEvent& event : events) {
        EXPECT_EQ(event.kind, fleet::SupplierEvent::Kind::kFinished);
        out[event.request] = std::move(event);
      }
    }
    EXPECT_EQ(out.size(), count);
    return out;
  }

  std::string path_;
  SystemClock clock_;
  std::unique_ptr<model::Model> model_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(100'000);
  std::unique_ptr<EncoderSupplier> supplier_;
};

TEST_F(EncoderTest, AVectorIsItsTextsOwn) {
  open({.running_max = 1});
  constexpr u64 kTexts = 40;
  std::map<u64, std::vector<f32>> alone;
  for (u64 i = 0; i < kTexts; ++i) {
    i32 tokens = 1 + static_cast<i32>(i * 13 % 64);
    ASSERT_TRUE(supplier_->submit(request(i, text(static_cast<i32>(i), tokens))).ok());
    fleet::SupplierEvent event = collect(1)[i];
    EXPECT_EQ(event.reason, fleet::FinishReason::kStop);
    EXPECT_EQ(event.usage.prompt_tokens, tokens);
    EXPECT_EQ(event.usage.output_tokens, 0);
    EXPECT_GT(event.usage.actual_atto_st, 0u);
    alone[i] = event.embedding;
    ASSERT_EQ(static_cast<i64>(alone[i].size()), supplier_->width());
    f64 squares = 0;
    for (f32 value : alone[i]) squares += static_cast<f64>(value) * static_cast<f64>(value);
    EXPECT_NEAR(squares, 1, 1e-3);
  }
  EXPECT_NE(alone[1], alone[2]);
  open({.running_max = 16});
  for (u64 i = 0; i < kTexts; ++i) {
    i32 tokens = 1 + static_cast<i32>(i * 13 % 64);
    ASSERT_TRUE(supplier_->submit(request(i, text(static_cast<i32>(i), tokens))).ok());
  }
  std::map<u64, fleet::SupplierEvent> together = collect(kTexts);
  for (u64 i = 0; i < kTexts; ++i) EXPECT_EQ(together[i].embedding, alone[i]) << i;
  EXPECT_LT(supplier_->load().steps, kTexts) << "texts share steps";
}

// standard-token.md ST5: the work of an embedding is its prefill, without a row of logits; for such
// a program that is also the work of a request without output.
TEST_F(EncoderTest, TheWorkIsThePrefill) {
  const unit::CostMatrix& cost = model_->program().cost();
  const std::vector<i64> none = {0};
  for (i64 tokens : {1, 17, 64}) {
    unit::NominalWork embedding =
        unit::nominal_work(cost, {.prompt = tokens, .embedding = true}).value();
    unit::NominalWork request =
        unit::nominal_work(cost, {.prompt = tokens, .outputs = none}).value();
    EXPECT_EQ(embedding.total.value, request.total.value);
    EXPECT_EQ(embedding.total.value, embedding.input.value);
    EXPECT_GT(embedding.total.value, 0);
  }
}

TEST_F(EncoderTest, RefusesWhatCannotRun) {
  open({.running_max = 1});
  EXPECT_EQ(supplier_->submit(request(1, {})).error().code, Code::kInvalid);
  EXPECT_EQ(supplier_->submit(request(1, text(1, 65))).error().code, Code::kInvalid);
  fleet::SupplyRequest chat = request(1, text(1, 5));
  chat.is_embedding = false;
  chat.max_tokens = 5;
  EXPECT_EQ(supplier_->submit(chat).error().code, Code::kUnsupported);
  // An id outside the vocabulary traps; the supplier lives on.
  ASSERT_TRUE(supplier_->submit(request(2, {100'000})).ok());
  EXPECT_EQ(collect(1)[2].reason, fleet::FinishReason::kError);
  ASSERT_TRUE(supplier_->submit(request(3, {5})).ok());
  EXPECT_EQ(collect(1)[3].reason, fleet::FinishReason::kStop);
  EXPECT_FALSE(EmbeddedSupplier::start(model_->program(), model_->weights(), {}, clock_).ok());
}

TEST_F(EncoderTest, WhoeverSubmittedHearsOfTheEnd) {
  open();
  constexpr u64 kTexts = 2'048;
  for (u64 i = 0; i < kTexts; ++i) {
    ASSERT_TRUE(supplier_->submit(request(i, text(static_cast<i32>(i), 60))).ok());
    if (i % 3 == 0) supplier_->cancel(i);
  }
  supplier_.reset();
  for (const auto& [id, event] : collect(kTexts)) {
    bool is_known = event.reason == fleet::FinishReason::kStop ||
                    event.reason == fleet::FinishReason::kCancelled;
    EXPECT_TRUE(is_known) << id;
    EXPECT_EQ(event.embedding.empty(), event.reason != fleet::FinishReason::kStop) << id;
  }
}

}  // namespace
}  // namespace tg::node
