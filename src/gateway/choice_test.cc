// Ids to text with exact counts: what is visible, what is still held back, what a stop cuts off.
#include "gateway/choice.h"

#include <gtest/gtest.h>

#include "env/random.h"
#include "gateway/testing/fake_model.h"

namespace tg::gateway {
namespace {

using Kind = fleet::SupplierEvent::Kind;

class ChoiceTest : public testing::Test {
 protected:
  static fleet::SupplierEvent tokens(const std::string& bytes) {
    fleet::SupplierEvent event;
    for (char c : bytes) event.tokens.push_back(static_cast<u8>(c));
    return event;
  }
  static fleet::SupplierEvent finish(fleet::FinishReason reason = fleet::FinishReason::kStop) {
    fleet::SupplierEvent event;
    event.kind = Kind::kFinished;
    event.reason = reason;
    return event;
  }
  // Pushes and takes; "text/tokens".
  static std::string push(Choice& choice, const fleet::SupplierEvent& event) {
    choice.push(event);
    Delta delta = choice.take();
    return delta.text + "/" + std::to_string(delta.tokens);
  }
  std::shared_ptr<const Tokenizer> tokenizer_ = byte_tokenizer();
};

TEST_F(ChoiceTest, CountsTokensWithTheirText) {
  Choice choice(*tokenizer_, {});
  EXPECT_EQ(push(choice, tokens("ab")), "ab/2");
  EXPECT_EQ(push(choice, tokens("c")), "c/1");
  EXPECT_EQ(push(choice, finish()), "/0");
  EXPECT_EQ(choice.tokens(), 3);
}

TEST_F(ChoiceTest, HowTokensAreDividedIntoEventsChangesNothing) {
  SeededRandom random(1);
  const std::string alphabet = "ab \n\xC3\xA9\xF0\x9F\x98\x80";
  for (int round = 0; round < 500; ++round) {
    fleet::SupplierEvent all;
    for (u64 i = random.below(40); i > 0; --i) {
      bool is_mark = random.below(12) == 0;
      u8 byte = static_cast<u8>(alphabet[random.below(alphabet.size())]);
      all.tokens.push_back(is_mark ? kImEnd : byte);
    }
    Choice::Options options{.ignore_eos = random.below(2) == 0, .continues_text = round % 2 == 0};
    if (random.below(3) == 0) options.stop = {"ba"};
    Choice whole(*tokenizer_, options), single(*tokenizer_, options);
    whole.push(all);
    for (TokenId id : all.tokens) {
      fleet::SupplierEvent one;
      one.tokens = {id};
      if (!single.is_stopped()) single.push(one);
    }
    Delta a = whole.take(), b = single.take();
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(whole.tokens(), single.tokens());
    EXPECT_EQ(whole.is_stopped(), single.is_stopped());
    for (Choice* choice : {&whole, &single}) choice->push(finish());
    EXPECT_EQ(whole.take().text, single.take().text);
  }
}

TEST_F(ChoiceTest, AHalfCharacterIsNotDelivered) {
  Choice choice(*tokenizer_, {});
  EXPECT_EQ(push(choice, tokens("a\xF0\x9F")), "a/1");
  EXPECT_EQ(push(choice, tokens("\x98")), "/0");
  EXPECT_EQ(push(choice, tokens("\x80")), "\xF0\x9F\x98\x80/4" + std::string());
  EXPECT_EQ(push(choice, tokens("\xC3")), "/0");
  EXPECT_EQ(push(choice, finish()), "\xEF\xBF\xBD/1");
}

TEST_F(ChoiceTest, TheEndTokenCountsAndHasNoText) {
  Choice choice(*tokenizer_, {});
  fleet::SupplierEvent event = tokens("a");
  event.tokens.push_back(kImEnd);
  EXPECT_EQ(push(choice, event), "a/2");
}

TEST_F(ChoiceTest, HeldBackTextIsNotDeliveredYet) {
  Choice choice(*tokenizer_, {.stop = {"STOP"}});
  EXPECT_EQ(push(choice, tokens("aST")), "a/1");
  EXPECT_EQ(push(choice, tokens("Ax")), "STAx/4");
  EXPECT_EQ(push(choice, tokens("bSTO")), "b/1");
  EXPECT_FALSE(choice.is_stopped());
  EXPECT_EQ(push(choice, finish()), "STO/3");
}

TEST_F(ChoiceTest, WhatBreaksOffLetsNothingGoThatWaited) {
  for (fleet::FinishReason reason :
       {fleet::FinishReason::kError, fleet::FinishReason::kCancelled}) {
    Choice half(*tokenizer_, {});
    EXPECT_EQ(push(half, tokens("a\xF0\x9F")), "a/1");
    EXPECT_EQ(push(half, finish(reason)), "/0");
    Choice held(*tokenizer_, {.stop = {"STOP"}});
    EXPECT_EQ(push(held, tokens("aST")), "a/1");
    EXPECT_EQ(push(held, finish(reason)), "/0");
    EXPECT_EQ(held.tokens(), 3);
  }
}

TEST_F(ChoiceTest, AStopCountsWhatItSearchedAndDropsTheRest) {
  Choice choice(*tokenizer_, {.stop = {"END"}});
  EXPECT_EQ(push(choice, tokens("abE")), "ab/2");
  EXPECT_EQ(push(choice, tokens("NDxyz")), "/3");
  EXPECT_TRUE(choice.is_stopped() && choice.is_over());
  EXPECT_FALSE(choice.is_finished());
  EXPECT_EQ(push(choice, tokens("more")), "/0");
  EXPECT_EQ(push(choice, finish(fleet::FinishReason::kCancelled)), "/0");
  EXPECT_EQ(choice.tokens(), 5);
  EXPECT_TRUE(choice.has_text());
}

TEST_F(ChoiceTest, ReportsFollowTheirTokens) {
  Choice choice(*tokenizer_, {.stop = {"!!"}});
  fleet::SupplierEvent event = tokens("a!b");
  for (TokenId id : event.tokens) event.logprobs.push_back({id, -1.0f});
  choice.push(event);
  EXPECT_EQ(choice.take().reports.size(), 3u);
  event = tokens("c!!");
  for (TokenId id : event.tokens) event.logprobs.push_back({id, -1.0f});
  choice.push(event);
  Delta delta = choice.take();
  EXPECT_EQ(delta.tokens, 3);
  ASSERT_EQ(delta.reports.size(), 1u);
  EXPECT_EQ(delta.reports[0].token, "c");
}

}  // namespace
}  // namespace tg::gateway
