#include "backend/cpu/sample_ops.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "isa/reference/sampling.h"

namespace tg::backend::cpu {

namespace {

constexpr f32 kRemoved = -std::numeric_limits<f32>::infinity();
constexpr f64 kFixedPointOne = 0x1.0p40;

std::span<const f32> row_of(const Tensor& x, i64 r) {
  return {x.data + r * x.cols(), static_cast<std::size_t>(x.cols())};
}

std::span<const u32> list_of(const Samples& samples, const tg_list& list) {
  return {samples.lists + list.first, list.count};
}

isa::SamplingParams params_of(const tg_sample_row& row) {
  return {.temperature = row.temperature,
          .top_k = row.top_k,
          .top_p = row.top_p,
          .min_p = row.min_p,
          .seed = row.seed};
}

bool is_finite(f32 x) {
  return x - x == 0.0f;
}
bool has_finite(std::span<const f32> scores) {
  return std::any_of(scores.begin(), scores.end(), is_finite);
}

void add_bias(const Samples& samples, const tg_sample_row& row, std::span<f32> scores) {
  std::span<const u32> words = list_of(samples, row.bias);
  for (std::size_t i = 0; i < words.size(); i += 2) {
    scores[words[i]] += std::bit_cast<f32>(words[i + 1]);
  }
}

// counts: -1 for tokens not seen, else how often the output has them.
void penalise(const Samples& samples, const tg_sample_row& row, std::span<f32> scores,
              std::span<i32> counts) {
  f32 repetition = row.repetition_penalty;
  if (repetition == 1.0f && row.presence_penalty == 0.0f && row.frequency_penalty == 0.0f) return;
  std::fill(counts.begin(), counts.end(), -1);
  for (u32 token : list_of(samples, row.prompt)) counts[token] = 0;
  for (u32 token : list_of(samples, row.output)) counts[token] = std::max(counts[token], 0) + 1;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (counts[i] < 0) continue;
    f32& score = scores[i];
    if (repetition != 1.0f) score = score > 0 ? score / repetition : score * repetition;
    if (counts[i] == 0) continue;
    score -= row.presence_penalty;
    score -= row.frequency_penalty * static_cast<f32>(counts[i]);
  }
}

void mask(const Samples& samples, const tg_sample_row& row, std::span<f32> scores) {
  std::span<const u32> allowed = list_of(samples, row.allowed);
  if (allowed.empty()) return;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if ((allowed[i / 32] >> (i % 32) & 1) == 0) scores[i] = kRemoved;
  }
}

// Tokens still in, most likely first, ties to the lower id.
std::span<i32> by_likelihood(std::span<const f32> scores, std::span<i32> order) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != kRemoved) order[count++] = static_cast<i32>(i);
  }
  std::sort(order.begin(), order.begin() + static_cast<i64>(count), [&](i32 a, i32 b) {
    f32 left = scores[static_cast<std::size_t>(a)];
    f32 right = scores[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  });
  return order.first(count);
}

// How many of the most likely remain after top-k, top-p and min-p.
std::size_t kept(std::span<const u64> weights, const tg_sample_row& row) {
  std::size_t count = weights.size();
  if (row.top_k > 0) count = std::min(count, static_cast<std::size_t>(row.top_k));
  if (row.top_p < 1.0f) {
    u64 whole = 0;
    for (std::size_t i = 0; i < count; ++i) whole += weights[i];
    u64 wanted = static_cast<u64>(static_cast<f64>(row.top_p) * static_cast<f64>(whole));
    u64 reached = 0;
    for (std::size_t i = 0; i < count; ++i) {
      reached += weights[i];
      if (reached >= wanted) count = i + 1;
    }
  }
  if (row.min_p > 0.0f) {
    u64 least = static_cast<u64>(static_cast<f64>(row.min_p) * kFixedPointOne);
    while (count > 0 && weights[count - 1] < least) --count;
  }
  return count;
}

void filter_by_likelihood(const tg_sample_row& row, std::span<f32> scores, std::span<i32> order,
                          std::span<u64> weights) {
  f64 z_max = scores[static_cast<std::size_t>(order[0])] / f64{row.temperature};
  for (std::size_t i = 0; i < order.size(); ++i) {
    f64 z = scores[static_cast<std::size_t>(order[i])] / f64{row.temperature};
    weights[i] = static_cast<u64>(std::exp(z - z_max) * kFixedPointOne);
  }
  for (std::size_t i = kept(weights.first(order.size()), row); i < order.size(); ++i) {
    scores[static_cast<std::size_t>(order[i])] = kRemoved;
  }
}

