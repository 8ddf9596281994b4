// Estimates: the numbers are those of the quote that a real request would get.
#include "gateway/counting.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/chat_render.h"
#include "gateway/testing/fake_model.h"
#include "meter/receipt.h"
#include "unit/nominal.h"

namespace tg::gateway {
namespace {

using Json = nlohmann::json;

// Says of every request where it would go.
class Explaining final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest) override {
    return Error{Code::kUnsupported, "an estimate ran something"};
  }
  void cancel(u64) override {}
  fleet::SupplierLoad load() const override { return {}; }
  std::string explain(const fleet::SupplyRequest& request) const override {
    return "{\"candidates\":[{\"supplier\":\"near\",\"prompt\":" +
           std::to_string(request.prompt.size()) + ",\"zone\":\"" + request.wishes.zone + "\"}]}";
  }
};

class CountingTest : public testing::Test {
 protected:
  CountingTest() {
    cost_.per_token[unit::kMmF16] = 2'000'000'000;
    cost_.windows = {{0, 4096, 0, 256}};
    models_.push_back(fake_model("tiny", &supplier_));
    models_[0].cost = &cost_;
    models_[0].tariff.factor_ppm = 500'000;
  }
  Json estimate(const std::string& body, OutputHistory history) {
    CountingWorld world;
    world.models = models_;
    world.history = std::span(&history, 1);
    ApiResult<std::string> answer = answer_counting(world, Endpoint::kEstimate, body);
    EXPECT_TRUE(std::holds_alternative<std::string>(answer)) << std::get<ApiError>(answer).message;
    return Json::parse(std::get<std::string>(answer));
  }
  struct Most {
    unit::NominalWork maximum;
    i64 held = 0;
  };
  Most quote(i64 prompt, i64 output, i64 choices) {
    std::vector<i64> outputs(static_cast<std::size_t>(choices), output);
    Most out;
    out.maximum = unit::nominal_work(cost_, {.prompt = prompt, .outputs = outputs}).value();
    out.held =
        meter::billed_amount(out.maximum.total.value, models_[0].tariff.factor_ppm, INT64_MAX);
    return out;
  }
  unit::CostMatrix cost_;
  Explaining supplier_;
  std::vector<ServedModel> models_;
};

