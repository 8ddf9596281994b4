// Traps of what only some programs have: trees, proposals, sampling parameters, attention without a
// cache. The rest is in executor_test.cc.
#include "backend/step_check.h"

#include <gtest/gtest.h>

#include "backend/tiny_llama.h"

namespace tg::backend {
namespace {

constexpr ExecutorLimits kSmall = {.tokens_max = 16,
                                   .sequences_max = 4,
                                   .rows_max = 8,
                                   .context_max = 32,
                                   .kv_pages = 4,
                                   .threads = 1,
                                   .sample_words_max = 12};

// Two sequences of four and three new tokens; rows for all of them.
PackedStep two_sequences() {
  PackedStep batch;
  batch.add(std::vector<i32>{1, 2, 3, 4}, 0, std::vector<i32>{0}, 4);
  batch.add(std::vector<i32>{5, 6, 7}, 0, std::vector<i32>{1}, 3);
  batch.tree = {-1, 0, 0, 1, -1, 0, 1};
  return batch;
}

struct Case {
  const char* message;  // empty: fine
  StepRules rules;
  void (*change)(PackedStep&);
};

void expect(const Case& c) {
  PackedStep batch = two_sequences();
  c.change(batch);
  StepChecker checker(kSmall, 16, c.rules);
  Status status = checker.check(batch.view());
  EXPECT_EQ(status.ok() ? "" : status.error().message, c.message);
}

TEST(StepCheck, trees_and_proposals) {
  const StepRules plain;
  const StepRules exact{.has_proposals = true};
  const StepRules chains{.has_proposals = true, .has_chains = true};
  const Case cases[] = {
      {"", plain, [](PackedStep&) {}},
      {"", plain, [](PackedStep& b) { b.tree.clear(); }},
      {"step: tree[1] = 1 is not in [-1, 1)", plain, [](PackedStep& b) { b.tree[1] = 1; }},
      {"step: tree[4] = 0 is not in [-1, 0)", plain, [](PackedStep& b) { b.tree[4] = 0; }},
      {"step: tree[2] = -2 is not in [-1, 2)", plain, [](PackedStep& b) { b.tree[2] = -2; }},
      {"step: tree has 6 entries, not 7", plain, [](PackedStep& b) { b.tree.pop_back(); }},
      {"", exact, [](PackedStep&) {}},
      {"step: rows[2] = 3: the parent, token 1, has no row", exact,
       [](PackedStep& b) { b.rows.erase(b.rows.begin() + 1); }},
      {"step: rows[2] = 2: the parent, token 0, is not the row before", chains, [](PackedStep&) {}},
      {"", chains, [](PackedStep& b) { b.tree = {-1, 0, 1, 2, -1, -1, 1}; }},
      {"", chains, [](PackedStep& b) { b.tree.clear(); }},
  };
  for (const Case& c : cases) expect(c);
}

TEST(StepCheck, uncached_attention_and_rows_of_positions) {
  const StepRules uncached{.is_uncached = true};
  const StepRules sections{.position_rows = 3};
  const Case cases[] = {
      {"", uncached, [](PackedStep&) {}},
      {"step: past[1] = 2, but the program has attention without a cache", uncached,
       [](PackedStep& b) { b.past[1] = 2; }},
      {"step: positions has 7 entries, not 21", sections, [](PackedStep&) {}},
      {"", sections, [](PackedStep& b) { b.positions.resize(21); }},
      {"step: positions[20] = 32 is not in [0, 32)", sections,
       [](PackedStep& b) {
         b.positions.resize(21);
         b.positions[20] = 32;
       }},
  };
  for (const Case& c : cases) expect(c);
}

TEST(StepCheck, sampling_parameters) {
  const StepRules rules{.takes_samples = true, .vocabulary = 96};
  isa::SamplingParams plain, biased;
  biased.logit_bias = {{96, 1.0f}};
  const std::vector<i32> ids = {1, 95}, bad = {96}, negative = {-1}, many(13, 1);
  const std::vector<u64> short_mask = {1}, mask = {1, 2};
  struct RowCase {
    const char* message;
    isa::SampleRow row;
  };
  const RowCase cases[] = {
      {"", {{}, plain, ids, ids, mask, 0}},
      {"step: samples[6].prompt holds token 96 of 96", {{}, plain, bad, ids, {}, 0}},
      {"step: samples[6].output holds token -1 of 96", {{}, plain, ids, negative, {}, 0}},
      {"step: samples[6].bias holds token 96 of 96", {{}, biased, {}, {}, {}, 0}},
      {"step: samples[6].allowed has 64 bits for 96 tokens", {{}, plain, {}, {}, short_mask, 0}},
      {"step: 13 words of sampling parameters, at most 12", {{}, plain, many, {}, {}, 0}},
  };
  StepChecker checker(kSmall, 16, rules);
  for (const RowCase& c : cases) {
    PackedStep batch = two_sequences();
    for (int r = 0; r < 6; ++r) batch.samples.push_back({{}, plain, {}, {}, {}, 0});
    batch.samples.push_back(c.row);
    Status status = checker.check(batch.view());
    EXPECT_EQ(status.ok() ? "" : status.error().message, c.message);
  }
  EXPECT_EQ(checker.check(two_sequences().view()).error().message,
            "step: samples has 0 entries, not 7");
}

}  // namespace
}  // namespace tg::backend