void filter_row(const FilterArgs& a, i64 r, u32* scratch) {
  std::size_t n = static_cast<std::size_t>(a.x.cols());
  const tg_sample_row& row = a.samples.rows[r];
  std::span<f32> scores(a.y.data + r * a.y.cols(), n);
  std::copy_n(a.x.data + r * a.x.cols(), n, scores.begin());
  std::span<u64> weights(reinterpret_cast<u64*>(scratch), n);
  std::span<i32> order(reinterpret_cast<i32*>(scratch + 2 * n), n);
  add_bias(a.samples, row, scores);
  penalise(a.samples, row, scores, order);
  mask(a.samples, row, scores);
  bool is_number = std::none_of(scores.begin(), scores.end(), [](f32 s) { return s != s; });
  f32 top = is_number ? *std::max_element(scores.begin(), scores.end()) : kRemoved;
  if (!is_finite(top)) return std::fill(scores.begin(), scores.end(), kRemoved);
  if (row.temperature == 0.0f) return;
  filter_by_likelihood(row, scores, by_likelihood(scores, order), weights);
}

// The n most likely, without an order of all: each is the best of those behind the one before.
void put_most_likely(const SampleArgs& a, i64 r, std::span<const f32> scores) {
  i32 last = -1;
  for (i64 k = 0; k < a.top_n; ++k) {
    i32 best = -1;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] == kRemoved) continue;
      f32 before = last < 0 ? 0 : scores[static_cast<std::size_t>(last)];
      bool is_behind =
          last < 0 || scores[i] < before || (scores[i] == before && static_cast<i32>(i) > last);
      if (is_behind && (best < 0 || scores[i] > scores[static_cast<std::size_t>(best)])) {
        best = static_cast<i32>(i);
      }
    }
    if (best < 0) return;
    a.top_ids[r * a.top_n + k] = best;
    a.top_logprobs[r * a.top_n + k] = isa::log_probability(scores, best);
    last = best;
  }
}

}  // namespace

void filter_logits(const FilterArgs& a, i32 part, i32 parts) {
  u32* scratch = a.scratch + part * sample_scratch(a.x.cols());
  Share rows = share_of(a.x.rows(), part, parts);
  for (i64 r = rows.begin; r < rows.end; ++r) filter_row(a, r, scratch);
}

void sample_rows(const SampleArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.x.rows(), part, parts);
  for (i64 r = rows.begin; r < rows.end; ++r) {
    std::span<const f32> scores = row_of(a.x, r);
    const tg_sample_row& row = a.samples.rows[r];
    bool good = has_finite(scores);
    a.ids[r] = good ? isa::draw_token(scores, params_of(row), row.position) : -1;
    a.logprobs[r] = good ? isa::log_probability(scores, a.ids[r]) : 0.0f;
    if (a.top_n == 0) continue;
    std::fill_n(a.top_ids + r * a.top_n, a.top_n, -1);
    std::fill_n(a.top_logprobs + r * a.top_n, a.top_n, 0.0f);
    if (good) put_most_likely(a, r, scores);
  }
}

namespace {

// The walk over one sequence's rows.
class Verification {
 public:
  Verification(const VerifyArgs& args, i64 sequence, u32* scratch)
      : a_(args),
        sequence_(sequence),
        p_(reinterpret_cast<f64*>(scratch), static_cast<std::size_t>(args.p.cols())),
        q_(p_.data() + args.p.cols(), p_.size()) {}

  void run() {
    a_.accepted[sequence_] = 0;
    a_.tokens[sequence_] = -1;
    i64 at = next_row(-1);
    while (at >= 0) at = a_.q ? step_rejection(at) : step_exact(at);
  }

 private:
  i64 rows() const { return a_.p.rows(); }
  bool is_mine(i64 r) const { return a_.batch.sequence_of[a_.rows[r]] == sequence_; }

  // The sequence's first row behind r; -1 if there is none.
  i64 next_row(i64 r) const {
    for (++r; r < rows(); ++r) {
      if (is_mine(r)) return r;
    }
    return -1;
  }

