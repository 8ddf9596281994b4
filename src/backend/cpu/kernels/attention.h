// Attention with an online softmax over chunks of 64 keys in segments of 1,024, both cut by
// absolute key index: which keys meet in a chunk, and so every rounding, depends on the query's
// position alone and not on how its sequence was split into steps. Segments are summed up apart and
// joined in order, so that several threads may share one query's keys and give the same bits. In a
// tree of proposals a key's index is its depth, so that a path's bits are those of the same tokens
// without a tree. The query heads that share a kv head go together, up to eight at a time, so that
// each key and value is converted once for them.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/kv_formats.h"
#include "backend/cpu/kernels/prefetch.h"
#include "backend/cpu/kernels/simd.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr i64 kChunkKeys = 64;
inline constexpr i64 kChunkBlocks = kChunkKeys / kLanes;
inline constexpr f32 kMasked = -3.0e38f;

struct Range {
  i64 begin, end;
};

// The keys of one sequence in a paged cache, seen by one token.
struct Paged {
  const KvPages& kv;
  const i32* pages;
  i64 head;
  i64 past;         // keys before the step
  const i32* path;  // null, or the new tokens on the query's path from the root, by depth

  // Where the key of a logical index is.
  i64 physical(i64 key) const { return !path || key < past ? key : past + path[key - past]; }
  const u8* head_at(i64 key) const { return kv_head_at(kv, pages[key / kv.page_tokens], head); }
  const u8* keys_at(i64 key) const {
    i64 block = key % kv.page_tokens / kLanes;
    return head_at(key) + block * key_block_bytes(kv.format, kv.dk);
  }
  const u8* row_at(i64 key) const {
    i64 offset = key % kv.page_tokens * kv_row_bytes(kv.format, kv_row_width(kv));
    return head_at(key) + kv_keys_bytes(kv) + offset;
  }
  // Where the rows of the keys [begin, end) are. Sixteen neighbours lie in one page, so that a page
  // is looked up once for them.
  void rows_at(i64 begin, i64 end, const u8** rows) const {
    i64 step = kv_row_bytes(kv.format, kv_row_width(kv));
    for (i64 key = begin; key < end;) {
      const u8* row = row_at(physical(key));
      i64 together = (key / kLanes + 1) * kLanes;
      if (path && together > past) together = key < past ? past : key + 1;
      for (; key < end && key < together; ++key, row += step) *rows++ = row;
    }
  }
};

// Blocks of keys, or of channels, that kHeads heads are multiplied with at once: as many sums as
// fill the registers, so that what is read of a head serves several.
template <int kHeads>
inline constexpr int kBlocksAtOnce = kTileTokens < 8 ? 1
                                     : kHeads >= 8   ? 2
                                                     : 4;

// What is asked of memory while something else is worked on: a block per block of the work, spread
// over its channels. A burst of requests would fill the queue that the work's own loads need.
template <int kBlocks>
struct Ahead {
  const u8* at[kBlocks] = {};
  i64 step = 0;  // bytes of a channel

  void ask(i64 channel) const {
    for (int b = 0; b < kBlocks; ++b) __builtin_prefetch(at[b] + channel * step);
  }
};

