// How many transfers a second: the state machine alone, and made durable in SQLite, at several
// batch sizes. Each hold is followed by its post, accounts are many or one hot pair. CPU time is
// the figure to compare; wall time includes the disk's fdatasync, which is measured beside it.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/assert.h"
#include "env/random.h"
#include "ledger/open_store.h"

namespace tg::ledger {
namespace {

constexpr u64 kSeed = 42;
constexpr Timestamp kNow{1'000'000'000'000};

struct TemporaryFolder {
  TemporaryFolder() {
    // Beside the binary's working directory, so that it is a disk and not a memory file system.
    char name[] = "ledger_bench_XXXXXX";
    TG_ASSERT(mkdtemp(name) != nullptr);
    path = std::filesystem::absolute(name).string();
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string path;
};

// Holds and their posts, alternating, between random accounts; time-ordered-like ids.
class Workload {
 public:
  Workload(StateMachine& machine, u64 accounts) : accounts_(accounts), random_(kSeed) {
    for (u64 id = 1; id <= accounts; ++id) {
      Account a{.id = id, .ledger = ledgers::kStandard, .code = account_code::kBuyerBundle};
      TG_ASSERT(machine.create_account(a, kNow) == AccountStatus::kOk);
    }
  }
  void next(std::span<Transfer> batch) {
    for (std::size_t i = 0; i + 1 < batch.size(); i += 2) {
      batch[i] = hold();
      batch[i + 1] = Transfer{.id = make_id(),
                              .amount = 7,
                              .pending_id = batch[i].id,
                              .correlation = batch[i].correlation,
                              .code = transfer_code::kPostSlice,
                              .flags = transfer_flag::kPostPending};
    }
    if (batch.size() % 2 != 0) batch.back() = hold();
  }

 private:
  u128 make_id() { return u128{++last_} << 64 | random_.next(); }
  Transfer hold() {
    u64 debit = 1 + random_.below(accounts_);
    u64 credit = 1 + (debit - 1 + 1 + random_.below(accounts_ - 1)) % accounts_;
    return Transfer{.id = make_id(),
                    .debit_account = debit,
                    .credit_account = credit,
                    .amount = 10,
                    .correlation = random_.next(),
                    .timeout_ms = 30'000,
                    .ledger = ledgers::kStandard,
                    .code = transfer_code::kHold,
                    .flags = transfer_flag::kPending};
  }
  u64 accounts_;
  SeededRandom random_;
  u64 last_ = 0;
};

void check(const std::vector<TransferStatus>& statuses) {
  for (TransferStatus s : statuses) TG_ASSERT(s == TransferStatus::kOk);
}

// Arguments: transfers per batch, accounts.
void apply(benchmark::State& bench) {
  StateMachine machine;
  Workload workload(machine, static_cast<u64>(bench.range(1)));
  std::vector<Transfer> batch(static_cast<std::size_t>(bench.range(0)));
  std::vector<TransferStatus> statuses;
  for ([[maybe_unused]] auto _ : bench) {
    bench.PauseTiming();
    workload.next(batch);
    bench.ResumeTiming();
    machine.apply(batch, kNow, statuses);
    check(statuses);
  }
  bench.SetItemsProcessed(bench.iterations() * bench.range(0));
}
BENCHMARK(apply)->Args({1024, 10'000})->Args({8190, 10'000})->Args({1024, 2})->Iterations(1000);

std::unique_ptr<Store> open(const std::string& folder, i64 kind) {
  return std::move(open_store(folder, static_cast<StoreKind>(kind))).value();
}

// Arguments: transfers per batch, accounts, kind of store (0 log, 1 sqlite).
void apply_and_commit(benchmark::State& bench) {
  TemporaryFolder folder;
  std::unique_ptr<Store> store = open(folder.path, bench.range(2));
  StateMachine machine;
  TG_ASSERT(store->load(machine).ok());
  Workload workload(machine, static_cast<u64>(bench.range(1)));
  Effects effects;
  machine.take_effects(effects);
  TG_ASSERT(store->commit(effects, {}).ok());
  std::vector<Transfer> batch(static_cast<std::size_t>(bench.range(0)));
  std::vector<TransferStatus> statuses;
  for ([[maybe_unused]] auto _ : bench) {
    workload.next(batch);
    machine.apply(batch, kNow, statuses);
    machine.take_effects(effects);
    Status committed = store->commit(effects, {});
    TG_ASSERT(committed.ok());
  }
  bench.SetItemsProcessed(bench.iterations() * bench.range(0));
}
BENCHMARK(apply_and_commit)
    ->ArgsProduct({{1, 128, 1024, 8190}, {10'000}, {0, 1}})
    ->ArgsProduct({{1024}, {2}, {0, 1}})
    ->Iterations(300);
BENCHMARK(apply_and_commit)
    ->Name("apply_and_commit_wall")
    ->ArgsProduct({{1024, 8190}, {10'000}, {0, 1}})
    ->Iterations(300)
    ->UseRealTime();

// The journal on disk back into a machine, every entry decided again; items are entries.
void load(benchmark::State& bench) {
  TemporaryFolder folder;
  {
    std::unique_ptr<Store> store = open(folder.path, bench.range(0));
    StateMachine machine;
    TG_ASSERT(store->load(machine).ok());
    Workload workload(machine, 10'000);
    std::vector<Transfer> batch(8190);
    std::vector<TransferStatus> statuses;
    Effects effects;
    while (machine.journal_size() < 500'000) {
      workload.next(batch);
      machine.apply(batch, kNow, statuses);
      machine.take_effects(effects);
      TG_ASSERT(store->commit(effects, {}).ok());
    }
  }
  u64 entries = 0;
  for ([[maybe_unused]] auto _ : bench) {
    std::unique_ptr<Store> store = open(folder.path, bench.range(0));
    StateMachine machine;
    entries = store->load(machine).value().journal_entries;
  }
  bench.SetItemsProcessed(bench.iterations() * static_cast<i64>(entries));
}
BENCHMARK(load)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

// The disk's own limit: one write and fdatasync of 4 KiB, or of what 1,024 or 8,190 transfers take
// in the log (136 bytes each).
void append_and_fdatasync(benchmark::State& bench) {
  TemporaryFolder folder;
  int fd = ::open((folder.path + "/probe").c_str(), O_CREAT | O_WRONLY, 0600);
  TG_ASSERT(fd >= 0);
  std::vector<char> page(static_cast<std::size_t>(bench.range(0)), 'x');
  for ([[maybe_unused]] auto _ : bench) {
    TG_ASSERT(::write(fd, page.data(), page.size()) == static_cast<ssize_t>(page.size()));
    TG_ASSERT(::fdatasync(fd) == 0);
  }
  ::close(fd);
}
BENCHMARK(append_and_fdatasync)
    ->Arg(4096)
    ->Arg(1024 * 136)
    ->Arg(8190 * 136)
    ->Iterations(300)
    ->UseRealTime();

}  // namespace
}  // namespace tg::ledger

BENCHMARK_MAIN();
