// Bytes as events: whatever they say, double entry holds, nothing aborts, and the journal rebuilds
// the same machine.
#include <cstring>

#include "base/assert.h"
#include "ledger/state_machine.h"
#include "ledger/store.h"

namespace tg::ledger {
namespace {

// Reads fields from the fuzzer's bytes; zeros at the end.
class Input {
 public:
  explicit Input(std::span<const u8> bytes) : bytes_(bytes) {}
  bool is_empty() const { return bytes_.empty(); }
  u8 byte() {
    if (bytes_.empty()) return 0;
    u8 value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  // Small numbers mostly, the largest sometimes: limits and overflow are then both near.
  u128 amount() {
    u8 value = byte();
    return value < 250 ? u128{value} : ~u128{0} - (value - 250u);
  }

 private:
  std::span<const u8> bytes_;
};

Transfer read_transfer(Input& in) {
  Transfer t;
  t.id = in.byte();
  t.flags = in.byte() % 32;
  t.debit_account = in.byte() % 8;
  t.credit_account = in.byte() % 8;
  t.amount = in.amount();
  if ((t.flags & (transfer_flag::kPostPending | transfer_flag::kVoidPending)) != 0)
    t.pending_id = in.byte();
  if ((t.flags & transfer_flag::kPending) != 0) t.timeout_ms = in.byte() % 4;
  t.ledger = in.byte() % 3;
  t.code = in.byte() % 4;
  return t;
}

Account read_account(Input& in) {
  return Account{.id = u128{in.byte()} % 8,
                 .ledger = in.byte() % 3u,
                 .code = 1,
                 .flags = static_cast<u16>(in.byte() % 16)};
}

void check(const StateMachine& machine) {
  TG_ASSERT(check_sums(machine).ok());
  StateMachine copy;
  for (Account a : machine.accounts()) {
    a.debits_pending = a.debits_posted = a.credits_pending = a.credits_posted = 0;
    TG_ASSERT(copy.restore_account(a).ok());
  }
  for (u64 p = 1; p <= machine.journal_size(); ++p)
    TG_ASSERT(copy.restore_entry(machine.journal_entry(p)).ok());
  TG_ASSERT(compare_accounts(machine.accounts(), copy.accounts()).ok());
  TG_ASSERT(compare_journals(machine, copy).ok());
  TG_ASSERT(machine.pending_count() == copy.pending_count());
  for (const Account& a : machine.accounts()) {
    u64 before = 0;
    do {
      before = machine.statement({.account = a.id, .before = before, .limit = 2}).next_before;
    } while (before != 0);
  }
}

void run(Input in) {
  StateMachine machine;
  Timestamp now{1'000'000};
  std::vector<TransferStatus> statuses;
  while (!in.is_empty()) {
    u8 verb = in.byte();
    now.ns += verb / 64 * 500'000;
    switch (verb % 8) {
      case 0: machine.create_account(read_account(in), now); break;
      case 1: machine.close_account(in.byte() % 8, now); break;
      case 2: machine.expire(now); break;
      case 3: machine.release_open(in.byte() % 4, now); break;
      default: {
        std::vector<Transfer> batch;
        for (int i = 0; i < verb % 8; ++i) batch.push_back(read_transfer(in));
        machine.apply(batch, now, statuses);
        TG_ASSERT(statuses.size() == batch.size());
      }
    }
  }
  check(machine);
}

}  // namespace
}  // namespace tg::ledger

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  tg::ledger::run(tg::ledger::Input({data, size}));
  return 0;
}
