// Moves, elementwise ops and rotations: an item for every element, or a group for every row.

// y[first + r, y0 + c] = x[row(r), x0 + c]: gather, view, concat and cast.
KERNEL(tg_copy)(GLOBAL const int* step, FORM(rows), IN(x), IN(index), OUT(y), FORM(first), int n,
                int x_stride, int x0, int y_stride, int y0, int has_index, int mode) {
  READS(uint, x);
  READS(int, index);
  WRITES(uint, y);
  ulong to = (ulong)SIZE(first) * y_stride + y0;
  EACH(i, (ulong)SIZE(rows) * n) {
    ulong r = i / n;
    ulong c = i - r * n;
    ulong from = has_index ? (ulong)index[r] : r;
    uint v = x[from * x_stride + x0 + c];
    y[to + r * y_stride + c] = mode ? BITS(rounded(FLOAT(v), mode)) : v;
  }
}

// Axis i of y is axis a_i of x; four axes each.
KERNEL(tg_permute)(GLOBAL const int* step, FORM(elements), IN(x), OUT(y), FORM(d0), FORM(d1), FORM(d2),
                   FORM(d3), int a0, int a1, int a2, int a3) {
  READS(uint, x);
  WRITES(uint, y);
  ulong d[4] = {(ulong)SIZE(d0), (ulong)SIZE(d1), (ulong)SIZE(d2), (ulong)SIZE(d3)};
  ulong steps[4] = {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1};
  int axes[4] = {a0, a1, a2, a3};
  EACH(i, SIZE(elements)) {
    ulong from = 0, left = i;
    for (int axis = 3; axis >= 0; --axis) {
      from += left % d[axes[axis]] * steps[axes[axis]];
      left /= d[axes[axis]];
    }
    y[i] = x[from];
  }
}

KERNEL(tg_embed)(GLOBAL const int* step, FORM(rows), IN(w), IN(ids), OUT(y), int k, ulong row_bytes,
                 int codec, int mode) {
  READS(uchar, w);
  READS(int, ids);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * k) {
    ulong r = i / k;
    int c = (int)(i - r * k);
    y[i] = rounded(weight_at(codec, w + (ulong)ids[r] * row_bytes, c), mode);
  }
}

// alpha*a + beta*b or alpha*a*b; b is as large as a, or one row.
KERNEL(tg_binary)(GLOBAL const int* step, FORM(rows), IN(a), IN(b), OUT(y), int n, int has_b,
                  int b_is_row, int multiply, float alpha, float beta, int mode) {
  READS(float, a);
  READS(float, b);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * n) {
    float left = alpha * a[i];
    float v = left;
    if (has_b) {
      float right = b[b_is_row ? i % n : i];
      v = multiply ? left * right : left + beta * right;
    }
    y[i] = rounded(v, mode);
  }
}

DEVICE float sigmoid(float x) {
  return 1.0f / (1.0f + exp(-x));
}

// x/2 (1 + tanh z) as x / (1 + exp(-2z)): where x is far below zero the first form cancels, and
// shows each last bit that a driver's tanh is off.
DEVICE float gelu_tanh(float x) {
  float z = 0.7978845608f * (x + 0.044715f * x * x * x);
  return x / (1.0f + exp(-2.0f * z));
}

DEVICE float activate(int act, float x, float softcap) {
  switch (act) {
    case 0: return x * sigmoid(x);
    case 1: return gelu_tanh(x);
    case 2: return 0.5f * x * (1.0f + erf(x * 0.70710678f));
    case 3: return x > 0.0f ? x : 0.0f;
    case 4: return x > 0.0f ? x * x : 0.0f;
    case 5: return sigmoid(x);
    case 6: return tanh(x);
    case 7: return x > 20.0f ? x : log1p(exp(x));
    case 8: return softcap * tanh(x / softcap);
  }
  return x;
}

KERNEL(tg_act)(GLOBAL const int* step, FORM(rows), IN(x), OUT(y), int n, int act, float softcap,
               int mode) {
  READS(float, x);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * n) { y[i] = rounded(activate(act, x[i], softcap), mode); }
}

#define SWIGLU_OAI 9

KERNEL(tg_glu)(GLOBAL const int* step, FORM(rows), IN(g), IN(u), OUT(y), int n, int g_stride,
               int u_stride, int u0, int act, float alpha, float limit, int mode) {
  READS(float, g);
  READS(float, u);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * n) {
    ulong r = i / n;
    ulong c = i - r * n;
    float gate = g[r * g_stride + c];
    float up = u[r * u_stride + u0 + c];
    float v;
    if (act == SWIGLU_OAI) {
      gate = gate < limit ? gate : limit;
      up = up > limit ? limit : up < -limit ? -limit : up;
      v = gate * sigmoid(alpha * gate) * (up + 1.0f);
    } else {
      v = activate(act, gate, 0.0f) * up;
    }
    y[i] = rounded(v, mode);
  }
}

