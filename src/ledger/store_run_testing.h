// One seeded life of a ledger in a store: random commits, some of which fail, processes that end,
// power that goes, clocks that jump, retries; after each restart what was acknowledged is there,
// whole, and nothing else but the one commit in doubt. Every store must live through it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ledger/model_testing.h"
#include "ledger/random_transfers_testing.h"
#include "ledger/store.h"

namespace tg::ledger {

// Where a store lives, and what may happen to it.
class StoreWorld {
 public:
  virtual ~StoreWorld() = default;
  // May fail while faults are on.
  virtual Result<std::unique_ptr<Store>> open() = 0;
  // Whether a report counts commits without entries too; if not, no commit may fail in this world.
  virtual bool counts_every_commit() const { return true; }
  // The process is about to end, perhaps without a word to its files.
  virtual void end_process() {}
  // The process has ended; perhaps the power went with it.
  virtual void crash() {}
  // Called when the run wants an opening to succeed.
  virtual void stop_faults() {}
  virtual void start_faults() {}
};

struct StoreRunCounts {
  i64 commits = 0;
  i64 restarts = 0;
  i64 failed_commits = 0;
  i64 kept_in_doubt = 0;  // Failed commits that were found after all.
};

class StoreRun {
 public:
  StoreRun(u64 seed, StoreWorld& world) : random_(seed), world_(world) {}

  // Stops at the first fatal failure.
  void run(i64 steps, StoreRunCounts& counts) {
    restart(counts);
    create_accounts(counts);
    for (i64 i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) step(counts);
    if (testing::Test::HasFatalFailure()) return;
    restart(counts);
    if (testing::Test::HasFatalFailure()) return;
    i64 end_ns = machine_->last_timestamp().ns + 1'000'000 * kMillisecond;
    expect_same_history(*machine_, acknowledged_.model, Timestamp{end_ns});
    // I-10: what the journal gives is what lives.
    Result<AuditReport> audit = store_->audit(machine_.get());
    ASSERT_TRUE(audit.ok()) << audit.error().message;
    store_.reset();
  }

 private:
  static constexpr i64 kMillisecond = 1'000'000;

  // What a client may believe.
  struct Known {
    Model model;
    std::map<u128, std::string> documents;
    i64 commits = 0;
    u64 journal_size = 0;
  };

  // A batch that the store was given and has not answered for.
  struct Staged {
    Effects effects;
    std::vector<Document> documents;
    std::vector<DocumentWrite> writes;
    std::vector<DocumentStatus> statuses;  // As they must be.
    Known after;
  };

  void step(StoreRunCounts& counts) {
    u64 dice = random_.below(100);
    if (dice < 8 || store_ == nullptr) return restart(counts);
    if (dice < 11) return audit();
    if (dice < 14) return read_documents(acknowledged_.documents);
    batch(counts);
  }

