// What needs f64 so that its choices are the reference's: routing, filtering scores, drawing tokens.
// A work-group has one row; only devices with f64 claim these ops.
#ifdef __OPENCL_VERSION__
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define EXPERTS_MAX 512

// Leaves in `places[0]` the first of the largest values; REQUIRES: at least one is not NaN, or all are
// (then -1).
DEVICE void group_best(LOCAL double* values, LOCAL int* places, double value, int place) {
  BARRIER();
  values[LID] = value;
  places[LID] = place;
  BARRIER();
  for (int half_of = WG / 2; half_of > 0; half_of /= 2) {
    if (LID < half_of) {
      int other = places[LID + half_of];
      double theirs = values[LID + half_of];
      int wins = other >= 0 && (places[LID] < 0 || theirs > values[LID] ||
                                (theirs == values[LID] && other < places[LID]));
      if (wins) {
        values[LID] = theirs;
        places[LID] = other;
      }
    }
    BARRIER();
  }
}

DEVICE double group_sum_exact(LOCAL double* s, double v) {
  BARRIER();
  s[LID] = v;
  BARRIER();
  for (int half_of = WG / 2; half_of > 0; half_of /= 2) {
    if (LID < half_of) s[LID] += s[LID + half_of];
    BARRIER();
  }
  return s[0];
}

#define SCORE_SOFTMAX 0
#define SCORE_SIGMOID 1
#define SCORE_SQRT_SOFTPLUS 2
#define SCORE_SOFTMAX_TOPK 3

// A NaN marks what is out of the choice.
#define OUT_OF_CHOICE ((double)FLOAT(0x7FC00000u))

KERNEL(tg_route)(GLOBAL const int* step, FORM(rows), IN(logits), IN(bias), OUT(weights), OUT(ids),
                 OUT(perm), int experts, int k, int score, int groups, int topk_groups, int top2,
                 int renorm, int has_bias, int has_ids, float scale) {
  SHARED double scores[EXPERTS_MAX], choice[EXPERTS_MAX], spare[EXPERTS_MAX];
  SHARED double values[WG];
  SHARED int places[WG];
  int t = GROUP0;
  if (t >= SIZE(rows)) return;
  READS(float, logits);
  READS(float, bias);
  WRITES(float, weights);
  WRITES(int, ids);
  WRITES(int, perm);
  double top = -INFINITY;
  EACH_OF(e, experts) {
    scores[e] = logits[(ulong)t * experts + e];
    top = scores[e] > top ? scores[e] : top;
  }
  group_best(values, places, top, LID);
  top = values[0];
  double total = 0.0, bad = 0.0;
  EACH_OF(e, experts) {
    double v = scores[e];
    if (score == SCORE_SOFTMAX) v = exp(v - top);
    if (score == SCORE_SIGMOID) v = 1.0 / (1.0 + exp(-v));
    if (score == SCORE_SQRT_SOFTPLUS) v = sqrt(v > 20.0 ? v : log1p(exp(v)));
    scores[e] = v;
    total += v;
  }
  total = group_sum_exact(values, total);
  EACH_OF(e, experts) {
    if (score == SCORE_SOFTMAX) scores[e] /= total;
    choice[e] = scores[e] + (double)(has_bias ? bias[e] : 0.0f);
    if (choice[e] != choice[e]) bad = 1.0;
  }
  int finite = group_sum_exact(values, bad) == 0.0;
  if (finite && groups > 1) {
    int size = experts / groups;
    EACH_OF(g, groups) {
      double first = -INFINITY, second = -INFINITY;
      for (int e = g * size; e < (g + 1) * size; ++e) {
        double v = choice[e];
        if (v > first) {
          second = first;
          first = v;
        } else if (v > second) {
          second = v;
        }
      }
      spare[g] = top2 && size > 1 ? first + second : first;
    }
    BARRIER();
    for (int i = 0; i < topk_groups; ++i) {
      int best = -1;
      EACH_OF(g, groups) {
        if (spare[g] == spare[g] && (best < 0 || spare[g] > spare[best])) best = g;
      }
      group_best(values, places, best < 0 ? 0.0 : spare[best], best);
      if (LID == 0 && places[0] >= 0) spare[places[0]] = OUT_OF_CHOICE;
      BARRIER();
    }
    EACH_OF(e, experts) {
      if (spare[e / size] == spare[e / size]) choice[e] = OUT_OF_CHOICE;
    }
    BARRIER();
  }
  // What was chosen, in order, takes the place of the groups' values.
  for (int j = 0; j < k; ++j) {
    int best = -1;
    EACH_OF(e, experts) {
      if (finite && choice[e] == choice[e] && (best < 0 || choice[e] > choice[best])) best = e;
    }
    group_best(values, places, best < 0 ? 0.0 : choice[best], best);
    if (LID == 0) {
      int expert = places[0] < 0 ? j : places[0];
      perm[(ulong)t * k + j] = expert;
      if (has_ids) ids[(ulong)t * k + j] = expert;
      spare[j] = places[0] < 0 ? OUT_OF_CHOICE : scores[expert];
      choice[expert] = OUT_OF_CHOICE;
    }
    BARRIER();
  }
  if (LID != 0) return;
  double sum = 0.0, high = spare[0], over = 0.0;
  int is_topk = score == SCORE_SOFTMAX_TOPK;
  for (int j = 0; j < k; ++j) over += exp(spare[j] - high);
  for (int j = 0; j < k; ++j) sum += is_topk ? exp(spare[j] - high) / over : spare[j];
  for (int j = 0; j < k; ++j) {
    double v = is_topk ? exp(spare[j] - high) / over : spare[j];
    if (renorm && sum != 0.0) v /= sum;
    weights[(ulong)t * k + j] = (float)(v * (double)scale);
  }
}

