#include "base/toml_field.h"

#include <gtest/gtest.h>

namespace tg {

namespace {

std::string error_of(std::string_view text) {
  Result<toml::table> table = parse_table(text, "a.toml", 1'000);
  return table.ok() ? "" : table.error().message;
}

TEST(Toml, ReadsAnyCharacterInStringsAndComments) {
  Result<toml::table> table = parse_table(
      "\xEF\xBB\xBF# \xC3\xA9, '\"\na = \"\xEF\xBB\xB7 \\\" # <\" # \xC3\xA9\n"
      "b = '<\\' # \"\nc = \"\"\"\n\"<\" \\\"\"\" \"\"\"\nd = '''\n\xC3\xA9'''\n",
      "a.toml", 1'000);
  ASSERT_TRUE(table.ok()) << table.error().message;
  EXPECT_EQ((*table)["a"].value_or(""), std::string_view("\xEF\xBB\xB7 \" # <"));
  EXPECT_EQ((*table)["b"].value_or(""), std::string_view("<\\"));
  EXPECT_EQ((*table)["c"].value_or(""), std::string_view("\"<\" \"\"\" "));
  EXPECT_EQ((*table)["d"].value_or(""), std::string_view("\xC3\xA9"));
}

// Texts that stopped toml++ at an assertion, or reached a place that it calls unreachable.
TEST(Toml, WhatHasNoPlaceIsNamedWithItsLine) {
  EXPECT_EQ(error_of("a = 1\n[<["),
            "a.toml, line 2: Error while parsing key: expected bare key starting character or "
            "string delimiter, saw '<'");
  std::string rest =
      "Error while parsing root table: expected keys, tables, whitespace or comments, saw '";
  EXPECT_EQ(error_of("\n\n\xEF\xBB\xB7"), "a.toml, line 3: " + rest + "\xEF\xBB\xB7'");
  EXPECT_EQ(error_of("\xC3\xA9 = 1"), "a.toml, line 1: " + rest + "\xC3\xA9'");
  EXPECT_EQ(error_of("a = 'b'\n# c\n\xEF\xBB\xBF"),
            "a.toml, line 3: Error while parsing root table: expected space or tab, saw '\\uFEFF'");
}

// Letters in what the library does not take for a string.
TEST(Toml, LettersWhereAValueWasExpectedAreAMistake) {
  EXPECT_NE(error_of("\n8=0x{2x\"8\xC8\x8C.^").find("a.toml, line 2: "), std::string::npos);
  EXPECT_NE(error_of("a = 1\"\xC3\xA9\"").find("a.toml, line 1: "), std::string::npos);
}

TEST(Toml, LeavesTheRestToTheLibrary) {
  EXPECT_NE(error_of("a = \"").find("a.toml, line 1: "), std::string::npos);
  EXPECT_NE(error_of("a = \"\\").find("a.toml, line 1: "), std::string::npos);
  EXPECT_NE(error_of("a = 1\na = 2").find("a.toml, line 2: "), std::string::npos);
  EXPECT_NE(error_of("a = '\n<'").find("a.toml, line "), std::string::npos);
  EXPECT_EQ(parse_table(std::string(1'001, ' '), "a.toml", 1'000).error().code, Code::kLimit);
}

}  // namespace

}  // namespace tg
