// Attention of many new tokens on tensor cores: online softmax over chunks of 64 keys, as in the shared
// kernel. A work-group of four warps has 64 rows of one kv head, a row for each new token and query head
// of the group, and a warp 16 of them, whatever the group's size. A tile may hold the end of one
// sequence and the beginning of the next: it goes through both's keys, and rows see their own.
//
// Queries, keys, values and weights are cut into bf16 parts that add up to them (codes.h); of the products
// of parts those are left out that are below the last bit of the larger operand. What is not the
// product of first parts is small and is summed apart, where its roundings do no harm.
#include "dialect.cl"

#include "attention.cl"

#include "codes.h"
#include "mma.h"

#define TILE_ROWS 64
#define TILE_KEYS 64
#define TILE_THREADS 128
#define STRIDE (CHANNELS + 8)  // of a row in shared memory: neighbours in different banks
#define VALUE_STRIDE (TILE_KEYS + 8)
#define PARTS_MAX tg_cuda::kPartsMax

// How many bf16 numbers make a cached one exactly.
DEVICE int parts_of_format(int format) {
  if (format == KV_BF16 || format == KV_E4M3) return 1;
  return format == KV_F16 || format == KV_Q4_0 ? 2 : 3;
}

DEVICE unsigned pair_of(ushort low, ushort high) {
  return (unsigned)low | (unsigned)high << 16;
}

// The parts of a number of a tile, each in its own.
template <int kNumbers>
DEVICE void store_parts(ushort (&tile)[PARTS_MAX][kNumbers], int at, float v, int parts) {
  ushort cut[PARTS_MAX];
  tg_cuda::split(v, parts, cut);
  for (int p = 0; p < PARTS_MAX; ++p) {
    if (p < parts) tile[p][at] = cut[p];
  }
}

// The weights of 16 keys, as a thread has them after the product with keys, as the next product's left
// side (mma.h: the layouts are the same).
DEVICE void weights_as_a(const float (&first)[4], const float (&second)[4], int parts,
                         unsigned (&a)[PARTS_MAX][4]) {
  ushort cut[8][PARTS_MAX] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    tg_cuda::split(first[i], parts, cut[i]);
    tg_cuda::split(second[i], parts, cut[4 + i]);
  }
#pragma unroll
  for (int p = 0; p < PARTS_MAX; ++p) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[p][i] = pair_of(cut[2 * i][p], cut[2 * i + 1][p]);
  }
}