  i64 parent_row(i64 r) const {
    i64 token = a_.rows[r];
    i32 parent = a_.batch.tree[token];
    i64 wanted = a_.batch.cu[sequence_] + parent;
    i64 found = -1;
    for (i64 i = next_row(-1); i >= 0 && i < r; i = next_row(i)) {
      if (parent < 0 || a_.rows[i] == wanted) {
        found = i;
        if (parent >= 0) break;
      }
    }
    return found;
  }

  // The row goes on with `token`: the first child that proposes it, or -1.
  i64 child_with(i64 at, i32 token) const {
    for (i64 r = next_row(at); r >= 0; r = next_row(r)) {
      if (a_.ids[a_.rows[r]] == token && parent_row(r) == at) return r;
    }
    return -1;
  }

  i64 accept(i64 r) {
    ++a_.accepted[sequence_];
    if (a_.taken) a_.taken[r] = 1;
    return r;
  }

  i64 finish(i32 token) {
    a_.tokens[sequence_] = token;
    return -1;
  }

  i32 draw(i64 r) const {
    const tg_sample_row& row = a_.samples.rows[r];
    std::span<const f32> scores = row_of(a_.p, r);
    return has_finite(scores) ? isa::draw_token(scores, params_of(row), row.position) : -1;
  }

  i64 step_exact(i64 at) {
    i32 token = draw(at);
    i64 child = child_with(at, token);
    return child >= 0 ? accept(child) : finish(token);
  }

  i64 step_rejection(i64 at) {
    i64 child = next_row(at);
    if (child < 0) return finish(draw(at));
    const tg_sample_row& row = a_.samples.rows[at];
    isa::SamplingParams params = params_of(row);
    if (!probabilities(row_of(a_.p, at), params, p_)) return finish(-1);
    if (!probabilities({a_.q + at * a_.p.cols(), p_.size()}, params, q_)) return finish(-1);
    i32 token = a_.ids[a_.rows[child]];
    std::size_t i = static_cast<std::size_t>(token);
    f64 u = isa::uniform_draw(params, row.position, token, isa::Draw::kAccept);
    if (p_[i] == 0.0 || u * q_[i] > p_[i]) return finish(draw_residual(at, params));
    return accept(child);
  }

  // softmax(score / temperature), or all on the largest; false if no score is finite.
  static bool probabilities(std::span<const f32> scores, const isa::SamplingParams& params,
                            std::span<f64> out) {
    if (!has_finite(scores)) return false;
    std::span<const f32>::iterator top = std::max_element(scores.begin(), scores.end());
    std::fill(out.begin(), out.end(), 0.0);
    if (params.temperature == 0.0f) {
      out[static_cast<std::size_t>(top - scores.begin())] = 1.0;
      return true;
    }
    f64 z_max = *top / f64{params.temperature};
    f64 sum = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] == kRemoved) continue;
      out[i] = std::exp(scores[i] / f64{params.temperature} - z_max);
      sum += out[i];
    }
    for (f64& p : out) p /= sum;
    return true;
  }

  // From the positive part of p - q; where rounding left none, from p.
  i32 draw_residual(i64 at, const isa::SamplingParams& params) const {
    const tg_sample_row& row = a_.samples.rows[at];
    i32 best = -1;
    f64 best_value = 0;
    for (std::size_t i = 0; i < p_.size(); ++i) {
      if (p_[i] <= q_[i]) continue;
      i32 id = static_cast<i32>(i);
      f64 value = std::log(p_[i] - q_[i]) +
                  isa::gumbel_draw(params, row.position, id, isa::Draw::kResidual);
      if (best >= 0 && value <= best_value) continue;
      best = id;
      best_value = value;
    }
    return best >= 0 ? best : draw(at);
  }

  const VerifyArgs& a_;
  i64 sequence_;
  std::span<f64> p_, q_;
};

}  // namespace

void clear_taken(const VerifyArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.p.rows(), part, parts);
  std::fill(a.taken + rows.begin, a.taken + rows.end, 0);
}

void verify_proposals(const VerifyArgs& a, i32 part, i32 parts) {
  u32* scratch = a.scratch + part * sample_scratch(a.p.cols());
  Share sequences = share_of(a.sequences, part, parts);
  for (i64 s = sequences.begin; s < sequences.end; ++s) Verification(a, s, scratch).run();
}

}  // namespace tg::backend::cpu
