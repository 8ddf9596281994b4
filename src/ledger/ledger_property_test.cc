// Random events against a naive model of the same rules, with the invariants of double entry and
// two-phase transfers checked after every batch. A failure names its seed.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/bytes.h"
#include "env/random.h"
#include "env/seed_testing.h"
#include "ledger/checks.h"
#include "ledger/ledger_testing.h"

namespace tg::ledger {
namespace {

constexpr i64 kMillisecond = 1'000'000;

// The rules said once more, slowly: maps, whole copies, no status but yes or no.
class Model {
 public:
  struct Record {
    Transfer sent;
    bool has_failed = false;
    PendingState state = PendingState::kNone;
    i64 due_ns = INT64_MAX;
  };

  void create(const Account& a) { accounts_[a.id] = a; }
  void close(u128 id) { accounts_[id].flags |= account_flag::kClosed; }

  void advance(i64 now_ns) {
    now_ns_ = now_ns;
    std::set<u128> open = open_;
    for (u128 id : open) {
      if (records_[id].due_ns <= now_ns) resolve(id, 0, PendingState::kExpired);
    }
  }
  void release_open(u16 code) {
    std::set<u128> open = open_;
    for (u128 id : open) {
      if (records_[id].sent.code == code) resolve(id, 0, PendingState::kVoided);
    }
  }

  // Whether all of the chain is in the ledger afterwards.
  bool apply(std::span<const Transfer> chain) {
    std::map<u128, Account> accounts = accounts_;
    std::set<u128> open = open_;
    std::vector<u128> made;
    std::map<u128, Record> resolved;
    for (const Transfer& t : chain) {
      if (is_resolution(t) && records_.count(t.pending_id) != 0)
        resolved.emplace(t.pending_id, records_[t.pending_id]);
      bool is_new = records_.count(t.id) == 0;
      bool burns = false;
      bool is_in = apply_one(t, burns);
      if (is_new && is_in) made.push_back(t.id);
      if (is_in) continue;
      accounts_ = accounts;
      open_ = open;
      for (const auto& [id, record] : resolved) records_[id] = record;
      for (u128 id : made) records_.erase(id);
      if (burns) records_[t.id] = Record{.sent = t, .has_failed = true};
      return false;
    }
    return true;
  }

  const std::map<u128, Account>& accounts() const { return accounts_; }
  const std::map<u128, Record>& records() const { return records_; }
  const std::set<u128>& open() const { return open_; }

 private:
  bool apply_one(const Transfer& t, bool& burns) {
    if (check_form(t) != TransferStatus::kOk) return false;
    auto known = records_.find(t.id);
    if (known != records_.end()) return !known->second.has_failed && t == known->second.sent;
    burns = true;
    return is_resolution(t) ? apply_resolution(t) : apply_new(t);
  }

  bool apply_new(const Transfer& t) {
    if (accounts_.count(t.debit_account) == 0 || accounts_.count(t.credit_account) == 0)
      return false;
    Account& debit = accounts_[t.debit_account];
    Account& credit = accounts_[t.credit_account];
    if (debit.ledger != credit.ledger || debit.ledger != t.ledger) return false;
    if (((debit.flags | credit.flags) & account_flag::kClosed) != 0) return false;
    u128 turnover = t.amount;
    for (const auto& [id, account] : accounts_) {
      if (account.ledger != t.ledger) continue;
      u128 sum = account.debits_pending + account.debits_posted;
      if (turnover + sum < turnover) return false;
      turnover += sum;
    }
    if (turnover < t.amount) return false;
    if ((debit.flags & account_flag::kDebitsMustNotExceedCredits) != 0 &&
        debit.debits_pending + debit.debits_posted + t.amount > debit.credits_posted)
      return false;
    if ((credit.flags & account_flag::kCreditsMustNotExceedDebits) != 0 &&
        credit.credits_pending + credit.credits_posted + t.amount > credit.debits_posted)
      return false;
    Record record{.sent = t};
    if (is_pending(t)) {
      debit.debits_pending += t.amount;
      credit.credits_pending += t.amount;
      record.state = PendingState::kPending;
      if (t.timeout_ms != 0) record.due_ns = now_ns_ + i64{t.timeout_ms} * kMillisecond;
      open_.insert(t.id);
    } else {
      debit.debits_posted += t.amount;
      credit.credits_posted += t.amount;
    }
    records_[t.id] = record;
    return true;
  }

  bool apply_resolution(const Transfer& t) {
    auto hold = records_.find(t.pending_id);
    if (hold == records_.end() || hold->second.state != PendingState::kPending) return false;
    if (t.amount > hold->second.sent.amount) return false;
    if (is_void(t) && t.amount != 0 && t.amount != hold->second.sent.amount) return false;
    resolve(t.pending_id, is_post(t) ? t.amount : 0,
            is_post(t) ? PendingState::kPosted : PendingState::kVoided);
    records_[t.id] = Record{.sent = t};
    return true;
  }

