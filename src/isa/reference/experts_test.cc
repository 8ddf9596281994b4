// route, grouped_linear and combine: tables with numbers worked out by hand, then whole layers
// against a formula written out again.
#include <cmath>

#include "isa/reference/op_test.h"
#include "isa/reference/routing.h"

namespace tg::isa {
namespace {

struct RouteCase {
  const char* what;
  RouteShape shape;
  Numbers logits;
  Numbers bias;
  std::vector<i32> experts;
  Numbers weights;
};

const f64 kTwo = std::log(2.0);  // softmax of multiples of ln 2 has exact values

TEST(Route, Table) {
  using enum RouteScore;
  const RouteCase cases[] = {
      {"softmax over all", {.k = 2}, {kTwo, 0, 2 * kTwo, 0}, {}, {2, 0}, {0.5, 0.25}},
      {"renormalised",
       {.k = 2, .renorm = true, .scale = 3},
       {kTwo, 0, 2 * kTwo, 0},
       {},
       {2, 0},
       {2, 1}},
      {"all experts", {.k = 3}, {0, 2 * kTwo, kTwo}, {}, {1, 2, 0}, {4.0 / 7, 2.0 / 7, 1.0 / 7}},
      {"ties to the lower id", {.k = 2}, {0, 0, 0, 0}, {}, {0, 1}, {0.25, 0.25}},
      {"bias chooses, but does not weigh",
       {.score = kSigmoid, .k = 2},
       {0, 0, 0, 0},
       {0, 1, 0, 2},
       {3, 1},
       {0.5, 0.5}},
      {"softmax of the chosen logits",
       {.score = kSoftmaxTopk, .k = 2},
       {kTwo, -5, 2 * kTwo, 0},
       {},
       {2, 0},
       {2.0 / 3, 1.0 / 3}},
      {"softmax of the chosen, chosen with bias",
       {.score = kSoftmaxTopk, .k = 2},
       {0, kTwo, 2 * kTwo, 0},
       {9, 0, 0, 0},
       {0, 2},
       {0.2, 0.8}},
      {"square root of softplus",
       {.score = kSqrtSoftplus, .k = 1},
       {0, 3},
       {},
       {1},
       {std::sqrt(std::log1p(std::exp(3.0)))}},
      {"the best group by its largest",
       {.score = kSoftmaxTopk, .k = 2, .groups = 2, .topk_groups = 1},
       {3, -9, 2, 2},
       {},
       {0, 1},
       {1 / (1 + std::exp(-12.0)), 1 / (1 + std::exp(12.0))}},
      {"the best group by its two largest",
       {.score = kSoftmaxTopk,
        .k = 2,
        .groups = 2,
        .topk_groups = 1,
        .group_score = GroupScore::kTop2},
       {3, -9, 2, 2},
       {},
       {2, 3},
       {0.5, 0.5}},
      {"groups tie to the lower",
       {.score = kSoftmaxTopk, .k = 1, .groups = 3, .topk_groups = 1},
       {1, 2, 2, 1, 0, 2},
       {},
       {1},
       {1}},
      {"every group kept is no limit",
       {.score = kSoftmaxTopk, .k = 1, .groups = 2, .topk_groups = 2},
       {1, 0, 0, 2},
       {},
       {3},
       {1}},
      {"no weight at all stays none",
       {.score = kSigmoid, .k = 1, .renorm = true},
       {-1e30, -1e30},
       {},
       {0},
       {0}},
      {"not a number", {.k = 1}, {0, NAN}, {}, {}, {}},
      {"infinite", {.k = 1}, {0, INFINITY}, {}, {}, {}},
  };
  for (const RouteCase& c : cases) {
    Routed<f64> golden = route_row<f64>(c.shape, c.logits, c.bias);
    EXPECT_EQ(golden.experts, c.experts) << c.what;
    expect_numbers(golden.weights, c.weights, 1e-12);
    std::vector<f32> bias(c.bias.begin(), c.bias.end());
    Routed<f32> same = route_row<f32>(c.shape, c.logits, bias);
    EXPECT_EQ(same.experts, c.experts) << c.what;
    expect_numbers(Numbers(same.weights.begin(), same.weights.end()), c.weights, 1e-6);
  }
}

// One layer: experts of 3 x 4, four of them, two chosen per token. `doubled`: behind another
// product whose rows are already routed.
OpText layer(bool doubled) {
  OpText op{
      .declarations = ".w $w f16[4,3,4]\n.w $b f32[4,3]",
      .inputs = ", %x f32[T,4], %l f32[T,4]",
      .body = "%p, %pm, %chosen = route %l {k=2 renorm=1} -> f32[T,2], perm[T,2,4], i32[T,2]\n",
      .results = "%y, %g, %chosen"};
  if (doubled) {
    op.declarations += "\n.w $v f32[4,4,4]";
    op.body += "%a = grouped_linear %x, $v, %pm -> f32[2*T,4]\n";
  }
  op.body += std::string("%g = grouped_linear ") + (doubled ? "%a" : "%x") +
             ", $w, %pm, $b -> f32[2*T,3]\n%y = combine %g, %pm, %p -> f32[T,3]";
  return op;
}

// Sum over the chosen experts of weight * (w x + b), from the route's own result.
Numbers naive_layer(const TestModel& model, const Tensor& x, const Tensor& logits, bool doubled) {
  Numbers w = model.values("w"), b = model.values("b");
  Numbers v = doubled ? model.values("v") : Numbers{};
  Numbers out;
  RouteShape shape{.k = 2, .renorm = true};
  for (i64 t = 0; t < x.rows(); ++t) {
    Routed<f64> routed = route_row<f64>(shape, logits.row(t), {});
    for (std::size_t n = 0; n < 3; ++n) {
      f64 sum = 0;
      for (std::size_t j = 0; j < 2; ++j) {
        std::size_t e = static_cast<std::size_t>(routed.experts[j]);
        Numbers in(x.row(t).begin(), x.row(t).end());
        if (doubled) {
          for (std::size_t i = 0; i < 4; ++i) {
            in[i] = 0;
            for (std::size_t k = 0; k < 4; ++k) in[i] += v[(e * 4 + i) * 4 + k] * x.row(t)[k];
          }
        }
        f64 y = b[e * 3 + n];
        for (std::size_t k = 0; k < 4; ++k) y += w[(e * 3 + n) * 4 + k] * in[k];
        sum += routed.weights[j] * y;
      }
      out.push_back(sum);
    }
  }
  return out;
}

class ExpertLayer : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Rows, ExpertLayer, testing::Bool());

TEST_P(ExpertLayer, IsTheWeightedSumOfItsExperts) {
  TestModel model(layer(GetParam()).text());
  std::mt19937 random(11);
  for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
    Interpreter interpreter = model.interpreter(precision);
    TestBatch batch = batch_of({{0, 5}, {0, 2}});
    batch.extra = {random_tensor(random, {7, 4}), random_tensor(random, {7, 4})};
    std::vector<Tensor> out = run_ok(interpreter, batch);
    expect_numbers(out[0].data, naive_layer(model, batch.extra[0], batch.extra[1], GetParam()),
                   precision == Precision::kGolden ? 1e-12 : 1e-4);
    EXPECT_EQ(out[1].rows(), 14);
  }
}

