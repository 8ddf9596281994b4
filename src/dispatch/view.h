// What a decision sees: suppliers as plain numbers, corrected by what this gateway knows itself
// (in_flight.h), and for each the terms that predict a request's time there. Made on a tick or when
// a request of ours comes and goes; a decision reads it and nothing else.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "fleet/supplier.h"

namespace tg::dispatch {

// kSuspect: it failed or contradicted our own measurements of late; taken when nobody else can.
enum class Health : u8 { kUp, kSuspect, kDraining, kDown };

// In the caller's one currency per token; 1e-9 credit (nano) by convention.
struct TokenPrices {
  f64 input = 0;
  f64 cached = 0;
  f64 output = 0;
};

struct Power {
  f64 watts = 0;             // drawn while it works; 0: not known
  f64 grams_per_joule = 0;   // carbon of its zone
  f64 price_per_joule = 0;   // of its zone, in the currency of TokenPrices
  bool is_measured = false;  // by a meter, not a data sheet
};

struct SupplierView {
  // Who it is and what it said or was measured to be able to do.
  Health health = Health::kUp;
  u16 zone = 0;    // of 64
  i64 rtt_ns = 0;  // from here and back
  fleet::StepEstimate step;
  i64 step_tokens_max = 2048;  // of a step's batch
  i64 step_target_ns = 0;      // it cuts prompts so that steps stay about as short; 0: does not
  i64 step_longest_ns = 0;     // ... or, beside many streams, so long; below the target: the target
  i64 running_max = 256;
  i64 context_max = 0;  // 0: not stated
  i64 keys_total = 0;   // tokens of context that fit; 0: not stated
  TokenPrices price;
  Power power;
  f64 ttft_band = 1.5;  // of measured over predicted, the 90 % quantile
  f64 tpot_band = 1.25;
  // How loaded it is: its last report and what was sent since.
  i64 running = 0;          // requests that decode or whose prompt is being computed
  i64 waiting = 0;          // requests in its own queue
  i64 prompt_tokens = 0;    // sent or reported and not computed yet, cached ones aside
  i64 keys = 0;             // tokens of context held by open requests
  i64 keys_promised = 0;    // ... when their outputs have become as long as expected
  i64 output_left = 0;      // tokens that open requests are expected to output yet
  i64 prompts_done_ns = 0;  // when prompts sent so far should be computed; the decision's clock
  f64 prompt_share = 0;     // of its time that prompts took of late: 0 .. 0.9
  i64 reported_ns = 0;      // when its last report was made
};

// What of a view a decision reads for every supplier, worked out once per change.
struct SupplierTerms {
  bool is_open = false;
  Health health = Health::kUp;
  u16 zone = 0;
  i64 prompts_done_ns = 0;
  f64 ttft_ns = 0;        // round trip and steps under way
  f64 room_ns = 0;        // until a slot and room for keys are free
  f64 token_ns = 0;       // per prompt token that is not cached, decoding beside it included
  f64 pair_ns = 0;        // per query and key
  f64 tpot_ns = 0;        // with one more request
  f64 key_ns = 0;         // added to it per key of that request
  f64 work_token_ns = 0;  // the device's own time per prompt token
  f64 share_ns = 0;       // the device's own time per output token, its part of a shared step
  f64 more_ns = 0;        // added to everybody's step by one more request
  f64 crowd = 0;          // requests that wait while it computes another's prompt
  f64 keys_total = 0;     // that fit, and that one request may have
  f64 ttft_band = 1;
  f64 tpot_band = 1;
  TokenPrices price;
  f64 watts = 0;
  f64 energy_price = 0;  // per joule
  f64 carbon = 0;        // grams per joule
};

SupplierTerms make_terms(const SupplierView& view);

class PoolView {
 public:
  u32 size() const { return static_cast<u32>(views_.size()); }
  // Index of the new supplier; indexes stay.
  u32 add(const SupplierView& view);
  // REQUIRES: index < size().
  void update(u32 index, const SupplierView& view);
  const SupplierView& at(u32 index) const { return views_[index]; }
  std::span<const SupplierView> views() const { return views_; }
  std::span<const SupplierTerms> terms() const { return terms_; }

 private:
  std::vector<SupplierView> views_;
  std::vector<SupplierTerms> terms_;
};

std::string_view health_name(Health health);

}  // namespace tg::dispatch
