// spec_verify: exact mode gives the very text that sampling token by token gives; rejection mode
// draws from the target's distribution, whatever the draft's; trees, chains and bad batches.
#include "isa/reference/speculation.h"

#include <cmath>

#include "isa/reference/op_test.h"

namespace tg::isa {
namespace {

constexpr std::size_t kVocabulary = 5;
constexpr f32 kOff = -INFINITY;

// A target that looks at the whole text: scores from a hash of it.
std::vector<f32> scores_after(const std::vector<i32>& text, u32 salt) {
  u32 hash = salt;
  for (i32 token : text) hash = (hash ^ static_cast<u32>(token + 1)) * 16777619u;
  std::mt19937 random(hash);
  std::vector<f32> scores(kVocabulary);
  for (f32& s : scores) s = static_cast<f32>(random() % 1000) / 250.0f;
  return scores;
}

std::vector<i32> sequential(const SamplingParams& params, std::size_t length) {
  std::vector<i32> text;
  while (text.size() < length)
    text.push_back(draw_token(scores_after(text, 1), params, text.size()));
  return text;
}

// Proposes a random tree of up to six tokens after the text, verifies, appends what comes out.
std::vector<i32> speculative(const SamplingParams& params, std::size_t length, std::mt19937& random,
                             std::size_t& accepted) {
  std::vector<i32> text;
  while (text.size() < length) {
    std::vector<std::vector<i32>> paths{text};
    std::vector<i64> parents{-1};
    std::size_t proposals = random() % 7;
    for (std::size_t i = 0; i < proposals; ++i) {
      std::size_t parent = random() % paths.size();
      std::vector<i32> path = paths[parent];
      path.push_back(static_cast<i32>(random() % kVocabulary));
      paths.push_back(std::move(path));
      parents.push_back(static_cast<i64>(parent));
    }
    std::vector<std::vector<f32>> scores;
    std::vector<ProposalRow> rows;
    for (const std::vector<i32>& path : paths) scores.push_back(scores_after(path, 1));
    for (std::size_t i = 0; i < paths.size(); ++i)
      rows.push_back(
          {scores[i], {}, params, paths[i].size(), i > 0 ? paths[i].back() : 0, parents[i]});
    Verdict verdict = verify_exact(rows);
    for (i64 row : verdict.taken) text.push_back(paths[static_cast<std::size_t>(row)].back());
    text.push_back(verdict.token);
    accepted += verdict.taken.size();
  }
  text.resize(length);
  return text;
}

TEST(VerifyExact, GivesTheTextOfSampling) {
  std::mt19937 random(1);
  std::size_t accepted = 0;
  for (u64 seed = 0; seed < 50; ++seed) {
    SamplingParams params{.temperature = seed % 5 == 0 ? 0.0f : 0.8f, .seed = seed};
    EXPECT_EQ(speculative(params, 40, random, accepted), sequential(params, 40)) << seed;
  }
  EXPECT_GT(accepted, 300u);
}

TEST(VerifyExact, TheFirstOfEqualChildrenIsTaken) {
  SamplingParams greedy{.temperature = 0.0f};
  std::vector<f32> two{0, 1, 2}, one{0, 3, 2};
  std::vector<ProposalRow> rows{{two, {}, greedy, 0, 0, -1}, {one, {}, greedy, 1, 1, 0},
                                {one, {}, greedy, 1, 2, 0},  {two, {}, greedy, 1, 2, 0},
                                {two, {}, greedy, 2, 1, 2},  {two, {}, greedy, 2, 1, 3}};
  Verdict verdict = verify_exact(rows);
  EXPECT_EQ(verdict.taken, (std::vector<i64>{2, 4}));
  EXPECT_EQ(verdict.token, 2);
}

// ---- rejection

// Sum over tokens of (seen - expected)^2 / expected.
f64 chi_square(const std::vector<i64>& seen, const std::vector<f64>& p, i64 total) {
  f64 sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    f64 expected = p[i] * static_cast<f64>(total);
    if (p[i] == 0) {
      EXPECT_EQ(seen[i], 0) << "token " << i;
    } else {
      sum += (static_cast<f64>(seen[i]) - expected) * (static_cast<f64>(seen[i]) - expected) /
             expected;
    }
  }
  return sum;
}

struct Pair {
  const char* what;
  std::vector<f32> target;
  std::vector<f32> draft;
};

const Pair kPairs[] = {
    {"alike", {0, 1, 2, 0.5f, -1}, {0.1f, 0.9f, 2, 0.6f, -1.2f}},
    {"unlike", {0, 1, 2, 0.5f, -1}, {2, 0, -1, 1, 1}},
    {"the same", {0, 1, 2, 0.5f, -1}, {0, 1, 2, 0.5f, -1}},
    {"target without some", {kOff, 1, 2, kOff, -1}, {1, 1, 1, 1, 1}},
    {"draft without some", {0, 1, 2, 0.5f, -1}, {kOff, 1, 0, kOff, kOff}},
    {"nothing in common", {0, 1, kOff, kOff, kOff}, {kOff, kOff, 1, 2, 3}},
};

// Chi-square with four degrees of freedom exceeds 23.5 once in 10,000. The draft draws by the very
// stream that `sample` uses, as a draft model would.
constexpr i64 kTrials = 40'000;
constexpr f64 kChiSquareMax = 23.5;

TEST(VerifyRejection, DrawsFromTheTarget) {
  for (const Pair& pair : kPairs) {
    std::vector<i64> first(kVocabulary), second(kVocabulary);
    i64 seconds = 0;
    std::vector<f64> p;
    for (i64 trial = 0; trial < kTrials; ++trial) {
      SamplingParams params{.temperature = 0.9f, .seed = static_cast<u64>(trial)};
      p = token_probabilities(pair.target, params);
      i32 a = draw_token(pair.draft, params, 7);
      i32 b = draw_token(pair.draft, params, 8);
      std::vector<ProposalRow> rows{{pair.target, pair.draft, params, 7, 0, -1},
                                    {pair.target, pair.draft, params, 8, a, 0},
                                    {pair.target, pair.draft, params, 9, b, 1}};
      Verdict verdict = verify_rejection(rows);
      bool took = !verdict.taken.empty();
      ++first[static_cast<std::size_t>(took ? a : verdict.token)];
      if (!took) continue;
      ++second[static_cast<std::size_t>(verdict.taken.size() > 1 ? b : verdict.token)];
      ++seconds;
    }
    EXPECT_LT(chi_square(first, p, kTrials), kChiSquareMax) << pair.what;
    if (seconds < 1000) continue;
    EXPECT_LT(chi_square(second, p, seconds), kChiSquareMax) << pair.what;
  }
}

TEST(VerifyRejection, TakesAsOftenAsTheDistributionsOverlap) {
  for (const Pair& pair : kPairs) {
    f64 overlap = 0;
    i64 taken = 0;
    for (i64 trial = 0; trial < kTrials; ++trial) {
      SamplingParams params{.temperature = 0.9f, .seed = static_cast<u64>(trial)};
      std::vector<f64> p = token_probabilities(pair.target, params);
      std::vector<f64> q = token_probabilities(pair.draft, params);
      overlap = 0;
      for (std::size_t i = 0; i < kVocabulary; ++i) overlap += std::min(p[i], q[i]);
      std::vector<ProposalRow> rows{
          {pair.target, pair.draft, params, 7, 0, -1},
          {pair.target, pair.draft, params, 8, draw_token(pair.draft, params, 7), 0}};
      taken += static_cast<i64>(verify_rejection(rows).taken.size());
    }
    EXPECT_NEAR(static_cast<f64>(taken) / kTrials, overlap, 0.012) << pair.what;
  }
}

TEST(VerifyRejection, GreedyTakesTheTargetsChoiceOnly) {
  SamplingParams greedy{.temperature = 0.0f};
  std::vector<f32> target{0, 1, 2}, draft{0, 5, 4};
  for (i32 token : {0, 1, 2}) {
    std::vector<ProposalRow> rows{{target, draft, greedy, 3, 0, -1},
                                  {draft, draft, greedy, 4, token, 0}};
    Verdict verdict = verify_rejection(rows);
    EXPECT_EQ(verdict.taken.size(), token == 2 ? 1u : 0u) << token;
    EXPECT_EQ(verdict.token, token == 2 ? 1 : 2) << token;
  }
}

// ---- the op

OpText verifying(bool rejects) {
  return {.inputs = std::string(", %params params, %p f32[R,3]") + (rejects ? ", %q f32[R,3]" : ""),
          .body = "%n, %y, %taken = spec_verify %p, %ids, %rows, %params, %bt" +
                  std::string(rejects ? ", %q {mode=rejection}" : "") +
                  " -> i32[S], i32[S], i32[R]",
          .results = "%n, %y, %taken"};
}

const SamplingParams kGreedy{.temperature = 0.0f};

// Four sequences: of a prompt whose last token is the root and two proposals, without a row, of the
// root alone, of a tree. `best` is the token that each row's scores prefer.
TestBatch proposals() {
  TestBatch batch = batch_of({{0, 4}, {2, 2}, {5, 1}, {1, 4}});
  batch.ids = {0, 0, 1, 2, /**/ 0, 0, /**/ 2, /**/ 0, 1, 2, 0};
  batch.rows = {1, 2, 3, 6, 7, 8, 9, 10};
  batch.tree = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 2};
  Numbers p;
  for (int best : {1, 0, 1, 2, 2, 1, 0, 1}) {
    for (int i = 0; i < 3; ++i) p.push_back(i == best);
  }
  batch.extra = {tensor({8, 3}, p)};
  for (std::size_t r = 0; r < 8; ++r) batch.params.push_back({{}, kGreedy, {}, {}, {}, r});
  return batch;
}

