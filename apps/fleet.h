// The suppliers of a server put together: those of its configuration, those that announce
// themselves, and the pool over them.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "apps/fleet_config.h"
#include "dispatch/pool.h"
#include "dispatch/pool_scaler.h"
#include "env/clock.h"
#include "env/random.h"
#include "node/loop.h"
#include "node/membership.h"
#include "node/process_launcher.h"
#include "text/tokenizer.h"

namespace tg::apps {

class Fleet {
 public:
  // The engines of this process: its own, or null; those on other devices, by supplier's name.
  struct Engines {
    std::shared_ptr<fleet::Supplier> local;
    std::map<std::string, std::shared_ptr<fleet::Supplier>> devices;
  };
  // What launched nodes serve, and where they keep their keys.
  struct Nodes {
    std::string model_id;
    std::vector<std::string> model_arguments;  // of `tokengrid node`
    std::string data;
  };
  // Connects to every supplier, as soon as the loop runs, and returns without waiting for them.
  // REQUIRES: an engine for every supplier that is a device. All references must outlive the fleet;
  // `random` is used here only, and for as long as this lasts a generator of its own.
  static Result<std::unique_ptr<Fleet>> start(FleetConfig config, const std::string& gateway,
                                              Engines engines, Nodes nodes,
                                              std::shared_ptr<const Tokenizer> tokenizer,
                                              const Digest& program, Clock& clock, Random& random);
  // Stops watching for members, ends the pool, then its suppliers and the processes it launched.
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  dispatch::Pool& pool() { return *pool_; }
  // That of its connections; whoever serves the pool's requests runs it.
  node::Loop& loop() { return loop_; }
  // Takes what may change while it runs: how many replicas there may be, and when. Any thread.
  void reload(const FleetConfig& config);

 private:
  Fleet(FleetConfig config, std::string gateway, const Digest& program, Clock& clock, u64 instance);
  Status start_scaler(const Nodes& nodes);
  void scale();
  void watch();
  void look_once(node::MemberWatch& members);
  void note_usage();

  const FleetConfig config_;
  const std::string gateway_;
  const Digest program_;
  Clock& clock_;
  OsRandom random_;
  node::Loop loop_{node::Loop::Thread::kLent};
  std::unique_ptr<node::ProcessLauncher> launcher_;
  std::unique_ptr<dispatch::Pool> pool_;
  std::unique_ptr<dispatch::PoolScaler> scaler_;
  std::unique_ptr<node::Bus> bus_;
  node::UsageOutbox outbox_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_stopped_ = false;
  std::thread watcher_;
  std::thread scaling_;  // after it, as it waits for the same word
};

}  // namespace tg::apps
