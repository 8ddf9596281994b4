#include "unit/actual.h"

#include "base/assert.h"

namespace tg::unit {

namespace {

// Splits `whole` over parts of growing cumulative weight: each part gets the difference of two
// floors.
class CumulativeSplit {
 public:
  CumulativeSplit(u128 whole, u128 weight_total) : whole_(whole), weight_total_(weight_total) {}
  u128 next(u128 weight) {
    if (weight_total_ == 0) return 0;
    weight_seen_ += weight;
    // whole * seen / total without a 256-bit product: split the whole into quotient and remainder
    // first.
    u128 quotient = whole_ / weight_total_;
    u128 remainder = whole_ % weight_total_;
    u128 upto = quotient * weight_seen_ + remainder * weight_seen_ / weight_total_;
    u128 part = upto - given_;
    given_ = upto;
    return part;
  }

 private:
  u128 whole_;
  u128 weight_total_;
  u128 weight_seen_ = 0;
  u128 given_ = 0;
};

Result<u128> own_atto(const CostMatrix& matrix, const SequenceStep& s) {
  TG_ASSIGN(Counters counters, evaluate_own(matrix, s));
  return atto_st(counters);
}

// Wall time by atto-ST. Weights are compared in 2^40 atto-ST so that products stay within 128 bits.
void split_wall_time(i64 wall_ns, u128 whole, std::span<StepShare> shares) {
  CumulativeSplit split(static_cast<u128>(wall_ns), whole >> 40);
  u128 seen = 0;
  i64 given = 0;
  for (StepShare& share : shares) {
    u128 before = seen >> 40;
    seen += share.atto_st;
    share.wall_ns = static_cast<i64>(split.next((seen >> 40) - before));
    given += share.wall_ns;
  }
  TG_ASSERT(given == wall_ns || (whole >> 40) == 0);
}

}  // namespace

Status attribute_step(const CostMatrix& matrix, std::span<const SequenceStep> sequences,
                      std::span<const u64> expert_hits, i64 wall_ns, std::span<StepShare> shares) {
  TG_ASSERT(shares.size() == sequences.size() && wall_ns >= 0);
  TG_ASSIGN(Counters step, evaluate(matrix, sequences, expert_hits));
  TG_ASSIGN(u128 whole, atto_st(step));
  u128 tokens = 0;
  u128 rows = 0;
  u128 owned = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    TG_ASSIGN(shares[i].atto_st, own_atto(matrix, sequences[i]));
    owned += shares[i].atto_st;
    tokens += static_cast<u128>(sequences[i].fresh);
    rows += static_cast<u128>(sequences[i].rows);
  }
  TG_ASSERT(whole >= owned);
  u128 head = rows > 0 ? static_cast<u128>(matrix.head_bytes) * kWeightsAttoSt[kWBytes] : 0;
  CumulativeSplit body_split(whole - owned - head, tokens);
  CumulativeSplit head_split(head, rows);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    shares[i].atto_st += body_split.next(static_cast<u128>(sequences[i].fresh));
    shares[i].atto_st += head_split.next(static_cast<u128>(sequences[i].rows));
  }
  u128 attributed = 0;
  for (const StepShare& share : shares) attributed += share.atto_st;
  TG_ASSERT(tokens == 0 || attributed == whole);
  split_wall_time(wall_ns, attributed, shares);
  return {};
}

}  // namespace tg::unit
