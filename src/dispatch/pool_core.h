// The pool as a state machine: requests, suppliers' events and ticks go in; orders to suppliers and
// events for buyers come out. A Router decides, the one that sim/ drives; this keeps the buyer's
// side whole whatever suppliers do: a request that fails is sent elsewhere, before its first token
// as it was, after it as a continuation of what has been delivered; a late first token is hedged;
// only tokens that came are counted, and once. Time comes in as an argument, so that a simulation
// runs this code.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dispatch/router.h"
#include "fleet/supplier.h"

namespace tg::dispatch {

// What the operator says of a supplier; what it can do is learned from its reports and our own
// measurements.
struct PoolSupplier {
  std::string name;   // unique in the pool
  std::string zone;   // "" is one too
  TokenPrices price;  // 1e-9 credit per token
  Power power;
  i64 rtt_ns = 0;
  fleet::StepEstimate step;  // to begin with, if it reports none
  i64 requests_max = 0;      // at once; 0: what it reports, or many
};

struct PoolSettings {
  RouteSettings route{.hedge_factor = 3};
  Policy policy = Policy::kPredicted;
  BreakerSettings breaker;
  i64 waiting_max = 4'096;                  // requests that no supplier has yet
  i64 attempts_max = 4;                     // suppliers tried for one request, hedges aside
  i64 hedges_ppm_max = 50'000;              // of requests
  i64 first_token_ns_max = 60'000'000'000;  // then a supplier that has given nothing is given up
  i64 stall_ns_max = 20'000'000'000;        // ... or has stopped giving
  i64 absence_ns_max = 5'000'000'000;       // how long a request waits for a supplier that is down
  i64 prefix_blocks_max = 16'384;           // of a supplier's cache, as far as it is followed
  u64 seed = 0;                             // for ties; gateways of one pool should differ
};

// To be carried out in this order.
struct PoolOrder {
  enum class Kind : u8 { kSubmit, kCancel, kExtend };
  Kind kind = Kind::kSubmit;
  u32 supplier = kNobody;
  u64 attempt = 0;  // the supplier's name for it
  fleet::SupplyRequest
      request;            // kSubmit; its id is the attempt, its mailbox is left to the caller
  i64 funded_tokens = 0;  // kExtend
  bool is_funding_final = false;
};

struct PoolDelivery {
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> to;
  fleet::SupplierEvent event;
};

// One ended attempt, for whoever keeps books of suppliers: what it gave as we counted it, and what
// it claims.
struct SupplyRecord {
  std::string supplier;
  u64 request = 0;
  i64 prompt_tokens = 0;
  i64 cached_tokens = 0;
  i64 output_tokens = 0;
  i64 claimed_tokens = 0;
  bool is_served = false;  // its tokens, if any, reached the buyer
  bool is_failed = false;
  std::string dispute;  // "" if the two agree
};

struct PoolCounters {
  u64 requests = 0;
  u64 retries = 0;        // sent again before a first token
  u64 continuations = 0;  // ... after some
  u64 hedges = 0;
  u64 hedges_won = 0;
  u64 held = 0;
  u64 refused = 0;
  u64 failed = 0;  // ended in an error that no supplier could mend
  u64 disputes = 0;
};

class PoolCore {
 public:
  explicit PoolCore(PoolSettings settings);

  // Index of the new supplier, or of one that was here under this name: then it is back.
  u32 join(const PoolSupplier& supplier, i64 now_ns);
  // It takes nothing more, and what it has is sent elsewhere.
  void leave(u32 supplier, i64 now_ns);
  // It takes nothing more and finishes what it has; join() ends this.
  void drain(u32 supplier, i64 now_ns);
  // Its latest picture of itself.
  void report(u32 supplier, const fleet::SupplierLoad& load, i64 now_ns);

  // REQUIRES: no open request has this id.
  void submit(fleet::SupplyRequest request, i64 now_ns);
  void cancel(u64 id, i64 now_ns);
  void extend(u64 id, i64 funded_tokens, bool is_final = false);

  // Of an attempt; those of attempts that are over are ignored.
  void event(fleet::SupplierEvent event, i64 now_ns);
  // A supplier did not take an order to submit.
  void refused(u64 attempt, const Error& error, i64 now_ns);
  // Whatever time brings: retries of held requests, hedges, suppliers that have been silent for too
  // long. Call a few dozen times a second.
  void tick(i64 now_ns);

  // The pool shuts down: whatever is open ends as cancelled.
  void end_all(i64 now_ns);

  // One JSON object: where the request would go now, and every candidate.
  std::string explain(const fleet::SupplyRequest& request, i64 now_ns);

  std::vector<PoolOrder> take_orders() { return std::exchange(orders_, {}); }
  std::vector<PoolDelivery> take_deliveries() { return std::exchange(deliveries_, {}); }
  std::vector<SupplyRecord> take_records() { return std::exchange(records_, {}); }