// The rows of a perm in order of expert, rows of one expert in order; one work-group, an item for
// every 64th expert. Also how many experts have any.
KERNEL(tg_order)(GLOBAL const int* step, FORM(rows), OUT(perm), OUT(hits), int experts) {
  WRITES(int, perm);
  WRITES(uint, hits);
  int rows = SIZE(rows);
  GLOBAL int* order = perm + rows;
  GLOBAL int* begin = order + rows;
  EACH_OF(e, experts) {
    int n = 0;
    for (int r = 0; r < rows; ++r) n += perm[r] == e;
    begin[e + 1] = n;
  }
  BARRIER_GLOBAL();
  if (LID == 0) {
    uint hit = 0;
    begin[0] = 0;
    for (int e = 0; e < experts; ++e) {
      hit += begin[e + 1] > 0;
      begin[e + 1] += begin[e];
    }
    hits[0] = hit;
  }
  BARRIER_GLOBAL();
  EACH_OF(e, experts) {
    int at = begin[e];
    if (begin[e + 1] == at) continue;
    for (int r = 0; r < rows; ++r) {
      if (perm[r] == e) order[at++] = r;
    }
  }
}

// ---- tokens from scores (isa.md section 9)

typedef struct {
  uint first, count;
} List;
typedef struct {
  float temperature, top_p, min_p;
  float repetition_penalty, presence_penalty, frequency_penalty;
  int top_k;
  uint reserved;
  ulong seed, position;
  List prompt, output, bias, allowed;
} SampleRow;

// A work-group's row `r` of scores, [n] from x on, and the parameters `p` of that row.
#define ROW_OF_SCORES()           \
  int r = GROUP0;                 \
  if (r >= SIZE(rows)) return;    \
  READS(float, x);                \
  READS(SampleRow, samples);      \
  SampleRow p = samples[r];       \
  x += (ulong)r * n;

#define REMOVED (-INFINITY)
#define FIXED_POINT_ONE 1099511627776.0

// An unsigned key that orders scores, and equal scores by the lower id.
DEVICE ulong key_of(float score, int id) {
  uint bits = BITS(score == 0.0f ? 0.0f : score);
  uint ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (ulong)ordered << 32 | (uint)~id;
}

