// What one request costs as its output grows: nominal work and token classes under the prices found
// at admission and, in a long request, at later quarter hours. The quote, every hold and every
// capture ask this one function (I-16).
#pragma once

#include <vector>

#include "base/result.h"
#include "market/rating/price_vector.h"
#include "meter/receipt.h"
#include "unit/cost_matrix.h"

namespace tg::market {

// How the prompt was served; `cached + written` <= `prompt`.
struct InputReading {
  i64 prompt = 0;
  i64 cached = 0;
  i64 written = 0;
  friend bool operator==(const InputReading&, const InputReading&) = default;
};

// Output tokens, reasoning apart. Cumulative.
struct OutputReading {
  i64 output = 0;
  i64 reasoning = 0;
  i64 total() const { return output + reasoning; }
  friend bool operator==(const OutputReading&, const OutputReading&) = default;
};

using meter::kPriceSegmentsMax;

class RequestRate {
 public:
  // `cost` may be null: then only tokens are priced. It is borrowed and outlives the request.
  // kInvalid or kLimit if a prompt of that many tokens and `output_max` could not be rated.
  static Result<RequestRate> make(const unit::CostMatrix* cost, const PriceVector& prices,
                                  i64 prompt, i64 output_max);

  // Of an embedding: prefill alone. Its output is one vector, "one token" that has no work and no
  // price of its own; without it nothing was delivered.
  static Result<RequestRate> make_embedding(const unit::CostMatrix* cost, const PriceVector& prices,
                                            i64 prompt);

  // From `at` on, new prices; what was produced until then keeps its own (money.md §5.4, 4). Equal
  // prices change nothing. kInvalid or kLimit as `make`, kLimit beyond kPriceSegmentsMax. REQUIRES:
  // `at` not below that of an earlier change.
  Status reprice(const OutputReading& at, const PriceVector& prices);

  // At most this, however the prompt is served and the output divided: what holds reserve.
  i64 most(i64 output_tokens) const;
  // Input and output as read.
  i64 charge(const InputReading& input, const OutputReading& output) const;
  // Output alone: what a seller's fault leaves.
  i64 output_charge(const InputReading& input, const OutputReading& output) const;
  // At least this of the output is charged, however it is divided: what a slice may post while that
  // and the prompt's service are not known for good.
  i64 sure_charge(i64 output_tokens) const;
  // By at most so much output_charge() differs between two ways of serving the prompt: the parts of
  // nominal work are rounded.
  i64 output_slack() const;
  // The largest n <= output_max() with most(n) <= amount; -1 if not even the prompt fits.
  i64 tokens_within(i64 amount) const;

  // `charge` said per million tokens and per MST of nominal work; both, whatever the price is made
  // of. REQUIRES: 0 <= charge <= kChargeMax, readings within the request's bounds.
  PriceViews views_of(i64 charge, const InputReading& input, const OutputReading& output) const;

  i64 prompt() const { return prompt_; }
  i64 output_max() const { return output_max_; }
  bool is_embedding() const { return is_embedding_; }
  // As a receipt states them.
  std::vector<meter::PriceSegment> price_segments() const;
  // Those of now.
  const PriceVector& prices() const { return segments_.back().prices; }

 private:
  RequestRate(const unit::CostMatrix* cost, const PriceVector& prices, i64 prompt, i64 output_max);
  enum class Part { kAll, kOutput };
  struct Segment {
    OutputReading from;
    PriceVector prices;
    PriceVector highest;  // Every class of input at the dearest of them; the same for output.
    PriceVector lowest;   // Output and reasoning at the cheaper of them.
  };
  static Segment segment(const OutputReading& from, const PriceVector& prices);
  Result<Consumption> use(const InputReading& input, const OutputReading& output, Part part) const;
  enum class Prices { kActual, kHighest };
  i64 rated(const InputReading& input, const OutputReading& output, Part part, Prices prices) const;

  const unit::CostMatrix* cost_;
  std::vector<Segment> segments_;  // Not empty; the first from 0.
  i64 prompt_;
  i64 output_max_;
  bool is_embedding_ = false;
};

}  // namespace tg::market