  void jump() {
    u64 dice = random_.below(40);
    if (dice == 0) now_.ns -= static_cast<i64>(random_.below(2'000)) * kMillisecond;
    if (dice == 1) now_.ns += static_cast<i64>(random_.below(3'600'000)) * kMillisecond;
    if (dice > 10) now_.ns += static_cast<i64>(random_.below(30)) * kMillisecond;
    now_.ns = std::max<i64>(now_.ns, 1);
  }

  void create_accounts(StoreRunCounts& counts) {
    while (store_ == nullptr || machine_->accounts().size() < kTestAccounts) {
      if (store_ == nullptr) restart(counts);
      if (testing::Test::HasFatalFailure()) return;
      for (u128 id = 1; id <= kTestAccounts && store_ != nullptr; ++id) {
        if (machine_->find_account(id) != nullptr) continue;
        create_account(id);
        if (id % 4 == 0 || id == kTestAccounts) commit(counts);
      }
    }
  }
  void create_account(u128 id) {
    Account account = random_test_account(id, now_);
    ASSERT_EQ(machine_->create_account(account, now_), AccountStatus::kOk);
    account.timestamp_ns = machine_->last_timestamp().ns;
    tried_.model.create(account);
  }

  void batch(StoreRunCounts& counts) {
    jump();
    for (u64 chains = 1 + random_.below(3); chains > 0; --chains) apply_chain();
    if (testing::Test::HasFatalFailure()) return;
    if (random_.below(100) == 0) close_one();
    commit(counts);
  }
  void apply_chain() {
    std::vector<Transfer> chain = transfers_.make_chain();
    std::vector<TransferStatus> statuses;
    machine_->apply(chain, now_, statuses);
    tried_.model.advance(machine_->last_timestamp().ns);
    bool expected = tried_.model.apply(chain);
    // I-6, I-7: all or none, and a retry says what was said.
    for (TransferStatus status : statuses) ASSERT_EQ(succeeded(status), expected) << name(status);
  }
  void close_one() {
    u128 id = 1 + random_.below(kTestAccounts);
    ASSERT_EQ(machine_->close_account(id, now_), AccountStatus::kOk);
    tried_.model.close(id);
  }

  std::vector<Document> make_documents() {
    std::vector<Document> out;
    u64 count = random_.below(4) == 0 ? 1 + random_.below(3) : 0;
    for (u64 i = 0; i < count; ++i)
      out.push_back({.id = 1 + random_.below(12), .bytes = std::string(random_.below(900), 'r')});
    return out;
  }

  // REQUIRES: store_ != nullptr. After a failure the process ends: store_ is nullptr. Often the
  // next batch is decided and staged, and perhaps sealed, before the store has answered for this.
  void commit(StoreRunCounts& counts) {
    staged_.clear();
    stage();
    if (!store_->is_shared() && random_.below(3) == 0) {
      jump();
      apply_chain();
      if (testing::Test::HasFatalFailure()) return;
      stage();
      if (random_.below(20) == 0) return end_before_writing();
    }
    for (u64 n = random_.below(staged_.size() + 1); n > 0; --n) store_->seal();
    for (Staged& batch : staged_) {
      sync(batch, counts);
      if (testing::Test::HasFatalFailure() || store_ == nullptr) return;
    }
    expect_agrees(*machine_, tried_.model);
    store_->offer_snapshot(*machine_);
  }
  void end_before_writing() {
    tried_ = acknowledged_;
    end_process();
  }
  void end_process() {
    world_.end_process();
    store_.reset();
  }

  DocumentStatus keep(const Document& document, bool& is_new) {
    auto [known, inserted] = tried_.documents.emplace(document.id, document.bytes);
    is_new |= inserted;
    if (inserted) return DocumentStatus::kOk;
    bool is_same = known->second == document.bytes;
    return is_same ? DocumentStatus::kExists : DocumentStatus::kExistsWithDifferentBytes;
  }
  void stage() {
    Staged& batch = staged_.emplace_back();
    machine_->take_effects(batch.effects, store_->keeps_balances());
    entries_.resize(batch.effects.position_first - 1);
    entries_.insert(entries_.end(), batch.effects.entries.begin(), batch.effects.entries.end());
    batch.documents = make_documents();
    bool is_new = !batch.effects.empty();
    for (const Document& document : batch.documents) {
      batch.writes.push_back({.document = &document});
      batch.statuses.push_back(keep(document, is_new));
    }
    tried_.commits += is_new ? 1 : 0;
    tried_.journal_size = machine_->journal_size();
    batch.after = tried_;
    store_->stage(batch.effects, batch.writes);
  }
  void sync(Staged& batch, StoreRunCounts& counts) {
    ++counts.commits;
    if (!store_->sync().ok()) {
      ++counts.failed_commits;
      // This batch may be found; what was staged on top of it must not get through.
      tried_ = std::move(batch.after);
      bool is_last = &batch == &staged_.back();
      EXPECT_TRUE(is_last || !store_->sync().ok());
      end_process();
      return;
    }
    for (std::size_t i = 0; i < batch.writes.size(); ++i)
      EXPECT_EQ(batch.writes[i].status, batch.statuses[i]) << "document " << i;
    acknowledged_ = std::move(batch.after);
  }

  void audit() {
    Result<AuditReport> report = store_->audit(machine_.get());
    ASSERT_TRUE(report.ok()) << report.error().message;
  }
  void read_documents(const std::map<u128, std::string>& expected) {
    for (const auto& [id, bytes] : expected) {
      Result<std::string> read = store_->read_document(id);
      ASSERT_TRUE(read.ok()) << read.error().message;
      ASSERT_EQ(*read, bytes);
    }
    ASSERT_EQ(store_->documents_after(0, 1000).value().size(), expected.size());
  }

  void restart(StoreRunCounts& counts) {
    ++counts.restarts;
    end_process();
    world_.crash();
    std::unique_ptr<StateMachine> found;
    Result<AuditReport> report = reopen(found);
    world_.stop_faults();
    if (!report.ok()) {
      // A fault while opening: the process ends again, and then the disk behaves.
      end_process();
      world_.crash();
      report = reopen(found);
    }
    world_.start_faults();
    ASSERT_TRUE(report.ok()) << report.error().message;
    check_found(*report, *found, counts);
    machine_ = std::move(found);
  }
  Result<AuditReport> reopen(std::unique_ptr<StateMachine>& machine) {
    machine = std::make_unique<StateMachine>();
    TG_ASSIGN(store_, world_.open());
    return store_->load(*machine);
  }

  // I-11: acknowledged is there; the commit in doubt is there whole or not at all.
  void check_found(const AuditReport& report, const StateMachine& found, StoreRunCounts& sums) {
    bool counts = world_.counts_every_commit();
    bool is_kept = !counts || report.commits == tried_.commits;
    if (is_kept && tried_.commits != acknowledged_.commits) ++sums.kept_in_doubt;
    if (is_kept) acknowledged_ = tried_;
    ASSERT_TRUE(!counts || report.commits == acknowledged_.commits) << report.commits;
    ASSERT_EQ(found.journal_size(), acknowledged_.journal_size);
    for (u64 p = 1; p <= found.journal_size(); ++p) {
      ASSERT_EQ(found.journal_entry(p).transfer, entries_[p - 1].transfer);
      ASSERT_EQ(found.journal_entry(p).status, entries_[p - 1].status);
    }
    expect_agrees(found, acknowledged_.model);
    read_documents(acknowledged_.documents);
    tried_ = acknowledged_;
  }

  SeededRandom random_;
  RandomTransfers transfers_{random_};
  StoreWorld& world_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StateMachine> machine_;
  std::vector<JournalEntry> entries_;  // As they were staged.
  Known acknowledged_;
  Known tried_;
  std::deque<Staged> staged_;
  Timestamp now_{1'000'000'000'000};
};

}  // namespace tg::ledger
