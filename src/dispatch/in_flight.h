// The requests of ours that suppliers have and have not finished, by which the picture of a
// supplier is kept right between its reports, and whatever it reports: what we sent is there even
// if it says it is idle; its steps take as long as they are seen to take, not as claimed.
// Single-threaded; it keeps the views of the pool.
#pragma once

#include <unordered_map>
#include <vector>

#include "dispatch/choose.h"
#include "predict/online.h"

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
  // It ended, however; its supplier, or kNobody for an unknown id.
  u32 ended(u64 id, i64 output_tokens, i64 now_ns);
  // A report of its state: what it has beside ours is added to ours, never taken off.
  void reported(u32 supplier, const SupplierReport& report, i64 now_ns);
  // New facts (health, prices, step estimate, bands); the load stays what it is here.
  void set_facts(u32 supplier, const SupplierView& facts);

  i64 open(u32 supplier) const;
  // Share of first tokens so far that came within the p90 forecast for them, and how many came.
  f64 coverage() const;
  i64 first_tokens() const { return first_tokens_; }
  // How many times as long as claimed a supplier's prompts and decoding are seen to take.
  f64 prompt_factor(u32 supplier) const;
  f64 decode_factor(u32 supplier) const;

 private:
  // The logarithm of measured over claimed, and after how many measurements.
  struct Learnt {
    f64 log_factor = 0;
    i64 count = 0;
    // `believed`: the log_factor that the prediction was made with. Those in flight were forecast
    // on older beliefs, and all of them would say again what was learnt since.
    void learn(f64 measured, f64 predicted, f64 believed);
  };
  struct Open {
    u32 supplier = kNobody;
    i64 prompt_tokens = 0;
    i64 uncached_tokens = 0;
    i64 output_tokens = 0;
    i64 sent_ns = 0;
    f64 ttft_ns = 0;
    f64 ttft_p90_ns = 0;
    f64 tpot_ns = 0;
    f64 prompt_work_ns = 0;
    f64 prompts_believed = 0;  // of the supplier's speed when it was sent: log_factor
    f64 decodes_believed = 0;
    i64 first_ns = 0;
    bool has_first = false;
  };
  // Of one supplier.
  struct Load {
    i64 open = 0;
    i64 without_first = 0;
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
    // Of its speed, and the band of first tokens.
    Learnt prompts;
    Learnt decodes;
    predict::LiveBand ttft_band{0.9, 1.5};
    fleet::StepEstimate claimed;
  };

  Load& load_of(u32 supplier);
  void add_prompt_work(Load& load, f64 work_ns, i64 now_ns);
  static void apply_learnt(const Load& load, SupplierView& view);
  void publish(u32 supplier);

  PoolView& pool_;
  std::vector<Load> loads_;
  std::unordered_map<u64, Open> open_;
  i64 first_tokens_ = 0;
  i64 covered_ = 0;
};

}  // namespace tg::dispatch
