// The requests of ours that suppliers have and have not finished, by which the picture of a
// supplier is kept right between its reports, and whatever it reports: what we sent is there even
// if it says it is idle. Single-threaded; the caller publishes the views.
#pragma once

#include <unordered_map>
#include <vector>

#include "dispatch/choose.h"

namespace tg::dispatch {

// What a supplier said of itself.
struct SupplierReport {
  i64 made_ns = 0;  // by our clock
  i64 running = 0;
  i64 waiting = 0;
  i64 keys = 0;  // tokens of context held; 0: not stated
};

// How far a finished forecast was off, to learn from.
struct FirstToken {
  u32 supplier = kNobody;
  f64 predicted_ns = 0;
  f64 measured_ns = 0;
};

class InFlight {
 public:
  explicit InFlight(PoolView& pool) : pool_(pool) {}

  // The request went to the supplier on this forecast. REQUIRES: the id is not open.
  void sent(u64 id, u32 supplier, const RouteRequest& request, const Forecast& forecast,
            i64 now_ns);
  // Its first token came; nothing for an unknown id.
  FirstToken first_token(u64 id, i64 now_ns);
  // It ended, however; unknown ids are ignored.
  void ended(u64 id, i64 output_tokens, i64 now_ns);
  // A report of its state: what it has beside ours is added to ours, never taken off.
  void reported(u32 supplier, const SupplierReport& report, i64 now_ns);
  // New facts (health, prices, step estimate, bands); the load stays what it is here.
  void set_facts(u32 supplier, const SupplierView& facts);

  i64 open(u32 supplier) const;

 private:
  struct Open {
    u32 supplier = kNobody;
    i64 prompt_tokens = 0;
    i64 uncached_tokens = 0;
    i64 output_tokens = 0;
    i64 sent_ns = 0;
    f64 ttft_ns = 0;
    f64 prompt_work_ns = 0;
    bool has_first = false;
  };
  // Of one supplier.
  struct Load {
    i64 open = 0;
    i64 prompts = 0;  // without a first token
    i64 prompt_tokens = 0;
    i64 keys = 0;
    i64 keys_promised = 0;
    i64 output_left = 0;
    i64 prompts_done_ns = 0;
    f64 prompt_share = 0;
    i64 share_ns = 0;  // when prompt_share was last brought up to date
    i64 others_running = 0;
    i64 others_waiting = 0;
    i64 others_keys = 0;
    i64 reported_ns = 0;
  };

  Load& load_of(u32 supplier);
  void add_prompt_work(Load& load, f64 work_ns, i64 now_ns);
  void publish(u32 supplier);

  PoolView& pool_;
  std::vector<Load> loads_;
  std::unordered_map<u64, Open> open_;
};

}  // namespace tg::dispatch
