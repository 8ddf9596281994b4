// The paged cache: writing it, and attention over it. Compiled for one KV_FORMAT where that is defined;
// attention also for heads of at most HEAD_MAX channels. A page of one layer holds for each head its
// keys in rows, then its values in rows; a latent cache has no values.
#define KV_F32 0
#define KV_F16 1
#define KV_BF16 2
#define KV_E4M3 3
#define KV_Q8_0 4
#define KV_Q4_0 5

#ifdef KV_FORMAT
#define FORMAT KV_FORMAT
#else
#define FORMAT format
#endif

// A block's scale is at its start, its codes four bytes on: 36 and 20 bytes for 32 channels.
DEVICE float cached(int format, GLOBAL const uchar* row, int c) {
  if (FORMAT == KV_F32) return ((GLOBAL const float*)row)[c];
  if (FORMAT == KV_F16) return half_at(row + 2 * c);
  if (FORMAT == KV_BF16) return FLOAT((uint)((GLOBAL const ushort*)row)[c] << 16);
  if (FORMAT == KV_E4M3) return from_e4m3(row[c]);
  int i = c % 32;
  if (FORMAT == KV_Q8_0) {
    GLOBAL const uchar* b = row + c / 32 * 36;
    return half_at(b) * (float)(signed char)b[4 + i];
  }
  GLOBAL const uchar* b = row + c / 32 * 20;
  return half_at(b) * (float)((i < 16 ? b[4 + i] & 15 : b[4 + i - 16] >> 4) - 8);
}

// isa.md section 3: d from the largest magnitude, round(v) = floor(v + 1/2); a number that is not
// finite makes the whole block NaN.
DEVICE void store_block(int format, GLOBAL uchar* b, GLOBAL const float* x) {
  float most = 0.0f;
  int finite = 1;
  for (int i = 0; i < 32; ++i) {
    finite = finite && x[i] - x[i] == 0.0f;
    if (fabs(x[i]) > fabs(most)) most = x[i];
  }
  float quotient = FORMAT == KV_Q8_0 ? fabs(most) / 127.0f : most / -8.0f;
  ushort d = finite ? to_half(quotient) : (ushort)0x7E00;
  *(GLOBAL ushort*)b = d;
  float scale = from_half(d);
  int is_zero = scale == 0.0f || !finite;
  if (FORMAT == KV_Q8_0) {
    for (int i = 0; i < 32; ++i) {
      float q = is_zero ? 0.0f : floor(x[i] / scale + 0.5f);
      b[4 + i] = (uchar)(signed char)(q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q);
    }
    return;
  }
  for (int i = 0; i < 16; ++i) {
    int codes[2];
    for (int h = 0; h < 2; ++h) {
      float q = is_zero ? 0.0f : floor(x[i + 16 * h] / scale + 0.5f);
      codes[h] = (int)(q > 7.0f ? 7.0f : q < -8.0f ? -8.0f : q) + 8;
    }
    b[4 + i] = (uchar)(codes[0] | codes[1] << 4);
  }
}

DEVICE void store_channels(int format, GLOBAL uchar* row, GLOBAL const float* x, int first, int end) {
  if (FORMAT == KV_Q8_0) {
    store_block(FORMAT, row + first / 32 * 36, x + first);
  } else if (FORMAT == KV_Q4_0) {
    store_block(FORMAT, row + first / 32 * 20, x + first);
  } else {
    for (int c = first; c < end; ++c) {
      if (FORMAT == KV_F32) ((GLOBAL float*)row)[c] = x[c];
      if (FORMAT == KV_F16) ((GLOBAL ushort*)row)[c] = to_half(x[c]);
      if (FORMAT == KV_BF16) ((GLOBAL ushort*)row)[c] = to_bfloat(x[c]);
      if (FORMAT == KV_E4M3) row[c] = to_e4m3(x[c]);
    }
  }
}

