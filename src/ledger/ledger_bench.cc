// How many durable two-phase transfers a second, beside the disk's own limit: after each commit the
// same number of bytes is appended bare and synced, so that both meet the same disk. Each hold is
// followed by its post; accounts are many or one hot pair. PostgreSQL takes part if
// TG_LEDGER_POSTGRES has the address of an empty database (test/with_postgres.sh gives one).
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/assert.h"
#include "env/random.h"
#include "ledger/open_store.h"
#include "ledger/postgres_connection.h"
#include "ledger/postgres_store.h"

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

// --- durable ------------------------------------------------------------------------------------

f64 seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<f64>(now.tv_sec) + static_cast<f64>(now.tv_nsec) * 1e-9;
}

// An emptied database: a bench must not inherit another's journal.
bool write_address(const std::string& folder) {
  const char* address = std::getenv("TG_LEDGER_POSTGRES");
  if (address == nullptr) return false;
  PostgresConnection connection = std::move(PostgresConnection::open(address)).value();
  TG_ASSERT(connection.execute("DROP SCHEMA IF EXISTS tokengrid_ledger CASCADE").ok());
  std::ofstream(folder + "/" + kPostgresFileName) << address << "\n";
  return true;
}

// nullptr if it is PostgreSQL and there is none.
std::unique_ptr<Store> open(const std::string& folder, i64 kind) {
  StoreKind wanted = static_cast<StoreKind>(kind);
  bool has_address = std::filesystem::exists(folder + "/" + kPostgresFileName);
  if (wanted == StoreKind::kPostgres && !has_address && !write_address(folder)) return nullptr;
  Result<std::unique_ptr<Store>> store = open_store(folder, wanted);
  if (!store.ok()) std::fprintf(stderr, "%s\n", store.error().message.c_str());
  return std::move(store).value();
}

// The same bytes appended bare, to a file beside the ledger.
class BareFile {
 public:
  BareFile(const std::string& folder, std::size_t bytes) : bytes_(bytes, 'x') {
    fd_ = ::open((folder + "/bare").c_str(), O_CREAT | O_WRONLY, 0600);
    TG_ASSERT(fd_ >= 0);
  }
  ~BareFile() { ::close(fd_); }
  BareFile(const BareFile&) = delete;
  BareFile& operator=(const BareFile&) = delete;
  f64 append() {
    f64 start = seconds(CLOCK_MONOTONIC);
    TG_ASSERT(::write(fd_, bytes_.data(), bytes_.size()) == static_cast<ssize_t>(bytes_.size()));
    TG_ASSERT(::fdatasync(fd_) == 0);
    return seconds(CLOCK_MONOTONIC) - start;
  }

 private:
  std::vector<char> bytes_;
  int fd_ = -1;
};

f64 quantile(std::vector<f64>& values, f64 q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<f64>(values.size() - 1))];
}

f64 sum(const std::vector<f64>& values) {
  f64 total = 0;
  for (f64 v : values) total += v;
  return total;
}

