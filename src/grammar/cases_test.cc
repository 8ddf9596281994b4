// The tables of testdata/: grammars with texts they accept and refuse, or with their error. At
// every byte of every accepted text the mask is compared with trying each token.
#include <gmock/gmock.h>

#include "grammar/grammar_testing.h"

namespace tg::grammar {
namespace {

struct Case {
  std::string place;
  std::string kind;
  std::string name;
  std::string text;
  std::vector<std::string> accepted;
  std::vector<std::string> refused;
  std::string error;
};

// U+240A stands for a line break in texts.
std::string with_breaks(std::string text) {
  const std::string mark = "\u240A";
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1))
    text.replace(at, mark.size(), "\n");
  return text;
}

std::vector<Case> read_cases(const std::string& file) {
  std::string path = TG_SOURCE_DIR "/src/grammar/testdata/";
  path += file;
  std::ifstream in(path);
  std::vector<Case> cases;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::string rest = line.size() > 2 ? with_breaks(line.substr(2)) : "";
    if (line[0] == '=') {
      std::size_t space = rest.find(' ');
      Case& added = cases.emplace_back();
      added.place = file;
      added.place += ":" + std::to_string(number);
      added.kind = rest.substr(0, space);
      added.name = rest.substr(std::min(space, rest.size()));
    } else if (line[0] == '|') {
      cases.back().text += (cases.back().text.empty() ? "" : "\n") + rest;
    } else if (line[0] == '+') {
      cases.back().accepted.push_back(rest);
    } else if (line[0] == '-') {
      cases.back().refused.push_back(rest);
    } else if (line[0] == '!') {
      cases.back().error = rest;
    } else {
      ADD_FAILURE() << file << ":" << number << ": " << line;
    }
  }
  return cases;
}

using testing::compile;
using testing::expect_exact_mask;

bool accepts(GrammarMatcher matcher, const std::string& text) {
  return (text.empty() || matcher.accept_bytes(text)) && matcher.can_end();
}

void expect_masks_along(GrammarMatcher matcher, const TokenTable& table, const std::string& text) {
  for (std::size_t i = 0; i <= text.size(); ++i) {
    expect_exact_mask(matcher, table);
    if (::testing::Test::HasFatalFailure()) return;
    if (i == text.size()) return;
    ASSERT_TRUE(matcher.accept(static_cast<u8>(text[i]))) << i;
  }
}

void run_case(const Case& c, const std::shared_ptr<const TokenTable>& table) {
  SCOPED_TRACE(c.place + c.name);
  Result<std::shared_ptr<const CompiledGrammar>> compiled = compile(c.kind, c.text, table);
  if (!c.error.empty()) {
    ASSERT_FALSE(compiled.ok());
    EXPECT_THAT(compiled.error().message, ::testing::HasSubstr(c.error));
    EXPECT_EQ(compiled.error().message.find('\n'), std::string::npos);
    return;
  }
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  EXPECT_FALSE(c.accepted.empty() && c.refused.empty()) << "a case that checks nothing";
  for (const std::string& text : c.accepted) {
    EXPECT_TRUE(accepts(GrammarMatcher(*compiled), text)) << text;
    if (text.size() <= 80) expect_masks_along(GrammarMatcher(*compiled), *table, text);
  }
  for (const std::string& text : c.refused)
    EXPECT_FALSE(accepts(GrammarMatcher(*compiled), text)) << text;
}

class Tables : public ::testing::TestWithParam<const char*> {};

TEST_P(Tables, AcceptAndRefuseAsWritten) {
  std::shared_ptr<const TokenTable> table = testing::small_table();
  std::vector<Case> cases = read_cases(GetParam());
  ASSERT_GT(cases.size(), 10u);
  for (const Case& c : cases) run_case(c, table);
}

INSTANTIATE_TEST_SUITE_P(Grammar, Tables,
                         ::testing::Values("gbnf.txt", "regex.txt", "schema.txt", "upstream.txt"));

}  // namespace
}  // namespace tg::grammar