TEST(SpecVerify, WalksEachSequence) {
  TestModel model(verifying(false).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  std::vector<Tensor> out = run_ok(interpreter, proposals());
  expect_numbers(out[0].data, {1, 0, 0, 2});
  expect_numbers(out[1].data, {0, -1, 2, 1});
  expect_numbers(out[2].data, {0, 1, 0, 0, 0, 0, 1, 1});
  EXPECT_EQ(interpreter.counters()[unit::kEw], 4u * 8 * 3);
}

TEST(SpecVerify, WithoutRowsOrSequences) {
  TestModel model(verifying(false).text());
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  TestBatch batch = batch_of({{0, 1}, {0, 0}});
  batch.extra = {tensor({0, 3}, {})};
  std::vector<Tensor> out = run_ok(interpreter, batch);
  expect_numbers(out[0].data, {0, 0});
  expect_numbers(out[1].data, {-1, -1});
  batch = batch_of({});
  batch.extra = {tensor({0, 3}, {})};
  EXPECT_TRUE(run_ok(interpreter, batch)[0].data.empty());
}

struct BadProposals {
  const char* expected;
  bool rejects;
  void (*spoil)(TestBatch&);
};

TEST(SpecVerify, BadBatchesTrap) {
  const BadProposals cases[] = {
      {"trap: the parent of row 7 has no row", false, [](TestBatch& b) { b.rows[6] = 8; }},
      {"trap: row 11 of 11", false, [](TestBatch& b) { b.rows[0] = 11; }},
      {"trap: row -1 of 11", false, [](TestBatch& b) { b.rows[0] = -1; }},
      {"trap: token id 3 of a vocabulary of 3", false, [](TestBatch& b) { b.ids[2] = 3; }},
      {"trap: a row of logits is not finite", false,
       [](TestBatch& b) { std::fill_n(b.extra[0].data.begin(), 3, -INFINITY); }},
      {"trap: row 6 is not part of a chain", true, [](TestBatch&) {}},
      {"trap: a row of logits is not finite", true,
       [](TestBatch& b) { std::fill_n(b.extra[1].data.begin(), 3, NAN); }},
  };
  for (const BadProposals& bad : cases) {
    TestModel model(verifying(bad.rejects).text());
    Interpreter interpreter = model.interpreter(Precision::kSameType);
    TestBatch batch = proposals();
    if (bad.rejects) batch.extra.push_back(batch.extra[0]);
    bad.spoil(batch);
    EXPECT_EQ(run_trap(interpreter, batch), bad.expected);
  }
}

// Both modes on one batch of chains, where the draft is as sure as the target.
TEST(SpecVerify, RejectionOnChains) {
  TestModel model(verifying(true).text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = proposals();
  batch.tree.clear();
  batch.extra.push_back(batch.extra[0]);
  std::vector<Tensor> out = run_ok(interpreter, batch);
  expect_numbers(out[0].data, {1, 0, 0, 0});
  expect_numbers(out[1].data, {0, -1, 2, 2});
}

}  // namespace
}  // namespace tg::isa