// The postfix program `code` on each element; operand j is one row if bit j of `row_bits` says so.
KERNEL(tg_ew)(GLOBAL const int* step, FORM(rows), IN(x0), IN(x1), IN(x2), IN(x3), IN(code), OUT(y),
              int n, int words, int row_bits, int mode) {
  READS(float, x0);
  READS(float, x1);
  READS(float, x2);
  READS(float, x3);
  READS(uint, code);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * n) {
    float stack[16];
    int top = 0;
    for (int w = 0; w < words; ++w) {
      uint op = code[w] & 0xFFu;
      if (op == 0u) {
        int j = (int)(code[w] >> 8 & 0xFFu);
        ulong at = row_bits >> j & 1 ? i % n : i;
        stack[top++] = j == 0 ? x0[at] : j == 1 ? x1[at] : j == 2 ? x2[at] : x3[at];
        continue;
      }
      if (op == 1u) {
        stack[top++] = FLOAT(code[++w]);
        continue;
      }
      float a = stack[top - 1];
      float b = top > 1 ? stack[top - 2] : 0.0f;
      if (op == 2u) stack[top++] = a;
      if (op == 3u) {
        stack[top - 1] = b;
        stack[top - 2] = a;
      }
      if (op >= 4u && op <= 9u) --top;
      switch (op) {
        case 4: stack[top - 1] = b + a; break;
        case 5: stack[top - 1] = b - a; break;
        case 6: stack[top - 1] = b * a; break;
        case 7: stack[top - 1] = b / a; break;
        case 8: stack[top - 1] = a < b ? a : b; break;
        case 9: stack[top - 1] = b < a ? a : b; break;
        case 10: stack[top - 1] = -a; break;
        case 11: stack[top - 1] = fabs(a); break;
        case 12: stack[top - 1] = exp(a); break;
        case 13: stack[top - 1] = expm1(a); break;
        case 14: stack[top - 1] = log(a); break;
        case 15: stack[top - 1] = sqrt(a); break;
        case 16: stack[top - 1] = tanh(a); break;
        case 17: stack[top - 1] = erf(a); break;
        case 18: stack[top - 1] = sigmoid(a); break;
        default: break;
      }
    }
    y[i] = rounded(stack[0], mode);
  }
}

// A group of columns for each work-group.
KERNEL(tg_rms_norm)(GLOBAL const int* step, FORM(rows), IN(x), IN(w), OUT(y), int n, int w_groups,
                    int has_w, float eps, float woff, int before, int mode) {
  SHARED float sums[WG];
  ulong row = (ulong)GROUP0;
  if ((int)row >= SIZE(rows)) return;
  READS(float, x);
  READS(float, w);
  WRITES(float, y);
  float total = 0.0f;
  EACH_OF(c, n) total += x[row * n + c] * x[row * n + c];
  float inverse = 1.0f / sqrt(group_sum(sums, total) / (float)n + eps);
  ulong at = row % w_groups * n;
  EACH_OF(c, n) {
    float v = x[row * n + c] * inverse;
    if (before) v = rounded(v, mode);
    if (has_w) v *= w[at + c] + woff;
    y[row * n + c] = rounded(v, mode);
  }
}

KERNEL(tg_layer_norm)(GLOBAL const int* step, FORM(rows), IN(x), IN(w), IN(b), OUT(y), int n,
                      int has_w, int has_b, float eps, int mode) {
  SHARED float sums[WG];
  ulong row = (ulong)GROUP0;
  if ((int)row >= SIZE(rows)) return;
  READS(float, x);
  READS(float, w);
  READS(float, b);
  WRITES(float, y);
  float total = 0.0f;
  EACH_OF(c, n) total += x[row * n + c];
  float mean = group_sum(sums, total) / (float)n;
  // What rounding left of the mean, so that a row far from zero keeps its digits.
  total = 0.0f;
  EACH_OF(c, n) total += x[row * n + c] - mean;
  float rest = group_sum(sums, total) / (float)n;
  total = 0.0f;
  EACH_OF(c, n) {
    float d = x[row * n + c] - mean - rest;
    total += d * d;
  }
  float inverse = 1.0f / sqrt(group_sum(sums, total) / (float)n + eps);
  EACH_OF(c, n) {
    float v = (x[row * n + c] - mean - rest) * inverse;
    if (has_w) v *= w[c];
    if (has_b) v += b[c];
    y[row * n + c] = rounded(v, mode);
  }
}

#define REDUCE_SUM 0
#define REDUCE_MEAN 1
#define REDUCE_MAX 2
#define REDUCE_ARGMAX 3