#ifndef HEAD_MAX
// An item for every `chunk` channels of a token's key or value of one head: 32 where a block is.
KERNEL(tg_kv_append)(GLOBAL const int* step, FORM(rows), IN(k), IN(v), IN(params), OUT(kv), int slots,
                     int heads, int dk, int dv, int page_tokens, ulong page_bytes, int k_row,
                     int v_row, int chunk, int format) {
  READS(float, k);
  READS(float, v);
  READS(int, params);
  WRITES(uchar, kv);
  int k_chunks = (dk + chunk - 1) / chunk;
  int chunks = k_chunks + (dv + chunk - 1) / chunk;
  EACH(i, (ulong)SIZE(rows) * heads * chunks) {
    int chunk_of = (int)(i % chunks);
    ulong h = i / chunks % heads;
    ulong t = i / ((ulong)chunks * heads);
    int slot = params[slots + t];
    if (slot < 0) continue;
    GLOBAL uchar* head = kv + (ulong)(slot / page_tokens) * page_bytes +
                         h * page_tokens * (ulong)(k_row + v_row);
    ulong at = (ulong)(slot % page_tokens);
    if (chunk_of < k_chunks) {
      int first = chunk_of * chunk;
      store_channels(format, head + at * k_row, k + (t * heads + h) * dk, first,
                     first + chunk < dk ? first + chunk : dk);
    } else {
      int first = (chunk_of - k_chunks) * chunk;
      store_channels(format, head + (ulong)page_tokens * k_row + at * v_row, v + (t * heads + h) * dv, first,
                     first + chunk < dv ? first + chunk : dv);
    }
  }
}
#else

// Online softmax over chunks of 32 keys, cut by absolute index. A work-group has up to 4 query heads
// of one kv head and one token, so that a key is read and decoded once for them: keys come through
// local memory in tiles of 32 channels, values straight to the item that owns the channel. With
// `splits` > 1 (grid z) each work-group does its own stretch of 1,024 keys and tg_attention_join adds
// them up: few tokens over a long context still fill the device.
#define HEADS 4
#define KEYS 32
#define CHANNELS 32
#define SEGMENT 1024
#define DV_EACH ((HEAD_MAX + WG - 1) / WG)
#define MASKED -3.0e38f
#define MASK_CAUSAL 0
#define MASK_FULL 1

typedef struct {
  int sequence;
  int past, first, fresh;  // of the token's sequence: cached keys, its first new token, new tokens
  int own;                 // key index of the token itself
  GLOBAL const int* pages;
} Query;

