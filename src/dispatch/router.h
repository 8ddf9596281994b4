// The decision half of a gateway as one object that one thread drives: requests wait in a line,
// choose() says where the next ones go, and everything that comes back corrects the picture of the
// pool. It sends nothing itself; the caller does what take_sent() says, and so does the simulator.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "dispatch/block_index.h"
#include "dispatch/choose.h"
#include "dispatch/in_flight.h"
#include "dispatch/waiting_line.h"

namespace tg::dispatch {

struct RouterOptions {
  Policy policy = Policy::kPredicted;
  RouteSettings settings;
  LineLimits line;
  i64 block_tokens = 16;
  i64 look = 64;         // requests considered each time something changes
  i64 look_tenant = 64;  // ... of one tenant
  i64 look_holds = 32;   // of them, those that must wait before the rest is not looked at
  // A request is due this long after it came per uncached prompt token: short ones pass long ones
  // that came a little before them, and nobody waits without end.
  f64 slack_ns_per_token = 0;
  u64 seed = 0;
};

// What a caller asks; the router keeps its own copy.
struct Ask {
  u64 id = 0;
  u32 tenant = 0;
  f64 weight = 1;  // of the tenant
  RouteRequest route;
  std::vector<u64> blocks;  // chained hashes of the prompt's whole blocks
  std::vector<u32> allow;
  std::vector<u32> deny;
};

struct Sent {
  u64 id = 0;
  u32 supplier = kNobody;
  Choice choice;
};

struct Refused {
  u64 id = 0;
  Choice choice;
};

class Router {
 public:
  explicit Router(const RouterOptions& options);

  // `cache_blocks`: of block_tokens, that its prefix cache holds.
  u32 add(const SupplierView& facts, i64 cache_blocks);
  // Its claims; what was learnt of it stays.
  void set_facts(u32 supplier, const SupplierView& facts) { in_flight_.set_facts(supplier, facts); }
  void set_health(u32 supplier, Health health);
  void reported(u32 supplier, const SupplierReport& report, i64 now_ns);
  // Its cache is empty: it was restarted.
  void restarted(u32 supplier) { prefixes_.forget(supplier); }

  // REQUIRES: the id is not open.
  WaitingLine::Admission submit(Ask ask, i64 now_ns);
  // Decides for whoever may go now. Call after submit and after whatever changes the pool.
  void pump(i64 now_ns, std::vector<Sent>& sent, std::vector<Refused>& refused);

  void first_token(u64 id, i64 now_ns);
  void ended(u64 id, i64 output_tokens, i64 now_ns);
  // Its supplier failed it: it waits again, first of its tenant, and not for that supplier.
  // `more_prompt`: tokens already delivered, which the next supplier computes as prompt.
  void lost(u64 id, i64 more_prompt, i64 now_ns);
  // The client went away while it waited or ran.
  void cancel(u64 id, i64 now_ns);

  const PoolView& pool() const { return pool_; }
  const InFlight& in_flight() const { return in_flight_; }
  i64 waiting() const { return line_.size(); }
  i64 waiting_tokens() const { return static_cast<i64>(line_.work()); }
  bool would_look_at_new() const { return line_.size() <= options_.look; }
  u64 decisions() const { return sequence_; }
  // For a dry run: what would happen to such a request now.
  Choice dry_run(const Ask& ask, i64 now_ns);

 private:
  struct Open {
    Ask ask;
    Waiting waiting;
    u32 supplier = kNobody;  // none: it waits
  };

  Choice decide(const Ask& ask, i64 now_ns);
  i64 line_ns(f64 work, i64 now_ns) const;
  bool waits_for_suppliers(const Choice& choice, const Open& open, i64 now_ns) const;
  WaitingLine::Admission enter(Open& open, i64 now_ns);

  RouterOptions options_;
  PoolView pool_;
  InFlight in_flight_;
  BlockIndex prefixes_;
  WaitingLine line_;
  std::unordered_map<u64, Open> open_;
  std::vector<Waiting> looked_;
  u64 sequence_ = 0;
  f64 sent_work_ = 0;  // of late, fading
  i64 sent_ns_ = 0;
};

}  // namespace tg::dispatch
