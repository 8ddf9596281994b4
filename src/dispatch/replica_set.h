// Replicas that come and go: which of them are started, used, emptied and ended, so that there are
// as many as an Autoscaler wants and some warm ones beside them. A state machine over slots; who
// launches says what came of each order, here or under sim/'s clock. A replica that is emptied is
// used again before another is started, one that does not start is tried again later and later.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dispatch/autoscale.h"

namespace tg::dispatch {

// kWarm: loaded, and given no requests. kDraining: finishes what it has.
enum class ReplicaState : u8 { kOff, kStarting, kWarm, kReady, kDraining, kEnding };
std::string_view replica_state_name(ReplicaState state);

struct ReplicaSettings {
  i64 warm = 0;  // beside those that are used
  i64 starting_max = 1'000;
  i64 start_ns_max = 300'000'000'000;  // then a start has failed
  i64 retry_ns = 1'000'000'000;        // after a failure, twice as long after each further one
  i64 retry_ns_max = 60'000'000'000;
  i64 settled_ns = 10'000'000'000;  // one that ends sooner than this after its start has failed
};

struct ReplicaOrder {
  enum class Kind : u8 {
    kStart,
    kUse,  // give it requests: from now on, or again
    kDrain,
    kEnd,
  };
  Kind kind = Kind::kStart;
  u32 slot = 0;
  friend bool operator==(const ReplicaOrder&, const ReplicaOrder&) = default;
};

struct ReplicaCounts {
  i64 starting = 0;
  i64 warm = 0;
  i64 ready = 0;
  i64 draining = 0;
  i64 ending = 0;
};

class ReplicaSet {
 public:
  struct Replica {
    ReplicaState state = ReplicaState::kOff;
    i64 since_ns = 0;  // in this state
    i64 started_ns = 0;
    u64 starts = 0;
    bool is_empty = false;   // kDraining: nothing is open there
    std::string last_error;  // why it ended unasked the last time
  };

  // `slots`: replicas that there may be at once, warm ones among them.
  ReplicaSet(const ScaleSettings& scale, const ReplicaSettings& settings, i64 slots);
  // More slots; fewer are not taken away.
  void set_settings(const ScaleSettings& scale, const ReplicaSettings& settings, i64 slots);
  // It is there from the beginning. REQUIRES: the slot is off.
  void begin_with(u32 slot, ReplicaState state);

  void arrived(f64 work, i64 now_ns) { scaler_.arrived(work, now_ns); }
  // Decides anew, and appends what is to be done for it. `backlog`: work admitted and not begun.
  ScaleDecision step(f64 backlog, i64 now_ns, std::vector<ReplicaOrder>& orders);

  // A start has come true; it is used at once if it is wanted.
  void started(u32 slot, i64 now_ns, std::vector<ReplicaOrder>& orders);
  // One that drains has nothing left.
  void emptied(u32 slot);
  // It is gone, as it was told to or not.
  void ended(u32 slot, i64 now_ns, std::string why);

  const std::vector<Replica>& replicas() const { return replicas_; }
  ReplicaCounts counts() const;
  // What a start takes: the 90 % quantile of the latest ones, or what the settings say before any.
  i64 cold_start_ns() const;
  u64 failures() const { return failures_; }
  // No start before then.
  i64 retry_at_ns() const { return retry_at_ns_; }

 private:
  void set(u32 slot, ReplicaState state, i64 now_ns);
  void order(ReplicaOrder::Kind kind, u32 slot, std::vector<ReplicaOrder>& orders);
  void fail(Replica& replica, i64 now_ns, std::string why);
  void forgive(i64 now_ns);
  void give_up_late(i64 now_ns, std::vector<ReplicaOrder>& orders);
  void use_more(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders);
  void drain(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders);
  void park_empty(i64 wanted, i64 now_ns, std::vector<ReplicaOrder>& orders);
  void start(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders);
  void end_warm(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders);

  Autoscaler scaler_;
  i64 stated_cold_start_ns_ = 0;
  ReplicaSettings settings_;
  std::vector<Replica> replicas_;
  std::vector<i64> starts_ns_;  // how long the latest starts took, the newest last
  i64 desired_ = 0;
  u64 failures_ = 0;
  i64 failures_in_a_row_ = 0;
  i64 failed_ns_ = 0;  // the last time
  i64 retry_at_ns_ = 0;
};

}  // namespace tg::dispatch