DEVICE ulong weight_of(float score, float temperature, double z_max) {
  return (ulong)(exp((double)score / (double)temperature - z_max) * FIXED_POINT_ONE);
}

DEVICE ulong group_total(LOCAL ulong* s, ulong v) {
  BARRIER();
  s[LID] = v;
  BARRIER();
  for (int half_of = WG / 2; half_of > 0; half_of /= 2) {
    if (LID < half_of) s[LID] += s[LID + half_of];
    BARRIER();
  }
  ulong total = s[0];
  BARRIER();
  return total;
}

// The largest key such that what is at or above it, counted by `by_weight` in weights or in tokens,
// reaches `wanted`: found bit by bit. Only keys from `floor_key` up take part.
DEVICE ulong cut_at(LOCAL ulong* sums, GLOBAL const float* y, int n, ulong floor_key, int by_weight,
                    ulong wanted, float temperature, double z_max) {
  ulong cut = 0;
  for (int bit = 63; bit >= 0; --bit) {
    ulong tried = cut | (ulong)1 << bit;
    ulong above = 0;
    EACH_OF(i, n) {
      if (y[i] == REMOVED) continue;
      ulong key = key_of(y[i], i);
      if (key < tried || key < floor_key) continue;
      above += by_weight ? weight_of(y[i], temperature, z_max) : 1;
    }
    if (group_total(sums, above) >= wanted) cut = tried;
  }
  return cut;
}

KERNEL(tg_logits)(GLOBAL const int* step, FORM(rows), IN(x), IN(samples), IN(lists), OUT(y),
                  OUT(scratch), int n) {
  SHARED ulong sums[WG];
  SHARED double values[WG];
  SHARED int places[WG];
  ROW_OF_SCORES();
  READS(uint, lists);
  WRITES(float, y);
  WRITES(int, scratch);
  y += (ulong)r * n;
  GLOBAL int* counts = scratch + (ulong)r * n;
  EACH_OF(i, n) {
    y[i] = x[i];
    counts[i] = -1;
  }
  BARRIER_GLOBAL();
  if (LID == 0) {
    for (uint i = 0; i + 1 < p.bias.count; i += 2) {
      y[lists[p.bias.first + i]] += FLOAT(lists[p.bias.first + i + 1]);
    }
  }
  EACH_OF(i, p.prompt.count) counts[lists[p.prompt.first + i]] = 0;
  EACH_OF(i, p.output.count) counts[lists[p.output.first + i]] = 0;
  BARRIER_GLOBAL();
  EACH_OF(i, p.output.count) atomic_inc(&counts[lists[p.output.first + i]]);
  BARRIER_GLOBAL();
  double bad = 0.0;
  float high = REMOVED;
  EACH_OF(i, n) {
    float s = y[i];
    if (counts[i] >= 0) {
      if (p.repetition_penalty != 1.0f) {
        s = s > 0.0f ? s / p.repetition_penalty : s * p.repetition_penalty;
      }
      if (counts[i] > 0) {
        s -= p.presence_penalty;
        s -= p.frequency_penalty * (float)counts[i];
      }
    }
    if (p.allowed.count > 0 && !(lists[p.allowed.first + i / 32] >> (i % 32) & 1u)) s = REMOVED;
    if (s != s) bad = 1.0;
    high = s > high ? s : high;
    y[i] = s;
  }
  int is_bad = group_sum_exact(values, bad) != 0.0;
  group_best(values, places, (double)high, LID);
  float top = (float)values[0];
  if (is_bad || top - top != 0.0f) {
    EACH_OF(i, n) y[i] = REMOVED;
    return;
  }
  if (p.temperature == 0.0f) return;
  double z_max = (double)top / (double)p.temperature;
  ulong floor_key = 0;
  BARRIER_GLOBAL();
  if (p.top_k > 0 && p.top_k < n) {
    floor_key = cut_at(sums, y, n, 0, 0, (ulong)p.top_k, p.temperature, z_max);
  }
  if (p.top_p < 1.0f) {
    ulong whole = 0;
    EACH_OF(i, n) {
      if (y[i] != REMOVED && key_of(y[i], i) >= floor_key) {
        whole += weight_of(y[i], p.temperature, z_max);
      }
    }
    whole = group_total(sums, whole);
    ulong wanted = (ulong)((double)p.top_p * (double)whole);
    // The first token stays whatever is wanted.
    ulong cut = cut_at(sums, y, n, floor_key, 1, wanted > 0 ? wanted : 1, p.temperature, z_max);
    floor_key = cut > floor_key ? cut : floor_key;
  }
  ulong least = p.min_p > 0.0f ? (ulong)((double)p.min_p * FIXED_POINT_ONE) : 0;
  BARRIER_GLOBAL();
  EACH_OF(i, n) {
    if (y[i] == REMOVED) continue;
    int goes = key_of(y[i], i) < floor_key;
    if (least > 0 && weight_of(y[i], p.temperature, z_max) < least) goes = 1;
    if (goes) y[i] = REMOVED;
  }
}

