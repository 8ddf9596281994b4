// The log store on a simulated disk: thousands of short lives with power cuts in the middle of
// writes, lost and reordered sectors, failed and lying syncs, and flipped bits. A failure names its
// seed; `./dev sim SEED` replays it. TG_SIM_SEEDS sets how many seeds are run.
#include <gtest/gtest.h>

#include "base/log.h"
#include "env/seed_testing.h"
#include "env/simulated_file_testing.h"
#include "ledger/log_store.h"
#include "ledger/store_run_testing.h"

namespace tg::ledger {
namespace {

#if defined(__has_feature)
#define TG_HAS_FEATURE(x) __has_feature(x)
#else
#define TG_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    TG_HAS_FEATURE(address_sanitizer)
constexpr u64 kSeeds = 500;
#else
constexpr u64 kSeeds = 10'000;
#endif

class LogWorld final : public StoreWorld {
 public:
  explicit LogWorld(u64 seed)
      : medium(seed),
        snapshots{SimulatedMedium(seed ^ 0xA), SimulatedMedium(seed ^ 0xB)},
        random_(seed ^ 0x5EED),
        room_bytes_max_(random_.below(3) * random_.below(16'384)) {
    faults_ = {.short_write = random_.below(200),
               .write_error = random_.below(20),
               .sync_error = random_.below(40),
               .size_error = random_.below(400),
               .power_cut = random_.below(60)};
    start_faults();
  }
  Result<std::unique_ptr<Store>> open() override {
    TG_ASSIGN(AppendFile file, AppendFile::over(medium.open(), room_bytes_max_));
    SnapshotFiles files = {snapshots[0].open(), snapshots[1].open()};
    SnapshotOptions options{.entries_min = 1 + random_.below(12), .is_in_background = false};
    std::unique_ptr<LogStore> store = LogStore::over(std::move(file), std::move(files), options);
    // Small enough that most of what is asked for is read back.
    store->set_window(
        {.block_shift = static_cast<u32>(random_.below(4)), .window_blocks = 1 + random_.below(4)});
    return std::unique_ptr<Store>(std::move(store));
  }
  void end_process() override {
    if (random_.below(2) == 0) return;
    medium.kill();
    for (SimulatedMedium& snapshot : snapshots) snapshot.kill();
  }
  // A killed process leaves the system's cache, a power cut does not.
  void crash() override {
    bool has_power = medium.has_power() && snapshots[0].has_power() && snapshots[1].has_power();
    if (has_power && random_.below(2) == 0) return;
    medium.cut_power();
    for (SimulatedMedium& snapshot : snapshots) snapshot.cut_power();
    // What lies on the disk may also decay; a snapshot is then passed over.
    if (random_.below(8) == 0) flip_a_bit(snapshots[random_.below(2)]);
  }
  void stop_faults() override { set_faults({}); }
  void start_faults() override { set_faults(faults_); }

  SimulatedMedium medium;
  SimulatedMedium snapshots[2];

 private:
  void set_faults(const SimulatedMedium::Faults& faults) {
    medium.set_faults(faults);
    for (SimulatedMedium& snapshot : snapshots) snapshot.set_faults(faults);
  }
  void flip_a_bit(SimulatedMedium& on) {
    if (!on.bytes().empty()) on.flip_bit(random_.below(on.bytes().size() * 8));
  }

  SeededRandom random_;
  u64 room_bytes_max_;  // None in some worlds.
  SimulatedMedium::Faults faults_;
};

// One line a seed would drown everything else.
class QuietLog {
 public:
  QuietLog() { set_log_level(LogLevel::kOff); }
  ~QuietLog() { set_log_level(LogLevel::kInfo); }
};

// I-11: any single bit of what is settled on the disk, changed at rest, is noticed and kept,
// whether or not the room of a writer that was killed follows it.
void expect_every_flip_is_noticed(SimulatedMedium& medium, SeededRandom& random) {
  u64 settled = medium.bytes().size();
  if (settled == 0) return;
  ASSERT_TRUE(medium.open()->set_size(settled + random.below(3) * random.below(8'192)).ok());
  medium.flip_bit(random.below(settled * 8));
  std::vector<u8> damaged = medium.bytes();
  std::unique_ptr<LogStore> store = LogStore::over(AppendFile::over(medium.open()).value());
  StateMachine machine;
  Result<AuditReport> report = store->load(machine);
  ASSERT_FALSE(report.ok());
  ASSERT_EQ(report.error().code, Code::kCorrupt) << report.error().message;
  ASSERT_EQ(medium.bytes(), damaged);
}

TEST(LedgerProperty, TheLogSurvivesFaults) {
  QuietLog quiet;
  StoreRunCounts counts;
  i64 faults = 0;
  i64 losses = 0;
  u64 seeds = seed_count(kSeeds);
  for (u64 seed = first_seed(); seed < first_seed() + seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    LogWorld world(seed);
    StoreRun run(seed, world);
    run.run(12, counts);
    if (testing::Test::HasFatalFailure()) return;
    faults += world.medium.faults();
    losses += world.medium.losses();
    world.stop_faults();
    SeededRandom random(seed);
    expect_every_flip_is_noticed(world.medium, random);
    if (testing::Test::HasFatalFailure()) return;
  }
  std::printf(
      "%llu seeds: %lld commits, %lld failed (%lld found after all), %lld restarts, "
      "%lld faults, %lld power cuts that lost bytes\n",
      static_cast<unsigned long long>(seeds), static_cast<long long>(counts.commits),
      static_cast<long long>(counts.failed_commits), static_cast<long long>(counts.kept_in_doubt),
      static_cast<long long>(counts.restarts), static_cast<long long>(faults),
      static_cast<long long>(losses));
  if (seeds < 100) return;
  // The faults must happen, and both answers to "was it kept?" too.
  EXPECT_GT(counts.failed_commits, static_cast<i64>(seeds) / 10);
  EXPECT_GT(counts.kept_in_doubt, static_cast<i64>(seeds) / 100);
  EXPECT_GT(counts.failed_commits, counts.kept_in_doubt);
  EXPECT_GT(losses, static_cast<i64>(seeds) / 10);
}

}  // namespace
}  // namespace tg::ledger
