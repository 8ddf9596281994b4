#include "ledger/journal_chain.h"

#include "base/bytes.h"

namespace tg::ledger {

static void append_u128(std::vector<u8>& out, u128 v) {
  append_u64(out, static_cast<u64>(v));
  append_u64(out, static_cast<u64>(v >> 64));
}

void JournalChain::add(u64 position, const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  if (entries_.empty()) entries_.assign(previous_.begin(), previous_.end());
  append_u64(entries_, position);
  append_u8(entries_, static_cast<u8>(entry.kind));
  append_u16(entries_, static_cast<u16>(entry.status));
  append_u128(entries_, t.id);
  append_u128(entries_, t.debit_account);
  append_u128(entries_, t.credit_account);
  append_u128(entries_, t.amount);
  append_u128(entries_, t.pending_id);
  append_u128(entries_, t.correlation);
  append_u64(entries_, t.reference);
  append_u32(entries_, t.timeout_ms);
  append_u32(entries_, t.ledger);
  append_u16(entries_, t.code);
  append_u16(entries_, t.flags);
  append_u32(entries_, t.sequence);
  append_u64(entries_, static_cast<u64>(t.timestamp_ns));
}

Digest JournalChain::seal() {
  previous_ = sha256(entries_);
  entries_.clear();
  return previous_;
}

}  // namespace tg::ledger