// The first word of Philox4x32-10 as the number (word + 1/2) / 2^32.
DEVICE double uniform(ulong seed, ulong position, int token, uint use) {
  uint c0 = (uint)position, c1 = (uint)(position >> 32), c2 = (uint)token, c3 = use;
  uint k0 = (uint)seed, k1 = (uint)(seed >> 32);
  for (int i = 0; i < 10; ++i) {
    uint h0 = MULHI(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    uint h1 = MULHI(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return ((double)c0 + 0.5) * (1.0 / 4294967296.0);
}

KERNEL(tg_sample)(GLOBAL const int* step, FORM(rows), IN(x), IN(samples), OUT(ids), OUT(logprobs),
                  OUT(top_ids), OUT(top_logprobs), int n, int top_n) {
  SHARED double values[WG];
  SHARED int places[WG];
  ROW_OF_SCORES();
  WRITES(int, ids);
  WRITES(float, logprobs);
  WRITES(int, top_ids);
  WRITES(float, top_logprobs);
  double best = 0.0, high = 0.0;
  int token = -1, highest = -1;
  EACH_OF(i, n) {
    if (x[i] - x[i] != 0.0f) continue;
    double score = x[i];
    if (highest < 0 || score > high) {
      high = score;
      highest = i;
    }
    double value = score;
    if (p.temperature != 0.0f) {
      value = score / (double)p.temperature - log(-log(uniform(p.seed, p.position, i, 0u)));
    }
    if (token < 0 || value > best) {
      best = value;
      token = i;
    }
  }
  group_best(values, places, best, token);
  token = places[0];
  group_best(values, places, high, highest);
  high = values[0];
  double total = 0.0;
  EACH_OF(i, n) total += exp((double)x[i] - high);
  double log_total = high + log(group_sum_exact(values, total));
  if (LID == 0) {
    ids[r] = token;
    logprobs[r] = token < 0 ? 0.0f : (float)((double)x[token] - log_total);
  }
  ulong before = ~(ulong)0;
  for (int k = 0; k < top_n; ++k) {
    ulong mine = 0;
    EACH_OF(i, n) {
      if (x[i] == REMOVED || x[i] != x[i]) continue;
      ulong key = key_of(x[i], i);
      if (key < before && key > mine) mine = key;
    }
    // Keys order as their halves do: scores first, then ids.
    BARRIER();
    LOCAL ulong* keys = (LOCAL ulong*)values;
    keys[LID] = mine;
    BARRIER();
    for (int half_of = WG / 2; half_of > 0; half_of /= 2) {
      if (LID < half_of && keys[LID + half_of] > keys[LID]) keys[LID] = keys[LID + half_of];
      BARRIER();
    }
    before = keys[0];
    if (LID == 0) {
      int id = before == 0 ? -1 : (int)~(uint)before;
      top_ids[r * top_n + k] = id;
      top_logprobs[r * top_n + k] = id < 0 ? 0.0f : (float)((double)x[id] - log_total);
    }
    if (before == 0) before = 1;
  }
}
