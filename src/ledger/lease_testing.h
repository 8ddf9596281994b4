// A shared ledger behind a network that comes and goes, for tests of leases.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "env/clock.h"
#include "env/simulated_file_testing.h"
#include "ledger/log_store.h"
#include "ledger/store.h"

namespace tg::ledger {

constexpr i64 kSecond = 1'000'000'000;

// Several threads read it.
class TestClock final : public Clock {
 public:
  Timestamp now() override { return Timestamp{ns_}; }
  i64 monotonic_ns() override { return ns_; }
  void advance(i64 ns) { ns_ += ns; }

 private:
  std::atomic<i64> ns_{1'800'000'000 * kSecond};
};

// A shared ledger behind a network: when it is cut nothing gets through, and a commit may happen
// without its answer.
struct Link {
  std::atomic<bool> is_cut{false};
  std::atomic<bool> loses_answer{false};
  std::atomic<bool> hangs{false};  // As when a cable is pulled: until it is put back.
  std::atomic<i64> passes{0};      // Round trips.
};

class FarStore final : public Store {
 public:
  FarStore(std::unique_ptr<Store> store, Link& link) : store_(std::move(store)), link_(link) {}
  bool is_shared() const override { return true; }
  bool is_own(u64) const override { return false; }
  Result<AuditReport> load(StateMachine& machine) override {
    TG_TRY(pass());
    return store_->load(machine);
  }
  Status begin(StateMachine&) override { return pass(); }
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override {
    TG_TRY(pass());
    TG_TRY(store_->commit(effects, documents));
    if (effects.entries.empty() || !link_.loses_answer.exchange(false)) return {};
    return Error{Code::kUnavailable, "the answer is lost"};
  }
  Result<std::string> read_document(u128 id) override { return store_->read_document(id); }
  Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit) override {
    return store_->documents_after(sequence, limit);
  }
  Status check_medium() override { return store_->check_medium(); }

 private:
  Status pass() const {
    ++link_.passes;
    while (link_.hangs) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (link_.is_cut) return Error{Code::kUnavailable, "cut off"};
    return {};
  }
  std::unique_ptr<Store> store_;
  Link& link_;
};

inline std::unique_ptr<Store> store_on(SimulatedMedium& medium) {
  return LogStore::over(std::move(AppendFile::over(medium.open())).value());
}

}  // namespace tg::ledger