KERNEL_OF(TILE_THREADS)
tg_attention_tile(ATTENTION_PARAMETERS) {
  SHARED __align__(16) ushort q_tile[PARTS_MAX][TILE_ROWS * STRIDE];
  SHARED __align__(16) ushort kv_tile[PARTS_MAX][TILE_KEYS * STRIDE];  // of values by channel
  SHARED int sequence_of[TILE_ROWS], begin_of[TILE_ROWS], end_of[TILE_ROWS];
  READS(float, q);
  READS(float, sinks);
  READS(uchar, kv);
  READS(int, params);
  WRITES(float, y);
  int group = heads / kv_heads;
  int first = GROUP0 * TILE_ROWS;
  int here = SIZE(rows) * group - first;
  if (here <= 0) return;
  here = here < TILE_ROWS ? here : TILE_ROWS;
  if (LID < TILE_ROWS) {
    int t = (first + (LID < here ? LID : 0)) / group;
    Query at = find_query(params, t, step[1], cu, past, page_begin, pages);
    sequence_of[LID] = LID < here ? at.sequence : -1;
    begin_of[LID] = window > 0 && at.own + 1 > window ? at.own + 1 - window : 0;
    end_of[LID] = mask == MASK_CAUSAL ? at.own + 1 : at.past + at.fresh;
  }
  BARRIER();
  int warp = LID / 32, lane = LID % 32;
  int row = warp * 16 + lane / 4;  // this thread's rows: it and 8 on
  int column = lane % 4 * 2;       // and of each 8 keys or channels: it and the next
  float out[HEAD_MAX / 8][4] = {};
  float most[2], total[2] = {0.0f, 0.0f}, sink[2];
  for (int i = 0; i < 2; ++i) {
    int head = GROUP1 * group + (first + row + 8 * i) % group;
    sink[i] = has_sinks ? sinks[head] : MASKED;
    most[i] = sink[i];
  }
  ulong head_at = (ulong)GROUP1 * page_tokens * (ulong)(k_row + v_row);
  int kv_parts = parts_of_format(format);
  int terms = parts > kv_parts ? parts : kv_parts;
  int weight_terms = weight_parts > kv_parts ? weight_parts : kv_parts;
  // Two threads load a row of q, a key, a value.
  int loaded = LID / 2, half_of = LID % 2 * (CHANNELS / 2);
  int load_head = GROUP1 * group + (first + loaded) % group;
  const float* q_row = q + ((ulong)((first + loaded) / group) * heads + load_head) * dk;
  for (int s = sequence_of[0]; s <= sequence_of[here - 1]; ++s) {
    int cached_keys = params[past + s], fresh_first = params[cu + s], fresh_end = params[cu + s + 1];
    if (fresh_first == fresh_end) continue;
    // The sequence's rows in this tile: the first sees the earliest key, the last the latest.
    int row_first = fresh_first * group > first ? fresh_first * group - first : 0;
    int row_end = fresh_end * group - first < here ? fresh_end * group - first : here;
    int begin = begin_of[row_first], end = end_of[row_end - 1];
    const int* pages_of = params + pages + params[page_begin + s];
    for (int chunk = begin / TILE_KEYS * TILE_KEYS; chunk < end; chunk += TILE_KEYS) {
      // Keys that no row sees repeat one that some row does.
      int key = clamp(chunk + loaded, begin, end - 1);
      const uchar* page = kv + (ulong)pages_of[key / page_tokens] * page_bytes + head_at;
      const uchar* key_row = page + (ulong)(key % page_tokens) * k_row;
      const uchar* value_row = v_row > 0 ? page + (ulong)page_tokens * k_row +
                                               (ulong)(key % page_tokens) * v_row
                                         : key_row;
      float scores[TILE_KEYS / 8][4] = {}, small[TILE_KEYS / 8][4] = {};
      for (int c0 = 0; c0 < dk; c0 += CHANNELS) {
        BARRIER();
#pragma unroll 2
        for (int c = half_of; c < half_of + CHANNELS / 2; ++c) {
          bool has = c0 + c < dk;
          float k = has ? cached(format, key_row, c0 + c) : 0.0f;
          store_parts(kv_tile, loaded * STRIDE + c, k, kv_parts);
          store_parts(q_tile, loaded * STRIDE + c, has && loaded < here ? q_row[c0 + c] : 0.0f, parts);
        }
        BARRIER();
        for (int kk = 0; kk < CHANNELS; kk += 16) {
#pragma unroll
          for (int i = 0; i < PARTS_MAX; ++i) {
            if (i >= parts) continue;
            unsigned a[4];
            tg_cuda::load_a(a, q_tile[i], STRIDE, warp * 16, kk);
#pragma unroll
            for (int j = 0; j < PARTS_MAX; ++j) {
              if (j >= kv_parts || i + j >= terms) continue;
#pragma unroll
              for (int n = 0; n < TILE_KEYS / 8; ++n) {
                unsigned b[2];
                tg_cuda::load_b(b, kv_tile[j], STRIDE, n * 8, kk);
                tg_cuda::mma_bf16(i + j == 0 ? scores[n] : small[n], a, b);
              }
            }
          }
        }
      }
      float top[2] = {most[0], most[1]}, fade[2];
#pragma unroll
      for (int n = 0; n < TILE_KEYS / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int r = row + i / 2 * 8, index = chunk + n * 8 + column + i % 2;
          bool seen = sequence_of[r] == s && index >= begin_of[r] && index < end_of[r];
          if (seen && mask > MASK_FULL && index >= cached_keys) {
            seen = is_ancestor(params + tree, fresh_first, (first + r) / group - fresh_first,
                               index - cached_keys);
          }
          float v = (scores[n][i] + small[n][i]) * scale;
          if (softcap > 0.0f) v = softcap * tanh(v / softcap);
          scores[n][i] = seen ? v : MASKED;
          if (seen && v > top[i / 2]) top[i / 2] = v;
        }
      }
      for (int i = 0; i < 2; ++i) {
        for (int far = 1; far <= 2; far *= 2) {
          float other = __shfl_xor_sync(0xFFFFFFFFu, top[i], far);
          top[i] = other > top[i] ? other : top[i];
        }
        fade[i] = exp(most[i] - top[i]);
        most[i] = top[i];
        total[i] *= fade[i];
      }
#pragma unroll
      for (int n = 0; n < TILE_KEYS / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float v = scores[n][i];
          scores[n][i] = v == MASKED ? 0.0f : exp(v - most[i / 2]);
          total[i / 2] += scores[n][i];
        }
      }
#pragma unroll
      for (int c0 = 0; c0 < HEAD_MAX; c0 += CHANNELS) {
        if (c0 >= dv) continue;
        BARRIER();
#pragma unroll 2
        for (int c = half_of; c < half_of + CHANNELS / 2; ++c) {
          float v = c0 + c < dv ? cached(format, value_row, c0 + c) : 0.0f;
          store_parts(kv_tile, c * VALUE_STRIDE + loaded, v, kv_parts);
        }
        BARRIER();
        float sums_of[CHANNELS / 8][4] = {}, small_of[CHANNELS / 8][4] = {};
#pragma unroll
        for (int kk = 0; kk < TILE_KEYS / 16; ++kk) {
          unsigned a[PARTS_MAX][4];
          weights_as_a(scores[2 * kk], scores[2 * kk + 1], weight_parts, a);
#pragma unroll
          for (int i = 0; i < PARTS_MAX; ++i) {
#pragma unroll
            for (int j = 0; j < PARTS_MAX; ++j) {
              if (i >= weight_parts || j >= kv_parts || i + j >= weight_terms) continue;
#pragma unroll
              for (int n = 0; n < CHANNELS / 8; ++n) {
                unsigned b[2];
                tg_cuda::load_b(b, kv_tile[j], VALUE_STRIDE, n * 8, kk * 16);
                tg_cuda::mma_bf16(i + j == 0 ? sums_of[n] : small_of[n], a[i], b);
              }
            }
          }
        }
#pragma unroll
        for (int n = 0; n < CHANNELS / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float* sum = &out[c0 / 8 + n][i];
            *sum = fmaf(*sum, fade[i / 2], sums_of[n][i] + small_of[n][i]);
          }
        }
      }
    }
  }
  for (int i = 0; i < 2; ++i) {
    for (int far = 1; far <= 2; far *= 2) total[i] += __shfl_xor_sync(0xFFFFFFFFu, total[i], far);
    if (has_sinks) total[i] += exp(sink[i] - most[i]);
  }
#pragma unroll
  for (int o = 0; o < HEAD_MAX / 8; ++o) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int r = row + i / 2 * 8, c = o * 8 + column + i % 2;
      if (r >= here || c >= dv) continue;
      float inverse = total[i / 2] > 0.0f ? 1.0f / total[i / 2] : 0.0f;
      ulong at = (ulong)((first + r) / group) * heads + GROUP1 * group + (first + r) % group;
      y[at * dv + c] = rounded(out[o][i] * inverse, mode);
    }
  }
}
