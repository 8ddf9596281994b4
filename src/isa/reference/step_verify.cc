// spec_verify: the rows of each sequence through the pure functions of speculation.h.
#include <algorithm>
#include <cmath>

#include "isa/reference/speculation.h"
#include "isa/reference/step.h"

namespace tg::isa {

namespace {

// The operands of one instruction, with scores as f32.
struct Proposals {
  std::vector<std::vector<f32>> target;  // [R][V]
  std::vector<std::vector<f32>> draft;   // [R][V], or empty
  const Tensor& ids;
  const Tensor& rows;
};

std::vector<std::vector<f32>> rows_as_f32(const Tensor& x) {
  std::vector<std::vector<f32>> out;
  for (i64 r = 0; r < x.rows(); ++r) out.emplace_back(x.row(r).begin(), x.row(r).end());
  return out;
}

bool has_finite(std::span<const f32> scores) {
  return std::any_of(scores.begin(), scores.end(), [](f32 s) { return std::isfinite(s); });
}

// Indices into `rows` by the sequence whose token each names.
Result<std::vector<std::vector<i64>>> rows_by_sequence(const ReferenceBatch& batch,
                                                       const Tensor& rows) {
  std::vector<std::vector<i64>> out(batch.past.size());
  for (std::size_t r = 0; r < rows.data.size(); ++r) {
    i64 token = static_cast<i64>(rows.data[r]);
    if (token < 0 || token >= batch.cu.back())
      return trap("row " + std::to_string(token) + " of " + std::to_string(batch.cu.back()));
    std::span<const i32>::iterator after =
        std::upper_bound(batch.cu.begin(), batch.cu.end(), static_cast<i32>(token));
    out[static_cast<std::size_t>(after - batch.cu.begin() - 1)].push_back(static_cast<i64>(r));
  }
  return out;
}

// The place among `mine` (the sequence's rows) of the parent of its i-th row: the previous row in a
// chain, else the row of the token that the tree names; -1 if that token has none.
i64 parent_place(const ReferenceBatch& batch, i64 sequence, std::span<const i64> mine,
                 const Tensor& rows, std::size_t i) {
  auto token_of = [&](i64 row) {
    return static_cast<i64>(rows.data[static_cast<std::size_t>(row)]);
  };
  i64 token = token_of(mine[i]);
  if (batch.tree.empty() || batch.tree[static_cast<std::size_t>(token)] < 0)
    return static_cast<i64>(i) - 1;
  i64 first = batch.cu[static_cast<std::size_t>(sequence)];
  i64 wanted = first + batch.tree[static_cast<std::size_t>(token)];
  for (std::size_t j = 0; j < i; ++j) {
    if (token_of(mine[j]) == wanted) return static_cast<i64>(j);
  }
  return -1;
}

// Traps on what the pure functions require.
Result<std::vector<ProposalRow>> proposal_rows(const ReferenceBatch& batch, i64 sequence,
                                               std::span<const i64> mine, const Proposals& from) {
  std::vector<ProposalRow> out;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    std::size_t r = static_cast<std::size_t>(mine[i]);
    std::span<const f32> target = from.target[r];
    std::span<const f32> draft = from.draft.empty() ? std::span<const f32>{} : from.draft[r];
    i32 token = static_cast<i32>(from.ids.data[static_cast<std::size_t>(from.rows.data[r])]);
    i64 parent = i == 0 ? -1 : parent_place(batch, sequence, mine, from.rows, i);
    if (!has_finite(target) || (!draft.empty() && !has_finite(draft)))
      return trap("a row of logits is not finite");
    if (token < 0 || token >= static_cast<i64>(target.size()))
      return trap("token id " + std::to_string(token) + " of a vocabulary of " +
                  std::to_string(target.size()));
    if (i > 0 && parent < 0) return trap("the parent of row " + std::to_string(r) + " has no row");
    if (!draft.empty() && parent != static_cast<i64>(i) - 1)
      return trap("row " + std::to_string(r) + " is not part of a chain");
    const SampleRow& p = batch.params[r];
    out.push_back({target, draft, p.params, p.position, token, parent});
  }
  return out;
}

}  // namespace

// `taken` marks the accepted proposals; roots are none.
template <typename F>
Status Step<F>::spec_verify(const FlatInstruction& op) {
  bool rejects = op.word(AttributeKey::kMode) == static_cast<u32>(VerifyMode::kRejection);
  std::vector<std::vector<f32>> draft;
  if (rejects) draft = rows_as_f32(in(op, 5));
  Proposals from{rows_as_f32(in(op, 0)), std::move(draft), in(op, 1), in(op, 2)};
  std::vector<Tensor> out;
  for (u32 id : op.out) out.push_back(make(id));
  TG_ASSIGN(std::vector<std::vector<i64>> by_sequence, rows_by_sequence(context_.batch, from.rows));
  for (std::size_t s = 0; s < by_sequence.size(); ++s) {
    std::span<const i64> mine = by_sequence[s];
    out[1].data[s] = -1;
    if (mine.empty()) continue;
    TG_ASSIGN(std::vector<ProposalRow> rows,
              proposal_rows(context_.batch, static_cast<i64>(s), mine, from));
    Verdict verdict = rejects ? verify_rejection(rows) : verify_exact(rows);
    out[0].data[s] = static_cast<f64>(verdict.taken.size());
    out[1].data[s] = verdict.token;
    if (out.size() < 3) continue;
    for (i64 place : verdict.taken)
      out[2].data[static_cast<std::size_t>(mine[static_cast<std::size_t>(place)])] = 1;
  }
  count(unit::kEw, 4 * static_cast<i64>(in(op, 0).data.size()));
  for (std::size_t i = 0; i < out.size(); ++i) finish(op.out[i], std::move(out[i]));
  return {};
}

template Status Step<f32>::spec_verify(const FlatInstruction&);
template Status Step<f64>::spec_verify(const FlatInstruction&);

}  // namespace tg::isa
