// Windows and limits: what may pass in any sixty seconds, by whatever arrivals.
#include <gtest/gtest.h>

#include <deque>

#include "env/random.h"
#include "env/seed_testing.h"
#include "gateway/access/limit_book.h"

namespace tg::gateway {
namespace {

constexpr i64 kSecond = 1'000'000'000;
constexpr i64 kStart = 1'000 * kSecond;

Standing standing_of(std::array<RateLimits, kLevels> limits, u64 first = 1) {
  Standing standing;
  for (std::size_t i = 0; i < kLevels; ++i) {
    Subject subject;
    subject.number = first + i;
    subject.level = static_cast<Level>(i);
    subject.policy.limits = limits[i];
    standing.levels[i] = std::make_shared<const Subject>(subject);
  }
  return standing;
}

TEST(SlidingWindowTest, ForgetsAfterAMinuteAndNotBefore) {
  SlidingWindow window;
  window.add(5, kStart);
  EXPECT_EQ(window.total(kStart + 60 * kSecond - 1), 5);
  EXPECT_EQ(window.total(kStart + 64 * kSecond), 0);
  EXPECT_EQ(window.empty_in_ns(kStart + 64 * kSecond), 0);
}

TEST(SlidingWindowTest, SaysWhenThereIsRoom) {
  SlidingWindow window;
  window.add(6, kStart);
  window.add(4, kStart + 20 * kSecond);
  EXPECT_EQ(window.wait_ns(2, 12, kStart + 20 * kSecond), 0);
  i64 now = kStart + 21 * kSecond;
  i64 wait = window.wait_ns(5, 10, now);
  EXPECT_GT(wait, 0);
  EXPECT_EQ(window.wait_ns(5, 10, now + wait), 0);
  EXPECT_GT(window.wait_ns(7, 10, now + wait), 0);
}

TEST(SlidingWindowTest, CorrectsOnlyWhatIsStillThere) {
  SlidingWindow window;
  window.add(100, kStart);
  window.correct(-60, kStart, kStart + kSecond);
  EXPECT_EQ(window.total(kStart + kSecond), 40);
  window.correct(-60, kStart, kStart + kSecond);
  EXPECT_EQ(window.total(kStart + kSecond), 0);
  window.correct(-5, kStart, kStart + 100 * kSecond);
  window.correct(+5, kStart, kStart + 100 * kSecond);
  EXPECT_EQ(window.total(kStart + 100 * kSecond), 0);
}

// Whatever arrives whenever, no sixty seconds hold more than the limit.
TEST(LimitBookTest, NoMinuteHoldsMoreThanTheLimit) {
  u64 seed = first_seed();
  for (u64 round = 0; round < 40; ++round) {
    SCOPED_TRACE(seed + round);
    SeededRandom random(seed + round);
    LimitBook book;
    i64 limit = 1 + static_cast<i64>(random.below(50));
    Standing standing = standing_of(
        {RateLimits{}, RateLimits{.tokens_per_minute = limit}, RateLimits{}, RateLimits{}});
    std::deque<std::pair<i64, i64>> admitted;
    i64 sum = 0;
    i64 now = kStart;
    i64 refused_at = 0;
    for (int i = 0; i < 3'000; ++i) {
      now += static_cast<i64>(random.below(2 * kSecond));
      i64 tokens = 1 + static_cast<i64>(random.below(static_cast<u64>(limit)));
      std::optional<LimitRefusal> refusal = book.admit(standing, {.tokens = tokens}, now);
      if (refusal) {
        ASSERT_FALSE(refusal->is_never);
        ASSERT_GT(refusal->wait_ns, 0);
        ASSERT_LE(refusal->wait_ns, 64 * kSecond);
        // The wait it names is enough if nobody else comes.
        refused_at = now;
        now += refusal->wait_ns;
        ASSERT_FALSE(book.admit(standing, {.tokens = tokens}, now)) << now - refused_at;
      }
      admitted.push_back({now, tokens});
      sum += tokens;
      while (admitted.front().first <= now - 60 * kSecond) {
        sum -= admitted.front().second;
        admitted.pop_front();
      }
      ASSERT_LE(sum, limit);
      book.end(standing,
               {.most = {.tokens = tokens}, .used = {.tokens = tokens}, .admitted_ns = now}, now);
    }
  }
}

TEST(LimitBookTest, AllLevelsOrNone) {
  LimitBook book;
  RateLimits two{.requests_per_minute = 2};
  RateLimits five{.requests_per_minute = 5};
  Standing standing = standing_of({five, RateLimits{}, two, RateLimits{}});
  EXPECT_FALSE(book.admit(standing, {}, kStart));
  EXPECT_FALSE(book.admit(standing, {}, kStart));
  std::optional<LimitRefusal> refused = book.admit(standing, {}, kStart);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->subject->level, Level::kProject);
  EXPECT_EQ(refused->limit, 2);
  // The refused one cost the organisation nothing.
  EXPECT_EQ(book.headroom(standing, LimitedResource::kRequests, kStart).remaining, 0);
  Standing sibling = standing_of({five, RateLimits{}, RateLimits{}, RateLimits{}});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(book.admit(sibling, {}, kStart));
  refused = book.admit(sibling, {}, kStart);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->subject->level, Level::kOrganisation);
}