  void resolve(u128 id, u128 posted, PendingState state) {
    Record& hold = records_[id];
    Account& debit = accounts_[hold.sent.debit_account];
    Account& credit = accounts_[hold.sent.credit_account];
    debit.debits_pending -= hold.sent.amount;
    credit.credits_pending -= hold.sent.amount;
    debit.debits_posted += posted;
    credit.credits_posted += posted;
    hold.state = state;
    open_.erase(id);
  }

  std::map<u128, Account> accounts_;
  std::map<u128, Record> records_;
  std::set<u128> open_;
  i64 now_ns_ = 0;
};

class RandomRun {
 public:
  explicit RandomRun(u64 seed) : random_(seed) {
    constexpr u16 kFlags[] = {0, account_flag::kDebitsMustNotExceedCredits,
                              account_flag::kDebitsMustNotExceedCredits, 0,
                              account_flag::kCreditsMustNotExceedDebits};
    for (u128 id = 1; id <= kAccounts; ++id) {
      Account a = test_account(id, kFlags[id % 5], id <= 8 ? 1 : 2);
      a.timestamp_ns = now_.ns;
      EXPECT_EQ(machine_.create_account(a, now_), AccountStatus::kOk);
      model_.create(a);
    }
  }

  i64 events() const { return events_; }
  i64 succeeded_count() const { return succeeded_; }
  const StateMachine& machine() const { return machine_; }

  void step() {
    u64 dice = random_.below(1000);
    if (dice < 20) {
      now_.ns += static_cast<i64>(random_.below(80)) * kMillisecond;
      machine_.expire(now_);
      model_.advance(now_.ns);
    } else if (dice < 21) {
      u16 code = random_.below(2) == 0 ? transfer_code::kHold : transfer_code::kDisputeHold;
      model_.advance(now_.ns);
      machine_.release_open(code, now_);
      model_.release_open(code);
    } else {
      if (dice < 400) now_.ns += static_cast<i64>(random_.below(4)) * kMillisecond;
      batch();
    }
    check();
  }
  void close_one() {
    u128 id = 1 + random_.below(kAccounts);
    EXPECT_EQ(machine_.close_account(id, now_), AccountStatus::kOk);
    model_.close(id);
  }

  void check() {
    for (const Account& a : machine_.accounts()) {
      ASSERT_EQ(a, model_.accounts().at(a.id)) << "account " << to_hex(a.id);
      bool is_debit_limited = (a.flags & account_flag::kDebitsMustNotExceedCredits) != 0;
      bool is_credit_limited = (a.flags & account_flag::kCreditsMustNotExceedDebits) != 0;
      ASSERT_TRUE(!is_debit_limited || a.debits_pending + a.debits_posted <= a.credits_posted);
      ASSERT_TRUE(!is_credit_limited || a.credits_pending + a.credits_posted <= a.debits_posted);
    }
    ASSERT_TRUE(check_sums(machine_).ok());
    ASSERT_EQ(machine_.pending_count(), static_cast<i64>(model_.open().size()));
  }
  // Every hold resolved at most once, for at most its amount, and in the state the model says.
  void check_history() {
    std::map<u128, int> resolutions;
    for (u64 p = 1; p <= machine_.journal_size(); ++p) {
      const JournalEntry& e = machine_.journal_entry(p);
      if (e.pending_position == 0) continue;
      ASSERT_EQ(++resolutions[e.transfer.pending_id], 1);
      ASSERT_TRUE(e.transfer.amount <= machine_.find_transfer(e.transfer.pending_id)->amount);
    }
    for (const auto& [id, record] : model_.records()) {
      ASSERT_EQ(machine_.pending_state(id), record.state);
      ASSERT_EQ(machine_.id_has_failed(id), record.has_failed);
      ASSERT_EQ(resolutions.count(id) != 0, record.state > PendingState::kPending);
    }
    StateMachine copy;
    Status rebuilt = rebuild(machine_, copy);
    ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().message;
    ASSERT_EQ(difference(machine_, copy), "");
    // And the rebuilt one goes on the same way: what is due at the end of time is the same.
    Timestamp end{now_.ns + 1'000'000 * kMillisecond};
    i64 due = copy.expire(end);
    i64 due_in_model = 0;
    for (u128 id : model_.open()) due_in_model += model_.records().at(id).sent.timeout_ms != 0;
    ASSERT_EQ(due, due_in_model);
  }

 private:
  static constexpr u64 kAccounts = 11;

