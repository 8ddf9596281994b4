#include "unit/cost_matrix.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::unit {

u128 attended_pairs(i64 cached, i64 fresh, i64 window) {
  TG_ASSERT(cached >= 0 && fresh >= 0 && window >= 0);
  u128 c = static_cast<u128>(cached);
  u128 n = static_cast<u128>(fresh);
  if (window == 0) return n * c + n * (n + 1) / 2;
  u128 m = static_cast<u128>(std::clamp<i64>(window - cached, 0, fresh));
  return m * c + m * (m + 1) / 2 + (n - m) * static_cast<u128>(window);
}

i64 distinct_keys(i64 cached, i64 fresh, i64 window) {
  TG_ASSERT(cached >= 0 && fresh >= 0 && window >= 0);
  if (fresh == 0) return 0;
  if (window == 0) return cached + fresh;
  return std::min(cached + fresh, fresh + window - 1);
}

// Pairs of n tokens that see each other in both directions, |i-j| < window.
static u128 mutual_pairs(i64 n, i64 window) {
  if (window == 0) return static_cast<u128>(n) * static_cast<u128>(n);
  return 2 * attended_pairs(0, n, window) - static_cast<u128>(n);
}

u128 attended_pairs(const WindowCost& cost, const SequenceStep& s) {
  switch (cost.kind) {
    case PairKind::kCausal:
    case PairKind::kSelected: return attended_pairs(s.cached, s.fresh, cost.window);
    case PairKind::kFull: return static_cast<u128>(s.fresh) * static_cast<u128>(s.cached + s.fresh);
    case PairKind::kTree:
      return s.tree_pairs >= 0 ? static_cast<u128>(s.tree_pairs)
                               : attended_pairs(s.cached, s.fresh, 0);
    case PairKind::kDense:
      return mutual_pairs(s.cached + s.fresh, cost.window) - mutual_pairs(s.cached, cost.window);
    case PairKind::kCount: break;
  }
  TG_ASSERT(false && "a kind of pairs");
  return 0;
}

i64 distinct_keys(const WindowCost& cost, const SequenceStep& s) {
  if (cost.kind == PairKind::kCausal) return distinct_keys(s.cached, s.fresh, cost.window);
  i64 all = distinct_keys(s.cached, s.fresh, 0);
  if (cost.kind != PairKind::kSelected) return all;
  u128 pairs = attended_pairs(s.cached, s.fresh, cost.window);
  return pairs < static_cast<u128>(all) ? static_cast<i64>(pairs) : all;
}

// a += count * each, noting overflow; count may exceed 64 bits only if each is zero.
static bool add_product(u64& to, u128 count, u64 each) {
  if (each == 0) return true;
  if (count > ~u64{0}) return false;
  u64 product = 0;
  if (__builtin_mul_overflow(static_cast<u64>(count), each, &product)) return false;
  return !__builtin_add_overflow(to, product, &to);
}

static bool add_attention(Counters& to, const WindowCost& cost, const SequenceStep& s) {
  u128 pairs = attended_pairs(cost, s);
  u128 keys = static_cast<u128>(distinct_keys(cost, s));
  return add_product(to[kAttn], pairs, cost.attn_flops_per_pair) &&
         add_product(to[kEw], pairs, cost.ew_flops_per_pair) &&
         add_product(to[kKvRd], keys, cost.kv_rd_bytes_per_key);
}

static Error too_large() {
  return Error{Code::kLimit, "cost: a counter of the step exceeds 64 bits"};
}

static bool add_own(Counters& to, const CostMatrix& matrix, const SequenceStep& s) {
  TG_ASSERT(s.cached >= 0 && s.fresh >= 0 && s.rows >= 0);
  bool fits = add_scaled(to, matrix.per_token, static_cast<u64>(s.fresh));
  fits &= add_scaled(to, matrix.per_row, static_cast<u64>(s.rows));
  fits &= add_scaled(to, matrix.per_sequence, 1);
  for (const WindowCost& window : matrix.windows) fits &= add_attention(to, window, s);
  return fits;
}

Result<Counters> evaluate_own(const CostMatrix& matrix, const SequenceStep& sequence) {
  Counters own{};
  if (!add_own(own, matrix, sequence)) return too_large();
  return own;
}

Result<Counters> evaluate(const CostMatrix& matrix, std::span<const SequenceStep> sequences,
                          std::span<const u64> expert_hits) {
  TG_ASSERT(expert_hits.size() == matrix.experts.size());
  Counters total = matrix.per_pass;
  bool fits = true;
  i64 rows = 0;
  for (const SequenceStep& s : sequences) {
    fits &= add_own(total, matrix, s);
    rows += s.rows;
  }
  if (rows > 0) fits &= add_product(total[kWBytes], 1, matrix.head_bytes);
  for (std::size_t i = 0; i < expert_hits.size(); ++i) {
    fits &= add_product(total[kWBytes], expert_hits[i], matrix.experts[i].bytes_per_expert);
  }
  if (!fits) return too_large();
  return total;
}

}  // namespace tg::unit
