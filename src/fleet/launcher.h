// Starts and ends replicas of a supplier: processes of this machine (node/process_launcher.h), or
// whatever else can be had. Who decides how many there are sees nothing else of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "fleet/supplier.h"

namespace tg::fleet {

struct LaunchEvent {
  enum class Kind : u8 { kUp, kEnded };
  u32 slot = 0;
  Kind kind = Kind::kUp;
  std::shared_ptr<Supplier> supplier;  // kUp: it serves from now on
  std::string why;                     // kEnded
};

struct LaunchedReplica {
  i64 process = 0;
  std::string address;
};

// One thread.
class Launcher {
 public:
  virtual ~Launcher() = default;
  // Begins to; events say what comes of it. An error: it did not even begin. REQUIRES: nothing of
  // the slot runs.
  virtual Status start(u32 slot, const std::string& name) = 0;
  // Asks it to finish what it has and to end.
  virtual void end(u32 slot) = 0;
  // Now.
  virtual void kill(u32 slot) = 0;
  // Since the last call; does not wait. Per start at most one kUp, then one kEnded.
  virtual std::vector<LaunchEvent> poll() = 0;
  // Zeros if nothing of it runs.
  virtual LaunchedReplica describe(u32 slot) const = 0;
};

}  // namespace tg::fleet
