// Random changes of structure, as program_structure_fuzz makes them, from a fixed seed: the quick
// form of that target.
#include <gtest/gtest.h>

#include <random>

#include "isa/verify/testing/rule_table.h"
#include "isa/verify/testing/structure_check.h"

namespace tg::isa {
namespace {

TEST(Structure, ChangedProgramsAreRefusedOrKeepTheirPromises) {
  std::vector<Program> bases;
  for (const char* name : kStructureBases)
    bases.push_back(assemble(testdata_text(std::string(name) + ".tga")).value());
  std::mt19937 random(11);
  int accepted = 0;
  int ran = 0;
  for (int i = 0; i < 12'000; ++i) {
    std::vector<u8> script(1 + 8 * (1 + random() % 3));
    for (u8& byte : script) byte = static_cast<u8>(random());
    StructureOutcome outcome = check_structure(bases, script);
    ASSERT_EQ(outcome.failure, "") << "script " << i;
    accepted += outcome.accepted;
    ran += outcome.ran;
  }
  EXPECT_GT(accepted, 500);
  EXPECT_GT(ran, 100);
}

}  // namespace
}  // namespace tg::isa
