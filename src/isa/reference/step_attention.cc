// kv_append and attn over the paged cache.
#include <algorithm>

#include "isa/reference/step.h"

namespace tg::isa {

template <typename F>
Status Step<F>::kv_append(const FlatInstruction& op) {
  ReferenceKv& kv = context_.kv[op.in[0].index];
  const KvDecl& d = kv.decl();
  const Tensor& k = in(op, 1);
  for (i64 t = 0; t < k.rows(); ++t) {
    i32 slot = context_.batch.slots[static_cast<std::size_t>(t)];
    if (slot < 0) continue;
    std::span<const f64> value = d.dv > 0 ? in(op, 2).row(t) : std::span<const f64>{};
    if (!kv.write(op.in[0].layer, slot, k.row(t), value))
      return trap("a key or value of token " + std::to_string(t) + " does not fit " +
                  std::string(info(d.format).name));
  }
  // Ordered for every token: a token without a slot is the caller's saving, not less work.
  count(unit::kKvWr, k.rows() * d.heads * (row_bytes(d.format, d.dk) + row_bytes(d.format, d.dv)));
  return {};
}

template <typename F>
i64 Step<F>::slot_of(const ReferenceKv& kv, i64 sequence, i64 key) const {
  i64 page_tokens = kv.decl().page_tokens;
  const ReferenceBatch& b = context_.batch;
  i64 at = b.page_begin[static_cast<std::size_t>(sequence)] + key / page_tokens;
  return b.pages[static_cast<std::size_t>(at)] * page_tokens + key % page_tokens;
}

template <typename F>
HeadKeys<f32> Step<F>::cached_keys(const FlatOperand& cache, const AttnQuery& query,
                                   i64 head) const {
  const ReferenceKv& kv = context_.kv[cache.index];
  const KvDecl& d = kv.decl();
  HeadKeys<f32> seen;
  for (i64 key : query.keys) {
    i64 slot = slot_of(kv, query.sequence, key);
    std::size_t h = static_cast<std::size_t>(head);
    std::span<const f32> k = kv.key(cache.layer, slot).subspan(h * d.dk, d.dk);
    seen.keys.push_back(k);
    seen.values.push_back(d.latent > 0 ? k.first(d.latent)
                                       : kv.value(cache.layer, slot).subspan(h * d.dv, d.dv));
  }
  return seen;
}

i64 tree_parent(const ReferenceBatch& batch, i64 sequence, i64 i) {
  if (batch.tree.empty()) return i - 1;
  i64 first = batch.cu[static_cast<std::size_t>(sequence)];
  i64 parent = batch.tree[static_cast<std::size_t>(first + i)];
  return parent >= 0 ? parent : i - 1;
}

static std::vector<i64> key_range(i64 first, i64 end) {
  std::vector<i64> keys;
  for (i64 key = first; key < end; ++key) keys.push_back(key);
  return keys;
}

// full: every cached and new key. tree: the cached keys, the query's ancestors, itself.
template <typename F>
AttnQuery Step<F>::masked(Mask mask, i64 sequence, i64 token) const {
  const ReferenceBatch& b = context_.batch;
  std::size_t s = static_cast<std::size_t>(sequence);
  i64 cached = b.past[s];
  i64 fresh = i64{b.cu[s + 1]} - b.cu[s];
  if (mask == Mask::kFull) return {sequence, token, key_range(0, cached + fresh)};
  AttnQuery query{sequence, token, key_range(0, cached)};
  for (i64 i = token - b.cu[s]; i >= 0; i = tree_parent(b, sequence, i))
    query.keys.push_back(cached + i);
  std::reverse(query.keys.begin() + cached, query.keys.end());
  return query;
}

// The keys up to the query itself, or the last `window` of them, or those that `sel` lists, in its
// order; one that is listed twice is seen twice.
template <typename F>
Result<AttnQuery> Step<F>::causal_or_selected(const FlatInstruction& op, i64 sequence,
                                              i64 token) const {
  const ReferenceBatch& b = context_.batch;
  std::size_t s = static_cast<std::size_t>(sequence);
  i64 end = i64{b.past[s]} + token - b.cu[s] + 1;
  if (!has_type(op.in.back(), DType::kI32)) {
    i64 window = op.word(AttributeKey::kWindow);
    return AttnQuery{sequence, token,
                     key_range(window == 0 ? 0 : std::max<i64>(0, end - window), end)};
  }
  AttnQuery query{sequence, token, {}};
  for (f64 v : in(op, op.in.size() - 1).row(token)) {
    i64 key = static_cast<i64>(v);
    if (key < -1 || key >= end)
      return trap("token " + std::to_string(token) + " selects key " + std::to_string(key) +
                  " of " + std::to_string(end));
    if (key >= 0) query.keys.push_back(key);
  }
  return query;
}

template <typename F>
void Step<F>::attend(const FlatInstruction& op, const AttnQuery& query, std::span<f64> out) const {
  const KvDecl& d = context_.kv[op.in[1].index].decl();
  bool has_sinks = op.in.size() > 3 && !has_type(op.in[3], DType::kI32);
  std::vector<F> sinks = has_sinks ? table(op.in[3]) : std::vector<F>{};
  std::size_t group = op.word(AttributeKey::kHeads) / d.heads;
  std::size_t width = d.value_dim();
  HeadShape<F> shape{.scale = F(op.real(AttributeKey::kScale)),
                     .cap = F(op.real(AttributeKey::kSoftcap))};
  for (std::size_t g = 0; g < d.heads; ++g) {
    HeadKeys<f32> seen = cached_keys(op.in[1], query, static_cast<i64>(g));
    for (std::size_t h = g * group; h < (g + 1) * group; ++h) {
      if (has_sinks) shape.sink = sinks[h];
      std::span<const f64> q = in(op, 0).row(query.token).subspan(h * d.dk, d.dk);
      attend_head<F, f32>(shape, q, seen, out.subspan(h * width, width));
    }
  }
}

template <typename F>
Status Step<F>::attn(const FlatInstruction& op) {
  Tensor y = make(op.out[0]);
  Mask mask = static_cast<Mask>(op.word(AttributeKey::kMask));
  bool selects = has_type(op.in.back(), DType::kI32);
  for (i64 s = 0; s < sequences(); ++s) {
    RowRange rows = rows_of(row_dim(op), s);
    for (i64 i = 0; i < rows.count; ++i) {
      i64 t = rows.first + i;
      AttnQuery query;
      if (mask == Mask::kCausal) {
        TG_ASSIGN(query, causal_or_selected(op, s, t));
      } else {
        query = masked(mask, s, t);
      }
      attend(op, query, y.row(t));
      // What is ordered depends on the sizes, not on what `sel` holds.
      i64 visible = context_.batch.past[static_cast<std::size_t>(s)] + i + 1;
      count_pairs(op, selects ? std::min(visible, in(op, op.in.size() - 1).columns())
                              : static_cast<i64>(query.keys.size()));
    }
    count_keys(op, s);
  }
  finish(op.out[0], std::move(y));
  return {};
}

template <typename F>
void Step<F>::count_pairs(const FlatInstruction& op, i64 pairs) {
  const KvDecl& d = context_.kv[op.in[1].index].decl();
  i64 heads = op.word(AttributeKey::kHeads);
  count(unit::kAttn, 2 * heads * (i64{d.dk} + d.value_dim()) * pairs);
  count(unit::kEw, 5 * heads * pairs);
}

// Distinct keys of a sequence: with a window, from the oldest that the first query sees; with `sel`
// no more than its queries may list together.
template <typename F>
void Step<F>::count_keys(const FlatInstruction& op, i64 sequence) {
  const KvDecl& d = context_.kv[op.in[1].index].decl();
  i64 fresh = rows_of(row_dim(op), sequence).count;
  if (fresh == 0) return;
  i64 cached = context_.batch.past[static_cast<std::size_t>(sequence)];
  i64 window = op.word(AttributeKey::kWindow);
  i64 keys = cached + fresh - (window == 0 ? 0 : std::max<i64>(0, cached - window + 1));
  if (has_type(op.in.back(), DType::kI32)) {
    i64 listed = 0;
    for (i64 i = 1; i <= fresh; ++i)
      listed += std::min(cached + i, in(op, op.in.size() - 1).columns());
    keys = std::min(keys, listed);
  }
  count(unit::kKvRd, keys * d.heads * (row_bytes(d.format, d.dk) + row_bytes(d.format, d.dv)));
}

template Status Step<f32>::kv_append(const FlatInstruction&);
template Status Step<f64>::kv_append(const FlatInstruction&);
template i64 Step<f32>::slot_of(const ReferenceKv&, i64, i64) const;
template i64 Step<f64>::slot_of(const ReferenceKv&, i64, i64) const;
template HeadKeys<f32> Step<f32>::cached_keys(const FlatOperand&, const AttnQuery&, i64) const;
template HeadKeys<f32> Step<f64>::cached_keys(const FlatOperand&, const AttnQuery&, i64) const;
template AttnQuery Step<f32>::masked(Mask, i64, i64) const;
template AttnQuery Step<f64>::masked(Mask, i64, i64) const;
template Result<AttnQuery> Step<f32>::causal_or_selected(const FlatInstruction&, i64, i64) const;
template Result<AttnQuery> Step<f64>::causal_or_selected(const FlatInstruction&, i64, i64) const;
template void Step<f32>::attend(const FlatInstruction&, const AttnQuery&, std::span<f64>) const;
template void Step<f64>::attend(const FlatInstruction&, const AttnQuery&, std::span<f64>) const;
template Status Step<f32>::attn(const FlatInstruction&);
template Status Step<f64>::attn(const FlatInstruction&);
template void Step<f32>::count_pairs(const FlatInstruction&, i64);
template void Step<f64>::count_pairs(const FlatInstruction&, i64);
template void Step<f32>::count_keys(const FlatInstruction&, i64);
template void Step<f64>::count_keys(const FlatInstruction&, i64);

}  // namespace tg::isa
