// Encoding speed in MB/s of one core on the published vocabularies; the text is this repository's
// own prose, or one long word. Run from the repository root, beside the shared data.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "text/published_vocab.h"
#include "text/tokenizer.h"

namespace {

using tg::Tokenizer;

// A published vocabulary, by name; after a colon, another pre-tokenizer in place of its own.
Tokenizer make(const std::string& label) {
  std::size_t colon = std::min(label.find(':'), label.size());
  std::string name = label.substr(0, colon);
  std::string path = std::string("../shared/data/models/vocab/ggml-vocab-") + name + ".gguf";
  tg::Vocab vocab = tg::published::read_vocab(tg::published::read_file(path)).value();
  if (colon < label.size()) vocab.pre = label.substr(colon + 1);
  return Tokenizer::create(std::move(vocab)).value();
}

void encode(benchmark::State& state, const char* name, const std::string& text) {
  Tokenizer tokenizer = make(name);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text, {}).value().size());
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void create(benchmark::State& state, const char* name) {
  for (auto _ : state) benchmark::DoNotOptimize(make(name).size());
}

}  // namespace

int main(int argc, char** argv) {
  std::string prose;
  for (const char* path : {"../shared/research/engine_features.md", "../shared/design/isa.md",
                           "../shared/research/market.md"})
    prose += tg::published::read_file(path);
  std::string word;
  while (word.size() < 1 << 20) word += "internationalisation";
  std::string start = prose.substr(0, 2000);
  for (const char* name : {"llama-bpe", "qwen2", "gpt-2", "llama-spm", "bert-bge",
                           "llama-bpe:gpt-4o", "llama-bpe:tekken", "llama-bpe:deepseek-v3"}) {
    std::string label = name;
    benchmark::RegisterBenchmark((label + "/prose").c_str(), encode, name, prose);
    benchmark::RegisterBenchmark((label + "/2kB").c_str(), encode, name, start);
    benchmark::RegisterBenchmark((label + "/one_word").c_str(), encode, name, word);
    benchmark::RegisterBenchmark((label + "/create").c_str(), create, name);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
