// Calibration against a supplier whose speed is known, and the record that comes of it.
#include "fleet/capability.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "fleet/calibrate.h"
#include "fleet/energy_meter.h"

namespace tg::fleet {
namespace {

// Moves only when told to; two threads look at it.
class SharedClock final : public Clock {
 public:
  Timestamp now() override { return Timestamp{ns_}; }
  i64 monotonic_ns() override { return ns_; }
  void advance_ns(i64 ns) { ns_ += ns; }

 private:
  std::atomic<i64> ns_ = 1'000;
};

// Serves in that clock's time: a prompt takes token_ns a token, a step step_ns and row_ns for each
// sequence in it.
class ModelledSupplier final : public Supplier {
 public:
  explicit ModelledSupplier(SharedClock& clock) : clock_(clock) {}
  Status submit(SupplyRequest request) override {
    if (is_broken) return Error{Code::kUnavailable, "broken"};
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(request));
    return {};
  }
  void cancel(u64) override {}
  SupplierLoad load() const override { return {}; }

  std::atomic<bool> is_broken = false;
  std::atomic<bool> is_random = false;
  f64 token_ns = 20'000;
  f64 step_ns = 2'000'000;
  f64 row_ns = 500'000;

  // Serves what waits, one event at a time, each at its own time.
  void serve() {
    std::vector<SupplyRequest> batch;
    {
      std::lock_guard lock(mutex_);
      batch = std::exchange(waiting_, {});
    }
    i64 batch_size = static_cast<i64>(batch.size());
    if (batch.empty()) return;
    std::map<u64, i64> sent;
    for (SupplyRequest& r : batch) {
      clock_.advance_ns(static_cast<i64>(token_ns * static_cast<f64>(r.prompt.size()) + step_ns));
      send(r, sent[r.id]++);
    }
    for (bool is_open = true; is_open;) {
      is_open = false;
      clock_.advance_ns(static_cast<i64>(step_ns + row_ns * static_cast<f64>(batch_size)));
      for (SupplyRequest& r : batch) {
        if (sent[r.id] >= r.max_tokens) continue;
        send(r, sent[r.id]++);
        is_open = is_open || sent[r.id] < r.max_tokens;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    for (SupplyRequest& r : batch) {
      SupplierEvent end;
      end.request = r.id;
      end.kind = SupplierEvent::Kind::kFinished;
      end.reason = FinishReason::kLength;
      r.events->try_push(end);
    }
  }

 private:
  void send(const SupplyRequest& r, i64 number) {
    SupplierEvent event;
    event.request = r.id;
    TokenId noise = is_random ? static_cast<TokenId>(++noise_) : 0;
    event.tokens.push_back(static_cast<TokenId>(r.prompt[0] + number + noise));
    r.events->try_push(event);
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  }
  SharedClock& clock_;
  std::mutex mutex_;
  std::vector<SupplyRequest> waiting_;
  i64 noise_ = 0;
};

TEST(Capability, SuiteCoversTheRangeCoarseFirst) {
  std::vector<Cell> cells = suite_cells(4'096, 16);
  ASSERT_GT(cells.size(), 15u);
  EXPECT_LT(static_cast<i64>(cells.size()), kCellsMax);
  for (const Cell& cell : cells) {
    EXPECT_LE(cell.prompt + cell.output, 4'096);
    EXPECT_LE(cell.batch, 16);
  }
  // The corners come in the first four.
  bool has_long = false, has_wide = false;
  for (std::size_t i = 0; i < 4; ++i) {
    has_long = has_long || cells[i].prompt >= 2'048;
    has_wide = has_wide || cells[i].batch == 16;
  }
  EXPECT_TRUE(has_long && has_wide);
  EXPECT_FALSE(suite_cells(64, 1).empty());
}

TEST(Capability, StepTimesAreFoundFromCells) {
  StepEstimate truth{.ns_per_step = 3e6, .ns_per_token = 2e4, .ns_per_row = 1e5, .ns_per_key = 50};
  std::vector<CellResult> cells;
  for (const Cell& cell : suite_cells(4'096, 32)) {
    f64 prompt = static_cast<f64>(cell.prompt), batch = static_cast<f64>(cell.batch);
    f64 keys = batch * (prompt + static_cast<f64>(cell.output) / 2);
    CellResult r{.cell = cell, .requests = 1};
    r.ttft_ns_p50 =
        static_cast<i64>(truth.ns_per_step * std::ceil(prompt / 512) + prompt * truth.ns_per_token +
                         truth.ns_per_row + prompt * truth.ns_per_key);
    if (cell.output > 1) {
      r.tpot_ns_p50 = static_cast<i64>(truth.ns_per_step + keys * truth.ns_per_key +
                                       batch * (truth.ns_per_token + truth.ns_per_row));
    }
    cells.push_back(r);
  }
  StepEstimate step = fit_step(cells);
  EXPECT_NEAR(step.ns_per_step, truth.ns_per_step, 0.05 * truth.ns_per_step);
  EXPECT_NEAR(step.ns_per_token, truth.ns_per_token, 0.05 * truth.ns_per_token);
  EXPECT_NEAR(step.ns_per_key, truth.ns_per_key, 0.1 * truth.ns_per_key);
  EXPECT_LT(step.error, 0.02);
  EXPECT_EQ(fit_step({}).ns_per_step, 0);
}

CellResult cell_of(i64 batch, i64 ttft_ms, i64 tpot_ms, i64 st) {
  CellResult r{.cell = {32, batch, 32}, .requests = batch, .wall_ns = 1'000'000'000};
  r.ttft_ns_p50 = r.ttft_ns_p90 = ttft_ms * 1'000'000;
  r.tpot_ns_p50 = r.tpot_ns_p90 = tpot_ms * 1'000'000;
  r.nominal_nst = st * 1'000'000'000;
  return r;
}

TEST(Capability, TiersTakeTheBestCellThatMeetsThem) {
  Capability c;
  c.cells = {cell_of(1, 10, 10, 100), cell_of(8, 900, 45, 500), cell_of(16, 2'000, 80, 700),
             cell_of(64, 9'000, 300, 900)};
  conclude(c, 100);
  ASSERT_EQ(c.tiers.size(), 3u);
  EXPECT_EQ(c.tiers[0].st_per_second, 500);
  EXPECT_EQ(c.tiers[1].st_per_second, 700);
  EXPECT_EQ(c.tiers[2].st_per_second, 900);
  EXPECT_EQ(c.tiers[2].cell.batch, 64);
  EXPECT_EQ(c.energy_source, "modelled");
  EXPECT_NEAR(c.joules_per_st, 100 * 4.0 / 2'200, 1e-9);
  c.cells[0].joules = 50;
  conclude(c, 100);
  EXPECT_EQ(c.energy_source, "rapl");
  EXPECT_NEAR(c.joules_per_st, 0.5, 1e-9);
  c.cells = {cell_of(1, 9'000, 900, 1)};
  conclude(c, 0);
  EXPECT_EQ(c.tiers[0].st_per_second, 0);
}

TEST(Capability, RecordsAreReadBackAndSignedOverAllOfIt) {
  Capability c{.supplier = "a b\nc", .device = "cpu", .model = "m", .program = sha256("p")};
  c.time = Timestamp{1'234};
  c.seconds = 12;
  c.cells_planned = 30;
  c.quality = {.probes = 8, .repeatable = 7, .compared_tokens = 128, .agreed_tokens = 120};
  c.cells = {cell_of(1, 10, 10, 100), cell_of(8, 900, 45, 500)};
  conclude(c, 0);
  std::string text = to_text(c);
  Result<Capability> again = parse_capability(text);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->supplier, "a_b_c");
  EXPECT_EQ(to_text(*again), text);
  std::vector<u8> seed(32, 3);
  tlog::NoteSigner signer =
      tlog::NoteSigner::create("n", tlog::Suite::kEd25519Sha256, seed).value();
  std::string signed_text = sign(c, signer);
  EXPECT_TRUE(parse_capability(signed_text).ok());
  EXPECT_EQ(tlog::check_note(tlog::parse_note(signed_text).value(), signer.verifier()),
            tlog::NoteCheck::kSigned);
  signed_text[signed_text.find("st_per_second") + 14] ^= 1;
  EXPECT_NE(tlog::check_note(tlog::parse_note(signed_text).value(), signer.verifier()),
            tlog::NoteCheck::kSigned);
}

TEST(Capability, SpoiltRecordsAreRefused) {
  for (const char* text :
       {"", "tokengrid-capability/2\n", "tokengrid-capability/1\nspeed 5\n",
        "tokengrid-capability/1\ncell prompt 0 batch 1 output 1\n",
        "tokengrid-capability/1\nstep ns_per_step nan\n", "tokengrid-capability/1\nprogram 12\n",
        "tokengrid-capability/1\nsupplier a b\n"}) {
    EXPECT_FALSE(parse_capability(text).ok()) << text;
  }
}

class CalibrationTest : public testing::Test {
 protected:
  CalibrationTest()
      : server_([this] {
          while (!is_stopped_) {
            supplier_.serve();
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
        }) {
    cost_.per_token[unit::kMmF32] = 1'000'000'000;
    cost_.per_pass[unit::kWBytes] = 1'000'000;
  }
  ~CalibrationTest() override {
    is_stopped_ = true;
    server_.join();
  }
  CalibrationOptions options() {
    return {.seconds = 3'000,
            .context_max = 128,
            .batch_max = 4,
            .vocabulary = 100,
            .probes = 2,
            .cost = &cost_};
  }

  SharedClock clock_;
  ModelledSupplier supplier_{clock_};
  unit::CostMatrix cost_;
  std::atomic<bool> is_stopped_ = false;
  std::thread server_;
};

TEST_F(CalibrationTest, RefusesASupplierThatDoesNotServe) {
  supplier_.is_broken = true;
  Calibration calibration(supplier_, options(), clock_);
  Result<bool> step = calibration.step();
  ASSERT_FALSE(step.ok());
  EXPECT_NE(step.error().message.find("broken"), std::string::npos);
}

TEST_F(CalibrationTest, MeasuresWhatIsThere) {
  Calibration calibration(supplier_, options(), clock_);
  for (;;) {
    Result<bool> goes_on = calibration.step();
    ASSERT_TRUE(goes_on.ok()) << goes_on.error().message;
    if (!*goes_on) break;
  }
  EXPECT_EQ(static_cast<i64>(calibration.cells().size()), calibration.cells_planned());
  for (const CellResult& r : calibration.cells()) {
    EXPECT_EQ(r.failures, 0);
    EXPECT_GE(r.requests, r.cell.batch);
    EXPECT_EQ(r.output_tokens, r.requests * r.cell.output);
    EXPECT_GT(r.nominal_nst, 0);
    // The prompt's own time is the least that a first token can take.
    EXPECT_GE(static_cast<f64>(r.ttft_ns_p50), 20'000.0 * static_cast<f64>(r.cell.prompt));
    if (r.cell.output > 1) {
      EXPECT_GE(r.tpot_ns_p50, 2'000'000);
    }
  }
}

TEST_F(CalibrationTest, StopsWhenItsTimeIsUp) {
  CalibrationOptions brief = options();
  brief.seconds = 1;
  Calibration calibration(supplier_, brief, clock_);
  while (calibration.step().value()) {
  }
  EXPECT_GT(calibration.cells_left(), 0);
  EXPECT_GE(calibration.cells().size(), 1u);
}

TEST_F(CalibrationTest, QualityProbesTellRandomnessFromRepetition) {
  Calibration calibration(supplier_, options(), clock_);
  QualityProbes good = calibration.probe(&supplier_).value();
  EXPECT_EQ(good.probes, 2);
  EXPECT_EQ(good.repeatable, 2);
  EXPECT_EQ(good.agreed_tokens, good.compared_tokens);
  supplier_.is_random = true;
  QualityProbes bad = calibration.probe(nullptr).value();
  EXPECT_EQ(bad.repeatable, 0);
  EXPECT_EQ(bad.compared_tokens, 0);
}

TEST(EnergyMeter, AddsPackagesAndWrapsAround) {
  std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("rapl-" + std::to_string(::getpid()));
  auto write = [&](int package, const char* name, u64 value) {
    std::filesystem::path path = folder / ("intel-rapl:" + std::to_string(package));
    std::filesystem::create_directories(path);
    std::ofstream(path / name) << value << "\n";
  };
  EXPECT_EQ(open_rapl(folder.string()).error().code, Code::kNotFound);
  write(0, "energy_uj", 900'000);
  write(0, "max_energy_range_uj", 1'000'000);
  write(1, "energy_uj", 5);
  write(1, "max_energy_range_uj", 1'000'000);
  std::unique_ptr<EnergyMeter> meter = open_rapl(folder.string()).value();
  EXPECT_EQ(meter->joules().value(), 0);
  write(0, "energy_uj", 100'000);
  write(1, "energy_uj", 500'005);
  EXPECT_NEAR(meter->joules().value(), 0.7, 1e-9);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tg::fleet
