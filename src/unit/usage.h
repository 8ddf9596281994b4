// What one request used, as integers: returned by engines, turned into work and receipts by meter/.
#pragma once

#include "base/types.h"

namespace tg::unit {

struct Usage {
  i64 prompt_tokens = 0;
  i64 cached_tokens = 0;            // Of the prompt, served from a prefix cache.
  i64 output_tokens = 0;            // Sampled and emitted, the end-of-generation token included.
  i64 steps = 0;                    // Engine steps that the request took part in.
  u128 actual_atto_st = 0;          // The request's shares of those steps' actual work.
  i64 attributed_ns = 0;            // Its shares of their wall time.
  i64 queue_ns = 0;                 // From submission to the first step.
  i64 first_token_ns = 0;           // From submission to the first token; 0 if there was none.
  i64 total_ns = 0;                 // From submission to the end.
  i64 energy_uj = 0;                // Its share of what the device drew; 0: not known.
  bool is_energy_measured = false;  // By a meter; else modelled of a stated power.
};

}  // namespace tg::unit
