// Paged attention with an online softmax over chunks of 64 keys, cut by absolute key index: which
// keys meet in a chunk, and so every rounding, depends on the query's position alone and not on how
// its sequence was split into steps. The query heads that share a kv head go together, four at a
// time, so that each key and value is converted once for them.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/simd.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr i64 kChunkKeys = 64;
inline constexpr i64 kChunkBlocks = kChunkKeys / kLanes;
inline constexpr f32 kMasked = -3.0e38f;

struct Range {
  i64 begin, end;
};

static inline const u16* keys_at(const KvPages& kv, const i32* pages, i64 head, i64 key) {
  const u8* page = kv.base + pages[key / kv.page_tokens] * kv.page_bytes;
  i64 block = key % kv.page_tokens / kLanes;
  return reinterpret_cast<const u16*>(page + head * kv_head_bytes(kv)) + block * kv.dk * kLanes;
}

static inline const u16* value_at(const KvPages& kv, const i32* pages, i64 head, i64 key) {
  const u8* page = kv.base + pages[key / kv.page_tokens] * kv.page_bytes;
  i64 keys = kv.page_tokens * kv.dk;
  return reinterpret_cast<const u16*>(page + head * kv_head_bytes(kv)) + keys +
         key % kv.page_tokens * padded_dv(kv.dv);
}

// q . k of kHeads heads with 16 keys: even and odd channels in a chain each.
template <int kHeads>
static inline void dot_block(const f32* q, const u16* keys, i64 dk, V (&dot)[kHeads]) {
  V even[kHeads], odd[kHeads];
  for (int h = 0; h < kHeads; ++h) even[h] = odd[h] = zero();
  i64 c = 0;
  for (; c + 2 <= dk; c += 2) {
    V k0 = load_f16(keys + c * kLanes);
    V k1 = load_f16(keys + (c + 1) * kLanes);
    for (int h = 0; h < kHeads; ++h) {
      even[h] = fma(k0, set1(q[h * dk + c]), even[h]);
      odd[h] = fma(k1, set1(q[h * dk + c + 1]), odd[h]);
    }
  }
  if (c < dk) {
    V k0 = load_f16(keys + c * kLanes);
    for (int h = 0; h < kHeads; ++h) even[h] = fma(k0, set1(q[h * dk + c]), even[h]);
  }
  for (int h = 0; h < kHeads; ++h) dot[h] = add(even[h], odd[h]);
}

// softcap * tanh(s / softcap), by exp: 1 - 2 / (exp(2x) + 1).
static inline V cap(V s, f32 softcap) {
  V e = exp(mul(s, set1(2.0f / softcap)));
  V tanh = sub(set1(1.0f), div(set1(2.0f), add(e, set1(1.0f))));
  return mul(tanh, set1(softcap));
}

// Scores of the keys [begin, end) around `key`, a multiple of 16; all others kMasked.
static inline V mask_scores(const AttentionArgs& a, V dot, i64 key, Range keys) {
  V s = mul(dot, set1(a.scale));
  if (a.softcap > 0) s = cap(s, a.softcap);
  V index = iota();
  V low = set1(static_cast<f32>(keys.begin - key));
  V high = set1(static_cast<f32>(keys.end - key));
  return if_less(index, low, set1(kMasked), if_less(index, high, s, set1(kMasked)));
}

template <int kHeads>
struct Softmax {
  f32 maximum[kHeads], total[kHeads];
  V out[kHeads][kHeadDimMax / kLanes];
};

// Turns the chunk's scores into weights, rescaling what came before.
template <int kHeads>
static inline void absorb(Softmax<kHeads>& state, f32 (&scores)[kHeads][kChunkKeys], i64 blocks) {
  for (int h = 0; h < kHeads; ++h) {
    V high = load(scores[h]);
    for (i64 b = 1; b < kChunkBlocks; ++b) high = max(high, load(scores[h] + b * kLanes));
    f32 top = largest(high);
    f32 maximum = state.maximum[h] > top ? state.maximum[h] : top;
    V total = zero();
    for (i64 b = 0; b < kChunkBlocks; ++b) {
      V p = exp(sub(load(scores[h] + b * kLanes), set1(maximum)));
      store(scores[h] + b * kLanes, p);
      total = add(total, p);
    }
    V fade = exp(set1(state.maximum[h] - maximum));
    f32 lanes[kLanes];
    store(lanes, fade);
    state.total[h] = state.total[h] * lanes[0] + sum(total);
    state.maximum[h] = maximum;
    for (i64 b = 0; b < blocks; ++b) state.out[h][b] = mul(state.out[h][b], fade);
  }
}

// out += weight * value over the chunk's keys, in key order.
template <int kHeads>
static inline void add_values(const AttentionArgs& a, const i32* pages, i64 group, i64 chunk,
                              Range keys, const f32 (&weights)[kHeads][kChunkKeys],
                              Softmax<kHeads>& state) {
  const u16* values[kChunkKeys];
  for (i64 key = keys.begin; key < keys.end; ++key) {
    values[key - chunk] = value_at(a.kv, pages, group, key);
  }
  for (i64 b = 0; b < padded_dv(a.kv.dv) / kLanes; ++b) {
    V out[kHeads];
    for (int h = 0; h < kHeads; ++h) out[h] = state.out[h][b];
    for (i64 i = keys.begin - chunk; i < keys.end - chunk; ++i) {
      V v = load_f16(values[i] + b * kLanes);
      for (int h = 0; h < kHeads; ++h) out[h] = fma(set1(weights[h][i]), v, out[h]);
    }
    for (int h = 0; h < kHeads; ++h) state.out[h][b] = out[h];
  }
}