// q . k of kHeads heads with kBlocks blocks of 16 keys, each sum in the order of the channels.
template <int kHeads, int kBlocks, typename Format>
static inline void dot_blocks(const f32* q, const u8* const (&keys)[kBlocks], i64 dk,
                              const Ahead<kBlocks>& ahead, V (&dot)[kBlocks][kHeads]) {
  V total[kBlocks][kHeads];
  for (int b = 0; b < kBlocks; ++b) {
    for (int h = 0; h < kHeads; ++h) total[b][h] = zero();
  }
  for (i64 c = 0; c < dk; ++c) {
    V k[kBlocks];
    for (int b = 0; b < kBlocks; ++b) k[b] = Format::key(keys[b], c);
    ahead.ask(c);
    for (int h = 0; h < kHeads; ++h) {
      V channel = set1(q[h * dk + c]);
      for (int b = 0; b < kBlocks; ++b) total[b][h] = fma(k[b], channel, total[b][h]);
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    for (int h = 0; h < kHeads; ++h) dot[b][h] = total[b][h];
  }
}

// Keys in blocks, values in rows.
template <typename Format>
struct BlockCache {
  Paged at;

  // Scores of the keys from `key`, a multiple of 16, on; those outside `keys` may be anything.
  template <int kHeads>
  void dots(const f32* q, i64 key, Range keys, V (&dot)[kHeads]) const {
    if (!at.path || key + kLanes <= at.past) {
      const u8* blocks[1] = {at.keys_at(key)};
      V one[1][kHeads];
      dot_blocks<kHeads, 1, Format>(q, blocks, at.kv.dk, ahead<1>(key, keys.end), one);
      for (int h = 0; h < kHeads; ++h) dot[h] = one[0][h];
      return;
    }
    // On a tree's path neighbours lie apart: a block for each of them, of which one lane is kept.
    alignas(64) f32 picked[kHeads][kLanes] = {};
    for (i64 i = 0; i < kLanes && key + i < keys.end; ++i) {
      i64 place = at.physical(key + i);
      const u8* blocks[1] = {at.keys_at(place)};
      V block[1][kHeads];
      dot_blocks<kHeads, 1, Format>(q, blocks, at.kv.dk, {{blocks[0]}}, block);
      for (int h = 0; h < kHeads; ++h) {
        f32 lanes[kLanes];
        store(lanes, block[0][h]);
        picked[h][i] = lanes[place % kLanes];
      }
    }
    for (int h = 0; h < kHeads; ++h) dot[h] = load(picked[h]);
  }
  // The same for kBlocks blocks, all of keys before `past` if there is a tree.
  template <int kHeads, int kBlocks>
  void many_dots(const f32* q, i64 key, i64 end, V (&dot)[kBlocks][kHeads]) const {
    const u8* blocks[kBlocks];
    for (int b = 0; b < kBlocks; ++b) blocks[b] = at.keys_at(key + b * kLanes);
    dot_blocks<kHeads, kBlocks, Format>(q, blocks, at.kv.dk, ahead<kBlocks>(key, end), dot);
  }
  bool has_many(i64 end) const { return !at.path || end <= at.past; }
  // The blocks one chunk after those from `key` on, or, past `end`, these themselves.
  template <int kBlocks>
  Ahead<kBlocks> ahead(i64 key, i64 end) const {
    Ahead<kBlocks> blocks{.step = key_block_bytes(at.kv.format, at.kv.dk) / at.kv.dk};
    for (i64 b = 0; b < kBlocks; ++b) {
      i64 here = key + b * kLanes;
      blocks.at[b] = at.keys_at(here + kChunkKeys < end ? here + kChunkKeys : here);
    }
    return blocks;
  }
  void values(i64 begin, i64 end, const u8** rows) const { at.rows_at(begin, end, rows); }
  i64 row_bytes(i64 dv) const { return kv_row_bytes(at.kv.format, dv); }
  static V channels(const u8* row, i64 b, i64) { return Format::row(row, b); }
};

// q . k of kHeads heads with one row of `width` channels, read 16 at a time by `channels`.
template <int kHeads, typename Cache>
static inline void dot_row(const f32* q, const u8* row, i64 width, f32 (&dot)[kHeads][kLanes],
                           i64 lane) {
  V total[kHeads];
  for (int h = 0; h < kHeads; ++h) total[h] = zero();
  for (i64 c = 0; c < width; c += kLanes) {
    V k = Cache::channels(row, c / kLanes, width);
    for (int h = 0; h < kHeads; ++h) {
      total[h] = fma(k, load_row(q + h * width, c, width), total[h]);
    }
  }
  for (int h = 0; h < kHeads; ++h) dot[h][lane] = sum(total[h]);
}

template <int kHeads, typename Cache>
static inline void dot_rows(const Cache& cache, const f32* q, i64 width, i64 key, Range keys,
                            V (&dot)[kHeads]) {
  alignas(64) f32 scores[kHeads][kLanes] = {};
  for (i64 i = 0; i < kLanes; ++i) {
    if (key + i < keys.begin || key + i >= keys.end) continue;
    dot_row<kHeads, Cache>(q, cache.value(key + i), width, scores, i);
  }
  for (int h = 0; h < kHeads; ++h) dot[h] = load(scores[h]);
}

// One row is key and value.
template <typename Format>
struct LatentCache {
  Paged at;

  template <int kHeads>
  void dots(const f32* q, i64 key, Range keys, V (&dot)[kHeads]) const {
    dot_rows<kHeads>(*this, q, at.kv.dk, key, keys, dot);
  }
  const u8* value(i64 key) const { return at.row_at(at.physical(key)); }
  void values(i64 begin, i64 end, const u8** rows) const { at.rows_at(begin, end, rows); }
  i64 row_bytes(i64 dv) const { return kv_row_bytes(at.kv.format, dv); }
  static V channels(const u8* row, i64 b, i64) { return Format::row(row, b); }
};

// No cache: the step's own rows of f32, as the op's operands hold them.
struct DenseCache {
  const f32* k;
  const f32* v;
  i64 k_stride, v_stride, dk;

  template <int kHeads>
  void dots(const f32* q, i64 key, Range keys, V (&dot)[kHeads]) const {
    dot_rows<kHeads>(Keys{k, k_stride}, q, dk, key, keys, dot);
  }
  void values(i64 begin, i64 end, const u8** rows) const {
    for (i64 key = begin; key < end; ++key)
      *rows++ = reinterpret_cast<const u8*>(v + key * v_stride);
  }
  static i64 row_bytes(i64 dv) { return dv * static_cast<i64>(sizeof(f32)); }
  static V channels(const u8* row, i64 b, i64 width) {
    return load_row(reinterpret_cast<const f32*>(row), b * kLanes, width);
  }

 private:
  struct Keys {
    const f32* k;
    i64 stride;
    const u8* value(i64 key) const { return reinterpret_cast<const u8*>(k + key * stride); }
    static V channels(const u8* row, i64 b, i64 width) {
      return DenseCache::channels(row, b, width);
    }
  };
};

// tanh(x): by exp, 1 - 2 / (exp(2x) + 1); near zero, where that loses all but the first digits, an
// odd polynomial of degree 11 (least squares on Chebyshev points; relative error below 2^-26).
static inline V tanh_of(V x) {
  V large = sub(set1(1.0f), div(set1(2.0f), add(exp(add(x, x)), set1(1.0f))));
  V z = mul(x, x);
  V p = set1(-0.0055145249f);
  p = fma(p, z, set1(0.0204683971f));
  p = fma(p, z, set1(-0.0536874719f));
  p = fma(p, z, set1(0.1333081871f));
  p = fma(p, z, set1(-0.3333325982f));
  V small = fma(mul(p, z), x, x);
  return if_less(z, set1(0.625f * 0.625f), small, large);
}

static inline V cap(V s, f32 softcap) {
  return mul(tanh_of(mul(s, set1(1.0f / softcap))), set1(softcap));
}

// Neighbouring heads of one query.
struct Query {
  const f32* q;      // [heads, dk]
  const f32* sinks;  // [heads] or null
  f32* y;            // [heads, dv]
  i64 dv;
  f32 scale, softcap;
};

// Scores of the keys [begin, end) around `key`, a multiple of 16; all others kMasked.
static inline V mask_scores(const Query& query, V dot, i64 key, Range keys) {
  V s = mul(dot, set1(query.scale));
  if (query.softcap > 0) s = cap(s, query.softcap);
  V index = iota();
  V low = set1(static_cast<f32>(keys.begin - key));
  V high = set1(static_cast<f32>(keys.end - key));
  return if_less(index, low, set1(kMasked), if_less(index, high, s, set1(kMasked)));
}

template <int kHeads>
struct Softmax {
  f32 maximum[kHeads], total[kHeads];
  V out[kHeads][kHeadDimMax / kLanes];

  void clear(i64 blocks) {
    for (int h = 0; h < kHeads; ++h) {
      maximum[h] = kMasked;
      total[h] = 0.0f;
      for (i64 b = 0; b < blocks; ++b) out[h][b] = zero();
    }
  }
};

static inline f32 exp_of(f32 x) {
  f32 lanes[kLanes];
  store(lanes, exp(set1(x)));
  return lanes[0];
}

// Turns the chunk's scores into weights, rescaling what came before.
template <int kHeads>
static inline void absorb(Softmax<kHeads>& state, f32 (&scores)[kHeads][kChunkKeys], i64 blocks) {
  alignas(64) f32 fades[kLanes] = {};
  f32 sums[kHeads];
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
    fades[h] = state.maximum[h] - maximum;
    sums[h] = sum(total);
    state.maximum[h] = maximum;
  }
  store(fades, exp(load(fades)));
  for (int h = 0; h < kHeads; ++h) {
    state.total[h] = state.total[h] * fades[h] + sums[h];
    for (i64 b = 0; b < blocks; ++b) state.out[h][b] = mul(state.out[h][b], set1(fades[h]));
  }
}

