// The decision half of a gateway as one object that one thread drives: requests wait in a line,
// choose() says where the next ones go, and everything that comes back corrects the picture of the
// pool: how fast suppliers are, what they have cached, how long answers are, whom to leave alone.
// It sends nothing itself: the pool (pool_core.h) and the simulator do as pump() says.
#pragma once

#include <limits>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "dispatch/block_index.h"
#include "dispatch/choose.h"
#include "dispatch/explain.h"
#include "dispatch/in_flight.h"
#include "dispatch/length_forecasts.h"
#include "dispatch/standing.h"
#include "dispatch/waiting_line.h"

namespace tg::dispatch {

struct RouterOptions {
  Policy policy = Policy::kPredicted;
  RouteSettings settings;
  LineLimits line;
  BreakerSettings breaker;
  i64 block_tokens = 16;
  i64 look = 64;         // requests considered each time something changes
  i64 look_tenant = 64;  // ... of one tenant
  i64 look_holds = 32;   // of them, those that must wait before the rest is not looked at
  // A request is due this long after it came per uncached prompt token: short ones pass long ones
  // that came a little before them, and nobody waits without end.
  f64 slack_ns_per_token = 0;
  // How long a request waits when all who could serve it are down; never longer than waited_max_ns.
  i64 absence_ns_max = std::numeric_limits<i64>::max();
  u64 seed = 0;
};

// What a caller asks; the router keeps its own copy.
struct Ask {
  u64 id = 0;
  u64 tenant = 0;
  f64 weight = 1;             // of the tenant
  RouteRequest route;         // output lengths of 0: as the router expects them
  i64 output_tokens_max = 0;  // 0: not stated
  std::vector<u64> blocks;    // chained hashes of the prompt's whole blocks
  std::vector<u32> allow;
  std::vector<u32> deny;
};

struct Sent {
  u64 id = 0;
  u64 attempt = 0;  // names this try from now on; they ascend
  u32 supplier = kNobody;
  Choice choice;
};

struct Refused {
  u64 id = 0;
  Choice choice;
};

// What has come so far, in tokens: prompts less what was cached somewhere, outputs as expected.
struct Arrivals {
  u64 requests = 0;
  f64 prompt_tokens = 0;
  f64 output_tokens = 0;
};

// What an attempt that is over says of its supplier. kUndecided: nothing, such as a cancellation.
enum class Outcome : u8 { kServed, kBroken, kUndecided };

class Router {
 public:
  explicit Router(const RouterOptions& options);

  // `cache_blocks`: of block_tokens, that its prefix cache holds.
  u32 add(const SupplierView& facts, i64 cache_blocks);
  // Its claims and its own account of its health; what was learnt of it stays.
  void set_facts(u32 supplier, const SupplierView& facts, i64 now_ns);
  void set_health(u32 supplier, Health stated, i64 now_ns);
  void reported(u32 supplier, const SupplierReport& report, i64 now_ns);
  // Its cache is empty: it was restarted.
  void restarted(u32 supplier) { prefixes_.forget(supplier); }
  // It contradicted what we counted.
  void disputed(u32 supplier, std::string what, i64 now_ns);
  // Time alone ends suspicions and cooldowns. Call now and then.
  void tick(i64 now_ns);

  // REQUIRES: the id is not open.
  WaitingLine::Admission submit(Ask ask, i64 now_ns);
  // Decides for whoever may go now. Call after submit and after whatever changes the pool.
  void pump(i64 now_ns, std::vector<Sent>& sent, std::vector<Refused>& refused);
  // One more supplier for a request that is with one, if one is free. REQUIRES: it is open.
  std::optional<Sent> hedge(u64 id, i64 now_ns);
  // Suppliers that joined may be among those that the request names.
  void set_lists(u64 id, std::vector<u32> allow, std::vector<u32> deny);

  // Of attempts; those that are over are ignored.
  void first_token(u64 attempt, i64 now_ns);
  void ended(u64 attempt, i64 output_tokens, Outcome outcome, i64 now_ns);
  // A request whose attempts have all ended waits again, first of its tenant, and not for those who
  // had it while there are others. `more_prompt`: tokens delivered since, which the next supplier
  // computes as prompt; `blocks`: of the longer prompt, or empty.
  void retry(u64 id, i64 more_prompt, std::vector<u64> blocks, i64 now_ns);
  // The request is over, and with it whatever of it waits or runs. `output_tokens`: of the whole
  // answer, to learn from; 0 if it did not come to its end. Unknown ids are ignored.
  void close(u64 id, i64 output_tokens, i64 now_ns);

  const PoolView& pool() const { return pool_; }
  const InFlight& in_flight() const { return in_flight_; }
  const Standing& standing(u32 supplier) const { return standings_[supplier]; }
  i64 waiting() const { return line_.size(); }
  i64 waiting_tokens() const { return static_cast<i64>(line_.work()); }
  const Arrivals& arrivals() const { return arrivals_; }
  bool would_look_at_new() const { return line_.size() <= options_.look; }
  u64 decisions() const { return sequence_; }
  // What would happen to such a request now, and why; changes nothing.
  Explanation explain(Ask ask, i64 now_ns);

 private:
  struct Open {
    Ask ask;
    i64 prompt_tokens = 0;  // as it came
    Waiting waiting;
    bool is_waiting = false;
    std::vector<u64> attempts;
    std::vector<u32> tried;
  };
  // A request in choose()'s terms; borrows from its Ask and from the router.
  struct Question {
    RouteRequest route;
    CachedPrefix cached;
    Moment moment;
  };

  void expect_length(Ask& ask);
  Question question(const Ask& ask, const std::vector<u32>& tried, i64 now_ns);
  Choice decide(const Open& open, i64 now_ns);
  Sent send(Open& open, const Choice& choice, i64 now_ns);
  void refresh(u32 supplier, i64 now_ns);
  i64 line_ns(f64 work, i64 now_ns) const;
  bool waits_for_suppliers(const Choice& choice, const Open& open, i64 now_ns);
  WaitingLine::Admission enter(Open& open, i64 now_ns, bool is_admitted);

  RouterOptions options_;
  PoolView pool_;
  InFlight in_flight_;
  std::vector<Standing> standings_;
  BlockIndex prefixes_;
  LengthForecasts lengths_;
  WaitingLine line_;
  std::unordered_map<u64, Open> open_;
  std::unordered_map<u64, u64> attempts_;  // to requests
  std::vector<Waiting> looked_;
  std::vector<u32> denied_;
  u64 attempt_last_ = 0;
  u64 sequence_ = 0;
  Arrivals arrivals_;
  f64 sent_work_ = 0;  // of late, fading
  i64 sent_ns_ = 0;
};

}  // namespace tg::dispatch