// Heads [head, head + kHeads) of token t; all read kv head `group`.
template <int kHeads>
static void attend(const AttentionArgs& a, i64 t, i64 group, i64 head, const i32* pages,
                   Range keys) {
  i64 blocks = padded_dv(a.kv.dv) / kLanes;
  const f32* q = a.q + (t * a.heads + head) * a.kv.dk;
  Softmax<kHeads> state;
  for (int h = 0; h < kHeads; ++h) {
    state.maximum[h] = a.sinks ? a.sinks[head + h] : kMasked;
    state.total[h] = a.sinks ? 1.0f : 0.0f;
    for (i64 b = 0; b < blocks; ++b) state.out[h][b] = zero();
  }
  alignas(64) f32 scores[kHeads][kChunkKeys];
  for (i64 chunk = keys.begin / kChunkKeys * kChunkKeys; chunk < keys.end; chunk += kChunkKeys) {
    for (i64 b = 0; b < kChunkBlocks; ++b) {
      i64 key = chunk + b * kLanes;
      bool seen = key + kLanes > keys.begin && key < keys.end;
      V dot[kHeads];
      if (seen) dot_block<kHeads>(q, keys_at(a.kv, pages, group, key), a.kv.dk, dot);
      for (int h = 0; h < kHeads; ++h) {
        V s = seen ? mask_scores(a, dot[h], key, keys) : set1(kMasked);
        store(scores[h] + b * kLanes, s);
      }
    }
    absorb<kHeads>(state, scores, blocks);
    Range seen = {chunk > keys.begin ? chunk : keys.begin,
                  chunk + kChunkKeys < keys.end ? chunk + kChunkKeys : keys.end};
    add_values<kHeads>(a, pages, group, chunk, seen, scores, state);
  }
  for (int h = 0; h < kHeads; ++h) {
    f32* y = a.y + (t * a.heads + head + h) * a.kv.dv;
    V inverse = set1(state.total[h] > 0 ? 1.0f / state.total[h] : 0.0f);
    for (i64 b = 0; b < blocks; ++b) {
      store_row(y, b * kLanes, a.kv.dv, mul(state.out[h][b], inverse));
    }
  }
}

// The keys token t of its sequence may see.
static inline Range visible(const AttentionArgs& a, i64 t, i64 sequence) {
  i64 fresh = a.batch.cu[sequence + 1] - a.batch.cu[sequence];
  i64 position = a.batch.past[sequence] + t - a.batch.cu[sequence];
  i64 end = a.causal ? position + 1 : a.batch.past[sequence] + fresh;
  i64 begin = a.window > 0 && position + 1 > a.window ? position + 1 - a.window : 0;
  return {begin, end};
}

static void attention(const AttentionArgs& a, i32 part, i32 parts) {
  i64 group_heads = a.heads / a.kv.heads;
  // Strided, not in ranges: under a causal mask later tokens cost more.
  for (i64 item = part; item < a.tokens * a.kv.heads; item += parts) {
    i64 t = item / a.kv.heads;
    i64 group = item % a.kv.heads;
    i64 sequence = a.batch.sequence_of[t];
    const i32* pages = a.batch.pages + a.batch.page_begin[sequence];
    Range keys = visible(a, t, sequence);
    i64 head = group * group_heads;
    i64 end = head + group_heads;
    for (; head + 4 <= end; head += 4) attend<4>(a, t, group, head, pages, keys);
    for (; head < end; ++head) attend<1>(a, t, group, head, pages, keys);
  }
}

static void kv_append(const KvAppendArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.tokens, part, parts);
  const KvPages& kv = a.kv;
  i64 padded = padded_dv(kv.dv);
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    i64 slot = a.batch.slots[t];
    if (slot < 0) continue;
    u8* page = kv.base + slot / kv.page_tokens * kv.page_bytes;
    i64 offset = slot % kv.page_tokens;
    for (i64 h = 0; h < kv.heads; ++h) {
      u16* keys = reinterpret_cast<u16*>(page + h * kv_head_bytes(kv));
      u16* key = keys + offset / kLanes * kv.dk * kLanes + offset % kLanes;
      u16* value = keys + kv.page_tokens * kv.dk + offset * padded;
      const f32* k = a.k + (t * kv.heads + h) * kv.dk;
      const f32* v = a.v + (t * kv.heads + h) * kv.dv;
      u16 halves[kLanes];
      for (i64 c = 0; c < kv.dk; c += kLanes) {
        store_f16(halves, load_row(k, c, kv.dk));
        for (i64 i = 0; i < kLanes && c + i < kv.dk; ++i) key[(c + i) * kLanes] = halves[i];
      }
      for (i64 c = 0; c < kv.dv; c += kLanes) store_f16(value + c, load_row(v, c, kv.dv));
    }
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