TEST_F(CountingTest, EstimatesInputExactlyAndTheMost) {
  Json json = estimate(R"({"model":"tiny","prompt":["abcd","ef"],"max_tokens":10,"n":2})", {});
  EXPECT_EQ(json["input_tokens"], 6);
  EXPECT_EQ(json["choices"], 4);
  Most first = quote(4, 10, 2);
  Most second = quote(2, 10, 2);
  EXPECT_EQ(json["input_nst"], first.maximum.input.value + second.maximum.input.value);
  EXPECT_EQ(json["maximum"]["output_tokens"], 40);
  EXPECT_EQ(json["maximum"]["output_nst"],
            first.maximum.output.value + second.maximum.output.value);
  EXPECT_EQ(json["maximum"]["total_nst"], first.maximum.total.value + second.maximum.total.value);
  // Every choice holds for itself.
  EXPECT_EQ(json["hold_nst"], 2 * quote(4, 10, 1).held + 2 * quote(2, 10, 1).held);
  EXPECT_EQ(json["maximum"]["billed_nst"], json["maximum"]["total_nst"].get<i64>() / 2);
  EXPECT_TRUE(json["expected"].is_null());
  EXPECT_EQ(json["tariff"]["factor_ppm"], 500'000);
}

TEST_F(CountingTest, SaysWhoCouldServeIt) {
  Json json =
      estimate(R"({"model":"tiny","prompt":"abcd","max_tokens":10,"tokengrid":{"zone":"eu"}})", {});
  const Json& candidate = json["route"]["candidates"][0];
  EXPECT_EQ(candidate["supplier"], "near");
  EXPECT_EQ(candidate["prompt"], 4);
  EXPECT_EQ(candidate["zone"], "eu");
}

TEST_F(CountingTest, ExpectsWhatRepliesHaveTaken) {
  std::string body = R"({"model":"tiny","messages":[{"role":"user","content":"hi"}],)";
  Json json = estimate(body + R"("max_tokens":100})", {.replies = 4, .tokens = 100});
  EXPECT_EQ(json["expected"]["output_tokens"], 25);
  EXPECT_EQ(json["expected"]["output_nst"], quote(20, 25, 1).maximum.output.value);
  EXPECT_EQ(json["expected_from_replies"], 4);
  json = estimate(body + R"("max_tokens":7})", {.replies = 4, .tokens = 100});
  EXPECT_EQ(json["expected"]["output_tokens"], 7);
}

TEST_F(CountingTest, AnEmbeddingIsPrefillAloneAndHasItsOwnQuote) {
  models_[0].generates = false;
  models_[0].embedding_width = 4;
  std::string body = R"({"model":"tiny","input":["abcd","ef"]})";
  OutputHistory history{.replies = 4, .tokens = 0};
  Json json = estimate(body, history);
  i64 sum = 0;
  for (i64 prompt : {4, 2}) {
    unit::RequestShape shape{.prompt = prompt, .outputs = {}, .embedding = true};
    sum += unit::nominal_work(cost_, shape).value().total.value;
  }
  EXPECT_GT(sum, 0);
  EXPECT_EQ(json["input_tokens"], 6);
  EXPECT_EQ(json["maximum"]["total_nst"], sum);
  EXPECT_EQ(json["expected"]["total_nst"], sum);
  EXPECT_EQ(json["maximum"]["output_tokens"], 0);
  CountingWorld world;
  world.models = models_;
  world.history = std::span(&history, 1);
  ApiResult<EstimateShape> shaped = estimate_shape(world, body);
  ASSERT_TRUE(std::holds_alternative<EstimateShape>(shaped));
  EXPECT_TRUE(std::get<EstimateShape>(shaped).is_embedding);
  EXPECT_EQ(std::get<EstimateShape>(shaped).output_tokens_max, 0);
  EXPECT_EQ(std::get<EstimateShape>(shaped).output_tokens_expected, 0);
}

// ---- what templates are given -------------------------------------------------------------------

std::string rendered(const char* print, const ReplyFormat* change = nullptr) {
  ServedModel model = fake_model("m", nullptr);
  model.chat_template =
      ChatTemplate::parse(
          "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}"
          "<tool_call>{\"arguments\": " +
          std::string(print) + "}</tool_call>{% endfor %}{% endfor %}{{ tools | tojson }}")
          .value();
  describe(model);
  if (change != nullptr) model.format.wants_short_call_ids = change->wants_short_call_ids;
  CompletionRequest request;
  request.messages = {{.role = "user", .content = "w"},
                      {.role = "assistant",
                       .content = "",
                       .calls = {{.id = "call_1", .name = "f", .arguments = "{\"a\":1}"}}},
                      {.role = "tool", .content = "r", .call_id = "call_1"}};
  ApiResult<RenderedChat> chat = render_chat(model, request, 0);
  EXPECT_TRUE(std::holds_alternative<RenderedChat>(chat)) << std::get<ApiError>(chat).message;
  return std::get<RenderedChat>(chat).text;
}

TEST(ChatRender, GivesArgumentsAsTheTemplateWritesThem) {
  std::string expected = "w<tool_call>{\"arguments\": {\"a\":1}}</tool_call>rnull";
  EXPECT_EQ(rendered("{{ c.function.arguments }}"), expected);
  expected.insert(expected.find("1}"), " ");
  EXPECT_EQ(rendered("{{ c.function.arguments | tojson }}"), expected);
}

TEST(ChatRender, ShortensIdsForTemplatesThatWantThem) {
  ReplyFormat change;
  change.wants_short_call_ids = true;
  std::string text = rendered("{{ c.function.arguments | tojson }}, {{ c.id }}", &change);
  std::size_t at = text.find(", ");
  EXPECT_EQ(text.find('}', at) - at, 2u + 9u) << text;
}

}  // namespace
}  // namespace tg::gateway
