// The ledger's rules said once more, slowly, as an oracle for tests; and whether a machine agrees
// with it. Comments name the invariants I-n of the design.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "ledger/checks.h"
#include "ledger/ledger_testing.h"

namespace tg::ledger {

// Maps, whole copies, no status but yes or no.
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
      if (t.timeout_ms != 0) record.due_ns = now_ns_ + i64{t.timeout_ms} * 1'000'000;
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

// I-1 sums are zero, I-2 limits hold, and every account is as the model has it.
inline void expect_agrees(const StateMachine& machine, const Model& model) {
  ASSERT_EQ(machine.accounts().size(), model.accounts().size());
  for (const Account& a : machine.accounts()) {
    ASSERT_EQ(a, model.accounts().at(a.id)) << "account " << to_hex(a.id);
    bool is_debit_limited = (a.flags & account_flag::kDebitsMustNotExceedCredits) != 0;
    bool is_credit_limited = (a.flags & account_flag::kCreditsMustNotExceedDebits) != 0;
    ASSERT_TRUE(!is_debit_limited || a.debits_pending + a.debits_posted <= a.credits_posted);
    ASSERT_TRUE(!is_credit_limited || a.credits_pending + a.credits_posted <= a.debits_posted);
  }
  ASSERT_TRUE(check_sums(machine).ok());
  ASSERT_EQ(machine.pending_count(), static_cast<i64>(model.open().size()));
}

// I-3 every hold resolved at most once, I-4 for at most its amount, in the state the model says;
// I-5 what has a timeout is due by its end.
inline void expect_same_history(const StateMachine& machine, const Model& model, Timestamp end) {
  std::map<u128, int> resolutions;
  for (u64 p = 1; p <= machine.journal_size(); ++p) {
    const JournalEntry& e = machine.journal_entry(p);
    if (e.pending_position == 0) continue;
    ASSERT_EQ(++resolutions[e.transfer.pending_id], 1);
    ASSERT_TRUE(e.transfer.amount <= machine.find_transfer(e.transfer.pending_id)->amount);
  }
  for (const auto& [id, record] : model.records()) {
    ASSERT_EQ(machine.pending_state(id), record.state);
    ASSERT_EQ(machine.id_has_failed(id), record.has_failed);
    ASSERT_EQ(resolutions.count(id) != 0, record.state > PendingState::kPending);
  }
  StateMachine copy;
  Status rebuilt = rebuild(machine, copy);
  ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().message;
  ASSERT_EQ(difference(machine, copy), "");
  // And the rebuilt one goes on the same way: what is due at the end of time is the same.
  i64 due = copy.expire(end);
  i64 due_in_model = 0;
  for (u128 id : model.open()) due_in_model += model.records().at(id).sent.timeout_ms != 0;
  ASSERT_EQ(due, due_in_model);
}

}  // namespace tg::ledger
