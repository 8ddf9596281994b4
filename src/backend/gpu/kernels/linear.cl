// Products with a weight, for many matrices at once (grid z): of a linear there is one,
// of a bmm one for each group, of a grouped_linear one for each expert, whose rows `perm` names.
// Weights are decoded to f32 a run of 32 columns at a time and sums are f32. Where CODEC is defined the
// kernels are for that codec alone. `parts` is for kernels that cut x into 16-bit parts: how many make
// its numbers exactly.
//
// Two forms: `few` streams the weights once past at most 8 rows of x, 16 items (or a sub-group) along K
// for each output; `tile` holds 64 x 32 outputs a work-group, both operands in local memory.
//
// Where INT_CODES is defined x is int8 codes in blocks (tg_quantize), and `few` multiplies them with a
// weight's own codes: sums of 32 are exact integers.
#define RUN 32
#define FEW 8
#define FEW_COLUMNS 4  // of a work-group
#define LANES (WG / FEW_COLUMNS)
#define TILE_N 64
#define TILE_T 32

DEVICE int runs_of(int k) {
  return (k + RUN - 1) / RUN;
}

// Columns 32 r .. 32 r + 31 of a packed row.
DEVICE void decode_run(int codec, GLOBAL const uchar* row, int r, float* w) {
  int per_block = block_elements(codec) / RUN;
  GLOBAL const uchar* b = row + (ulong)(r / per_block) * block_bytes(codec);
  int j = r % per_block;
  if (codec == F32) {
    GLOBAL const float* from = (GLOBAL const float*)b;
    for (int i = 0; i < RUN; ++i) w[i] = from[i];
  } else if (codec == BF16) {
    GLOBAL const uint* from = (GLOBAL const uint*)b;
    for (int i = 0; i < RUN / 2; ++i) {
      w[2 * i] = FLOAT(from[i] << 16);
      w[2 * i + 1] = FLOAT(from[i] & 0xFFFF0000u);
    }
  } else if (codec == Q8_0) {
    float scale = half_at(b);
    GLOBAL const uint* codes = (GLOBAL const uint*)(b + 4);
    for (int i = 0; i < RUN / 4; ++i) {
      uint v = codes[i];
      for (int n = 0; n < 4; ++n) w[4 * i + n] = scale * (float)(signed char)(v >> (8 * n));
    }
  } else if (codec == Q4_0) {
    float scale = half_at(b);
    GLOBAL const uint* codes = (GLOBAL const uint*)(b + 4);
    for (int i = 0; i < 4; ++i) {
      uint v = codes[i];
      for (int n = 0; n < 4; ++n) {
        w[4 * i + n] = scale * (float)((int)(v >> (8 * n) & 15u) - 8);
        w[4 * i + n + 16] = scale * (float)((int)(v >> (8 * n + 4) & 15u) - 8);
      }
    }
  } else if (codec == Q4_K) {
    float scale = half_at(b) * (float)scale_k4(b + 4, j);
    float least = half_at(b + 2) * (float)min_k4(b + 4, j);
    GLOBAL const uint* codes = (GLOBAL const uint*)(b + 16 + 32 * (j / 2));
    for (int i = 0; i < 8; ++i) {
      uint v = codes[i] >> (4 * (j % 2));
      for (int n = 0; n < 4; ++n) w[4 * i + n] = scale * (float)(v >> (8 * n) & 15u) - least;
    }
  } else if (codec == INT4_G32 || codec == INT4_G128) {
    float scale = half_at(b);
    int zero = b[2];
    GLOBAL const uint* codes = (GLOBAL const uint*)(b + 4 + 16 * j);
    for (int i = 0; i < 4; ++i) {
      uint v = codes[i];
      for (int n = 0; n < 8; ++n) w[8 * i + n] = (float)((int)(v >> (4 * n) & 15u) - zero) * scale;
    }
  } else {
    for (int i = 0; i < RUN; ++i) w[i] = element_of(codec, b, j * RUN + i);
  }
}

// What every form of a product takes.
#define PRODUCT_PARAMETERS                                                                    \
  GLOBAL const int *step, FORM(rows), IN(w), IN(x), IN(bias), OUT(y), IN(perm),               \
      FORM(perm_rows), int n, int k, ulong row_bytes, ulong w_step, int x_stride, int x_step, \
      int y_stride, int y_step, int bias_step, int grouped, int ranks, int has_bias, int mode, \
      int codec, int parts

