#include "isa/reference/speculation.h"

#include <cmath>

#include "base/assert.h"
#include "isa/reference/sampling.h"

namespace tg::isa {

// The first child of `parent` that proposes `token`, or -1.
static i64 child_with(std::span<const ProposalRow> rows, i64 parent, i32 token) {
  for (std::size_t r = 1; r < rows.size(); ++r) {
    if (rows[r].parent == parent && rows[r].token == token) return static_cast<i64>(r);
  }
  return -1;
}

Verdict verify_exact(std::span<const ProposalRow> rows) {
  TG_ASSERT(!rows.empty());
  Verdict verdict;
  i64 at = 0;
  while (true) {
    const ProposalRow& row = rows[static_cast<std::size_t>(at)];
    verdict.token = draw_token(row.target, row.params, row.position);
    at = child_with(rows, at, verdict.token);
    if (at < 0) return verdict;
    verdict.taken.push_back(at);
  }
}

// A draw from the positive part of p - q; where rounding left none, from p.
static i32 draw_residual(const ProposalRow& row, std::span<const f64> p, std::span<const f64> q) {
  i32 best = -1;
  f64 best_value = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] <= q[i]) continue;
    i32 id = static_cast<i32>(i);
    f64 value = std::log(p[i] - q[i]) + gumbel_draw(row.params, row.position, id, Draw::kResidual);
    if (best >= 0 && value <= best_value) continue;
    best = id;
    best_value = value;
  }
  return best >= 0 ? best : draw_token(row.target, row.params, row.position);
}

Verdict verify_rejection(std::span<const ProposalRow> rows) {
  TG_ASSERT(!rows.empty());
  Verdict verdict;
  for (std::size_t at = 0; at + 1 < rows.size(); ++at) {
    const ProposalRow& row = rows[at];
    TG_ASSERT(rows[at + 1].parent == static_cast<i64>(at));
    std::vector<f64> p = token_probabilities(row.target, row.params);
    std::vector<f64> q = token_probabilities(row.draft, row.params);
    i32 x = rows[at + 1].token;
    std::size_t i = static_cast<std::size_t>(x);
    f64 u = uniform_draw(row.params, row.position, x, Draw::kAccept);
    if (p[i] == 0.0 || u * q[i] > p[i]) {
      verdict.token = draw_residual(row, p, q);
      return verdict;
    }
    verdict.taken.push_back(static_cast<i64>(at) + 1);
  }
  const ProposalRow& last = rows.back();
  verdict.token = draw_token(last.target, last.params, last.position);
  return verdict;
}

}  // namespace tg::isa