  i64 open() const { return static_cast<i64>(requests_.size()); }
  i64 waiting() const { return router_.waiting(); }
  const PoolCounters& counters() const { return counters_; }
  const PoolView& view() const { return router_.pool(); }
  const InFlight& in_flight() const { return router_.in_flight(); }
  const Arrivals& arrivals() const { return router_.arrivals(); }
  i64 waiting_tokens() const { return router_.waiting_tokens(); }
  // All suppliers' pictures as one.
  fleet::SupplierLoad load() const;
  const std::vector<std::string>& names() const { return names_; }
  struct MemberStatus {
    std::string name;
    std::string zone;
    Health health = Health::kUp;
    i64 open = 0;     // requests of ours
    i64 waiting = 0;  // in its own queue, as far as is known
    i64 disputes = 0;
    u64 attempts = 0;
    u64 failures = 0;
    u64 tokens = 0;  // output, as they came
    std::string last_dispute;
    f64 first_correction = 1;  // measured times over those it claims
    f64 rate_correction = 1;
    fleet::StepEstimate step;  // as measured
    i64 running_max = 0;
  };
  MemberStatus member_status(u32 supplier) const;
  // It has left and nothing of it is open.
  bool is_gone(u32 supplier) const {
    return members_[supplier].is_gone && router_.in_flight().open(supplier) == 0;
  }

 private:
  struct Member {
    PoolSupplier facts;
    fleet::SupplierLoad load;
    bool is_gone = false;
    bool is_draining = false;
    u64 attempts = 0;
    u64 failures = 0;
    u64 tokens = 0;
  };
  struct Attempt {
    u64 request = 0;
    u32 supplier = kNobody;
    i64 first_ns = 0;
    i64 last_ns = 0;   // latest event
    i64 hedge_ns = 0;  // when to hedge; 0: not
    i64 prompt_tokens = 0;
    i64 tokens = 0;
    std::string route;
  };
  struct Open {
    fleet::SupplyRequest request;
    std::vector<TokenId> delivered;
    std::vector<u64> attempts;  // at most two: the second is a hedge
    std::string route;          // the last decision, as a header
    std::string failures;
    i64 sends = 0;
    i64 prompt_tokens = 0;  // with what had been delivered before the last of them
    i64 arrived_ns = 0;
    i64 first_ns = 0;
    i64 funded_tokens = 0;
    bool is_estimated = false;
    bool is_cancelled = false;
    bool is_announced = false;  // its first event has gone out
    bool is_hedged = false;
  };

  // Its supplier has given all that is paid for, and whether more will be is not known yet.
  bool awaits_funds(const Attempt& attempt) const;
  void publish(u32 supplier, i64 now_ns);
  Ask ask_of(const fleet::SupplyRequest& request) const;
  void read_lists(const fleet::RouteWishes& wishes, Ask& ask) const;
  // Lets the router decide for whoever may go, and carries it out.
  void pump(i64 now_ns);
  void pump_for(u64 id, i64 now_ns);
  void refuse(Open& open, const Choice& choice, i64 now_ns);
  void send(Open& open, const Sent& sent, i64 now_ns);
  void take_tokens(Attempt& attempt, Open& open, fleet::SupplierEvent event, i64 now_ns);
  void win(Open& open, u64 winner, i64 now_ns);
  void take_end(u64 id, fleet::SupplierEvent event, i64 now_ns);
  void fail(Open& open, u32 supplier, const fleet::SupplierEvent& event, i64 now_ns);
  void retry(Open& open, i64 now_ns);
  void give_up(u64 attempt, std::string why, i64 now_ns);
  // Takes the attempt out of all books.
  Attempt close(u64 attempt, const fleet::SupplierEvent& event, bool is_served, Outcome outcome,
                i64 now_ns);
  void deliver_end(Open& open, fleet::SupplierEvent event, i64 now_ns);
  void finish(Open& open, fleet::FinishReason reason, std::string error, fleet::Fault fault,
              i64 now_ns);
  void hedge(u64 attempt, i64 now_ns);
  u32 zone_of(const std::string& name);

  PoolSettings settings_;
  std::vector<Member> members_;
  std::vector<std::string> names_;
  std::vector<std::string> zones_;
  Router router_;
  std::unordered_map<u64, Open> requests_;
  std::unordered_map<u64, Attempt> attempts_;
  std::vector<PoolOrder> orders_;
  std::vector<PoolDelivery> deliveries_;
  std::vector<SupplyRecord> records_;
  PoolCounters counters_;
  std::vector<Sent> sent_;  // scratch
  std::vector<Refused> refused_;
};

}  // namespace tg::dispatch