// Its arrays; which rows a work-group's matrix has, and where they are.
#define ROWS_OF_MATRIX()                                                        \
  READS(uchar, w);                                                              \
  READS(float, x);                                                              \
  READS(float, bias);                                                           \
  READS(int, perm);                                                             \
  WRITES(float, y);                                                             \
  GLOBAL const int* begin = perm + 2 * (ulong)SIZE(perm_rows);                  \
  GLOBAL const int* order = perm + (ulong)SIZE(perm_rows);                      \
  int base = grouped ? begin[GROUP2] : 0;                                       \
  int count = grouped ? begin[GROUP2 + 1] - base : SIZE(rows);                  \
  if (grouped) order += base;

// Row i of the matrix's rows of x, and its number of `column` of y.
#define ROW_OF_X(i)                                                                           \
  (x + (grouped ? (ulong)(order[i] / ranks) : (ulong)(i)) * x_stride + (ulong)GROUP2 * x_step)
#define STORE_PRODUCT(i, column, sum)                                                         \
  y[(grouped ? (ulong)order[i] : (ulong)(i)) * y_stride + (ulong)GROUP2 * y_step + (column)] = \
      rounded(has_bias ? (sum) + bias[(ulong)GROUP2 * bias_step + (column)] : (sum), mode)

#ifdef CODEC
#define CODEC_HERE CODEC
#else
#define CODEC_HERE codec
#endif

#ifdef INT_CODES
typedef struct {
  uint codes[RUN / 4];
  int zero;  // of all codes
  float scale;
} Run;

DEVICE void load_run(int codec, GLOBAL const uchar* row, int r, Run* run) {
  GLOBAL const uchar* b = row + (ulong)r * block_bytes(codec);
  GLOBAL const uint* codes = (GLOBAL const uint*)(b + 4);
  run->scale = half_at(b);
  run->zero = codec == Q4_0 ? 8 : 0;
  for (int i = 0; i < RUN / 4; ++i) {
    run->codes[i] = codec == Q4_0 ? codes[i % 4] >> (i / 4 * 4) & 0x0F0F0F0Fu : codes[i];
  }
}

// A block of x: its scale, then its codes.
DEVICE float times_run(const Run* run, GLOBAL const float* x, int r, int k) {
  GLOBAL const uint* b = (GLOBAL const uint*)x + r * (1 + RUN / 4);
  int total = 0, sum = 0;
  for (int i = 0; i < RUN / 4; ++i) {
    total += DOT4(run->codes[i], b[1 + i]);
    if (run->zero != 0) sum += DOT4(0x01010101u, b[1 + i]);
  }
  return run->scale * FLOAT(b[0]) * (float)(total - run->zero * sum);
}
#else
typedef struct {
  float numbers[RUN];
} Run;

DEVICE void load_run(int codec, GLOBAL const uchar* row, int r, Run* run) {
  decode_run(codec, row, r, run->numbers);
}

DEVICE float times_run(const Run* run, GLOBAL const float* x, int r, int k) {
  GLOBAL const float* v = x + r * RUN;
  int most = k - r * RUN < RUN ? k - r * RUN : RUN;
  float total = 0.0f;
  if (most == RUN) {
    for (int c = 0; c < RUN; ++c) total = fma(run->numbers[c], v[c], total);
  } else {
    for (int c = 0; c < most; ++c) total = fma(run->numbers[c], v[c], total);
  }
  return total;
}
#endif

// What one of `lanes` adds up of a column of y, for `here` rows from `first` on.
#define SUM_RUNS(acc, column, lane, lanes)                                                        \
  for (int i = 0; i < FEW; ++i) acc[i] = 0.0f;                                                    \
  if (column < n) {                                                                               \
    GLOBAL const uchar* row = w + (ulong)GROUP2 * w_step + (ulong)column * row_bytes;             \
    for (int r = lane; r < runs_of(k); r += lanes) {                                              \
      Run run;                                                                                    \
      load_run(CODEC_HERE, row, r, &run);                                                         \
      for (int i = 0; i < here; ++i) acc[i] += times_run(&run, ROW_OF_X(first + i), r, k);        \
    }                                                                                             \
  }

