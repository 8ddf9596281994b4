// Replies under a shape from the embedded engine with the bundled model: what it says is what the
// grammar allows, whatever the temperature, and the same with and without speculation.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "grammar/random_schema.h"
#include "model/model.h"
#include "node/embedded.h"

namespace tg::node {
namespace {

using grammar::GrammarKind;

const std::string kModel = TG_SOURCE_DIR "/models/tokengrid-tiny.gguf";

struct Said {
  std::string text;
  std::vector<TokenId> tokens;
  fleet::FinishReason reason = fleet::FinishReason::kError;
  std::string error;
};

class StructuredReply : public testing::Test {
 protected:
  void SetUp() override {
    model_ = model::Model::open(kModel, {}).value();
    tokenizer_.emplace(Tokenizer::create(model_->vocab()).value());
    table_ = std::make_shared<const grammar::TokenTable>(
        grammar::TokenTable::create(*tokenizer_).value());
    grammars_ = std::make_shared<grammar::ModelGrammars>(table_);
  }
  void open(i64 draft_tokens_max, bool has_grammars = true) {
    supplier_.reset();
    EmbeddedOptions options;
    options.threads = 2;
    options.engine.draft_tokens_max = draft_tokens_max;
    if (has_grammars) options.grammars = grammars_;
    supplier_ =
        EmbeddedSupplier::start(model_->program(), model_->weights(), options, clock_).value();
  }
  fleet::SupplyRequest request(u64 id, const grammar::ReplyShape& shape, i64 max_tokens) {
    fleet::SupplyRequest r;
    r.id = id;
    r.prompt = tokenizer_->encode("Once upon a time", {}).value();
    r.max_tokens = max_tokens;
    r.sampling.seed = id;
    // The bundled model has not learnt to end what it never saw: these make it likely.
    for (const char* text : {"\"", "}", "]", "0"}) {
      TokenId id_of = tokenizer_->encode(text, {}).value().back();
      r.sampling.logit_bias.emplace_back(id_of, 6.0f);
    }
    r.stop_tokens = tokenizer_->vocab().end_of_generation;
    r.shape = std::make_shared<const grammar::ReplyShape>(shape);
    r.events = mailbox_;
    return r;
  }
  std::map<u64, Said> collect(std::size_t count) {
    std::map<u64, Said> out;
    for (std::size_t done = 0; done < count;) {
      std::vector<fleet::SupplierEvent> events;
      mailbox_->wait(events, 60'000'000'000);
      if (events.empty()) break;
      for (fleet::SupplierEvent& event : events) {
        Said& said = out[event.request];
        for (TokenId id : event.tokens) {
          said.tokens.push_back(id);
          if (!tokenizer_->is_end_of_generation(id)) said.text += tokenizer_->piece(id);
        }
        if (event.kind != fleet::SupplierEvent::Kind::kFinished) continue;
        said.reason = event.reason;
        said.error = event.error;
        ++done;
      }
    }
    EXPECT_EQ(out.size(), count);
    return out;
  }

  SystemClock clock_;
  std::unique_ptr<model::Model> model_;
  std::optional<Tokenizer> tokenizer_;
  std::shared_ptr<const grammar::TokenTable> table_;
  std::shared_ptr<grammar::ModelGrammars> grammars_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(1'000'000);
  std::unique_ptr<EmbeddedSupplier> supplier_;
};

grammar::ReplyShape shape_of(GrammarKind kind, std::string text) {
  grammar::ReplyShape shape;
  shape.text_kind = kind;
  shape.text = std::move(text);
  return shape;
}

// Every reply is a document of its schema, or the beginning of one if it was cut.
TEST_F(StructuredReply, FollowsRandomSchemasWithAndWithoutSpeculation) {
  constexpr u64 kSchemas = 60;
  std::map<u64, Said> plain;
  for (i64 drafts : {0, 6}) {
    open(drafts);
    std::vector<grammar::ReplyShape> shapes;
    for (u64 i = 0; i < kSchemas; ++i) {
      shapes.push_back(
          shape_of(GrammarKind::kJsonSchema, grammar::testing::RandomSchema(i).make()));
      Status submitted = supplier_->submit(request(i + 1, shapes.back(), 150));
      ASSERT_TRUE(submitted.ok()) << submitted.error().message;
    }
    std::map<u64, Said> said = collect(kSchemas);
    i64 whole = 0;
    for (u64 i = 0; i < kSchemas; ++i) {
      const Said& one = said[i + 1];
      SCOPED_TRACE(shapes[i].text + "\n" + one.text + "\n" + one.error);
      grammar::GrammarMatcher matcher(grammars_->get(shapes[i]).value());
      ASSERT_TRUE(one.text.empty() || matcher.accept_bytes(one.text));
      if (one.reason == fleet::FinishReason::kLength) continue;
      ASSERT_EQ(one.reason, fleet::FinishReason::kStop);
      EXPECT_TRUE(matcher.can_end());
      EXPECT_TRUE(nlohmann::json::accept(one.text));
      ++whole;
    }
    EXPECT_GT(whole, static_cast<i64>(kSchemas / 2)) << "of " << kSchemas;
    i64 early = supplier_->mask_worker().masks();
    i64 late = supplier_->mask_worker().late_masks();
    RecordProperty("masks_early_" + std::to_string(drafts), std::to_string(early));
    RecordProperty("masks_late_" + std::to_string(drafts), std::to_string(late));
    EXPECT_TRUE(drafts != 0 || early > 0) << late << " masks were worked out when needed";
    if (drafts == 0) plain = said;
    for (u64 i = 1; i <= kSchemas; ++i) EXPECT_EQ(said[i].tokens, plain[i].tokens) << i;
  }
}

TEST_F(StructuredReply, FollowsOtherGrammars) {
  open(0);
  ASSERT_TRUE(
      supplier_->submit(request(1, shape_of(GrammarKind::kRegex, "[a-f]{3}-[0-9]{2}"), 50)).ok());
  ASSERT_TRUE(
      supplier_->submit(request(2, shape_of(GrammarKind::kGbnf, "root ::= \"yes\" | \"no\""), 50))
          .ok());
  ASSERT_TRUE(supplier_->submit(request(3, shape_of(GrammarKind::kJsonObject, ""), 200)).ok());
  fleet::SupplyRequest ignores = request(4, shape_of(GrammarKind::kRegex, "[ab]{2}"), 50);
  ignores.stop_tokens.clear();
  ASSERT_TRUE(supplier_->submit(ignores).ok());
  std::map<u64, Said> said = collect(4);
  EXPECT_TRUE(std::regex_match(said[1].text, std::regex("[a-f]{3}-[0-9]{2}"))) << said[1].text;
  EXPECT_TRUE(said[2].text == "yes" || said[2].text == "no") << said[2].text;
  bool is_whole = said[3].reason == fleet::FinishReason::kStop;
  EXPECT_TRUE(!is_whole || nlohmann::json::parse(said[3].text, nullptr, false).is_object())
      << said[3].text;
  EXPECT_EQ(said[3].text[0], '{');
  EXPECT_EQ(said[4].text.size(), 2u) << "without stop tokens it ends where nothing may follow";
  EXPECT_EQ(said[4].reason, fleet::FinishReason::kStop);
}

TEST_F(StructuredReply, ContinuesWhatThePromptBegan) {
  open(0);
  grammar::ReplyShape shape;
  shape.may_be_text = false;
  shape.is_single_call = true;
  shape.tools = {{"f", R"({"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"]})"}};
  shape.calls = {
      .mark = "<c>", .open = "<c>{\"name\": \"", .middle = "\", \"arguments\": ", .close = "}</c>"};
  shape.written = "<c>{\"name\": \"f\", \"arguments\": ";
  ASSERT_TRUE(supplier_->submit(request(1, shape, 60)).ok());
  Said said = collect(1)[1];
  EXPECT_EQ(said.reason, fleet::FinishReason::kStop);
  EXPECT_TRUE(std::regex_match(said.text, std::regex(R"(\{\s*"a":\s?[12]\s*\}\}</c>)")))
      << said.text;
  shape.written = "<c>{\"name\": \"g\"";
  EXPECT_EQ(supplier_->submit(request(2, shape, 60)).error().code, Code::kInvalid);
}

TEST_F(StructuredReply, RefusesWhatItCannotHold) {
  open(0);
  Status bad =
      supplier_->submit(request(1, shape_of(GrammarKind::kJsonSchema, R"({"not":{}})"), 9));
  EXPECT_EQ(bad.error().code, Code::kUnsupported);
  open(0, false);
  Status none = supplier_->submit(request(1, shape_of(GrammarKind::kJsonObject, ""), 9));
  EXPECT_EQ(none.error().code, Code::kUnsupported);
}

TEST_F(StructuredReply, MasksAreWorkedOutElsewhere) {
  MaskWorker worker;
  std::shared_ptr<const grammar::CompiledGrammar> compiled =
      grammars_->get(shape_of(GrammarKind::kRegex, "[a-z]{4}")).value();
  GrammarMask mask(grammar::GrammarMatcher(compiled), worker);
  TokenId a = tokenizer_->find("a");
  ASSERT_GE(a, 0);
  TokenId digit = tokenizer_->encode("7", {}).value().back();
  const std::vector<i32> proposed = {a, a, digit, a};
  EXPECT_EQ(mask.prepare(proposed), 2) << "what follows an impossible token is not worth computing";
  for (int i = 0; i < 2'000 && worker.masks() < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(worker.masks(), 3);
  grammar::GrammarMatcher again(compiled);
  EXPECT_TRUE(again.is_mask_known());
  EXPECT_EQ(mask.prepare(proposed), 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(worker.masks(), 3) << "known ones need no one";
}

}  // namespace
}  // namespace tg::node
