// For tests: tables of what must be refused. A line is "RULE | field | ... | message fragment";
// "base NAME" names the program that the lines after it change; "\n" in a field is a line break.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "isa/assemble.h"

namespace tg::isa {

struct RuleCase {
  std::string where;  // "invalid.txt line 12"
  std::string base;
  std::string rule;
  std::vector<std::string> fields;  // between the rule and the fragment
  std::string fragment;
};

// The tables, one for each way to say what is wrong.
inline constexpr const char* kTextTables[] = {"invalid.txt", "invalid_profiles.txt"};
inline constexpr const char* kProgramTables[] = {"invalid_program.txt"};
inline constexpr const char* kImageTables[] = {"malformed_bytes.txt"};

inline std::string testdata_text(const std::string& name) {
  std::string path = TG_SOURCE_DIR "/src/isa/testdata/";
  std::ifstream file(path.append(name), std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::vector<std::string> split_fields(const std::string& line) {
  std::vector<std::string> fields;
  for (std::size_t at = 0; at <= line.size();) {
    std::size_t end = std::min(line.find('|', at), line.size());
    std::size_t first = std::min(line.find_first_not_of(' ', at), end);
    std::size_t last = end;
    while (last > first && line[last - 1] == ' ') --last;
    std::string field = line.substr(first, last - first);
    for (std::size_t k = field.find("\\n"); k != std::string::npos; k = field.find("\\n", k))
      field.replace(k, 2, "\n");
    fields.push_back(std::move(field));
    at = end + 1;
  }
  return fields;
}

inline std::vector<RuleCase> read_rule_table(const std::string& name) {
  std::vector<RuleCase> cases;
  std::stringstream file(testdata_text(name));
  std::string base;
  std::string line;
  for (i64 number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("base ")) {
      base = line.substr(5);
      continue;
    }
    std::vector<std::string> fields = split_fields(line);
    std::string where = name + " line " + std::to_string(number);
    EXPECT_GE(fields.size(), 3u) << where;
    if (fields.size() < 3) continue;
    cases.push_back(
        {where, base, fields[0], {fields.begin() + 1, fields.end() - 1}, fields.back()});
  }
  return cases;
}

// The message without the assembler's "line 7: ".
inline std::string without_line(const std::string& message) {
  if (!message.starts_with("line ")) return message;
  return message.substr(message.find(": ") + 2);
}

// The refusal names exactly the rule, then says what the table says.
inline void expect_refused(const RuleCase& c, const std::string& message) {
  std::string said = without_line(message);
  EXPECT_TRUE(said.starts_with(c.rule + ": ")) << c.where << ": " << message;
  EXPECT_NE(said.find(c.fragment), std::string::npos) << c.where << ": " << message;
}

}  // namespace tg::isa
