// Receipts issued a second, as the scribe does it: drafts to pages, durable, one checkpoint a
// group; and one receipt verified, as a buyer does it. CPU time is the figure to compare; wall time
// includes the disk's fdatasync, four a group.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>

#include "base/assert.h"
#include "env/random.h"
#include "meter/receipt_log.h"
#include "meter/receipt_testing.h"

namespace tg::meter {
namespace {

constexpr i64 kLogEntries = 100'000;
constexpr u64 kSeed = 42;

struct TemporaryFolder {
  TemporaryFolder() {
    // Beside the binary's working directory, so that it is a disk and not a memory file system.
    char name[] = "receipt_bench_XXXXXX";
    TG_ASSERT(mkdtemp(name) != nullptr);
    path = std::filesystem::absolute(name).string();
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string path;
};

tlog::NoteSigner signer(tlog::Suite suite) {
  return tlog::NoteSigner::create("gw-1", suite, std::vector<u8>(32, 1)).value();
}

// Drafts with ids of their own, as a group of settlements leaves them.
std::vector<std::string> documents_of(Draft& draft, SeededRandom& random, i64 count) {
  std::vector<std::string> out;
  for (i64 i = 0; i < count; ++i) {
    draft.receipt.request = u128{random.next()} << 64 | random.next();
    out.push_back(to_text(draft));
  }
  return out;
}

// What settling adds to a request: the draft's text.
void BM_WriteDraft(benchmark::State& state) {
  Draft draft = sample_draft();
  for (auto _ : state) benchmark::DoNotOptimize(to_text(draft));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_WriteDraft);

void BM_IssuePages(benchmark::State& state) {
  tlog::Suite suite = tlog::kSuites[state.range(0)];
  i64 group = state.range(1);
  Draft draft = sample_draft({}, suite);
  SeededRandom random(kSeed);
  TemporaryFolder folder;
  ReceiptLog log = ReceiptLog::open(folder.path, "bench", signer(suite)).value();
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<std::string> documents = documents_of(draft, random, group);
    state.ResumeTiming();
    TG_ASSERT(log.append(documents).ok());
  }
  state.SetItemsProcessed(state.iterations() * group);
  state.SetLabel(std::string(tlog::name(suite)));
}
BENCHMARK(BM_IssuePages)->ArgsProduct({{0, 1}, {256, 4'096}})->Unit(benchmark::kMillisecond);

struct MadeReceipt {
  std::string text;
  tlog::VerifierKey key;
};

MadeReceipt make_receipt(tlog::Suite suite) {
  TemporaryFolder folder;
  ReceiptLog log = ReceiptLog::open(folder.path, "bench", signer(suite)).value();
  std::string document = to_text(sample_draft({}, suite));
  std::vector<std::string> documents(kLogEntries, "another");
  documents[kLogEntries / 3] = document;
  TG_ASSERT(log.append(documents).ok());
  return {log.receipt_file(kLogEntries / 3, document).value(), log.log().verifier()};
}

void BM_VerifyReceipt(benchmark::State& state) {
  MadeReceipt made = make_receipt(tlog::kSuites[state.range(0)]);
  unit::CostMatrix cost = sample_cost();
  for (auto _ : state) {
    ReceiptFile file = parse_receipt_file(made.text).value();
    Verification v = verify(file, Evidence{.key = made.key, .witnesses = {}, .cost = &cost});
    TG_ASSERT(v.signature.passed() && v.inclusion.passed() && v.arithmetic.passed());
  }
  state.SetLabel(std::string(tlog::name(made.key.suite)));
}
BENCHMARK(BM_VerifyReceipt)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

// What a server does for who asks for a receipt.
void BM_ProveReceipt(benchmark::State& state) {
  TemporaryFolder folder;
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;
  ReceiptLog log = ReceiptLog::open(folder.path, "bench", signer(suite)).value();
  std::string document = to_text(sample_draft({}, suite));
  std::vector<std::string> documents(kLogEntries, "another");
  documents[kLogEntries / 3] = document;
  TG_ASSERT(log.append(documents).ok());
  for (auto _ : state) TG_ASSERT(log.receipt_file(kLogEntries / 3, document).ok());
}
BENCHMARK(BM_ProveReceipt)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tg::meter

BENCHMARK_MAIN();
