// The journal's tamper evidence: every commit seals its entries with
// SHA-256(digest of the commit before || the entries, each as 143 fixed bytes).
#pragma once

#include <vector>

#include "base/hash.h"
#include "ledger/types.h"

namespace tg::ledger {

class JournalChain {
 public:
  void add(u64 position, const JournalEntry& entry);
  // The digest over all entries added since the last seal; the chain goes on from it.
  Digest seal();
  bool has_unsealed() const { return !entries_.empty(); }

 private:
  Digest previous_{};
  std::vector<u8> entries_;
};

}  // namespace tg::ledger