// Four tokens that all choose experts 1 and 3.
TEST(Experts, CountsWhatIsHitAndNoMore) {
  OpText op{.declarations = ".w $w f16[4,3,4]",
            .inputs = ", %x f32[T,4], %l f32[T,4]",
            .body =
                "%p, %pm = route %l {k=2} -> f32[T,2], perm[T,2,4]\n"
                "%g = grouped_linear %x, $w, %pm -> f32[2*T,3]\n"
                "%y = combine %g, %pm, %p -> f32[T,3]"};
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = batch_of({{0, 4}});
  std::mt19937 random(1);
  batch.extra = {random_tensor(random, {4, 4}),
                 tensor({4, 4}, {0, 9, 1, 8, 0, 9, 1, 8, 0, 8, 1, 9, 0, 9, 1, 8})};
  run_ok(interpreter, batch);
  const unit::Counters& c = interpreter.counters();
  EXPECT_EQ(c[unit::kWBytes], 2u * 3 * 4 * 2);
  EXPECT_EQ(c[unit::kMmF16], 2u * 4 * 2 * 3 * 4);
  EXPECT_EQ(c[unit::kEw], (4u * 4 + 2) * 4 + 2u * 4 * 2 * 3);
  EXPECT_EQ(interpreter.route_hits(), std::vector<u64>{2});
  EXPECT_EQ(interpreter.expert_hits(), std::vector<u64>{2});
  // A step without tokens hits none.
  TestBatch empty = batch_of({});
  empty.extra = {tensor({0, 4}, {}), tensor({0, 4}, {})};
  EXPECT_TRUE(run_ok(interpreter, empty)[0].data.empty());
  EXPECT_EQ(interpreter.route_hits(), std::vector<u64>{0});
  EXPECT_EQ(interpreter.counters()[unit::kWBytes], 2u * 3 * 4 * 2);
}

TEST(Experts, ARouterThatIsNotFiniteTraps) {
  OpText op{.declarations = ".w $w f32[4,4,4]",
            .inputs = ", %l f32[T,4], %x f32[T,4]",
            .body =
                "%w, %pm = route %l {k=2} -> f32[T,2], perm[T,2,4]\n"
                "%x2 = grouped_linear %x, $w, %pm -> f32[2*T,4]\n"
                "%y = combine %x2, %pm, %w -> f32[T,4]"};
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = batch_of({{0, 1}});
  batch.extra = {tensor({1, 4}, {0, NAN, 1, 2}), tensor({1, 4}, {1, 2, 3, 4})};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: the router's logits of token 0 are not finite");
  EXPECT_EQ(interpreter.counters(), unit::Counters{});
  EXPECT_TRUE(interpreter.route_hits().empty());
}

}  // namespace
}  // namespace tg::isa
