#include "conformance/cases.h"

#include <gtest/gtest.h>

#include <set>

#include "conformance/data.h"
#include "conformance/steps.h"
#include "isa/assemble.h"
#include "isa/reference/interpreter.h"

namespace tg::conformance {
namespace {

void expect_valid(const std::string& label, const std::string& text) {
  Result<isa::Program> program = isa::assemble(text);
  ASSERT_TRUE(program.ok()) << label << ": " << program.error().message << "\n" << text;
  Result<isa::VerifiedProgram> verified = isa::verify(std::move(program).value());
  ASSERT_TRUE(verified.ok()) << label << ": " << verified.error().message << "\n" << text;
}

TEST(Cases, every_family_is_a_valid_program_with_a_name_of_its_own) {
  Result<std::vector<Family>> families = all_families();
  ASSERT_TRUE(families.ok()) << families.error().message;
  std::set<std::string> labels;
  for (const Family& family : *families) {
    EXPECT_TRUE(labels.insert(family.label).second) << family.label;
    expect_valid(family.label, family.text);
    if (!family.magnitude_text.empty()) expect_valid(family.label, family.magnitude_text);
    for (const std::string& shape : family.shapes) {
      EXPECT_NE(find_shape(shape), nullptr) << shape;
    }
  }
  EXPECT_GT(labels.size(), 150u);
}

// And permute, of VISION, which all three backends run.
TEST(Cases, every_op_of_profiles_text_moe_embed_and_spec_has_one) {
  std::set<isa::Opcode> ops;
  Result<std::vector<Family>> families = all_families();
  for (const Family& family : *families) ops.insert(family.op);
  for (u16 i = static_cast<u16>(isa::Opcode::kEmbed); i < static_cast<u16>(isa::Opcode::kCount);
       ++i) {
    isa::Opcode op = static_cast<isa::Opcode>(i);
    isa::Profile profile = isa::info(op).profile;
    bool wanted = profile == isa::Profile::kText || profile == isa::Profile::kMoe ||
                  profile == isa::Profile::kEmbed || profile == isa::Profile::kSpec ||
                  op == isa::Opcode::kPermute;
    EXPECT_EQ(ops.contains(op), wanted) << isa::name(op);
  }
}

TEST(Cases, products_have_a_twin_of_magnitudes) {
  Result<std::vector<Family>> families = all_families();
  for (const Family& family : *families) {
    bool product = family.cls == ErrorClass::kE3 || family.cls == ErrorClass::kE3Xq8;
    EXPECT_EQ(product && family.magnitude_text.empty(), false) << family.label;
  }
}

// How many proposals each sequence of "mixed" has accepted, step by step, in f64.
std::vector<i64> accepted_of(const Family& family) {
  isa::VerifiedProgram program = isa::verify(isa::assemble(family.text).value()).value();
  Data data(program.program(), {.label = family.label, .span = family.span});
  isa::Interpreter golden =
      isa::Interpreter::make(program, data.table(), isa::Precision::kGolden, 0).value();
  const Layout layout{.vocabulary = kTableRows, .samples = true, .trees = family.has_trees};
  std::vector<i64> out;
  for (const Step& step : steps_of(*find_shape("mixed"), layout)) {
    Result<std::vector<isa::Tensor>> results = golden.run(step.reference());
    EXPECT_TRUE(results.ok()) << results.error().message;
    for (f64 n : results.value()[0].data) out.push_back(static_cast<i64>(n));
  }
  return out;
}

// None, one and several; along a tree also what a chain of the same tokens would not accept.
TEST(Cases, proposals_are_accepted_and_refused) {
  Result<std::vector<Family>> families = all_families();
  ASSERT_TRUE(families.ok());
  int seen = 0;
  for (Family& family : *families) {
    bool accepts = family.grid.contains("accepts") || family.grid.contains("rejection");
    if (!accepts || family.grid.contains("token")) continue;
    ++seen;
    std::vector<i64> accepted = accepted_of(family);
    EXPECT_EQ(*std::min_element(accepted.begin(), accepted.end()), 0) << family.label;
    EXPECT_GE(*std::max_element(accepted.begin(), accepted.end()), 2) << family.label;
    if (!family.has_trees) continue;
    family.has_trees = false;
    EXPECT_NE(accepted_of(family), accepted);
  }
  EXPECT_EQ(seen, 3);
}

TEST(Steps, shapes_hold_what_their_names_say) {
  const Layout layout{.page_tokens = 16, .vocabulary = kTableRows, .seed = 1};
  EXPECT_EQ(steps_of(*find_shape("t257"), layout)[0].ids.size(), 257u);
  EXPECT_TRUE(steps_of(*find_shape("zero"), layout)[0].past.empty());
  EXPECT_TRUE(steps_of(*find_shape("norows"), layout)[0].rows.empty());
  std::vector<Step> hole = steps_of(*find_shape("hole"), layout);
  EXPECT_EQ(std::count(hole[0].slots.begin(), hole[0].slots.end(), -1), 2);
  std::vector<Step> empty = steps_of(*find_shape("empty"), layout);
  EXPECT_EQ(empty[0].cu, (std::vector<i32>{0, 0, 5}));
  EXPECT_EQ(empty[1].past, (std::vector<i32>{0, 5, 0}));
}

TEST(Steps, trees_branch_and_replays_keep_their_chunks) {
  const Layout layout{
      .page_tokens = 16, .vocabulary = kTableRows, .trees = true, .keeps_chunks = true};
  std::vector<Step> steps = steps_of(*find_shape("t17"), layout);
  EXPECT_EQ(steps[0].tree,
            (std::vector<i32>{-1, -1, -1, 1, -1, 1, -1, 5, -1, -1, -1, 9, 8, -1, -1, 13, -1}));
  std::vector<Step> alone = replay_of(Replay::kAlone, layout);
  ASSERT_EQ(alone.size(), 9u) << "a step for each chunk of mixed";
  EXPECT_EQ(alone[0].ids.size(), 17u);
  EXPECT_EQ(alone[5].past, (std::vector<i32>{33}));
  std::vector<Step> reversed = replay_of(Replay::kReversed, layout);
  ASSERT_EQ(reversed.size(), 3u);
  EXPECT_EQ(reversed[0].cu, (std::vector<i32>{0, 33, 34, 51}));
}

// Every replay feeds the same tokens at the same positions as "mixed".
TEST(Steps, replays_ask_for_the_same_rows) {
  const Layout layout{.page_tokens = 16, .vocabulary = kTableRows, .seed = 1};
  auto tokens_of = [](const std::vector<Step>& steps) {
    std::map<RowKey, i32> tokens;
    for (const Step& step : steps) {
      for (std::size_t i = 0; i < step.rows.size(); ++i) {
        tokens[step.keys[i]] = step.ids[static_cast<std::size_t>(step.rows[i])];
      }
    }
    return tokens;
  };
  std::map<RowKey, i32> expected = tokens_of(steps_of(*find_shape("mixed"), layout));
  EXPECT_EQ(expected.size(), 63u);
  for (u8 r = 0; r < static_cast<u8>(Replay::kCount); ++r) {
    EXPECT_EQ(tokens_of(replay_of(static_cast<Replay>(r), layout)), expected) << int{r};
  }
}

}  // namespace
}  // namespace tg::conformance