// Arguments: transfers per batch, accounts, kind of store (0 log, 1 sqlite, 2 postgresql).
// Counters: per_s and limit_per_s in wall time, per_cpu_s in this process' CPU time (not the
// server's), fraction = limit's time / store's time, both summed over the run.
void durable(benchmark::State& bench) {
  constexpr std::size_t kBytesPerTransfer = 136;
  TemporaryFolder folder;
  std::unique_ptr<Store> store = open(folder.path, bench.range(2));
  if (store == nullptr) return bench.SkipWithError("TG_LEDGER_POSTGRES is not set");
  StateMachine machine;
  TG_ASSERT(store->load(machine).ok());
  Workload workload(machine, static_cast<u64>(bench.range(1)));
  Effects effects;
  machine.take_effects(effects);
  TG_ASSERT(store->commit(effects, {}).ok());
  std::size_t count = static_cast<std::size_t>(bench.range(0));
  BareFile bare(folder.path, count * kBytesPerTransfer);
  std::vector<Transfer> batch(count);
  std::vector<TransferStatus> statuses;
  std::vector<f64> store_s;
  std::vector<f64> limit_s;
  f64 cpu_s = 0;
  for ([[maybe_unused]] auto _ : bench) {
    workload.next(batch);
    f64 cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    f64 start = seconds(CLOCK_MONOTONIC);
    TG_ASSERT(store->begin(machine).ok());
    machine.apply(batch, kNow, statuses);
    machine.take_effects(effects);
    TG_ASSERT(store->commit(effects, {}).ok());
    store_s.push_back(seconds(CLOCK_MONOTONIC) - start);
    cpu_s += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    check(statuses);
    limit_s.push_back(bare.append());
    bench.SetIterationTime(store_s.back());
  }
  f64 transfers = static_cast<f64>(count * store_s.size());
  bench.counters["per_s"] = transfers / sum(store_s);
  bench.counters["per_cpu_s"] = transfers / cpu_s;
  bench.counters["limit_per_s"] = transfers / sum(limit_s);
  bench.counters["fraction"] = sum(limit_s) / sum(store_s);
  bench.counters["p50_ms"] = quantile(store_s, 0.5) * 1e3;
  bench.counters["p99_ms"] = quantile(store_s, 0.99) * 1e3;
  bench.counters["limit_p50_ms"] = quantile(limit_s, 0.5) * 1e3;
}
BENCHMARK(durable)
    ->ArgsProduct({{1, 1024, 8190}, {10'000}, {0, 1, 2}})
    ->ArgsProduct({{1024}, {2}, {0, 1, 2}})
    ->Iterations(200)
    ->UseManualTime();

// PostgreSQL as it is used first: a function call and a transaction for each transfer, balances as
// rows that are updated; hold and post are a call each.
void postgres_naive(benchmark::State& bench) {
  const char* address = std::getenv("TG_LEDGER_POSTGRES");
  if (address == nullptr) return bench.SkipWithError("TG_LEDGER_POSTGRES is not set");
  PostgresConnection sql = std::move(PostgresConnection::open(address)).value();
  TG_ASSERT(sql.execute(R"sql(
    SET client_min_messages = warning;
    DROP SCHEMA IF EXISTS naive CASCADE; CREATE SCHEMA naive; SET search_path = naive;
    CREATE TABLE accounts(id bigint PRIMARY KEY, pending numeric NOT NULL, posted numeric NOT NULL);
    CREATE TABLE transfers(id bigint PRIMARY KEY, debit bigint NOT NULL, credit bigint NOT NULL,
                           amount numeric NOT NULL, hold bigint);
    INSERT INTO accounts SELECT i, 0, 0 FROM generate_series(1, 10000) AS i;
    CREATE FUNCTION transfer(t bigint, d bigint, c bigint, a numeric, h bigint) RETURNS void AS $$
    BEGIN
      INSERT INTO transfers VALUES(t, d, c, a, h);
      UPDATE accounts SET pending = pending + CASE WHEN h IS NULL THEN a ELSE -a END,
                          posted = posted - CASE WHEN h IS NULL THEN 0 ELSE a END WHERE id = d;
      UPDATE accounts SET posted = posted + CASE WHEN h IS NULL THEN 0 ELSE a END WHERE id = c;
    END $$ LANGUAGE plpgsql;)sql")
                .ok());
  SeededRandom random(kSeed);
  i64 id = 0;
  u64 accounts = static_cast<u64>(bench.range(0));
  for ([[maybe_unused]] auto _ : bench) {
    u64 debit = 1 + random.below(accounts);
    u64 credit = 1 + debit % accounts;
    std::string parties = std::to_string(debit) + "," + std::to_string(credit) + ",10,";
    std::string hold = std::to_string(++id);
    std::string post = std::to_string(++id);
    TG_ASSERT(sql.execute("SELECT transfer(" + hold + "," + parties + "NULL)").ok());
    TG_ASSERT(sql.execute("SELECT transfer(" + post + "," + parties + hold + ")").ok());
  }
  bench.counters["per_s"] = benchmark::Counter(static_cast<f64>(id), benchmark::Counter::kIsRate);
}
BENCHMARK(postgres_naive)->Arg(10'000)->Arg(2)->Iterations(150)->UseRealTime();

// The journal on disk back into a machine, every entry decided again and every digest checked; the
// file is in the system's cache. Arguments: kind of store, entries.
void recover(benchmark::State& bench) {
  TemporaryFolder folder;
  u64 wanted = static_cast<u64>(bench.range(1));
  {
    std::unique_ptr<Store> store = open(folder.path, bench.range(0));
    if (store == nullptr) return bench.SkipWithError("TG_LEDGER_POSTGRES is not set");
    StateMachine machine;
    TG_ASSERT(store->load(machine).ok());
    Workload workload(machine, 10'000);
    std::vector<Transfer> batch(8190);
    std::vector<TransferStatus> statuses;
    Effects effects;
    while (machine.journal_size() < wanted) {
      workload.next(batch);
      machine.apply(batch, kNow, statuses);
      machine.take_effects(effects);
      TG_ASSERT(store->commit(effects, {}).ok());
    }
  }
  u64 entries = 0;
  f64 cpu_s = 0;
  for ([[maybe_unused]] auto _ : bench) {
    f64 cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    std::unique_ptr<Store> store = open(folder.path, bench.range(0));
    StateMachine machine;
    entries = store->load(machine).value().journal_entries;
    cpu_s += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  }
  f64 runs = static_cast<f64>(bench.iterations());
  bench.counters["entries"] = static_cast<f64>(entries);
  bench.counters["cpu_s"] = cpu_s / runs;
}
BENCHMARK(recover)
    ->ArgsProduct({{0, 1, 2}, {500'000}})
    ->Args({0, 10'000'000})
    ->Iterations(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tg::ledger

BENCHMARK_MAIN();