TEST(LimitBookTest, WhatIsNotUsedComesBackAtTheEnd) {
  LimitBook book;
  Standing standing = standing_of({RateLimits{}, RateLimits{}, RateLimits{},
                                   RateLimits{.tokens_per_minute = 100, .nst_per_minute = 1'000}});
  EXPECT_FALSE(book.admit(standing, {.tokens = 90, .nst = 10}, kStart));
  EXPECT_TRUE(book.admit(standing, {.tokens = 20, .nst = 10}, kStart));
  book.end(
      standing,
      {.most = {.tokens = 90, .nst = 10}, .used = {.tokens = 30, .nst = 4}, .admitted_ns = kStart},
      kStart + kSecond);
  EXPECT_EQ(book.headroom(standing, LimitedResource::kTokens, kStart + kSecond).remaining, 70);
  EXPECT_EQ(book.headroom(standing, LimitedResource::kWork, kStart + kSecond).remaining, 996);
  std::optional<LimitRefusal> never = book.admit(standing, {.tokens = 101}, kStart);
  ASSERT_TRUE(never.has_value());
  EXPECT_TRUE(never->is_never);
}

TEST(LimitBookTest, CountsWhatIsOpen) {
  LimitBook book;
  Standing standing =
      standing_of({RateLimits{}, RateLimits{.concurrent = 2}, RateLimits{}, RateLimits{}});
  EXPECT_FALSE(book.admit(standing, {}, kStart));
  EXPECT_FALSE(book.admit(standing, {}, kStart));
  EXPECT_EQ(book.admit(standing, {}, kStart)->resource, LimitedResource::kConcurrent);
  EXPECT_EQ(book.open(standing.at(Level::kTeam)), 2);
  book.end(standing, {.admitted_ns = kStart}, kStart);
  EXPECT_FALSE(book.admit(standing, {}, kStart));
  book.end(standing, {.admitted_ns = kStart}, kStart);
  book.sweep(kStart + 600 * kSecond);
  EXPECT_EQ(book.size(), 4u) << "one is still open";
  book.end(standing, {.admitted_ns = kStart}, kStart);
  book.sweep(kStart + 600 * kSecond);
  EXPECT_EQ(book.size(), 0u);
}

TEST(IdentityTest, PatternsMatchWholeNames) {
  struct Case {
    const char* pattern;
    const char* model;
    bool is_match;
  };
  const Case cases[] = {{"gpt", "gpt", true},
                        {"gpt", "gpt-4", false},
                        {"gpt*", "gpt-4", true},
                        {"*", "", true},
                        {"", "", true},
                        {"", "x", false},
                        {"*/llama-*-8b", "meta/llama-3.1-8b", true},
                        {"*/llama-*-8b", "meta/llama-3.1-70b", false},
                        {"a*b*c", "axxbyybzc", true},
                        {"a*b*c", "axxbyybz", false},
                        {"**x", "abcx", true},
                        {"*.gguf", "a.ggufx", false}};
  for (const Case& c : cases) EXPECT_EQ(matches(c.pattern, c.model), c.is_match) << c.pattern;
  EXPECT_TRUE(allows({}, "any"));
  EXPECT_FALSE(allows({"a", "b*"}, "c"));
  std::string pattern(200, '*');
  std::string model(5'000, 'b');
  pattern.push_back('a');
  model.push_back('a');
  EXPECT_TRUE(matches(pattern, model));
}

TEST(IdentityTest, AdminIncludesReading) {
  constexpr Scope kAdmin[] = {Scope::kAdmin};
  ScopeSet set = ScopeSet::of(kAdmin);
  EXPECT_TRUE(set.has(Scope::kAdminRead));
  EXPECT_FALSE(set.has(Scope::kInference));
  EXPECT_TRUE(ScopeSet::standard().has(Scope::kInference));
  EXPECT_FALSE(ScopeSet::standard().has(Scope::kAdminRead));
  for (std::size_t i = 0; i < kScopes; ++i) {
    EXPECT_EQ(scope_by_name(name(static_cast<Scope>(i))), static_cast<Scope>(i));
  }
}

}  // namespace
}  // namespace tg::gateway