KERNEL(tg_reduce)(GLOBAL const int* step, FORM(rows), IN(x), OUT(y), int n, int kind, int mode) {
  SHARED float sums[WG];
  SHARED int places[WG];
  ulong row = (ulong)GROUP0;
  if ((int)row >= SIZE(rows)) return;
  READS(float, x);
  WRITES(float, y);
  if (kind == REDUCE_SUM || kind == REDUCE_MEAN) {
    float total = 0.0f;
    EACH_OF(c, n) total += x[row * n + c];
    total = group_sum(sums, total);
    if (LID == 0) y[row] = rounded(kind == REDUCE_MEAN ? total / (float)n : total, mode);
    return;
  }
  int best = LID < n ? LID : 0;
  EACH_OF(c, n) {
    if (x[row * n + c] > x[row * n + best]) best = c;
  }
  sums[LID] = x[row * n + best];
  places[LID] = best;
  BARRIER();
  for (int half_of = WG / 2; half_of > 0; half_of /= 2) {
    if (LID < half_of) {
      float mine = sums[LID], other = sums[LID + half_of];
      if (other > mine || (other == mine && places[LID + half_of] < places[LID])) {
        sums[LID] = other;
        places[LID] = places[LID + half_of];
      }
    }
    BARRIER();
  }
  float top = sums[0];
  int place = places[0];
  if (kind == REDUCE_MAX) {
    if (LID == 0) y[row] = rounded(top, mode);
    return;
  }
  if (kind == REDUCE_ARGMAX) {
    if (LID == 0) ((GLOBAL int*)y)[row] = place;
    return;
  }
  float total = 0.0f;
  EACH_OF(c, n) total += exp(x[row * n + c] - top);
  total = group_sum(sums, total);
  EACH_OF(c, n) y[row * n + c] = rounded(exp(x[row * n + c] - top) / total, mode);
}

// cos and sin of pos * invf, times mscale: [tokens, n] each, one behind the other.
KERNEL(tg_rope_table)(GLOBAL const int* step, FORM(rows), IN(pos), IN(invf), OUT(table), int n,
                      float mscale) {
  READS(int, pos);
  READS(float, invf);
  WRITES(float, table);
  ulong total = (ulong)SIZE(rows) * n;
  EACH(i, total) {
    float angle = (float)pos[i / n] * invf[i % n];
    table[i] = cos(angle) * mscale;
    table[total + i] = sin(angle) * mscale;
  }
}

KERNEL(tg_rope)(GLOBAL const int* step, FORM(rows), IN(x), IN(table), OUT(y), int heads, int d,
                int rot, int offset, int pairs, int mode) {
  READS(float, x);
  READS(float, table);
  WRITES(float, y);
  int n = rot / 2;
  ulong sines = (ulong)SIZE(rows) * n;
  EACH(i, (ulong)SIZE(rows) * heads * d) {
    ulong t = i / (heads * d);
    int c = (int)(i % d) - offset;
    if (c < 0 || c >= rot) {
      y[i] = x[i];
      continue;
    }
    // `pairs`: neighbours rotate together; else channels half the rotation apart.
    int frequency = pairs ? c / 2 : c % n;
    int is_first = pairs ? c % 2 == 0 : c < n;
    ulong first = i - c + (pairs ? 2 * frequency : frequency);
    float a = x[first];
    float b = x[first + (pairs ? 1 : n)];
    float cosine = table[t * n + frequency];
    float sine = table[sines + t * n + frequency];
    y[i] = rounded(is_first ? a * cosine - b * sine : b * cosine + a * sine, mode);
  }
}

// ---- activations as xq rounds them: still as f32, or as int8 codes behind a scale for each 32

// round(x / s) for the exact quotient, ties to even. x - q s is exact for the nearest q.
DEVICE float int8_code(float x, float s) {
  if (s == 0.0f) return 0.0f;
  float q = rint(x / s);
  float rest = fma(-q, s, x);
  float twice = rest + rest;
  int odd = (int)q & 1;
  if (twice > s || (twice == s && odd)) q += 1.0f;
  if (twice < -s || (twice == -s && odd)) q -= 1.0f;
  return q;
}

// x on e4m3's grid: a quotient that f32 rounded onto a tie is decided by what it lost.
DEVICE float fp8_rounded(float x, float s) {
  if (s == 0.0f) return 0.0f;
  float q = x / s;
  float rest = fma(-q, s, x);
  float low = from_e4m3(to_e4m3(q * 0.99999994f));
  float high = from_e4m3(to_e4m3(q * 1.0000001f));
  float code = from_e4m3(to_e4m3(q));
  if (low != high && q + q == low + high && rest != 0.0f) {
    int is_away = (rest > 0.0f) == (q > 0.0f);
    code = is_away ? high : low;
  }
  return code * s;
}

