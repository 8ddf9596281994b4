// The receipt of one request: integers, in one canonical text that is signed, stored and forwarded
// verbatim (money.md §5.9). A buyer recomputes nominal work from it and the program's cost matrix
// alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "env/clock.h"
#include "meter/outcome.h"
#include "unit/cost_matrix.h"
#include "unit/usage.h"

namespace tg::meter {

inline constexpr i64 kChoicesMax = 128;

struct Receipt {
  std::string log;     // the operator's name
  std::string meter;   // which meter made it
  std::string device;  // what ran it, "cpu avx512"
  u128 request = 0;
  u128 buyer = 0;   // ledger account charged
  u128 seller = 0;  // ledger account credited
  std::string model;
  Digest program{};    // id of the program whose cost matrix prices it
  std::string tariff;  // "list/1"
  u64 factor_ppm = 0;  // billed = min(floor(billable * factor_ppm / 10^6), held)
  Timestamp time;      // end of the request, milliseconds kept
  i64 prompt_tokens = 0;
  i64 cached_tokens = 0;
  std::vector<i64> output_tokens;  // delivered, one per choice
  Outcome outcome = Outcome::kCompleted;
  i64 nominal_nst = 0;  // of what was delivered
  i64 input_nst = 0;
  i64 output_nst = 0;
  i64 billable_nst = 0;  // by the outcome table
  i64 actual_nst = 0;    // the request's share of the engine's actual work
  i64 billed = 0;        // nano-bST posted to the ledger
  i64 steps = 0;
  i64 device_us = 0;  // its share of wall time
  i64 queue_us = 0;
  i64 first_token_us = 0;
  i64 total_us = 0;
  u128 hold = 0;  // ledger transfer that reserved
  i64 held = 0;   // and how much
  u128 post = 0;  // ledger transfer that captured; 0: nothing was billed, the hold was voided
};

// Canonical text, newline at the end. Names must be free of spaces and control characters
// (asserted).
std::string to_text(const Receipt& receipt);
// Accepts exactly what to_text writes; the error names the line.
Result<Receipt> parse_receipt(std::string_view text);

// min(floor(billable * factor_ppm / 10^6), held): nobody pays more than was reserved. REQUIRES:
// amounts >= 0.
i64 billed_amount(i64 billable_nst, u64 factor_ppm, i64 held);

// Recomputes nominal, billable and billed from the readings; an error names the first figure that
// differs.
Status check_arithmetic(const Receipt& receipt, const unit::CostMatrix& cost);

// A name as receipts carry it: anything but letters, digits and "-_.:/@" becomes '_', cut at 128
// bytes, never empty.
std::string receipt_name(std::string_view text);

}  // namespace tg::meter
