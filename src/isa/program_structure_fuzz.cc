// Programs of testdata with their structure changed (verify/testing/structure_check.h): never a
// crash, and what verify() accepts keeps what it promises. Reads src/isa/testdata: run it from the
// repository root.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "isa/verify/testing/structure_check.h"

static void need(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "program_structure_fuzz: %s\n", what.c_str());
  std::abort();
}

static std::vector<tg::isa::Program> read_bases() {
  std::vector<tg::isa::Program> bases;
  for (const char* name : tg::isa::kStructureBases) {
    std::ifstream file("src/isa/testdata/" + std::string(name) + ".tga");
    need(file.good(), "run from the repository root");
    std::stringstream text;
    text << file.rdbuf();
    bases.push_back(tg::isa::assemble(text.str()).value());
  }
  return bases;
}

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  static const std::vector<tg::isa::Program> bases = read_bases();
  std::string failure = tg::isa::check_structure(bases, {data, size}).failure;
  need(failure.empty(), failure);
  return 0;
}