#ifdef HAS_SUBGROUPS
// A column for each sub-group in turn.
KERNEL(tg_linear_few)(PRODUCT_PARAMETERS) {
  SHARED float room[WG];
  ROWS_OF_MATRIX();
  int first = GROUP1 * FEW;
  if (first >= count) return;
  int here = count - first < FEW ? count - first : FEW;
  for (int c = SUB_GROUP; c < FEW_COLUMNS; c += SUB_GROUPS) {
    int column = GROUP0 * FEW_COLUMNS + c;
    float acc[FEW];
    SUM_RUNS(acc, column, SUB_LANE, SUB_LANES);
    for (int i = 0; i < FEW; ++i) {
      float total = sub_group_sum(room, acc[i]);
      if (SUB_LANE == 0 && i < here && column < n) STORE_PRODUCT(first + i, column, total);
    }
  }
}
#else
KERNEL(tg_linear_few)(PRODUCT_PARAMETERS) {
  SHARED float sums[WG * FEW];
  ROWS_OF_MATRIX();
  int first = GROUP1 * FEW;
  if (first >= count) return;
  int here = count - first < FEW ? count - first : FEW;
  int lane = LID % LANES;
  int column = GROUP0 * FEW_COLUMNS + LID / LANES;
  float acc[FEW];
  SUM_RUNS(acc, column, lane, LANES);
  for (int i = 0; i < FEW; ++i) sums[LID * FEW + i] = acc[i];
  BARRIER();
  int i = LID % FEW;
  column = GROUP0 * FEW_COLUMNS + LID / FEW;
  if (LID >= FEW_COLUMNS * FEW || i >= here || column >= n) return;
  float total = 0.0f;
  for (int l = 0; l < LANES; ++l) total += sums[(LID / FEW * LANES + l) * FEW + i];
  STORE_PRODUCT(first + i, column, total);
}
#endif

#if !defined(TILE_ELSEWHERE) && !defined(INT_CODES)
KERNEL(tg_linear_tile)(PRODUCT_PARAMETERS) {
  // By column of K, one more to keep neighbours in different banks.
  SHARED float w_tile[RUN * (TILE_N + 1)];
  SHARED float x_tile[RUN * (TILE_T + 1)];
  ROWS_OF_MATRIX();
  int first = GROUP1 * TILE_T;
  if (first >= count) return;
  int here = count - first < TILE_T ? count - first : TILE_T;
  int n0 = GROUP0 * TILE_N;
  // This item's row of the weights; rows past the end repeat the last and are not stored.
  int mine = n0 + LID < n ? n0 + LID : n - 1;
  GLOBAL const uchar* row = w + (ulong)GROUP2 * w_step + (ulong)mine * row_bytes;
  float acc[4][8];
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 8; ++j) acc[i][j] = 0.0f;
  }
  int nb = LID % 8, tb = LID / 8;
  for (int r = 0; r < runs_of(k); ++r) {
    float weights[RUN];
    decode_run(CODEC_HERE, row, r, weights);
    for (int c = 0; c < RUN; ++c) w_tile[c * (TILE_N + 1) + LID] = weights[c];
    // 32 neighbouring items read a row of x.
    int c = LID % RUN;
    for (int t = LID / RUN; t < TILE_T; t += WG / RUN) {
      float v = 0.0f;
      if (t < here && r * RUN + c < k) v = ROW_OF_X(first + t)[r * RUN + c];
      x_tile[c * (TILE_T + 1) + t] = v;
    }
    BARRIER();
    for (int kk = 0; kk < RUN; ++kk) {
      float wv[8], xv[4];
      for (int j = 0; j < 8; ++j) wv[j] = w_tile[kk * (TILE_N + 1) + nb + 8 * j];
      for (int i = 0; i < 4; ++i) xv[i] = x_tile[kk * (TILE_T + 1) + tb * 4 + i];
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 8; ++j) acc[i][j] = fma(wv[j], xv[i], acc[i][j]);
      }
    }
    BARRIER();
  }
  for (int i = 0; i < 4; ++i) {
    int t = tb * 4 + i;
    if (t >= here) break;
    for (int j = 0; j < 8; ++j) {
      int column = n0 + nb + 8 * j;
      if (column < n) STORE_PRODUCT(first + t, column, acc[i][j]);
    }
  }
}
#endif
