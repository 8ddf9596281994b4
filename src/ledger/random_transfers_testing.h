// Random chains of transfers between eleven accounts: holds and their resolutions, retries, wrong
// fields, amounts at the edge of 128 bits.
#pragma once

#include <algorithm>
#include <vector>

#include "env/random.h"
#include "ledger/ledger_testing.h"

namespace tg::ledger {

inline constexpr u64 kTestAccounts = 11;

// Number `id` of the accounts that RandomTransfers moves between: 1 to 8 on ledger 1, the others on
// 2, with and without limits.
inline Account random_test_account(u128 id, Timestamp now) {
  constexpr u16 kFlags[] = {0, account_flag::kDebitsMustNotExceedCredits,
                            account_flag::kDebitsMustNotExceedCredits, 0,
                            account_flag::kCreditsMustNotExceedDebits};
  Account account = test_account(id, kFlags[id % 5], id <= 8 ? 1 : 2);
  account.timestamp_ns = now.ns;
  return account;
}

class RandomTransfers {
 public:
  // The random source must outlive this.
  explicit RandomTransfers(SeededRandom& random) : random_(random) {}

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

 private:
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
    u64 debit = 1 + random_.below(kTestAccounts);
    u64 credit = debit <= 8 ? 1 + (debit + random_.below(7)) % 8
                            : 9 + (debit - 9 + 1 + random_.below(2)) % 3;
    if (random_.below(30) == 0) debit = 1 + random_.below(kTestAccounts + 1);
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

  SeededRandom& random_;
  u128 last_id_ = 0;
  std::vector<std::vector<Transfer>> sent_;
  std::vector<Transfer> holds_;
};

}  // namespace tg::ledger
