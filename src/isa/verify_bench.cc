// What verifying costs: from bytes to a VerifiedProgram (decode, every rule, cost, encode, hash)
// for the largest program we expect to meet, DeepSeek-V3, and for a usual one. The standard asks
// for less than a millisecond. No seed and no model: the programs are texts of testdata. Run from
// the repository root.
#include <benchmark/benchmark.h>

#include <fstream>
#include <sstream>

#include "isa/assemble.h"
#include "isa/program.h"

namespace {

using tg::isa::VerifiedProgram;

std::string text_of(const std::string& name) {
  std::ifstream file("src/isa/testdata/" + name + ".tga");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

VerifiedProgram program_of(const std::string& name) {
  return tg::isa::verify(tg::isa::assemble(text_of(name)).value()).value();
}

void load_bytes(benchmark::State& state, const std::string& name) {
  VerifiedProgram program = program_of(name);
  for (auto _ : state) benchmark::DoNotOptimize(tg::isa::load(program.bytes()).ok());
  state.counters["bytes"] = static_cast<double>(program.bytes().size());
}

void verify_program(benchmark::State& state, const std::string& name) {
  VerifiedProgram program = program_of(name);
  for (auto _ : state) benchmark::DoNotOptimize(tg::isa::verify(program.program()).ok());
}

void assemble_text(benchmark::State& state, const std::string& name) {
  std::string text = text_of(name);
  for (auto _ : state) benchmark::DoNotOptimize(tg::isa::assemble(text).ok());
}

void flatten(benchmark::State& state, const std::string& name) {
  VerifiedProgram program = program_of(name);
  for (auto _ : state) benchmark::DoNotOptimize(program.flatten("main")->code.size());
}

}  // namespace

int main(int argc, char** argv) {
  for (const char* name : {"deepseek_v3", "llama31_8b"}) {
    std::string label = name;
    benchmark::RegisterBenchmark((label + "/load").c_str(), load_bytes, name);
    benchmark::RegisterBenchmark((label + "/verify").c_str(), verify_program, name);
    benchmark::RegisterBenchmark((label + "/assemble").c_str(), assemble_text, name);
    benchmark::RegisterBenchmark((label + "/flatten").c_str(), flatten, name);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
