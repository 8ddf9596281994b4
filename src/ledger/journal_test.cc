// The journal in a window: whatever went from memory is had back, and nothing goes that could not
// be.
#include "ledger/journal.h"

#include <gtest/gtest.h>

#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::ledger {
namespace {

// What was appended, as a store would have it.
class KeptEntries final : public EntrySource {
 public:
  u64 readable() const override { return readable_; }
  Result<Transfer> read_transfer(u64 position) override {
    EXPECT_LE(position, readable_);
    ++reads;
    if (is_broken) return Error{Code::kIo, "the disk is gone"};
    return entries.at(position - 1);
  }
  void make_durable() { readable_ = entries.size(); }

  std::vector<Transfer> entries;
  i64 reads = 0;
  bool is_broken = false;

 private:
  u64 readable_ = 0;
};

class Life {
 public:
  explicit Life(u64 seed)
      : random_(seed),
        journal_({.block_shift = static_cast<u32>(random_.below(4)),
                  .window_blocks = 1 + random_.below(4)},
                 source_) {}

  void step() {
    u64 dice = random_.below(10);
    if (dice < 6) append();
    if (dice == 6) resolve();
    if (dice == 7) source_->make_durable();
    if (dice == 8) drop_some();
    if (dice == 9) look_at_any();
  }
  void check() {
    for (u64 p = 1; p <= journal_.size(); ++p) {
      ASSERT_EQ(journal_.transfer(p), source_->entries[p - 1]) << p;
      ASSERT_EQ(journal_.entry(p).state, states_[p - 1]) << p;
      ASSERT_TRUE(journal_.is_in_memory(p) || p <= source_->readable());
      ASSERT_TRUE(journal_.is_in_memory(p) || states_[p - 1] != PendingState::kPending);
    }
    std::vector<u32> open;
    for (u64 p = 1; p <= journal_.size(); ++p) {
      if (states_[p - 1] == PendingState::kPending) open.push_back(static_cast<u32>(p));
    }
    ASSERT_EQ(journal_.open_positions(), open);
    ASSERT_EQ(journal_.open_count(), static_cast<i64>(open.size()));
    ASSERT_FALSE(journal_.take_failure().has_value());
  }
  i64 reads() const { return source_->reads; }

 private:
  void append() {
    Transfer t{.id = random_.next(), .amount = random_.next()};
    journal_.append(t, EntryKind::kTransfer, 7);
    t.timestamp_ns = 7;
    bool is_hold = random_.below(3) == 0;
    if (is_hold) journal_.set_state(journal_.size(), PendingState::kPending);
    states_.push_back(is_hold ? PendingState::kPending : PendingState::kNone);
    source_->entries.push_back(t);
  }
  void resolve() {
    std::vector<u32> open = journal_.open_positions();
    if (open.empty()) return;
    u32 position = open[random_.below(open.size())];
    journal_.set_state(position, PendingState::kPosted);
    states_[position - 1] = PendingState::kPosted;
  }
  // What is durable is never undone.
  void drop_some() {
    for (u64 n = random_.below(4); n > 0 && journal_.size() > source_->readable(); --n) {
      journal_.drop_last();
      source_->entries.pop_back();
      states_.pop_back();
    }
  }
  void look_at_any() {
    if (journal_.size() == 0) return;
    u64 position = 1 + random_.below(journal_.size());
    EXPECT_EQ(journal_.transfer(position), source_->entries[position - 1]);
  }

  SeededRandom random_;
  std::shared_ptr<KeptEntries> source_ = std::make_shared<KeptEntries>();
  Journal journal_;
  std::vector<PendingState> states_;
};

TEST(Journal, WhatWentIsReadBack) {
  i64 reads = 0;
  for (u64 seed = first_seed(); seed < first_seed() + 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Life life(seed);
    for (int i = 0; i < 300; ++i) {
      life.step();
      if (i % 30 == 0) life.check();
      if (testing::Test::HasFatalFailure()) return;
    }
    reads += life.reads();
  }
  EXPECT_GT(reads, 1'000);
}

TEST(Journal, WithoutASourceAllStays) {
  Journal journal(Journal::Window{.block_shift = 2, .window_blocks = 1});
  for (u64 i = 1; i <= 100; ++i) journal.append({.id = i}, EntryKind::kTransfer, 1);
  for (u64 i = 1; i <= 100; ++i) EXPECT_TRUE(journal.is_in_memory(i));
}

// As many as make the blocks of two sizes, and the memory that is touched ahead.
TEST(Journal, GrowsThroughEverySizeOfBlock) {
  Journal journal;
  constexpr u64 kEntries = 400'000;
  for (u64 i = 1; i <= kEntries; ++i) journal.append({.id = i, .amount = i * 3}, {}, 1);
  for (u64 i = 1; i <= kEntries; i += 97) {
    ASSERT_EQ(journal.record(i).id, i);
    ASSERT_EQ(journal.transfer(i).amount, u128{i * 3});
  }
}

class BrokenSource : public testing::Test {
 protected:
  BrokenSource() {
    for (u64 i = 1; i <= 64; ++i) {
      journal_.append({.id = i, .amount = i}, EntryKind::kTransfer, 1);
      source_->entries.push_back({.id = i, .amount = i, .timestamp_ns = 1});
      source_->make_durable();
    }
  }
  std::shared_ptr<KeptEntries> source_ = std::make_shared<KeptEntries>();
  Journal journal_{Journal::Window{.block_shift = 2, .window_blocks = 2}, source_};
};

TEST_F(BrokenSource, SaysWhyOnce) {
  source_->is_broken = true;
  EXPECT_EQ(journal_.transfer(3), Transfer{});
  std::optional<Error> failure = journal_.take_failure();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->message, "the disk is gone");
  EXPECT_FALSE(journal_.take_failure().has_value());
  source_->is_broken = false;
  EXPECT_EQ(journal_.transfer(3).amount, u128{3});
}

TEST_F(BrokenSource, AnotherEntryIsNotTaken) {
  source_->entries[2].id = 99;
  EXPECT_EQ(journal_.transfer(3), Transfer{});
  std::optional<Error> failure = journal_.take_failure();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->code, Code::kCorrupt);
}

}  // namespace
}  // namespace tg::ledger