// Where a chunk's values are, and those of the chunk after it.
struct Rows {
  const u8* now[kChunkKeys];
  const u8* next[kChunkKeys];
};

// out[..][first + b] += weight * value over `keys` of the chunk, in key order, for kBlocks blocks
// of 16 channels, which are asked for of the next chunk meanwhile.
template <int kHeads, int kBlocks, typename Cache>
static inline void add_channels(const Rows& rows, i64 block_bytes, i64 dv, i64 first, Range keys,
                                const f32 (&weights)[kHeads][kChunkKeys], Softmax<kHeads>& state) {
  V out[kBlocks][kHeads];
  for (int b = 0; b < kBlocks; ++b) {
    for (int h = 0; h < kHeads; ++h) out[b][h] = state.out[h][first + b];
  }
  for (i64 i = keys.begin; i < keys.end; ++i) {
    V v[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      v[b] = Cache::channels(rows.now[i], first + b, dv);
      __builtin_prefetch(rows.next[i] + (first + b) * block_bytes);
    }
    for (int h = 0; h < kHeads; ++h) {
      V weight = set1(weights[h][i]);
      for (int b = 0; b < kBlocks; ++b) out[b][h] = fma(weight, v[b], out[b][h]);
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    for (int h = 0; h < kHeads; ++h) state.out[h][first + b] = out[b][h];
  }
}

template <int kHeads, typename Cache>
static inline void add_values(const Cache& cache, const Rows& rows, i64 dv, Range places,
                              const f32 (&weights)[kHeads][kChunkKeys], Softmax<kHeads>& state) {
  constexpr int kBlocks = kBlocksAtOnce<kHeads>;
  i64 bytes = cache.row_bytes(dv) * kLanes / dv;
  i64 blocks = (dv + kLanes - 1) / kLanes;
  i64 b = 0;
  for (; b + kBlocks <= blocks; b += kBlocks)
    add_channels<kHeads, kBlocks, Cache>(rows, bytes, dv, b, places, weights, state);
  for (; b < blocks; ++b)
    add_channels<kHeads, 1, Cache>(rows, bytes, dv, b, places, weights, state);
}

// Scores of a chunk's keys; those outside `keys` are kMasked.
template <int kHeads, typename Cache>
static inline void score_chunk(const Query& query, const Cache& cache, i64 chunk, Range keys,
                               f32 (&scores)[kHeads][kChunkKeys]) {
  constexpr int kBlocks = kBlocksAtOnce<kHeads>;
  auto is_seen = [&](i64 key) { return key + kLanes > keys.begin && key < keys.end; };
  auto keep = [&](i64 key, int h, V dot) {
    store(scores[h] + (key - chunk), mask_scores(query, dot, key, keys));
  };
  for (i64 key = chunk; key < chunk + kChunkKeys;) {
    if constexpr (requires(V(&dot)[kBlocks][kHeads]) {
                    cache.template many_dots<kHeads, kBlocks>(query.q, key, key, dot);
                  }) {
      i64 end = key + kBlocks * kLanes;
      if (end <= chunk + kChunkKeys && is_seen(key) && is_seen(end - kLanes) &&
          cache.has_many(end)) {
        V dot[kBlocks][kHeads];
        cache.template many_dots<kHeads, kBlocks>(query.q, key, keys.end, dot);
        for (int b = 0; b < kBlocks; ++b) {
          for (int h = 0; h < kHeads; ++h) keep(key + b * kLanes, h, dot[b][h]);
        }
        key = end;
        continue;
      }
    }
    V dot[kHeads];
    if (is_seen(key)) cache.template dots<kHeads>(query.q, key, keys, dot);
    for (int h = 0; h < kHeads; ++h) {
      if (is_seen(key)) {
        keep(key, h, dot[h]);
      } else {
        store(scores[h] + (key - chunk), set1(kMasked));
      }
    }
    key += kLanes;
  }
}

static inline Range chunk_of(Range keys, i64 chunk) {
  i64 end = chunk + kChunkKeys;
  return {chunk > keys.begin ? chunk : keys.begin, end < keys.end ? end : keys.end};
}

// A segment's softmax: keys within [chunk, chunk + kSegmentKeys).
template <int kHeads, typename Cache>
static inline void attend_segment(const Query& query, const Cache& cache, Range keys,
                                  Softmax<kHeads>& state) {
  i64 blocks = (query.dv + kLanes - 1) / kLanes;
  state.clear(blocks);
  alignas(64) f32 scores[kHeads][kChunkKeys];
  Rows rows{};
  i64 chunk = keys.begin / kChunkKeys * kChunkKeys;
  Range seen = chunk_of(keys, chunk);
  cache.values(seen.begin, seen.end, rows.next + (seen.begin - chunk));
  for (; chunk < keys.end; chunk += kChunkKeys) {
    for (i64 i = 0; i < kChunkKeys; ++i) rows.now[i] = rows.next[i];
    Range next = chunk_of(keys, chunk + kChunkKeys);
    if (next.begin < next.end) cache.values(next.begin, next.end, rows.next);
    score_chunk<kHeads>(query, cache, chunk, keys, scores);
    absorb<kHeads>(state, scores, blocks);
    Range places = {seen.begin - chunk, seen.end - chunk};
    add_values<kHeads>(cache, rows, query.dv, places, scores, state);
    seen = next;
  }
}

// One head's sums so far, [maximum, total, 0 .., out], in memory.
struct Sums {
  f32* at;
  f32& maximum() const { return at[0]; }
  f32& total() const { return at[1]; }
  f32* out() const { return at + kLanes; }
};

static inline void join(Sums sums, Sums other, i64 blocks) {
  f32 top = sums.maximum() > other.maximum() ? sums.maximum() : other.maximum();
  f32 mine = exp_of(sums.maximum() - top);
  f32 theirs = exp_of(other.maximum() - top);
  sums.maximum() = top;
  sums.total() = sums.total() * mine + other.total() * theirs;
  for (i64 b = 0; b < blocks; ++b) {
    V faded = mul(load(sums.out() + b * kLanes), set1(mine));
    store(sums.out() + b * kLanes, fma(load(other.out() + b * kLanes), set1(theirs), faded));
  }
}

static inline void start_sums(Sums sums, const f32* sink, i64 blocks) {
  sums.maximum() = sink ? *sink : kMasked;
  sums.total() = sink ? 1.0f : 0.0f;
  for (i64 b = 0; b < blocks; ++b) store(sums.out() + b * kLanes, zero());
}

static inline void finish_sums(Sums sums, f32* y, i64 dv) {
  V inverse = set1(sums.total() > 0 ? 1.0f / sums.total() : 0.0f);
  for (i64 c = 0; c < dv; c += kLanes) store_row(y, c, dv, mul(load(sums.out() + c), inverse));
}

// The sums of kHeads heads over keys of one segment, `step` floats apart.
template <int kHeads, typename Cache>
static void sum_segment(const Query& query, const Cache& cache, Range keys, f32* sums, i64 step) {
  i64 blocks = (query.dv + kLanes - 1) / kLanes;
  Softmax<kHeads> state;
  attend_segment<kHeads>(query, cache, keys, state);
  for (int h = 0; h < kHeads; ++h) {
    Sums to{sums + h * step};
    to.maximum() = state.maximum[h];
    to.total() = state.total[h];
    for (i64 b = 0; b < blocks; ++b) store(to.out() + b * kLanes, state.out[h][b]);
  }
}

inline constexpr i64 kHeadsAtOnce = 8;

static inline i64 heads_at_once(i64 left) {
  return left >= kHeadsAtOnce ? kHeadsAtOnce : left >= 4 ? 4 : 1;
}

template <typename Cache>
static inline void sum_heads(const Query& query, i64 heads, const Cache& cache, Range keys,
                             f32* sums, i64 step) {
  if (heads == 8) return sum_segment<8>(query, cache, keys, sums, step);
  if (heads == 4) return sum_segment<4>(query, cache, keys, sums, step);
  sum_segment<1>(query, cache, keys, sums, step);
}

static inline Range segment_of(Range keys, i64 segment) {
  i64 first = segment * kSegmentKeys;
  i64 end = first + kSegmentKeys;
  return {first > keys.begin ? first : keys.begin, end < keys.end ? end : keys.end};
}

// The heads of one token that read the same kv head.
template <typename Cache>
static void attend(Query query, i64 heads, i64 dk, const Cache& cache, Range keys) {
  constexpr i64 kStep = sums_words(kHeadDimMax);
  i64 blocks = (query.dv + kLanes - 1) / kLanes;
  alignas(64) f32 sums[kHeadsAtOnce][kStep], segment_sums[kHeadsAtOnce][kStep];
  for (i64 done = 0; done < heads;) {
    i64 count = heads_at_once(heads - done);
    for (i64 h = 0; h < count; ++h) {
      start_sums({sums[h]}, query.sinks ? query.sinks + h : nullptr, blocks);
    }
    for (i64 segment = keys.begin / kSegmentKeys; segment * kSegmentKeys < keys.end; ++segment) {
      sum_heads(query, count, cache, segment_of(keys, segment), segment_sums[0], kStep);
      for (i64 h = 0; h < count; ++h) join({sums[h]}, {segment_sums[h]}, blocks);
    }
    for (i64 h = 0; h < count; ++h) finish_sums({sums[h]}, query.y + h * query.dv, query.dv);
    done += count;
    query.q += count * dk;
    query.y += count * query.dv;
    if (query.sinks) query.sinks += count;
  }
}

// New tokens from the root of token t's tree down to t, by depth; returns how many.
static inline i64 path_to(const AttentionArgs& a, i64 t, i64 sequence, i32* path) {
  i64 first = a.batch.cu[sequence];
  i64 depth = 0;
  for (i64 i = t - first; i >= 0; i = parent_of(a.batch.tree, first, i)) ++depth;
  i64 at = depth;
  for (i64 i = t - first; i >= 0; i = parent_of(a.batch.tree, first, i)) {
    path[--at] = static_cast<i32>(i);
  }
  return depth;
}

// The keys token t of its sequence may see, when its own is at `position`.
static inline Range visible(const AttentionArgs& a, i64 position, i64 sequence) {
  i64 fresh = a.batch.cu[sequence + 1] - a.batch.cu[sequence];
  i64 end = a.mask == AttentionMask::kFull ? a.batch.past[sequence] + fresh : position + 1;
  i64 begin = a.window > 0 && position + 1 > a.window ? position + 1 - a.window : 0;
  return {begin, end};
}

// One token's heads on one kv head, and the keys they see.
struct Item {
  Query query;
  i64 sequence, past;
  Range keys;
};

static inline Item item_of(const AttentionArgs& a, i64 t, i64 group, i32* path) {
  i64 group_heads = a.heads / a.kv.heads;
  i64 dv = kv_value_dim(a.kv);
  i64 sequence = a.batch.sequence_of[t];
  i64 past = a.batch.past[sequence];
  i64 position = past + (path ? path_to(a, t, sequence, path) - 1 : t - a.batch.cu[sequence]);
  i64 head = group * group_heads;
  return {.query = {.q = a.q + (t * a.heads + head) * a.kv.dk,
                    .sinks = a.sinks ? a.sinks + head : nullptr,
                    .y = a.y + (t * a.heads + head) * dv,
                    .dv = dv,
                    .scale = a.scale,
                    .softcap = a.softcap},
          .sequence = sequence,
          .past = past,
          .keys = visible(a, position, sequence)};
}

// The sums of each head of an item over one segment, to their place among a.sums.
template <typename Cache>
static void sum_item(const AttentionArgs& a, const Item& item, i64 index, i64 segment,
                     const Cache& cache) {
  Range keys = segment_of(item.keys, segment);
  if (keys.begin >= keys.end) return;
  i64 heads = a.heads / a.kv.heads;
  i64 step = a.segments * sums_words(item.query.dv);
  f32* sums = a.sums + index * heads * step + segment * sums_words(item.query.dv);
  Query query = item.query;
  for (i64 done = 0; done < heads;) {
    i64 count = heads_at_once(heads - done);
    sum_heads(query, count, cache, keys, sums + done * step, step);
    done += count;
    query.q += count * a.kv.dk;
  }
}

template <typename Cache>
static void attention_share(const AttentionArgs& a, i32 part, i32 parts) {
  i32* path = a.mask == AttentionMask::kTree ? a.paths + part * a.paths_stride : nullptr;
  i64 segments = a.sums ? a.segments : 1;
  // Strided, not in ranges: under a causal mask later tokens cost more.
  for (i64 i = part; i < a.tokens * a.kv.heads * segments; i += parts) {
    i64 index = i / segments;
    i64 group = index % a.kv.heads;
    Item item = item_of(a, index / a.kv.heads, group, path);
    Cache cache{{.kv = a.kv,
                 .pages = a.batch.pages + a.batch.page_begin[item.sequence],
                 .head = group,
                 .past = item.past,
                 .path = path}};
    if (a.sums) {
      sum_item(a, item, index, i % segments, cache);
    } else {
      attend(item.query, a.heads / a.kv.heads, a.kv.dk, cache, item.keys);
    }
  }
}

// Joins what attention() left in a.sums. REQUIRES: a.sums; called after all its shares.
static void attention_join(const AttentionArgs& a, i32 part, i32 parts) {
  i32* path = a.mask == AttentionMask::kTree ? a.paths + part * a.paths_stride : nullptr;
  i64 heads = a.heads / a.kv.heads;
  i64 words = sums_words(kv_value_dim(a.kv));
  alignas(64) f32 total[sums_words(kHeadDimMax)];
  for (i64 i = part; i < a.tokens * a.heads; i += parts) {
    i64 h = i % heads;
    Item item = item_of(a, i / a.heads, i / heads % a.kv.heads, path);
    i64 blocks = (item.query.dv + kLanes - 1) / kLanes;
    start_sums({total}, item.query.sinks ? item.query.sinks + h : nullptr, blocks);
    for (i64 s = item.keys.begin / kSegmentKeys; s * kSegmentKeys < item.keys.end; ++s) {
      join({total}, {a.sums + (i * a.segments + s) * words}, blocks);
    }
    finish_sums({total}, item.query.y + h * item.query.dv, item.query.dv);
  }
}

template <typename Format>
static void attention_of(const AttentionArgs& a, i32 part, i32 parts) {
  if (a.kv.latent > 0) return attention_share<LatentCache<Format>>(a, part, parts);
  attention_share<BlockCache<Format>>(a, part, parts);
}

static void attention(const AttentionArgs& a, i32 part, i32 parts) {
  switch (a.kv.format) {
    case KvFormat::kF32: return attention_of<FormatF32>(a, part, parts);
    case KvFormat::kF16: return attention_of<FormatF16>(a, part, parts);
    case KvFormat::kBf16: return attention_of<FormatBf16>(a, part, parts);
    case KvFormat::kE4m3: return attention_of<FormatE4m3>(a, part, parts);
    case KvFormat::kQ8_0: return attention_of<FormatQ8_0>(a, part, parts);
    case KvFormat::kQ4_0: return attention_of<FormatQ4_0>(a, part, parts);
  }
}

// Rows [first, end) of the sequence that row x belongs to.
static inline Range rows_of_sequence(const DenseAttentionArgs& a, i64 x) {
  if (a.rows_each > 0) {
    i64 first = x / a.rows_each * a.rows_each;
    return {first, first + a.rows_each};
  }
  i64 sequence = a.batch.sequence_of[x];
  return {a.batch.cu[sequence], a.batch.cu[sequence + 1]};
}

static void attention_dense(const DenseAttentionArgs& a, i32 part, i32 parts) {
  i64 group_heads = a.heads / a.kv_heads;
  for (i64 item = part; item < a.rows * a.kv_heads; item += parts) {
    i64 x = item / a.kv_heads;
    i64 group = item % a.kv_heads;
    i64 head = group * group_heads;
    Range rows = rows_of_sequence(a, x);
    i64 i = x - rows.begin;
    Range keys = {0, a.causal ? i + 1 : rows.end - rows.begin};
    if (a.window > 0 && i + 1 > a.window) keys.begin = i + 1 - a.window;
    if (a.window > 0 && i + a.window < keys.end) keys.end = i + a.window;
    Query query{.q = a.q + (x * a.heads + head) * a.dk,
                .sinks = nullptr,
                .y = a.y + (x * a.heads + head) * a.dv,
                .dv = a.dv,
                .scale = a.scale,
                .softcap = a.softcap};
    DenseCache cache{.k = a.k + (rows.begin * a.kv_heads + group) * a.dk,
                     .v = a.v + (rows.begin * a.kv_heads + group) * a.dv,
                     .k_stride = a.kv_heads * a.dk,
                     .v_stride = a.kv_heads * a.dv,
                     .dk = a.dk};
    attend(query, group_heads, a.dk, cache, keys);
  }
}

// f16 with keys and values apart, the usual cache; all others are written by kv_store.cc.
static void kv_append_f16(const KvAppendArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.tokens, part, parts);
  const KvPages& kv = a.kv;
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    i64 slot = a.batch.slots[t];
    if (slot < 0) continue;
    i64 offset = slot % kv.page_tokens;
    for (i64 h = 0; h < kv.heads; ++h) {
      u8* head = kv_head_at(kv, slot / kv.page_tokens, h);
      u16* keys =
          reinterpret_cast<u16*>(head + offset / kLanes * key_block_bytes(kv.format, kv.dk));
      u16* key = keys + offset % kLanes;
      u16* value = reinterpret_cast<u16*>(head + kv_keys_bytes(kv) +
                                          offset * kv_row_bytes(kv.format, kv.dv));
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
