// Lines of a table under testdata/, for tests.
#pragma once

#include <fstream>
#include <string>
#include <vector>

namespace tg {

// Those that are neither empty nor begin with '#'.
inline std::vector<std::string> testdata_lines(const std::string& name) {
  std::ifstream in(std::string(TG_SOURCE_DIR "/src/text/testdata/") + name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  return lines;
}

}  // namespace tg
