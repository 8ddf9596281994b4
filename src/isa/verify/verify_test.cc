// The verifier's rules as tables (testdata/invalid*.txt, malformed_bytes.txt): text, programs and
// bytes that must be refused, each by exactly the rule that its line names. Constraints are those
// of spec/isa.md; every one that is not void has at least twenty lines.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <type_traits>

#include "isa/cost/cost.h"
#include "isa/verify/testing/image_mutation.h"
#include "isa/verify/testing/program_mutation.h"

namespace tg::isa {
namespace {

// Base programs, assembled once.
const Program& base_program(const std::string& name) {
  static std::map<std::string, Program> known;
  std::map<std::string, Program>::iterator found = known.find(name);
  if (found == known.end())
    found = known.emplace(name, assemble(testdata_text(name)).value()).first;
  return found->second;
}

Status verified_text(const std::string& text) {
  TG_ASSIGN(Program program, assemble(text));
  TG_TRY(verify(std::move(program)));
  return {};
}

TEST(Verify, RefusesTheTextTables) {
  for (const char* table : kTextTables) {
    for (const RuleCase& c : read_rule_table(table)) {
      ASSERT_EQ(c.fields.size(), 2u) << c.where;
      std::string text = testdata_text(c.base);
      std::size_t at = text.find(c.fields[0]);
      ASSERT_NE(at, std::string::npos) << c.where << ": " << c.fields[0];
      text.replace(at, c.fields[0].size(), c.fields[1]);
      Status status = verified_text(text);
      ASSERT_FALSE(status.ok()) << c.where << " was accepted";
      expect_refused(c, status.error().message);
    }
  }
}

// V17 is about what a program carries; everything else about what it is.
Status refusal(const RuleCase& c) {
  Program program = base_program(c.base);
  if (c.rule != "V17") {
    ProgramMutation(program).run(c.fields[0]);
    TG_TRY(verify(std::move(program)));
    return {};
  }
  program = verify(std::move(program)).value().program();
  ProgramMutation(program).run(c.fields[0]);
  TG_TRY(load(encode(program)));
  return {};
}

TEST(Verify, RefusesProgramsThatNoTextSays) {
  for (const char* table : kProgramTables) {
    for (const RuleCase& c : read_rule_table(table)) {
      ASSERT_EQ(c.fields.size(), 1u) << c.where;
      Status status = refusal(c);
      ASSERT_FALSE(status.ok()) << c.where << " was accepted";
      expect_refused(c, status.error().message);
    }
  }
}

TEST(Load, RefusesBytesThatNoProgramEncodesTo) {
  for (const char* table : kImageTables) {
    for (const RuleCase& c : read_rule_table(table)) {
      ASSERT_EQ(c.fields.size(), 1u) << c.where;
      VerifiedProgram base = verify(base_program(c.base)).value();
      Result<VerifiedProgram> loaded = load(ImageMutation(base.bytes()).run(c.fields[0]));
      ASSERT_FALSE(loaded.ok()) << c.where << " was accepted";
      expect_refused(c, loaded.error().message);
    }
  }
}

// "**V7.** text" of the specification, with whether the text says that the constraint is void.
std::map<std::string, bool> constraints_of_the_specification() {
  std::ifstream file(TG_SOURCE_DIR "/spec/isa.md");
  std::map<std::string, bool> rules;
  for (std::string line; std::getline(file, line);) {
    bool numbered = (line.starts_with("**M") || line.starts_with("**V")) &&
                    line.find_first_of("0123456789") == 3;
    std::size_t end = line.find(".**");
    if (!numbered || end == std::string::npos) continue;
    rules[line.substr(2, end - 2)] = line.substr(end + 3).starts_with(" Void");
  }
  return rules;
}

std::map<std::string, int> rows_per_rule() {
  std::map<std::string, int> rows;
  for (const char* table :
       {"invalid.txt", "invalid_profiles.txt", "invalid_program.txt", "malformed_bytes.txt"}) {
    std::set<std::string> distinct;
    for (const RuleCase& c : read_rule_table(table)) {
      std::string line = c.base;
      for (const std::string& field : c.fields) line.append("|").append(field);
      EXPECT_TRUE(distinct.insert(line).second) << c.where << " repeats a line";
      ++rows[c.rule];
    }
  }
  return rows;
}

TEST(Verify, EveryConstraintHasTwentyLines) {
  std::map<std::string, int> rows = rows_per_rule();
  std::map<std::string, bool> rules = constraints_of_the_specification();
  EXPECT_EQ(rules.size(), 29u);  // M1-M7, V1-V22
  for (const auto& [rule, is_void] : rules) {
    if (is_void) {
      EXPECT_EQ(rows[rule], 0) << rule;
    } else {
      EXPECT_GE(rows[rule], 20) << rule;
    }
    rows.erase(rule);
  }
  for (const auto& [rule, count] : rows) ADD_FAILURE() << rule << " is not in spec/isa.md";
}

// The type says so: nothing but verify() and load() makes a VerifiedProgram, and nothing that is
// not verified can be costed.
static_assert(!std::is_default_constructible_v<VerifiedProgram>);
static_assert(!std::is_constructible_v<VerifiedProgram, Program>);
static_assert(!std::is_constructible_v<VerifiedProgram, Program, Digest, std::vector<u8>>);
static_assert(!std::is_aggregate_v<VerifiedProgram>);
static_assert(!std::is_convertible_v<Program, VerifiedProgram>);
static_assert(!std::is_default_constructible_v<RulesPassed>);
static_assert(!std::is_aggregate_v<RulesPassed>);
static_assert(std::is_invocable_v<decltype(derive_cost), const Program&, const Function&,
                                  const RulesPassed&>);
static_assert(!std::is_invocable_v<decltype(derive_cost), const Program&, const Function&>);

// Products of 2^40 elements, a quarter of the limit each, of which `body` keeps some alive at once;
// %x is alive throughout.
bool fits_in_memory(const std::string& body) {
  std::string text =
      ".tgp 1.0 profile=TEXT\n.cfg N=1048576\n.dim T<=N S<=2 R<=4 C<=16\n"
      ".w $t f32[8,4]\n.w $w f32[N,4]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %a, %x\n"
      "%x = embed $t, %ids -> f32[T,4]\n" +
      body + ".end\n";
  Status status = verified_text(text);
  if (status.ok()) return true;
  EXPECT_TRUE(status.error().message.starts_with("V21: ")) << status.error().message;
  return false;
}

TEST(Verify, BoundsActivationMemory) {
  std::string product = " = linear %x, $w -> f32[T,N]\n";
  EXPECT_TRUE(fits_in_memory("%a" + product));
  // Three alive with the sum fit; a fourth leaves no room for %x.
  EXPECT_TRUE(fits_in_memory("%b" + product + "%c" + product + "%a = add %b, %c -> f32[T,N]\n"));
  EXPECT_FALSE(fits_in_memory("%b" + product + "%c" + product + "%d" + product +
                              "%e = add %b, %c -> f32[T,N]\n%a = add %e, %d -> f32[T,N]\n"));
  // What a loop reads from outside stays through it: the next turn reads it again.
  std::string repeat = "%a = repeat l 2 carry %b as %c\n";
  std::string rest = "%e = act %d -> f32[T,N]\n%g = add %e, %d -> f32[T,N]\nyield %g\n";
  EXPECT_TRUE(fits_in_memory("%b" + product + repeat + "%d = add %c, %c -> f32[T,N]\n" + rest));
  EXPECT_FALSE(fits_in_memory("%b" + product + "%k" + product + repeat +
                              "%d = add %c, %k -> f32[T,N]\n" + rest));
  EXPECT_TRUE(
      fits_in_memory("%b = linear %x, $w -> f32[T,N]\n%f = act %b -> f32[T,N]\n"
                     "%g = act %f -> f32[T,N]\n%h = act %g -> f32[T,N]\n"
                     "%i = act %h -> f32[T,N]\n%a = act %i -> f32[T,N]\n"));
}

TEST(Verify, TakesTimeLinearInTheProgram) {
  // 60,000 instructions in one chain; quadratic work would take minutes.
  std::string text =
      ".tgp 1.0 profile=TEXT\n.dim T<=8 S<=2 R<=4 C<=16\n.w $t f32[8,4]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %x60000\n"
      "%x0 = embed $t, %ids -> f32[T,4]\n";
  for (int i = 1; i <= 60'000; ++i) {
    text += "%x" + std::to_string(i) + " = act %x" + std::to_string(i - 1) + " -> f32[T,4]\n";
  }
  // Larger than a file may be once encoded, so it is refused last, after every other rule ran.
  Status status = verified_text(text + ".end\n");
  ASSERT_FALSE(status.ok());
  EXPECT_TRUE(status.error().message.starts_with("M6: the program takes"))
      << status.error().message;
}

}  // namespace
}  // namespace tg::isa
