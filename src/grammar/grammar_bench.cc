// CPU time of compiling grammars and of masks, on a published vocabulary of 128,256 tokens (or the
// bundled model's where the shared data is absent). A mask is timed at every token of a document,
// the first time it is met with this grammar and the next; percentiles of those are counters. Run
// from the repository root.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>

#include "grammar/cache.h"
#include "text/published_vocab.h"

namespace {

using namespace tg;
using namespace tg::grammar;

constexpr const char* kTool = R"({
  "type":"object","properties":{
    "city":{"type":"string","description":"Where"},
    "unit":{"type":"string","enum":["celsius","fahrenheit"]},
    "days":{"type":"integer","minimum":1,"maximum":14},
    "when":{"type":"string","format":"date-time"},
    "tags":{"type":"array","items":{"type":"string","maxLength":40},"maxItems":8},
    "place":{"anyOf":[{"type":"null"},{"type":"object","properties":{
      "lat":{"type":"number","minimum":-90,"maximum":90},
      "lon":{"type":"number","minimum":-180,"maximum":180},
      "name":{"type":"string","pattern":"^[A-Z][a-z ]+$"}},
      "required":["lat","lon","name"],"additionalProperties":false}]}},
  "required":["city","unit","days","when","tags","place"],"additionalProperties":false})";
constexpr const char* kToolText =
    R"({"city": "San Francisco, California", "unit": "celsius", "days": 12, )"
    R"("when": "2026-11-20T22:10:59Z", "tags": ["rain and some wind", "weekend"], )"
    R"("place": {"lat": 37.7749, "lon": -122.4194, "name": "The city by the bay"}})";
constexpr const char* kTree = R"({"$defs":{"node":{"type":"object","properties":{
    "name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},
    "required":["name","children"]}},"$ref":"#/$defs/node"})";
constexpr const char* kTreeText =
    R"({"name": "root", "children": [{"name": "a quiet leaf", "children": []}, )"
    R"({"name": "b", "children": [{"name": "c", "children": []}]}]})";
constexpr const char* kObjectText =
    R"({"title": "A longer text, as models write them when nobody stops them.", "n": [1, 2.5, )"
    R"(true, null], "nested": {"a": {"b": {"c": "d\nline two \"quoted\""}}}})";
constexpr const char* kCsv =
    "root ::= line (\"\\n\" line)*\nline ::= cell (\",\" cell)*\ncell ::= [^,\\n\"]*";
constexpr const char* kCsvText = "name,age,city\nAnna,33,Berlin\nThe last one,7,somewhere else";

struct Subject {
  const char* name;
  GrammarKind kind;
  const char* grammar;
  const char* text;
};
constexpr Subject kSubjects[] = {
    {"tool", GrammarKind::kJsonSchema, kTool, kToolText},
    {"tree", GrammarKind::kJsonSchema, kTree, kTreeText},
    {"object", GrammarKind::kJsonObject, "", kObjectText},
    {"csv", GrammarKind::kGbnf, kCsv, kCsvText},
};

struct Vocabulary {
  Tokenizer tokenizer;
  std::shared_ptr<const TokenTable> table;
};

Vocabulary load() {
  std::string bytes = published::read_file("../shared/data/models/vocab/ggml-vocab-llama-bpe.gguf");
  if (bytes.empty()) bytes = published::read_file("models/tokengrid-tiny.gguf");
  Tokenizer tokenizer = Tokenizer::create(published::read_vocab(bytes).value()).value();
  std::shared_ptr<const TokenTable> table =
      std::make_shared<const TokenTable>(TokenTable::create(tokenizer).value());
  return {std::move(tokenizer), std::move(table)};
}

const Vocabulary& vocabulary() {
  static const Vocabulary loaded = load();
  return loaded;
}

// CPU time of this thread: the machine may be shared.
double now_us() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

void table(benchmark::State& state) {
  const Vocabulary& v = vocabulary();
  for (auto _ : state) benchmark::DoNotOptimize(TokenTable::create(v.tokenizer).value().size());
  state.counters["tokens"] = static_cast<double>(v.table->size());
}

void compile(benchmark::State& state, const Subject& subject) {
  const Vocabulary& v = vocabulary();
  GrammarRequest request = {.kind = subject.kind, .text = subject.grammar, .json = {}};
  for (auto _ : state) benchmark::DoNotOptimize(compile_grammar(request, v.table).value());
}

double percentile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void masks(benchmark::State& state, const Subject& subject, bool is_first) {
  const Vocabulary& v = vocabulary();
  GrammarRequest request = {.kind = subject.kind, .text = subject.grammar, .json = {}};
  std::vector<TokenId> ids = v.tokenizer.encode(subject.text, {}).value();
  std::vector<u64> mask(static_cast<std::size_t>(v.table->words()));
  std::vector<double> times;
  std::shared_ptr<const CompiledGrammar> warm = compile_grammar(request, v.table).value();
  double accept_us = 0;
  for (auto _ : state) {
    GrammarMatcher matcher(is_first ? compile_grammar(request, v.table).value() : warm);
    for (TokenId id : ids) {
      double begin = now_us();
      matcher.fill_mask(mask);
      double middle = now_us();
      if (!matcher.accept(id)) return state.SkipWithError("a token is refused");
      times.push_back(middle - begin);
      accept_us += now_us() - middle;
    }
  }
  state.counters["accept_us"] = accept_us / static_cast<double>(times.size());
  state.counters["p50_us"] = percentile(times, 0.5);
  state.counters["p99_us"] = percentile(times, 0.99);
  state.counters["max_us"] = times.back();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("token_table", table)->Unit(benchmark::kMillisecond);
  for (const Subject& subject : kSubjects) {
    std::string name = subject.name;
    benchmark::RegisterBenchmark((name + "/compile").c_str(), compile, subject)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark((name + "/masks_first").c_str(), masks, subject, true)
        ->Unit(benchmark::kMicrosecond);
    benchmark::RegisterBenchmark((name + "/masks_again").c_str(), masks, subject, false)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
