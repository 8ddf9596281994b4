// Replicas as processes of this machine: `tokengrid node`, or whatever else says "listening on
// HOST:PORT" and speaks the node protocol. A child that is told to end drains by itself; none of
// them outlives this process.
#pragma once

#include <map>

#include "env/child_process.h"
#include "fleet/launcher.h"
#include "node/remote_supplier.h"

namespace tg::node {

struct ProcessLauncherOptions {
  // What is run. "{name}" in an argument stands for the replica's name.
  std::vector<std::string> command;
  RemoteOptions remote;      // but for the address
  i64 stop_ms_max = 10'000;  // how long the last ones may take to end, then they are killed
};

class ProcessLauncher final : public fleet::Launcher {
 public:
  // Loop, clock and random outlive it; random is used by its caller's thread only.
  ProcessLauncher(ProcessLauncherOptions options, Loop& loop, Clock& clock, Random& random)
      : options_(std::move(options)), loop_(loop), clock_(clock), random_(random) {}
  // Asks all to end, and waits.
  ~ProcessLauncher() override;

  Status start(u32 slot, const std::string& name) override;
  void end(u32 slot) override;
  void kill(u32 slot) override;
  std::vector<fleet::LaunchEvent> poll() override;
  fleet::LaunchedReplica describe(u32 slot) const override;

 private:
  struct Child {
    std::string name;
    std::unique_ptr<ChildProcess> process;
    std::string address;
    std::shared_ptr<RemoteSupplier> supplier;  // from when it says where it listens
    bool is_up = false;
  };

  void read(Child& child);
  std::string why_ended(const Child& child, const std::string& how) const;

  const ProcessLauncherOptions options_;
  Loop& loop_;
  Clock& clock_;
  Random& random_;
  std::map<u32, Child> children_;
};

}  // namespace tg::node
