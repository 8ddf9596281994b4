// Walks a log from its first byte: every frame is checked against the chain of digests before
// anyone sees it. Of a long log one thread reads and digests ahead while the other takes in what is
// checked, so that opening costs the slower of the two.
#pragma once

#include <functional>

#include "base/hash.h"
#include "base/result.h"
#include "env/append_file.h"
#include "ledger/log_frame.h"

namespace tg::ledger {

// Where the whole frames end. Behind `bytes` is what a crash tore, if anything, and then zeros, the
// room that a writer had.
struct LogEnd {
  u64 bytes = 0;
  u64 torn_bytes = 0;
  u64 last_frame = 0;  // Where the last whole frame begins; 0 if there is none.
  u64 commits = 0;
  Digest digest{};
};

// `offset` is the frame's in the file. The frame's bytes are borrowed for the call.
using LogVisit = std::function<Status(u64 offset, const FrameView& frame)>;

// Visits every whole frame in order on the calling thread. kCorrupt names the byte of the first
// contradiction, the visitor's own included. A torn end is not an error. A log that does not pass
// through `mark`, where a snapshot says that it was, has lost commits or is another's: kCorrupt.
Result<LogEnd> walk_log(const AppendFile& file, const LogVisit& visit,
                        const LogMark* mark = nullptr);

// kCorrupt: "ledger <path>: at byte <offset>: <what>".
Error corrupt_at(const AppendFile& file, u64 offset, const std::string& what);

}  // namespace tg::ledger
