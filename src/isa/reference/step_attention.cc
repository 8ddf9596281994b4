// kv_append and attn over the paged cache.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/assert.h"
#include "isa/reference/step.h"

namespace tg::isa {

template <typename F>
void Step<F>::kv_append(const FlatInstruction& op) {
  ReferenceKv& kv = context_.kv[op.in[0].index];
  const Tensor& k = in(op, 1);
  const Tensor& v = in(op, 2);
  for (i64 t = 0; t < k.rows(); ++t) {
    i32 slot = context_.batch.slots[static_cast<std::size_t>(t)];
    if (slot >= 0) kv.write(op.in[0].layer, slot, k.row(t), v.row(t));
  }
  // Ordered for every token: a token without a slot is the caller's saving, not less work.
  const KvDecl& d = kv.decl();
  i64 row = d.heads * (row_bytes(d.format, d.dk) + row_bytes(d.format, d.dv));
  count(unit::kKvWr, k.rows() * row);
}

template <typename F>
i64 Step<F>::slot_of(const ReferenceKv& kv, i64 sequence, i64 key) const {
  i64 page_tokens = kv.decl().page_tokens;
  const ReferenceBatch& b = context_.batch;
  i64 at = b.page_begin[static_cast<std::size_t>(sequence)] + key / page_tokens;
  return b.pages[static_cast<std::size_t>(at)] * page_tokens + key % page_tokens;
}

// The scores of one head's query over keys [first, last].
template <typename F>
std::vector<F> Step<F>::scores(const FlatInstruction& op, const AttnQuery& query, i64 head) const {
  const ReferenceKv& kv = context_.kv[op.in[1].index];
  const KvDecl& d = kv.decl();
  F scale = F(op.real(AttributeKey::kScale));
  F cap = F(op.real(AttributeKey::kSoftcap));
  i64 kv_head = head / (op.word(AttributeKey::kHeads) / i64{d.heads});
  std::size_t width = d.dk;
  std::span<const f64> q =
      in(op, 0).row(query.token).subspan(static_cast<std::size_t>(head) * width, width);
  std::vector<F> out;
  for (i64 key = query.first; key <= query.last; ++key) {
    std::span<const f32> k = kv.key(op.in[1].layer, slot_of(kv, query.sequence, key))
                                 .subspan(static_cast<std::size_t>(kv_head) * width, width);
    F score = 0;
    for (std::size_t i = 0; i < width; ++i) score += F(q[i]) * F(k[i]);
    score *= scale;
    out.push_back(cap > F(0) ? cap * std::tanh(score / cap) : score);
  }
  return out;
}

// Max-subtracted softmax over the window's scores and the sink, then the weighted values. A sink
// takes its share of the sum and gives no value.
template <typename F>
void Step<F>::attend(const FlatInstruction& op, const AttnQuery& query, std::span<const F> sinks,
                     std::span<f64> out) const {
  const ReferenceKv& kv = context_.kv[op.in[1].index];
  const KvDecl& d = kv.decl();
  i64 heads = op.word(AttributeKey::kHeads);
  std::size_t width = d.dv;
  for (i64 h = 0; h < heads; ++h) {
    std::vector<F> weights = scores(op, query, h);
    F sink =
        sinks.empty() ? -std::numeric_limits<F>::infinity() : sinks[static_cast<std::size_t>(h)];
    F highest = std::max(sink, *std::max_element(weights.begin(), weights.end()));
    F sum = sinks.empty() ? F(0) : std::exp(sink - highest);
    std::vector<F> mixed(width, F(0));
    std::size_t kv_head = static_cast<std::size_t>(h / (heads / i64{d.heads}));
    for (i64 key = query.first; key <= query.last; ++key) {
      std::span<const f32> v = kv.value(op.in[1].layer, slot_of(kv, query.sequence, key))
                                   .subspan(kv_head * width, width);
      F weight = std::exp(weights[static_cast<std::size_t>(key - query.first)] - highest);
      sum += weight;
      for (std::size_t i = 0; i < width; ++i) mixed[i] += weight * F(v[i]);
    }
    for (std::size_t i = 0; i < width; ++i)
      out[static_cast<std::size_t>(h) * width + i] = mixed[i] / sum;
  }
}

template <typename F>
void Step<F>::attn(const FlatInstruction& op) {
  const ReferenceBatch& b = context_.batch;
  const KvDecl& d = context_.kv[op.in[1].index].decl();
  std::vector<F> sinks = op.in.size() > 3 ? table(op.in[3]) : std::vector<F>{};
  Tensor y = make(op.out[0]);
  i64 window = op.word(AttributeKey::kWindow);
  i64 row = d.heads * (row_bytes(d.format, d.dk) + row_bytes(d.format, d.dv));
  i64 heads = op.word(AttributeKey::kHeads);
  for (std::size_t s = 0; s < b.past.size(); ++s) {
    for (i64 t = b.cu[s]; t < b.cu[s + 1]; ++t) {
      i64 last = b.past[s] + t - b.cu[s];
      i64 first = window == 0 ? 0 : std::max<i64>(0, last - window + 1);
      attend(op, {static_cast<i64>(s), t, first, last}, sinks, y.row(t));
      count(unit::kAttn, 2 * heads * (i64{d.dk} + d.dv) * (last - first + 1));
      count(unit::kEw, 5 * heads * (last - first + 1));
    }
    i64 fresh = b.cu[s + 1] - b.cu[s];
    if (fresh == 0) continue;
    // Distinct keys: from the oldest that the first query sees to the newest.
    i64 oldest = window == 0 ? 0 : std::max<i64>(0, b.past[s] - window + 1);
    count(unit::kKvRd, (b.past[s] + fresh - oldest) * row);
  }
  finish(op.out[0], std::move(y));
}

template void Step<f32>::kv_append(const FlatInstruction&);
template void Step<f64>::kv_append(const FlatInstruction&);
template i64 Step<f32>::slot_of(const ReferenceKv&, i64, i64) const;
template i64 Step<f64>::slot_of(const ReferenceKv&, i64, i64) const;
template std::vector<f32> Step<f32>::scores(const FlatInstruction&, const AttnQuery&, i64) const;
template std::vector<f64> Step<f64>::scores(const FlatInstruction&, const AttnQuery&, i64) const;
template void Step<f32>::attend(const FlatInstruction&, const AttnQuery&, std::span<const f32>,
                                std::span<f64>) const;
template void Step<f64>::attend(const FlatInstruction&, const AttnQuery&, std::span<const f64>,
                                std::span<f64>) const;
template void Step<f32>::attn(const FlatInstruction&);
template void Step<f64>::attn(const FlatInstruction&);

}  // namespace tg::isa