DEVICE Query find_query(GLOBAL const int* params, int t, int sequences, int cu, int past,
                        int page_begin, int pages) {
  int low = 0, high = sequences - 1;  // the first sequence that ends behind t
  while (low < high) {
    int middle = (low + high) / 2;
    if (params[cu + middle + 1] > t) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  Query q;
  q.sequence = low;
  q.past = params[past + low];
  q.first = params[cu + low];
  q.fresh = params[cu + low + 1] - q.first;
  q.own = q.past + t - q.first;
  q.pages = params + pages + params[page_begin + low];
  return q;
}

// Whether new token `node` is `token` or above it in its tree.
DEVICE int is_ancestor(GLOBAL const int* tree, int first, int token, int node) {
  while (token > node) {
    int parent = tree[first + token];
    token = parent < 0 ? token - 1 : parent;
  }
  return token == node;
}

// What every form takes. `parts` and `weight_parts` are for kernels that cut queries and weights into
// 16-bit parts: how many make them as exact as the result needs.
#define ATTENTION_PARAMETERS                                                                      \
  GLOBAL const int *step, FORM(rows), IN(q), IN(sinks), IN(kv), IN(params), OUT(y), OUT(sums),    \
      int cu, int past, int page_begin, int pages, int tree, int heads, int kv_heads, int dk,     \
      int dv, int page_tokens, ulong page_bytes, int k_row, int v_row, int window, int mask,      \
      int has_sinks, int splits, float scale, float softcap, int mode, int format, int parts,     \
      int weight_parts

KERNEL(tg_attention)(ATTENTION_PARAMETERS) {
  SHARED float query[HEADS * HEAD_MAX];
  SHARED float tile[KEYS * (CHANNELS + 1)];
  SHARED float weights[HEADS * KEYS];
  SHARED float most[HEADS], total[HEADS], fade[HEADS];
  READS(float, q);
  READS(float, sinks);
  READS(uchar, kv);
  READS(int, params);
  WRITES(float, y);
  WRITES(float, sums);
  int t = GROUP0;
  if (t >= SIZE(rows)) return;
  int group = heads / kv_heads;
  int tiles_of_heads = (group + HEADS - 1) / HEADS;
  int kv_head = GROUP1 / tiles_of_heads;
  int h0 = GROUP1 % tiles_of_heads * HEADS;
  int here = group - h0 < HEADS ? group - h0 : HEADS;
  h0 += kv_head * group;
  Query at = find_query(params, t, step[1], cu, past, page_begin, pages);
  int end = mask == MASK_CAUSAL ? at.own + 1 : at.past + at.fresh;
  int begin = window > 0 && at.own + 1 > window ? at.own + 1 - window : 0;
  if (splits > 1) {
    begin = begin > GROUP2 * SEGMENT ? begin : GROUP2 * SEGMENT;
    end = end < (GROUP2 + 1) * SEGMENT ? end : (GROUP2 + 1) * SEGMENT;
  }
  for (int i = LID; i < here * dk; i += WG) query[i] = q[(ulong)(t * heads + h0) * dk + i];
  float out[HEADS][DV_EACH];
  for (int h = 0; h < HEADS; ++h) {
    for (int i = 0; i < DV_EACH; ++i) out[h][i] = 0.0f;
  }
  if (LID < HEADS) {
    int starts = has_sinks && splits == 1 && LID < here;
    most[LID] = starts ? sinks[h0 + LID] : MASKED;
    total[LID] = starts ? 1.0f : 0.0f;
  }
  ulong head_at = (ulong)kv_head * page_tokens * (ulong)(k_row + v_row);
  // Scores: an item has one key and two heads. Loads: two items a key, half a tile's channels each.
  int key = LID % KEYS, pair = LID / KEYS * 2;
  int loaded = LID / 2, part = LID % 2 * (CHANNELS / 2);
  for (int chunk = begin / KEYS * KEYS; chunk < end; chunk += KEYS) {
    float dots[2] = {0.0f, 0.0f};
    int load_key = chunk + loaded < end ? chunk + loaded : end - 1;
    GLOBAL const uchar* load_row = kv + (ulong)at.pages[load_key / page_tokens] * page_bytes +
                                   head_at + (ulong)(load_key % page_tokens) * k_row;
    for (int c0 = 0; c0 < dk; c0 += CHANNELS) {
      BARRIER();
      for (int c = 0; c < CHANNELS / 2; ++c) {
        int channel = c0 + part + c;
        tile[loaded * (CHANNELS + 1) + part + c] = channel < dk ? cached(format, load_row, channel) : 0.0f;
      }
      BARRIER();
      int width = dk - c0 < CHANNELS ? dk - c0 : CHANNELS;
      for (int c = 0; c < width; ++c) {
        float k = tile[key * (CHANNELS + 1) + c];
        dots[0] = fma(k, query[pair * dk + c0 + c], dots[0]);
        dots[1] = fma(k, query[(pair + 1) * dk + c0 + c], dots[1]);
      }
    }
    int index = chunk + key;
    int seen = index >= begin && index < end;
    if (seen && mask > MASK_FULL && index >= at.past) {
      seen = is_ancestor(params + tree, at.first, t - at.first, index - at.past);
    }
    for (int i = 0; i < 2; ++i) {
      float s = dots[i] * scale;
      if (softcap > 0.0f) s = softcap * tanh(s / softcap);
      weights[(pair + i) * KEYS + key] = seen ? s : MASKED;
    }
    BARRIER();
    if (LID < HEADS) {
      float top = most[LID];
      for (int i = 0; i < KEYS; ++i) {
        float s = weights[LID * KEYS + i];
        top = s > top ? s : top;
      }
      fade[LID] = exp(most[LID] - top);
      most[LID] = top;
    }
    BARRIER();
    for (int i = 0; i < 2; ++i) {
      LOCAL float* weight = weights + (pair + i) * KEYS + key;
      *weight = *weight == MASKED ? 0.0f : exp(*weight - most[pair + i]);
    }
    BARRIER();
    if (LID < HEADS) {
      float sum = 0.0f;
      for (int i = 0; i < KEYS; ++i) sum += weights[LID * KEYS + i];
      total[LID] = total[LID] * fade[LID] + sum;
    }
    for (int h = 0; h < HEADS; ++h) {
      for (int i = 0; i < DV_EACH; ++i) out[h][i] *= fade[h];
    }
    int last = end - chunk < KEYS ? end - chunk : KEYS;
    for (int j = begin > chunk ? begin - chunk : 0; j < last; ++j) {
      int value_key = chunk + j;
      GLOBAL const uchar* row = kv + (ulong)at.pages[value_key / page_tokens] * page_bytes + head_at +
                                (ulong)(value_key % page_tokens) * (v_row > 0 ? v_row : k_row) +
                                (v_row > 0 ? (ulong)page_tokens * k_row : 0);
      for (int i = 0; i < DV_EACH; ++i) {
        int c = i * WG + LID;
        if (c >= dv) continue;
        float v = cached(format, row, c);
        for (int h = 0; h < HEADS; ++h) out[h][i] = fma(weights[h * KEYS + j], v, out[h][i]);
      }
    }
  }
  BARRIER();
  for (int h = 0; h < here; ++h) {
    float inverse = total[h] > 0.0f ? 1.0f / total[h] : 0.0f;
    ulong row = (ulong)t * heads + h0 + h;
    GLOBAL float* mine = sums + (row * splits + GROUP2) * (dv + 2);
    for (int i = 0; i < DV_EACH; ++i) {
      int c = i * WG + LID;
      if (c >= dv) continue;
      if (splits == 1) {
        y[row * dv + c] = rounded(out[h][i] * inverse, mode);
      } else {
        mine[2 + c] = out[h][i];
      }
    }
    if (splits > 1 && LID == 0) {
      mine[0] = most[h];
      mine[1] = total[h];
    }
  }
}

// A work-group for each token and head: adds up its splits, sinks first.
KERNEL(tg_attention_join)(GLOBAL const int* step, FORM(rows), IN(sinks), IN(parts), OUT(y), int heads,
                          int dv, int has_sinks, int splits, int mode) {
  READS(float, sinks);
  READS(float, parts);
  WRITES(float, y);
  if (GROUP0 >= SIZE(rows)) return;
  ulong row = (ulong)GROUP0 * heads + GROUP1;
  GLOBAL const float* sums = parts + row * splits * (dv + 2);
  float top = has_sinks ? sinks[GROUP1] : MASKED;
  for (int z = 0; z < splits; ++z) top = sums[z * (dv + 2)] > top ? sums[z * (dv + 2)] : top;
  float total = has_sinks ? exp(sinks[GROUP1] - top) : 0.0f;
  for (int z = 0; z < splits; ++z) total += sums[z * (dv + 2) + 1] * exp(sums[z * (dv + 2)] - top);
  float inverse = total > 0.0f ? 1.0f / total : 0.0f;
  for (int c = LID; c < dv; c += WG) {
    float v = 0.0f;
    for (int z = 0; z < splits; ++z) {
      v = fma(sums[z * (dv + 2) + 2 + c], exp(sums[z * (dv + 2)] - top), v);
    }
    y[row * dv + c] = rounded(v * inverse, mode);
  }
}
#endif
