// Grammars from outside, damaged: every outcome is a grammar or one line, in little time, whatever
// is cut out of the tables' grammars, doubled or replaced. The fuzz targets go on where this ends.
#include <ctime>
#include <random>

#include "grammar/fuzz_walk.h"
#include "grammar/grammar_testing.h"

namespace tg::grammar {
namespace {

// The grammars of a table, by kind.
std::vector<std::pair<std::string, std::string>> read_grammars(const char* file) {
  std::string path = TG_SOURCE_DIR "/src/grammar/testdata/";
  path += file;
  std::ifstream in(path);
  std::vector<std::pair<std::string, std::string>> out;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("= ", 0) == 0) {
      std::string& kind = out.emplace_back().first;
      kind = line.substr(2, line.find(' ', 2) - 2);
    } else if (line.rfind("| ", 0) == 0 && !out.empty()) {
      out.back().second += line.substr(2);
      out.back().second += "\n";
    }
  }
  return out;
}

std::string damaged(std::string text, std::mt19937_64& random) {
  auto pick = [&](std::size_t count) { return static_cast<std::size_t>(random() % (count + 1)); };
  for (u64 edits = random() % 4 + 1; edits > 0 && !text.empty(); --edits) {
    std::size_t at = pick(text.size() - 1);
    std::string part = text.substr(pick(text.size() - 1), pick(12));
    switch (random() % 4) {
      case 0: text[at] = static_cast<char>(random()); break;
      case 1: text.erase(at, part.size()); break;
      case 2: text.insert(at, part); break;
      default: text.insert(at, 1, "{}[]()|*+?\"\\^$-0129,:"[random() % 21]); break;
    }
  }
  return text;
}

TEST(Mutations, DamagedGrammarsEndInAGrammarOrOneLine) {
  constexpr int kRounds = 40;
  std::mt19937_64 random(11);
  i64 compiled = 0;
  i64 refused = 0;
  for (const char* file : {"gbnf.txt", "regex.txt", "schema.txt", "upstream.txt"}) {
    for (const auto& [kind, text] : read_grammars(file)) {
      for (int round = 0; round < kRounds; ++round) {
        std::string bad = damaged(text, random);
        SCOPED_TRACE(kind + ": " + bad);
        std::clock_t begin = std::clock();
        Result<Grammar> grammar = testing::parse(kind, bad);
        (grammar.ok() ? compiled : refused) += 1;
        std::string error = grammar.ok() ? "" : grammar.error().message;
        ASSERT_EQ(error.find('\n'), std::string::npos) << error;
        testing::walk(std::move(grammar), text);
        EXPECT_LT(std::clock() - begin, 5 * CLOCKS_PER_SEC);
      }
    }
  }
  EXPECT_GT(compiled, 300);
  EXPECT_GT(refused, 500);
}

// Small texts that ask for much: each ends in a limit, or in a grammar, in bounded time.
TEST(Mutations, SmallTextsThatAskForMuch) {
  struct Row {
    const char* kind;
    const char* text;
  };
  for (const Row& row : {
           Row{"regex", "(a|b)*a(a|b){30}"},
           Row{"regex", "((((a{0,9999}){0,9999}){0,9999}){0,9999})"},
           Row{"regex", "(((a*)*)*)*(((b*)*)*)*"},
           Row{"gbnf", "root ::= (((\"a\"*){0,9999}){0,9999}){0,9999}"},
           Row{"gbnf", "root ::= a a a a\na ::= b b b b\nb ::= c c c c\nc ::= \"\" | \"x\" a"},
           Row{"schema", R"({"type":"string","maxLength":1e12,"pattern":"a.*b.*c.*d.*e.*f"})"},
           Row{"schema", R"({"type":"array","maxItems":1000000000,"items":{"type":"integer"}})"},
           Row{"schema", R"({"$ref":"#"})"},
           Row{"schema", R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})"},
           Row{"schema", R"({"allOf":[{"anyOf":[{},{}]},{"anyOf":[{},{}]},{"anyOf":[{},{}]}]})"},
           Row{"schema", R"({"type":"integer","minimum":-1e308,"maximum":1e308})"},
           Row{"schema", R"({"type":"number","exclusiveMinimum":4.9e-324,"maximum":1e-300})"},
       }) {
    std::clock_t begin = std::clock();
    testing::walk(testing::parse(row.kind, row.text), "aaaaaaaa[1,2,\"abc");
    double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 10) << row.text;
    RecordProperty(row.text, std::to_string(seconds));
  }
}

}  // namespace
}  // namespace tg::grammar
