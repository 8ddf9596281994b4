// docs/known_bugs.md against the sources: every test that it names exists, and every test that is
// named for a public bug is in it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "base/types.h"

namespace tg::gateway {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::set<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> out;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
    out.insert((*at)[1].str() + "." + (*at)[2].str());
  return out;
}

std::set<std::string> tests_in_sources() {
  const std::regex test(R"(\nTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\))");
  std::set<std::string> out;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(std::string(TG_SOURCE_DIR) + "/src")) {
    if (entry.path().filename().string().ends_with("_test.cc"))
      out.merge(matches(text_of(entry.path()), test));
  }
  return out;
}

TEST(KnownBugs, EveryBugNamesTestsThatExist) {
  std::string text = text_of(std::string(TG_SOURCE_DIR) + "/docs/known_bugs.md");
  const std::regex quoted(R"(`(\w+)\.(\w+)`)");
  std::set<std::string> named = matches(text, quoted);
  std::set<std::string> tests = tests_in_sources();
  EXPECT_GT(named.size(), 30u);
  for (const std::string& name : named) EXPECT_TRUE(tests.contains(name)) << name;
  // A row is "| who and number | what | tests |".
  i64 rows = 0;
  for (std::size_t at = text.find("\n| "); at != text.npos; at = text.find("\n| ", at + 1)) {
    std::string row = text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    if (row.find('#') == row.npos) continue;
    ++rows;
    EXPECT_FALSE(matches(row, quoted).empty()) << row;
  }
  EXPECT_GT(rows, 20);
  for (const std::string& name : tests) {
    bool is_of_a_bug = name.starts_with("Regress.") || name.starts_with("ServerRegress.") ||
                       name.starts_with("Regression.");
    if (is_of_a_bug) {
      EXPECT_TRUE(named.contains(name)) << name;
    }
  }
}

}  // namespace
}  // namespace tg::gateway
