// Collectives over ranks in lockstep, a sharded layer against the whole one, and what a group
// refuses.
#include "isa/reference/group.h"

#include "isa/reference/op_test.h"
#include "isa/reference/random_steps.h"

namespace tg::isa {
namespace {

Result<ReferenceGroup> group_of(const TestModel& model, std::vector<u32> mesh,
                                Precision precision = Precision::kGolden) {
  std::size_t ranks = 1;
  for (u32 size : mesh) ranks *= size;
  std::vector<WeightTable> weights(ranks, model.weights);
  return ReferenceGroup::make(*model.program, weights, precision, 64, std::move(mesh));
}

struct Collective {
  const char* body;
  const char* type;               // of the result
  std::vector<Numbers> expected;  // by rank
  u64 comm;                       // of a rank
  u64 ew;
};

// Rank r's x is one row: 10 r + (1, 2, 3, 4).
TEST(Collectives, Table) {
  const Collective cases[] = {
      {"all_reduce %x {ranks=2}", "f32[T,4]", {{12, 14, 16, 18}, {12, 14, 16, 18}}, 16, 4},
      {"all_reduce %x {ranks=2 kind=max order=fixed}",
       "f32[T,4]",
       {{11, 12, 13, 14}, {11, 12, 13, 14}},
       16,
       4},
      {"all_gather %x {ranks=2}",
       "f32[T,8]",
       {{1, 2, 3, 4, 11, 12, 13, 14}, {1, 2, 3, 4, 11, 12, 13, 14}},
       32,
       0},
      {"reduce_scatter %x {ranks=2}", "f32[T,2]", {{12, 14}, {16, 18}}, 16, 2},
      {"all_to_all %x {ranks=2}", "f32[T,4]", {{1, 2, 11, 12}, {3, 4, 13, 14}}, 16, 0},
  };
  for (const Collective& c : cases) {
    OpText op{.inputs = ", %x f32[T,4]",
              .body = "%y = " + std::string(c.body) + " -> " + std::string(c.type)};
    TestModel model(op.text());
    Result<ReferenceGroup> group = group_of(model, {2});
    ASSERT_TRUE(group.ok()) << group.error().message;
    TestBatch batches[] = {batch_of({{0, 1}}), batch_of({{0, 1}})};
    batches[0].extra = {tensor({1, 4}, {1, 2, 3, 4})};
    batches[1].extra = {tensor({1, 4}, {11, 12, 13, 14})};
    std::vector<ReferenceBatch> views = {batches[0].view(), batches[1].view()};
    Result<std::vector<std::vector<Tensor>>> out = group->run(views);
    ASSERT_TRUE(out.ok()) << out.error().message;
    for (std::size_t r = 0; r < 2; ++r) {
      expect_numbers((*out)[r][0].data, c.expected[r]);
      EXPECT_EQ(group->rank(r).counters()[unit::kComm], c.comm) << c.body;
      EXPECT_EQ(group->rank(r).counters()[unit::kEw], c.ew) << c.body;
    }
  }
}

// Ranks 0..5 of a mesh of 2 x 3: axis 0 joins r and r+3, axis 1 the three of a row.
TEST(Collectives, RunAlongOneAxisOfTheMesh) {
  OpText op{.inputs = ", %x f32[T,1]",
            .body =
                "%y = all_gather %x {ranks=2} -> f32[T,2]\n"
                "%z = all_gather %x {ranks=3 mesh_axis=1} -> f32[T,3]",
            .results = "%y, %z"};
  TestModel model(op.text());
  Result<ReferenceGroup> group = group_of(model, {2, 3});
  ASSERT_TRUE(group.ok());
  std::vector<TestBatch> batches;
  std::vector<ReferenceBatch> views;
  for (std::size_t r = 0; r < 6; ++r) {
    batches.push_back(batch_of({{0, 1}}));
    batches.back().extra = {tensor({1, 1}, {static_cast<f64>(r)})};
  }
  for (const TestBatch& b : batches) views.push_back(b.view());
  Result<std::vector<std::vector<Tensor>>> out = group->run(views);
  ASSERT_TRUE(out.ok()) << out.error().message;
  for (std::size_t r = 0; r < 6; ++r) {
    f64 column = static_cast<f64>(r % 3), row = static_cast<f64>(r / 3 * 3);
    expect_numbers((*out)[r][0].data, {column, column + 3});
    expect_numbers((*out)[r][1].data, {row, row + 1, row + 2});
  }
}

// A sum is taken in order of rank and rounded once.
TEST(Collectives, SumInOrderOfRank) {
  OpText op{.inputs = ", %x bf16[T,1]", .body = "%y = all_reduce %x {ranks=4} -> bf16[T,1]"};
  TestModel model(op.text());
  Result<ReferenceGroup> group = group_of(model, {4}, Precision::kSameType);
  ASSERT_TRUE(group.ok());
  std::vector<TestBatch> batches(4, batch_of({{0, 1}}));
  std::vector<ReferenceBatch> views;
  const f64 values[] = {256, 1, 1, -256};  // bf16 has 256, 258, ...
  for (std::size_t r = 0; r < 4; ++r) {
    batches[r].extra = {tensor({1, 1}, {values[r]}, DType::kBf16)};
    views.push_back(batches[r].view());
  }
  Result<std::vector<std::vector<Tensor>>> out = group->run(views);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ((*out)[3][0].data[0], 2);
}

// Rows of the weight split over ranks and gathered; columns split and summed.
TEST(Group, ShardsMakeTheWholeLayer) {
  std::string whole_text = OpText{.declarations = ".w $w f32[4,6]",
                                  .inputs = ", %x f32[T,6]",
                                  .body = "%y = linear %x, $w -> f32[T,4]"}
                               .text();
  TestModel whole(whole_text);
  Numbers w = whole.values("w");
  std::mt19937 random(9);
  Tensor x = random_tensor(random, {3, 6});
  Interpreter one = whole.interpreter(Precision::kGolden);
  TestBatch batch = batch_of({{0, 3}});
  batch.extra = {x};
  Numbers expected = run_ok(one, batch)[0].data;
  OpText rows{.declarations = ".w $w f32[2,6]",
              .inputs = ", %x f32[T,6]",
              .body = "%p = linear %x, $w -> f32[T,2]\n%y = all_gather %p {ranks=2} -> f32[T,4]"};
  OpText columns{
      .declarations = ".w $w f32[4,3]",
      .inputs = ", %x f32[T,3]",
      .body = "%p = linear %x, $w -> f32[T,4]\n%y = all_reduce %p {ranks=2} -> f32[T,4]"};
  for (bool by_rows : {true, false}) {
    std::string text = by_rows ? rows.text() : columns.text();
    TestModel shards[] = {TestModel(text), TestModel(text)};
    std::vector<WeightTable> tables;
    TestBatch batches[] = {batch, batch};
    for (std::size_t r = 0; r < 2; ++r) {
      std::vector<f32> part;
      Tensor x_part{.dims = {3, 3}, .data = {}};
      for (std::size_t i = 0; i < w.size(); ++i) {
        if ((by_rows ? i / 12 : i % 6 / 3) == r) part.push_back(static_cast<f32>(w[i]));
      }
      for (std::size_t i = 0; i < x.data.size(); ++i) {
        if (i % 6 / 3 == r) x_part.data.push_back(x.data[i]);
      }
      if (!by_rows) batches[r].extra = {x_part};
      quantize_row(DType::kF32, part, shards[r].storage[0]);
      tables.push_back(shards[r].weights);
    }
    Result<ReferenceGroup> group =
        ReferenceGroup::make(*shards[0].program, tables, Precision::kGolden, 8, {2});
    ASSERT_TRUE(group.ok());
    std::vector<ReferenceBatch> views = {batches[0].view(), batches[1].view()};
    Result<std::vector<std::vector<Tensor>>> out = group->run(views);
    ASSERT_TRUE(out.ok()) << out.error().message;
    for (std::size_t r = 0; r < 2; ++r) expect_numbers((*out)[r][0].data, expected, 1e-12);
  }
}

// Sixteen ranks of a decoder; each counts what the matrix of one rank says.
TEST(Group, RanksCountWhatTheCostMatrixSays) {
  TestModel model(read_testdata("every_dist.tga"));
  Result<ReferenceGroup> group = group_of(model, {4, 4}, Precision::kSameType);
  ASSERT_TRUE(group.ok()) << group.error().message;
  std::mt19937 random(10);
  RandomSteps steps(*model.program, random);
  unit::Counters expected{};
  for (int i = 0; i < 3; ++i) {
    TestBatch batch = steps.next();
    std::vector<ReferenceBatch> views(16, batch.view());
    Result<std::vector<std::vector<Tensor>>> out = group->run(views);
    ASSERT_TRUE(out.ok()) << out.error().message;
    Result<unit::Counters> counters = unit::evaluate(model.program->cost(), steps.shapes(), {});
    ASSERT_TRUE(unit::add_scaled(expected, counters.value(), 1));
    for (std::size_t r : {0u, 7u, 15u}) EXPECT_EQ(group->rank(r).counters(), expected);
  }
}

TEST(Group, ATrapOfOneRankIsEveryRanks) {
  TestModel model(read_testdata("every_dist.tga"));
  Result<ReferenceGroup> group = group_of(model, {4, 4}, Precision::kSameType);
  ASSERT_TRUE(group.ok());
  std::mt19937 random(11);
  RandomSteps steps(*model.program, random);
  TestBatch good = steps.next();
  TestBatch bad = good;
  bad.rows.assign(good.rows.size() + 1, 0);
  std::vector<ReferenceBatch> views(16, good.view());
  views[5] = bad.view();
  Result<std::vector<std::vector<Tensor>>> out = group->run(views);
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().message, "trap: all_gather: the ranks' operands differ in shape");
  for (std::size_t r : {0u, 5u}) {
    EXPECT_EQ(group->rank(r).counters(), unit::Counters{});
    EXPECT_EQ(group->rank(r).kv(0).key(0, good.slots[0])[0], 0.0f);
  }
}

TEST(Group, RefusesWhatDoesNotFitTheMesh) {
  TestModel model(read_testdata("every_dist.tga"));
  EXPECT_EQ(group_of(model, {4, 2}).error().message, "all_to_all wants 4 ranks on axis 1");
  EXPECT_EQ(group_of(model, {4}).error().message, "all_to_all wants 4 ranks on axis 1");
  std::vector<WeightTable> three(3, model.weights);
  EXPECT_EQ(
      ReferenceGroup::make(*model.program, three, Precision::kGolden, 8, {4, 4}).error().message,
      "3 weight tables for 16 ranks");
  std::mt19937 random(12);
  RandomSteps steps(*model.program, random);
  Interpreter alone = model.interpreter(Precision::kGolden);
  EXPECT_EQ(run_trap(alone, steps.next()), "trap: all_reduce runs in a group of ranks only");
}

}  // namespace
}  // namespace tg::isa