DEVICE float e2m1_rounded(float x) {
  float a = fabs(x);
  float v = a <= 0.25f ? 0.0f : a < 0.75f ? 0.5f : a <= 1.25f ? 1.0f : a < 1.75f ? 1.5f
          : a <= 2.5f ? 2.0f : a < 3.5f ? 3.0f : a <= 5.0f ? 4.0f : 6.0f;
  return x < 0.0f ? -v : v;
}

#define XQ_INT8 1
#define XQ_FP8 3
#define XQ_MXFP4 4
#define XQ_BF16 5

#define CODES 32                    // of a block of codes
#define CODES_BYTES (4 + CODES)

// A work-group for each block of `block` columns of a row.
KERNEL(tg_quantize)(GLOBAL const int* step, FORM(rows), IN(x), OUT(y), int k, int block, int xq,
                    int as_codes) {
  SHARED float most[WG];
  ulong row = (ulong)GROUP0;
  if ((int)row >= SIZE(rows)) return;
  READS(float, x);
  WRITES(float, y);
  ulong first = row * k + GROUP1 * block;
  int width = k - GROUP1 * block < block ? k - GROUP1 * block : block;
  float top = 0.0f;
  EACH_OF(c, width) {
    float a = fabs(x[first + c]);
    top = a > top ? a : top;
  }
  top = group_max(most, top);
  float s = top / (xq == XQ_FP8 ? 448.0f : 127.0f);
  if (xq == XQ_MXFP4) s = top == 0.0f ? 1.0f : ldexp(1.0f, clamp(ilogb(top) - 2, -127, 127));
  if (as_codes) {
    EACH_OF(c, width) {
      ulong at = first + c;
      GLOBAL uchar* b = y_base + y_at + at / CODES * CODES_BYTES;
      if (at % CODES == 0) *(GLOBAL float*)b = s;
      b[4 + at % CODES] = (uchar)(signed char)int8_code(x[at], s);
    }
    return;
  }
  EACH_OF(c, width) {
    float v = x[first + c];
    y[first + c] = xq == XQ_FP8     ? fp8_rounded(v, s)
                     : xq == XQ_MXFP4 ? e2m1_rounded(v / s) * s
                     : xq == XQ_BF16  ? rounded(v, ROUND_BF16)
                                      : int8_code(v, s) * s;
  }
}

// ---- products no step spends its time in: an item for every number of the result

// y[g, m, n] = sum over k of a[g, m, k] b[g, n, k]; rows are g times m.
KERNEL(tg_bmm)(GLOBAL const int* step, FORM(rows), IN(a), IN(b), OUT(y), FORM(m), int n, int k,
               FORM(b_rows), int mode) {
  READS(float, a);
  READS(float, b);
  WRITES(float, y);
  ulong columns = (ulong)SIZE(b_rows);
  EACH(i, (ulong)SIZE(rows) * columns) {
    ulong r = i / columns;
    GLOBAL const float* left = a + r * k;
    GLOBAL const float* right = b + (r / SIZE(m) * columns + i % columns) * k;
    float total = 0.0f;
    for (int c = 0; c < k; ++c) total = fma(left[c], right[c], total);
    y[i] = rounded(total, mode);
  }
}

// y[t, g, c] = sum over n of a[t, g, n] w[g, n, c].
KERNEL(tg_bmm_transposed)(GLOBAL const int* step, FORM(rows), IN(a), IN(w), OUT(y), int groups, int k,
                          int columns, int a_groups, ulong row_bytes, ulong w_step, int codec,
                          int mode) {
  READS(float, a);
  READS(uchar, w);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * groups * columns) {
    int c = (int)(i % columns);
    ulong g = i / columns % groups;
    ulong t = i / ((ulong)columns * groups);
    GLOBAL const float* left = a + (t * a_groups + (a_groups == 1 ? 0 : g)) * k;
    float total = 0.0f;
    for (int n = 0; n < k; ++n) {
      total = fma(left[n], weight_at(codec, w + g * w_step + n * row_bytes, c), total);
    }
    y[i] = rounded(total, mode);
  }
}

// y[t] = sum over j of w[t, j] * y'[t * k + j], in order of j.
KERNEL(tg_combine)(GLOBAL const int* step, FORM(rows), IN(x), IN(w), OUT(y), int n, int k, int mode) {
  READS(float, x);
  READS(float, w);
  WRITES(float, y);
  EACH(i, (ulong)SIZE(rows) * n) {
    ulong t = i / n;
    ulong c = i - t * n;
    float total = 0.0f;
    for (int j = 0; j < k; ++j) total += w[t * k + j] * x[(t * k + j) * n + c];
    y[i] = rounded(total, mode);
  }
}
