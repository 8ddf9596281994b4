#include "unit/nominal.h"

#include <algorithm>
#include <string>

#include "base/checked.h"

namespace tg::unit {

namespace {

constexpr u32 kScaleBits = kExactWorkBits;

// A sum that remembers whether it ever left 128 bits.
class CheckedSum {
 public:
  void add(u128 count, u128 each) {
    u128 product = 0;
    overflowed_ |= __builtin_mul_overflow(count, each, &product);
    overflowed_ |= __builtin_add_overflow(value_, product, &value_);
  }
  void add(u128 a, u128 b, u128 c) {
    u128 product = 0;
    overflowed_ |= __builtin_mul_overflow(a, b, &product);
    add(product, c);
  }
  u128 value() const { return value_; }
  bool overflowed() const { return overflowed_; }

 private:
  u128 value_ = 0;
  bool overflowed_ = false;
};

// The weights of the matrix' columns in atto-ST, weight bytes left out: those are shared between
// requests.
struct Rates {
  u128 per_token = 0;
  u128 per_row = 0;
  u128 per_sequence = 0;
  u128 per_pass_bytes = 0;
  u128 head_bytes = 0;
};

u128 weigh(const Counters& column) {
  u128 sum = 0;
  for (std::size_t i = 0; i < kCounters; ++i)
    sum += static_cast<u128>(column[i]) * kWeightsAttoSt[i];
  return sum;
}

Rates rates_of(const CostMatrix& matrix) {
  return Rates{.per_token = weigh(matrix.per_token),
               .per_row = weigh(matrix.per_row),
               .per_sequence = weigh(matrix.per_sequence),
               .per_pass_bytes = weigh(matrix.per_pass),
               .head_bytes = static_cast<u128>(matrix.head_bytes) * kWeightsAttoSt[kWBytes]};
}

// Attention of `pairs` and `keys` in one window class.
void add_attention(CheckedSum& sum, const WindowCost& cost, u128 pairs, u128 keys) {
  sum.add(pairs, cost.attn_flops_per_pair, u128{kWeightsAttoSt[kAttn]} << kScaleBits);
  sum.add(keys, cost.kv_rd_bytes_per_key, u128{kWeightsAttoSt[kKvRd]} << kScaleBits);
}

// Expert bytes borne by `tokens` that each bear 1/share of a pass over `share` tokens.
void add_experts(CheckedSum& sum, const CostMatrix& matrix, u128 tokens, i64 share) {
  for (const ExpertCost& cost : matrix.experts) {
    u128 hits_q20 = expected_experts_q20(cost.experts, cost.active, share);
    // hits/2^20 x bytes x tokens/share, in 2^-31: the 2^20 cancels, leaving 2^11/share.
    u128 per_token_q31 = hits_q20 * static_cast<u128>(kPrefillChunk / share) * cost.layers;
    sum.add(tokens, per_token_q31,
            static_cast<u128>(cost.bytes_per_expert) * kWeightsAttoSt[kWBytes]);
  }
}

// Sum over c = first .. first+count-1 of min(c+1, window): the pairs, and as well the keys, of
// single-token passes.
u128 decode_keys(i64 first, i64 count, i64 window) {
  i64 below = window == 0 ? count : std::clamp<i64>(window - first, 0, count);
  u128 f = static_cast<u128>(first);
  u128 b = static_cast<u128>(below);
  return b * f + b * (b + 1) / 2 + static_cast<u128>(count - below) * static_cast<u128>(window);
}

void add_prefill(CheckedSum& sum, const CostMatrix& matrix, const Rates& rates,
                 const RequestShape& request) {
  u128 tokens = static_cast<u128>(request.prompt - request.cached);
  if (tokens == 0) return;
  u128 one = u128{1} << kScaleBits;
  u128 share = one / kPrefillChunk;
  sum.add(tokens, rates.per_token, one);
  sum.add(tokens, rates.per_pass_bytes, share);
  add_experts(sum, matrix, tokens, kPrefillChunk);
  if (!request.embedding) {
    sum.add(rates.per_row, one);
    sum.add(rates.head_bytes, share);
  }
  for (i64 c = request.cached; c < request.prompt; c += kPrefillChunk) {
    i64 n = std::min(kPrefillChunk, request.prompt - c);
    sum.add(rates.per_sequence, one);
    for (const WindowCost& window : matrix.windows) {
      SequenceStep chunk{.cached = c, .fresh = n};
      add_attention(sum, window, attended_pairs(window, chunk),
                    static_cast<u128>(distinct_keys(window, chunk)));
    }
  }
}

// The O-1 passes that follow the prefill; the last token is never fed back.
void add_decode(CheckedSum& sum, const CostMatrix& matrix, const Rates& rates, i64 prompt,
                i64 output) {
  i64 passes = std::max<i64>(output - 1, 0);
  u128 count = static_cast<u128>(passes);
  u128 one = u128{1} << kScaleBits;
  u128 share = one / kDecodeBatch;
  sum.add(count, rates.per_token + rates.per_row + rates.per_sequence, one);
  sum.add(count, rates.per_pass_bytes + rates.head_bytes, share);
  add_experts(sum, matrix, count, kDecodeBatch);
  for (const WindowCost& window : matrix.windows) {
    bool bounded = window.kind != PairKind::kFull && window.kind != PairKind::kTree;
    u128 keys = decode_keys(prompt, passes, bounded ? window.window : 0);
    // A token that sees and is seen by `keys` others and itself: 2*keys - 1 pairs more.
    u128 pairs = window.kind == PairKind::kDense ? 2 * keys - count : keys;
    add_attention(sum, window, pairs, keys);
  }
}

Status check(const RequestShape& request) {
  if (request.prompt < 0 || request.prompt > kTokensMax) {
    return Error{Code::kInvalid,
                 "request: prompt tokens " + std::to_string(request.prompt) + " out of range"};
  }
  if (request.cached < 0 || request.cached > request.prompt) {
    return Error{Code::kInvalid, "request: cached tokens " + std::to_string(request.cached) +
                                     " not within the prompt's " + std::to_string(request.prompt)};
  }
  if (request.embedding && !request.outputs.empty()) {
    return Error{Code::kInvalid, "request: an embedding has no output tokens"};
  }
  for (i64 output : request.outputs) {
    if (output < 0 || output > kTokensMax) {
      return Error{Code::kInvalid,
                   "request: output tokens " + std::to_string(output) + " out of range"};
    }
  }
  return {};
}

// A fraction in [0, 1] as a 120-bit fixed-point number, multiplied through 60-bit limbs.
struct Q120 {
  u64 high = 0;  // units of 2^-60
  u64 low = 0;   // units of 2^-120, below 2^60
};

constexpr u64 kLimbMask = (u64{1} << 60) - 1;

Q120 multiply(Q120 a, Q120 b) {
  u128 cross = static_cast<u128>(a.high) * b.low + static_cast<u128>(a.low) * b.high +
               ((static_cast<u128>(a.low) * b.low) >> 60);
  u128 product = static_cast<u128>(a.high) * b.high;  // units of 2^-120
  u128 sum = product + (cross >> 60);
  return Q120{static_cast<u64>(sum >> 60), static_cast<u64>(sum) & kLimbMask};
}

}  // namespace

u64 expected_experts_q20(u32 experts, u32 active, i64 tokens) {
  TG_ASSERT(active > 0 && active <= experts && experts <= 65'536 && tokens >= 0);
  // (1 - k/E) = (E-k)/E, truncated at 2^-120.
  u128 numerator = static_cast<u128>(experts - active) << 60;
  u64 high = static_cast<u64>(numerator / experts);
  u64 low =
      static_cast<u64>((static_cast<u128>(static_cast<u64>(numerator % experts)) << 60) / experts);
  Q120 base{high, low};
  Q120 power{u64{1} << 60, 0};
  for (u64 s = static_cast<u64>(tokens); s > 0; s >>= 1) {
    if (s & 1) power = multiply(power, base);
    base = multiply(base, base);
  }
  // E x (1 - power) in 2^-120, then to 2^-20. Truncation errors stay below 2^-90, far from any
  // rounding edge.
  u128 fixed = (static_cast<u128>(power.high) << 60) | power.low;
  u128 missed = fixed >> 17;  // Units of 2^-103, so that times E fits in 128 bits.
  u128 hit = static_cast<u128>(experts) * ((u128{1} << 103) - missed);
  return static_cast<u64>(div_round_half_even(hit, u128{1} << 83));
}

Result<ExactWork> exact_work(const CostMatrix& matrix, const RequestShape& request) {
  TG_TRY(check(request));
  Rates rates = rates_of(matrix);
  CheckedSum prefill;
  add_prefill(prefill, matrix, rates, request);
  CheckedSum total = prefill;
  for (i64 output : request.outputs) add_decode(total, matrix, rates, request.prompt, output);
  if (total.overflowed()) return Error{Code::kLimit, "nominal work: the sum exceeds 128 bits"};
  return ExactWork{.input = prefill.value(), .output = total.value() - prefill.value()};
}

static Result<NanoSt> round_scaled(u128 scaled) {
  // One rounding: the scaled sum goes to nano-ST directly, never through atto-ST.
  u128 nano = div_round_half_even(scaled, u128{kAttoPerNano} << kScaleBits);
  return round_to_nano(nano * kAttoPerNano);
}

Result<NominalWork> nominal_work(const CostMatrix& matrix, const RequestShape& request) {
  TG_ASSIGN(ExactWork exact, exact_work(matrix, request));
  NominalWork work;
  TG_ASSIGN(work.total, round_scaled(exact.input + exact.output));
  TG_ASSIGN(work.input, round_scaled(exact.input));
  work.output = work.total - work.input;
  TG_ASSERT(work.output.value >= 0);
  return work;
}

}  // namespace tg::unit
