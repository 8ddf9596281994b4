// How many durable two-phase transfers a second, beside the disk's own limit: after each commit the
// same number of bytes is appended bare and synced, so that both meet the same disk. Each hold is
// followed by its post; accounts are many or one hot pair. PostgreSQL takes part if
// TG_LEDGER_POSTGRES has the address of an empty database (test/with_postgres.sh gives one).
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <malloc.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/assert.h"
#include "env/random.h"
#include "ledger/memory.h"
#include "ledger/open_store.h"
#include "ledger/passing_store_testing.h"
#include "ledger/postgres_connection.h"
#include "ledger/postgres_store.h"
#include "ledger/service.h"

namespace tg::ledger {
namespace {

constexpr u64 kSeed = 42;
constexpr std::size_t kBytesPerTransfer = 136;
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
  explicit Workload(u64 accounts) : accounts_(accounts), random_(kSeed) {}
  Workload(StateMachine& machine, u64 accounts) : Workload(accounts) {
    for (u64 id = 1; id <= accounts; ++id)
      TG_ASSERT(machine.create_account(account(id), kNow) == AccountStatus::kOk);
  }
  static Account account(u64 id) {
    return {.id = id, .ledger = ledgers::kStandard, .code = account_code::kBuyerBundle};
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

// --- served -------------------------------------------------------------------------------------

// How long a thread was ready to run and waited for a processor, since it began.
f64 queued_seconds(const std::string& thread = "thread-self") {
  std::ifstream in("/proc/" + thread + "/schedstat");
  f64 ran_ns = 0;
  f64 queued_ns = 0;
  in >> ran_ns >> queued_ns;
  return queued_ns * 1e-9;
}

// How long processors of this machine had nothing to do, not even for others, since it began. What
// waits for the disk counts as nothing to do.
f64 idle_seconds() {
  std::ifstream in("/proc/stat");
  std::string name;
  f64 user = 0, nice = 0, system = 0, idle = 0, waiting = 0;
  in >> name >> user >> nice >> system >> idle >> waiting;
  return (idle + waiting) / static_cast<f64>(sysconf(_SC_CLK_TCK));
}

// Times what a store does inside a service: what the disk does, at that very time.
class TimedStore final : public PassingStore {
 public:
  struct Times {
    std::vector<f64> stage_s;     // Of the writer.
    std::vector<f64> sync_s;      // Of the writer or of the thread beside it.
    bool is_queue_timed = false;  // That costs two reads of /proc a sync.
    std::vector<f64> queued_s;    // The part of it spent waiting for a processor.
    // Of the threads that did so last.
    clockid_t stage_cpu = CLOCK_THREAD_CPUTIME_ID;
    clockid_t sync_cpu = CLOCK_THREAD_CPUTIME_ID;
    std::string stage_thread = "thread-self";  // Under /proc.
    i64 stage_faults = 0;                      // Pages that it touched first, since it began.
  };
  TimedStore(std::unique_ptr<Store> store, Times& times)
      : PassingStore(std::move(store)), times_(times) {}
  void stage(const Effects& effects, std::span<DocumentWrite> documents) override {
    note_stage_thread();
    f64 start = seconds(CLOCK_MONOTONIC);
    PassingStore::stage(effects, documents);
    times_.stage_s.push_back(seconds(CLOCK_MONOTONIC) - start);
  }
  Status sync() override {
    pthread_getcpuclockid(pthread_self(), &times_.sync_cpu);
    f64 queued = times_.is_queue_timed ? queued_seconds() : 0;
    f64 start = seconds(CLOCK_MONOTONIC);
    Status status = PassingStore::sync();
    times_.sync_s.push_back(seconds(CLOCK_MONOTONIC) - start);
    if (times_.is_queue_timed) times_.queued_s.push_back(queued_seconds() - queued);
    return status;
  }

 private:
  void note_stage_thread() {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    times_.stage_faults = usage.ru_minflt;
    if (times_.stage_cpu != CLOCK_THREAD_CPUTIME_ID) return;
    pthread_getcpuclockid(pthread_self(), &times_.stage_cpu);
    times_.stage_thread = "self/task/" + std::to_string(gettid());
  }

  Times& times_;
};

void create_accounts(Service& service, u64 count) {
  for (u64 id = 1; id <= count;) {
    Request request;
    for (; id <= count && request.accounts.size() < 8'000; ++id)
      request.accounts.push_back(Workload::account(id));
    TG_ASSERT(service.execute(std::move(request)).succeeded());
  }
}

// Sends the requests, `window` of them under way at a time, until all are answered.
void send_all(Service& service, std::vector<Request>& requests, std::size_t window,
              std::vector<Reply>& got) {
  std::shared_ptr<Mailbox<Reply>> replies =
      std::make_shared<Mailbox<Reply>>(static_cast<i64>(window));
  got.clear();
  for (std::size_t sent = 0; got.size() < requests.size();) {
    for (; sent < requests.size() && sent - got.size() < window; ++sent)
      TG_ASSERT(service.submit(requests[sent], replies));
    replies->wait(got, 1'000'000'000);
  }
}

// Batches through a running service, sixteen under way, each batch a commit; after each round of
// them as many bare appends. Arguments: transfers per batch, accounts, kind of store, whether the
// next batch is decided beside a commit. Counters as above, and cores: processors kept busy;
// staging and syncing: shares of the time in which a batch was staged, and synced; deciding and
// committing: shares of the time in which the thread that stages, and the one that syncs, had a
// processor; queued: in which the one that stages was ready and had none, busy: both; idle:
// processors of the machine that nobody wanted; fraction_p50: of the rounds, the one in the middle;
// faults: pages that the staging thread touched first, for each batch.
void served(benchmark::State& bench) {
  constexpr std::size_t kUnderWay = 16;
  // Long enough that what is under way when a round begins and ends is little of it.
  const std::size_t batches = bench.range(2) != 0 ? 20 : bench.range(0) > 4096 ? 120 : 400;
  TemporaryFolder folder;
  SystemClock clock;
  TimedStore::Times times;
  std::unique_ptr<Store> store = open(folder.path, bench.range(2));
  if (store == nullptr) return bench.SkipWithError("TG_LEDGER_POSTGRES is not set");
  i64 never = INT64_MAX;
  std::unique_ptr<Service> service =
      std::move(Service::open(std::make_unique<TimedStore>(std::move(store), times), clock,
                              {.group_transfers_max = bench.range(0),
                               .overlap_transfers_min = bench.range(3) == 1 ? 1 : never}))
          .value();
  create_accounts(*service, static_cast<u64>(bench.range(1)));
  Workload workload(static_cast<u64>(bench.range(1)));
  std::size_t count = static_cast<std::size_t>(bench.range(0));
  BareFile bare(folder.path, count * kBytesPerTransfer);
  std::vector<Request> requests(batches);
  std::vector<Reply> got;
  std::vector<f64> limit_s;
  f64 spent_s = 0;
  f64 cpu_s = 0;
  f64 deciding_s = 0;
  f64 queued_s = 0;
  f64 idle_s = 0;
  f64 committing_s = 0;
  std::vector<f64> fractions;
  auto refill = [&] {
    for (Request& request : requests) {
      request = Request{};
      request.transfers.resize(count);
      workload.next(request.transfers);
    }
  };
  // Makes the threads known that the rounds run on.
  refill();
  send_all(*service, requests, kUnderWay, got);
  times.stage_s.clear();
  times.sync_s.clear();
  i64 faults = times.stage_faults;
  for ([[maybe_unused]] auto _ : bench) {
    refill();
    f64 cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    f64 deciding = seconds(times.stage_cpu);
    f64 committing = seconds(times.sync_cpu);
    f64 queued = queued_seconds(times.stage_thread);
    f64 idle = idle_seconds();
    f64 start = seconds(CLOCK_MONOTONIC);
    send_all(*service, requests, kUnderWay, got);
    f64 round_s = seconds(CLOCK_MONOTONIC) - start;
    cpu_s += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    deciding_s += seconds(times.stage_cpu) - deciding;
    committing_s += seconds(times.sync_cpu) - committing;
    queued_s += queued_seconds(times.stage_thread) - queued;
    idle_s += idle_seconds() - idle;
    spent_s += round_s;
    for (const Reply& reply : got) check(reply.transfers);
    f64 bare_s = 0;
    for (std::size_t i = 0; i < batches; ++i) bare_s += limit_s.emplace_back(bare.append());
    fractions.push_back(bare_s / round_s);
    bench.SetIterationTime(round_s);
  }
  service.reset();
  f64 transfers = static_cast<f64>(count * limit_s.size());
  bench.counters["per_s"] = transfers / spent_s;
  bench.counters["per_cpu_s"] = transfers / cpu_s;
  bench.counters["limit_per_s"] = transfers / sum(limit_s);
  bench.counters["fraction"] = sum(limit_s) / spent_s;
  bench.counters["fraction_p50"] = quantile(fractions, 0.5);
  bench.counters["queued"] = queued_s / spent_s;
  bench.counters["idle"] = idle_s / spent_s;
  bench.counters["busy"] = (deciding_s + queued_s) / spent_s;
  bench.counters["faults"] =
      static_cast<f64>(times.stage_faults - faults) / static_cast<f64>(limit_s.size());
  bench.counters["cores"] = cpu_s / spent_s;
  bench.counters["deciding"] = deciding_s / spent_s;
  bench.counters["committing"] = committing_s / spent_s;
  bench.counters["staging"] = sum(times.stage_s) / spent_s;
  bench.counters["syncing"] = sum(times.sync_s) / spent_s;
  bench.counters["sync_p50_ms"] = quantile(times.sync_s, 0.5) * 1e3;
  bench.counters["limit_p50_ms"] = quantile(limit_s, 0.5) * 1e3;
}
BENCHMARK(served)
    ->ArgsProduct({{1024, 8190}, {10'000}, {0, 1}, {0, 1}})
    ->ArgsProduct({{1024}, {2}, {0}, {0, 1}})
    ->Iterations(10)
    ->UseManualTime();

// --- peers: the same guarantees without this ledger ----------------------------------------------
// Unique transfer ids, both balances, the limit checked, an acknowledgement that is durable; a hold
// and its post are two transfers. `well` does a batch in one transaction, with sets.

constexpr const char* kPeerTables = R"sql(
  CREATE TABLE accounts(id bigint PRIMARY KEY, pending bigint NOT NULL, debits bigint NOT NULL,
                        credits bigint NOT NULL, CHECK(pending + debits <= credits));
  CREATE TABLE transfers(id bigint PRIMARY KEY, debit bigint NOT NULL, credit bigint NOT NULL,
                         amount bigint NOT NULL, hold bigint);)sql";
constexpr i64 kPeerFunds = 1'000'000'000'000;

// Parties of hold number i, the same for every peer.
struct PeerHold {
  u64 debit;
  u64 credit;
};
PeerHold peer_hold(SeededRandom& random, u64 accounts) {
  u64 debit = 1 + random.below(accounts);
  return {debit, 1 + debit % accounts};
}

void report_peer(benchmark::State& bench, i64 transfers, const std::vector<f64>& spent_s, f64 cpu_s,
                 std::vector<f64>& limit_s) {
  f64 total = static_cast<f64>(transfers);
  bench.counters["per_s"] = total / sum(spent_s);
  bench.counters["per_cpu_s"] = total / cpu_s;
  bench.counters["fraction"] = sum(limit_s) / sum(spent_s);
  bench.counters["limit_p50_ms"] = quantile(limit_s, 0.5) * 1e3;
}

std::unique_ptr<PostgresConnection> peer_database(u64 accounts) {
  const char* address = std::getenv("TG_LEDGER_POSTGRES");
  if (address == nullptr) return nullptr;
  std::unique_ptr<PostgresConnection> sql =
      std::make_unique<PostgresConnection>(std::move(PostgresConnection::open(address)).value());
  std::string count = std::to_string(accounts);
  std::string funds = std::to_string(kPeerFunds);
  TG_ASSERT(sql->execute("SET client_min_messages = warning; DROP SCHEMA IF EXISTS peer CASCADE; "
                         "CREATE SCHEMA peer; SET search_path = peer;")
                .ok());
  TG_ASSERT(sql->execute(kPeerTables).ok());
  TG_ASSERT(sql->execute("INSERT INTO accounts SELECT i, 0, 0, " + funds +
                         " FROM generate_series(1, " + count + ") AS i")
                .ok());
  TG_ASSERT(sql->execute(R"sql(
    CREATE FUNCTION transfer(t bigint, d bigint, c bigint, a bigint, h bigint) RETURNS void AS $$
    BEGIN
      INSERT INTO transfers VALUES(t, d, c, a, h);
      UPDATE accounts SET pending = pending + CASE WHEN h IS NULL THEN a ELSE -a END,
                          debits = debits + CASE WHEN h IS NULL THEN 0 ELSE a END WHERE id = d;
      UPDATE accounts SET credits = credits + CASE WHEN h IS NULL THEN 0 ELSE a END WHERE id = c;
    END $$ LANGUAGE plpgsql;
    CREATE FUNCTION batch(t bigint[], d bigint[], c bigint[], a bigint[], h bigint[])
    RETURNS void AS $$
      INSERT INTO transfers SELECT * FROM unnest(t, d, c, a, h);
      UPDATE accounts SET pending = pending + p, debits = debits + q, credits = credits + r
        FROM (SELECT id, sum(p) AS p, sum(q) AS q, sum(r) AS r FROM (
          SELECT x.d AS id, CASE WHEN x.h IS NULL THEN x.a ELSE -x.a END AS p,
                 CASE WHEN x.h IS NULL THEN 0 ELSE x.a END AS q, 0 AS r
            FROM unnest(d, a, h) AS x(d, a, h)
          UNION ALL
          SELECT x.c, 0, 0, CASE WHEN x.h IS NULL THEN 0 ELSE x.a END
            FROM unnest(c, a, h) AS x(c, a, h)) AS moved GROUP BY id) AS sums
        WHERE accounts.id = sums.id;
    $$ LANGUAGE sql;)sql")
                .ok());
  return sql;
}

// Argument: accounts. A function call and a transaction for each transfer.
void postgres_naive(benchmark::State& bench) {
  u64 accounts = static_cast<u64>(bench.range(0));
  std::unique_ptr<PostgresConnection> sql = peer_database(accounts);
  if (sql == nullptr) return bench.SkipWithError("TG_LEDGER_POSTGRES is not set");
  SeededRandom random(kSeed);
  i64 id = 0;
  for ([[maybe_unused]] auto _ : bench) {
    PeerHold hold = peer_hold(random, accounts);
    std::string parties = std::to_string(hold.debit) + "," + std::to_string(hold.credit) + ",10,";
    std::string first = std::to_string(++id);
    std::string second = std::to_string(++id);
    TG_ASSERT(sql->execute("SELECT transfer(" + first + "," + parties + "NULL)").ok());
    TG_ASSERT(sql->execute("SELECT transfer(" + second + "," + parties + first + ")").ok());
  }
  bench.counters["per_s"] = benchmark::Counter(static_cast<f64>(id), benchmark::Counter::kIsRate);
}
BENCHMARK(postgres_naive)->Arg(10'000)->Arg(2)->Iterations(150)->UseRealTime();

// Arrays as PostgreSQL reads them.
struct PeerBatch {
  std::string ids, debits, credits, amounts, holds;
};
PeerBatch peer_batch(SeededRandom& random, u64 accounts, i64 count, i64& id) {
  PeerBatch out;
  for (i64 i = 0; i + 1 < count; i += 2) {
    PeerHold hold = peer_hold(random, accounts);
    std::string comma = i == 0 ? "" : ",";
    std::string debit = std::to_string(hold.debit);
    std::string credit = std::to_string(hold.credit);
    std::string first = std::to_string(++id);
    out.ids += comma + first + "," + std::to_string(++id);
    out.debits += comma + debit + "," + debit;
    out.credits += comma + credit + "," + credit;
    out.amounts += comma + "10,10";
    out.holds += comma + "NULL," + first;
  }
  return out;
}

// Arguments: transfers per batch, accounts.
void postgres_well(benchmark::State& bench) {
  u64 accounts = static_cast<u64>(bench.range(1));
  std::unique_ptr<PostgresConnection> sql = peer_database(accounts);
  if (sql == nullptr) return bench.SkipWithError("TG_LEDGER_POSTGRES is not set");
  TemporaryFolder folder;
  BareFile bare(folder.path, static_cast<std::size_t>(bench.range(0)) * kBytesPerTransfer);
  SeededRandom random(kSeed);
  i64 id = 0;
  std::vector<f64> spent_s;
  std::vector<f64> limit_s;
  f64 cpu_s = 0;
  for ([[maybe_unused]] auto _ : bench) {
    PeerBatch batch = peer_batch(random, accounts, bench.range(0), id);
    std::string call = "SELECT batch('{" + batch.ids + "}','{" + batch.debits + "}','{" +
                       batch.credits + "}','{" + batch.amounts + "}','{" + batch.holds + "}')";
    f64 cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    f64 start = seconds(CLOCK_MONOTONIC);
    TG_ASSERT(sql->execute(call).ok());
    spent_s.push_back(seconds(CLOCK_MONOTONIC) - start);
    cpu_s += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    limit_s.push_back(bare.append());
    bench.SetIterationTime(spent_s.back());
  }
  report_peer(bench, id, spent_s, cpu_s, limit_s);
}
BENCHMARK(postgres_well)->Args({1024, 10'000})->Iterations(100)->UseManualTime();

// Arguments: transfers per transaction (2: naive), accounts. Prepared statements, WAL, FULL.
void sqlite_peer(benchmark::State& bench) {
  TemporaryFolder folder;
  u64 accounts = static_cast<u64>(bench.range(1));
  sqlite3* db = nullptr;
  TG_ASSERT(sqlite3_open((folder.path + "/peer.db").c_str(), &db) == SQLITE_OK);
  auto run = [&](const std::string& sql) {
    TG_ASSERT(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  };
  run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE;");
  run(kPeerTables);
  run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
      std::to_string(accounts) + ") INSERT INTO accounts SELECT i, 0, 0, " +
      std::to_string(kPeerFunds) + " FROM n");
  auto prepare = [&](const char* sql) {
    sqlite3_stmt* statement = nullptr;
    TG_ASSERT(sqlite3_prepare_v2(db, sql, -1, &statement, nullptr) == SQLITE_OK);
    return statement;
  };
  sqlite3_stmt* insert = prepare("INSERT INTO transfers VALUES(?, ?, ?, 10, ?)");
  sqlite3_stmt* held = prepare("UPDATE accounts SET pending = pending + 10 WHERE id = ?");
  sqlite3_stmt* paid =
      prepare("UPDATE accounts SET pending = pending - 10, debits = debits + 10 WHERE id = ?");
  sqlite3_stmt* got = prepare("UPDATE accounts SET credits = credits + 10 WHERE id = ?");
  auto step = [&](sqlite3_stmt* statement, std::initializer_list<i64> values) {
    int column = 0;
    for (i64 value : values) {
      ++column;
      if (value == 0) {
        sqlite3_bind_null(statement, column);
      } else {
        sqlite3_bind_int64(statement, column, value);
      }
    }
    TG_ASSERT(sqlite3_step(statement) == SQLITE_DONE);
    sqlite3_reset(statement);
  };
  BareFile bare(folder.path, static_cast<std::size_t>(bench.range(0)) * kBytesPerTransfer);
  SeededRandom random(kSeed);
  i64 id = 0;
  std::vector<f64> spent_s;
  std::vector<f64> limit_s;
  f64 cpu_s = 0;
  for ([[maybe_unused]] auto _ : bench) {
    f64 cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    f64 start = seconds(CLOCK_MONOTONIC);
    run("BEGIN IMMEDIATE");
    for (i64 i = 0; i + 1 < bench.range(0); i += 2) {
      PeerHold hold = peer_hold(random, accounts);
      i64 debit = static_cast<i64>(hold.debit);
      i64 credit = static_cast<i64>(hold.credit);
      i64 first = ++id;
      step(insert, {first, debit, credit, 0});
      step(held, {debit});
      step(insert, {++id, debit, credit, first});
      step(paid, {debit});
      step(got, {credit});
    }
    run("COMMIT");
    spent_s.push_back(seconds(CLOCK_MONOTONIC) - start);
    cpu_s += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    limit_s.push_back(bare.append());
    bench.SetIterationTime(spent_s.back());
  }
  report_peer(bench, id, spent_s, cpu_s, limit_s);
  for (sqlite3_stmt* statement : {insert, held, paid, got}) sqlite3_finalize(statement);
  sqlite3_close(db);
}
BENCHMARK(sqlite_peer)->Args({2, 10'000})->Args({1024, 10'000})->Iterations(100)->UseManualTime();

// --- open loop ----------------------------------------------------------------------------------

// Holds arrive at a fixed rate whether or not the ones before are answered; each is timed from when
// it should have been sent, so that a stall counts for all who met it. Argument: holds a second.
// Every second hold's request also posts the hold before it, as a running gateway would. Counters:
// late is how much later than due the requests were sent, inside what they took from then on,
// queued how long of a sync its thread was ready and had no processor.
void open_loop(benchmark::State& bench) {
  constexpr i64 kSeconds = 10;
  TemporaryFolder folder;
  SystemClock clock;
  TimedStore::Times times{.is_queue_timed = true};
  std::unique_ptr<Service> service =
      std::move(Service::open(std::make_unique<TimedStore>(open(folder.path, 0), times), clock))
          .value();
  create_accounts(*service, 1000);
  i64 count = bench.range(0) * kSeconds;
  std::vector<f64> due_s(static_cast<std::size_t>(count));
  std::vector<f64> sent_s(static_cast<std::size_t>(count));
  std::vector<f64> latency_ms(static_cast<std::size_t>(count));
  std::vector<f64> inside_ms(static_cast<std::size_t>(count));
  std::vector<f64> late_ms(static_cast<std::size_t>(count));
  std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(count);
  for ([[maybe_unused]] auto _ : bench) {
    f64 begin = seconds(CLOCK_MONOTONIC) + 0.01;
    for (i64 i = 0; i < count; ++i)
      due_s[static_cast<std::size_t>(i)] =
          begin + static_cast<f64>(i) / static_cast<f64>(bench.range(0));
    std::thread taker([&] {
      std::vector<Reply> got;
      for (i64 taken = 0; taken < count;) {
        got.clear();
        replies->wait(got, 1'000'000'000);
        f64 now = seconds(CLOCK_MONOTONIC);
        for (const Reply& reply : got) {
          TG_ASSERT(reply.succeeded());
          latency_ms[reply.tag] = (now - due_s[reply.tag]) * 1e3;
          inside_ms[reply.tag] = (now - sent_s[reply.tag]) * 1e3;
        }
        taken += static_cast<i64>(got.size());
      }
    });
    SeededRandom random(kSeed);
    for (i64 i = 0; i < count; ++i) {
      f64 wait = due_s[static_cast<std::size_t>(i)] - seconds(CLOCK_MONOTONIC);
      if (wait > 0) std::this_thread::sleep_for(std::chrono::duration<f64>(wait));
      u64 debit = 1 + random.below(1000);
      Request request{.tag = static_cast<u64>(i)};
      request.transfers.push_back({.id = static_cast<u128>(2 * i + 1),
                                   .debit_account = debit,
                                   .credit_account = 1 + debit % 1000,
                                   .amount = 10,
                                   .timeout_ms = 60'000,
                                   .ledger = ledgers::kStandard,
                                   .code = transfer_code::kHold,
                                   .flags = transfer_flag::kPending});
      if (i % 2 == 1)
        request.transfers.push_back({.id = static_cast<u128>(2 * i),
                                     .amount = 7,
                                     .pending_id = static_cast<u128>(2 * i - 1),
                                     .code = transfer_code::kPostSlice,
                                     .flags = transfer_flag::kPostPending});
      std::size_t tag = static_cast<std::size_t>(i);
      sent_s[tag] = seconds(CLOCK_MONOTONIC);
      late_ms[tag] = (sent_s[tag] - due_s[tag]) * 1e3;
      while (!service->submit(request, replies)) std::this_thread::yield();
    }
    taker.join();
  }
  service.reset();
  f64 limit_ms = quantile(times.sync_s, 0.5) * 1e3;
  f64 p50 = quantile(latency_ms, 0.5);
  f64 p99 = quantile(latency_ms, 0.99);
  bench.counters["sync_p50_ms"] = limit_ms;
  bench.counters["sync_p99_ms"] = quantile(times.sync_s, 0.99) * 1e3;
  bench.counters["commits"] = static_cast<f64>(times.sync_s.size());
  bench.counters["p50_ms"] = p50;
  bench.counters["p99_ms"] = p99;
  bench.counters["late_p99_ms"] = quantile(late_ms, 0.99);
  bench.counters["inside_p99_ms"] = quantile(inside_ms, 0.99);
  bench.counters["queued_p99_ms"] = quantile(times.queued_s, 0.99) * 1e3;
  bench.counters["p50_syncs"] = p50 / limit_ms;
  bench.counters["p99_syncs"] = p99 / limit_ms;
}
BENCHMARK(open_loop)->Arg(5'000)->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);

// The journal on disk back into a machine, every digest checked; the file is in the system's cache.
// Arguments: kind of store, entries, whether snapshots were taken on the way as a service
// would (only the log keeps any); without one every entry is decided again. `snapshot_ms` is the
// most that taking one cost the committing thread.
void recover(benchmark::State& bench) {
  TemporaryFolder folder;
  f64 snapshot_ms = 0;
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
      if (bench.range(2) == 0) continue;
      f64 start = seconds(CLOCK_MONOTONIC);
      store->offer_snapshot(machine);
      snapshot_ms = std::max(snapshot_ms, (seconds(CLOCK_MONOTONIC) - start) * 1e3);
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
  bench.counters["snapshot_ms"] = snapshot_ms;
}
BENCHMARK(recover)
    ->ArgsProduct({{0, 1, 2}, {500'000}, {0}})
    ->Args({0, 10'000'000, 0})
    ->Args({0, 10'000'000, 1})
    ->Iterations(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

// A ledger grows by 170 bytes a transfer. On a virtual machine whose host gives it memory when it
// is first touched (at 0.6 GB/s on one of them) that would be most of what is measured, so the
// process touches what it will need and keeps it. TG_BENCH_WARM_MIB: how much; 0: none.
void warm_memory() {
  const char* text = std::getenv("TG_BENCH_WARM_MIB");
  std::size_t bytes = (text == nullptr ? 2048 : std::strtoull(text, nullptr, 10)) << 20;
  if (bytes == 0) return;
  // One heap for all threads, never given back.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT32_MAX);
  std::vector<char, HugePageAllocator<char>> memory(bytes, 1);
  benchmark::DoNotOptimize(memory.data());
}

}  // namespace tg::ledger

int main(int argc, char** argv) {
  tg::ledger::warm_memory();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
