// What other gateways served, for reports of usage: read from the receipts that they copied to the
// shared ledger (archive.h), when somebody asks. A thread of its own waits for that ledger.
#pragma once

#include <optional>
#include <thread>
#include <vector>

#include "env/clock.h"
#include "env/mailbox.h"
#include "gateway/slice_watch.h"
#include "ledger/service.h"
#include "tlog/note.h"

namespace tg::gateway {

class OthersUse {
 public:
  // Receipts under `own`, the key of this gateway's meter, are left out. Ledger and clock must
  // outlive it.
  OthersUse(ledger::Service& shared, Clock& clock, std::optional<tlog::VerifierKey> own);
  // May wait for a ledger that does not answer, as long as that takes to say so.
  ~OthersUse();
  OthersUse(const OthersUse&) = delete;
  OthersUse& operator=(const OthersUse&) = delete;

  // Appends what came since the last call. False if the ledger did not answer within `wait_ns`, or
  // has not said everything by then: the rest comes with a later call. For one thread.
  bool take(std::vector<meter::Draft>& out, i64 wait_ns);

 private:
  struct Part {
    std::vector<meter::Draft> drafts;
    bool is_last = false;  // Of what was asked for.
    bool is_whole = true;  // Else the ledger is away.
  };
  struct Asked {};
  void run();
  Part read_part();

  ledger::Service& shared_;
  Clock& clock_;
  SliceWatch slices_;  // The thread's only,
  u64 taken_ = 0;      // and this.

  bool is_asked_ = false;
  Mailbox<Asked> asked_;
  Mailbox<Part> parts_;
  std::thread thread_;
};

}  // namespace tg::gateway