  void batch() {
    std::vector<Transfer> batch;
    u64 chains = 1 + random_.below(3);
    for (u64 c = 0; c < chains; ++c) {
      std::vector<Transfer> chain = make_chain();
      batch.insert(batch.end(), chain.begin(), chain.end());
    }
    std::vector<TransferStatus> statuses;
    machine_.apply(batch, now_, statuses);
    model_.advance(now_.ns);
    std::size_t first = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (is_linked(batch[i])) continue;
      std::span<const Transfer> chain(batch.data() + first, i + 1 - first);
      bool expected = model_.apply(chain);
      for (std::size_t k = first; k <= i; ++k) {
        ASSERT_TRUE(!expected || succeeded(statuses[k])) << name(statuses[k]);
      }
      ASSERT_EQ(count_failures(statuses, first, i) != 0, !expected);
      succeeded_ += expected ? static_cast<i64>(chain.size()) : 0;
      first = i + 1;
    }
    events_ += static_cast<i64>(batch.size());
  }
  static i64 count_failures(const std::vector<TransferStatus>& s, std::size_t a, std::size_t b) {
    i64 failures = 0;
    for (std::size_t k = a; k <= b; ++k) failures += succeeded(s[k]) ? 0 : 1;
    // A failed chain failed whole: no member says that it was applied.
    EXPECT_TRUE(failures == 0 || failures == static_cast<i64>(b - a + 1));
    return failures;
  }

  std::vector<Transfer> make_chain() {
    // Sometimes a whole earlier chain again, as a client that lost the answer would send it.
    if (random_.below(20) == 0 && !sent_.empty()) return sent_[random_.below(sent_.size())];
    std::vector<Transfer> chain;
    u64 length = random_.below(3) == 0 ? 2 + random_.below(4) : 1;
    for (u64 i = 0; i < length; ++i) {
      chain.push_back(make_transfer());
      if (i + 1 < length) chain.back().flags |= transfer_flag::kLinked;
    }
    sent_.push_back(chain);
    return chain;
  }

  Transfer make_transfer() {
    u64 dice = random_.below(100);
    if (dice < 4 && !sent_.empty()) {
      Transfer again = sent_[random_.below(sent_.size())].front();
      again.flags &= static_cast<u16>(~transfer_flag::kLinked);
      if (dice < 2) again.sequence += 1;
      return again;
    }
    if (dice < 45 && !holds_.empty()) return make_resolution();
    // Accounts 1 to 8 are on ledger 1, the others on 2; a few transfers name wrong ones.
    u64 debit = 1 + random_.below(kAccounts);
    u64 credit = debit <= 8 ? 1 + (debit + random_.below(7)) % 8
                            : 9 + (debit - 9 + 1 + random_.below(2)) % 3;
    if (random_.below(30) == 0) debit = 1 + random_.below(kAccounts + 1);
    Transfer t = test_transfer(++last_id_, debit, credit, random_.below(60));
    t.ledger = t.debit_account <= 8 ? 1 : 2;
    if (random_.below(3) != 0) return t;
    t.flags = transfer_flag::kPending;
    if (random_.below(4) == 0) t.code = transfer_code::kDisputeHold;
    if (random_.below(3) != 0) t.timeout_ms = static_cast<u32>(1 + random_.below(200));
    if (random_.below(100) == 0) {
      // Leaves no room for anything else until it is released; posted, it would for ever.
      t.amount = ~u128{0} - random_.below(3);
      t.timeout_ms = 1;
    } else {
      holds_.push_back(t);
    }
    return t;
  }
  Transfer make_resolution() {
    // Mostly a recent hold, so that many are still open.
    std::size_t back = 1 + random_.below(std::min<u64>(holds_.size(), 12));
    const Transfer& hold = holds_[holds_.size() - back];
    bool is_posting = random_.below(2) == 0;
    Transfer t{.id = ++last_id_,
               .pending_id = hold.id,
               .code = is_posting ? transfer_code::kPostSlice : transfer_code::kVoid,
               .flags = is_posting ? transfer_flag::kPostPending : transfer_flag::kVoidPending};
    if (is_posting) t.amount = random_.below(static_cast<u64>(hold.amount) % 1000 + 3);
    if (!is_posting && random_.below(4) == 0) t.amount = hold.amount;
    return t;
  }

  SeededRandom random_;
  StateMachine machine_;
  Model model_;
  Timestamp now_{1'000'000'000};
  u128 last_id_ = 0;
  std::vector<std::vector<Transfer>> sent_;
  std::vector<Transfer> holds_;
  i64 events_ = 0;
  i64 succeeded_ = 0;
};

TEST(LedgerProperty, MatchesTheModel) {
  i64 events = 0;
  i64 succeeded = 0;
  for (u64 seed = first_seed(); seed < first_seed() + 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRun run(seed);
    while (run.events() < 4000) {
      run.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    if (seed % 4 == 0) run.close_one();
    while (run.events() < 5000) {
      run.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    run.check_history();
    if (testing::Test::HasFatalFailure()) return;
    events += run.events();
    succeeded += run.succeeded_count();
  }
  EXPECT_GE(events, 200'000);
  // The mix must exercise both outcomes.
  EXPECT_GT(succeeded, events / 5);
  EXPECT_LT(succeeded, events * 4 / 5);
}

TEST(LedgerProperty, TheSameEventsGiveTheSameJournal) {
  RandomRun a(99);
  RandomRun b(99);
  for (int i = 0; i < 2000; ++i) {
    a.step();
    b.step();
  }
  EXPECT_EQ(difference(a.machine(), b.machine()), "");
}

}  // namespace
}  // namespace tg::ledger
