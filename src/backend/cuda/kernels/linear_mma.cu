// Products with a weight of one CODEC on tensor cores. Codes of at most eight bits are exact in bf16, and
// so are x's parts; what a run of 32 columns adds up in f32 is scaled in f32. Thus a quantised weight
// is never rounded to 16 bits, and activations keep every bit the program gives them.
//
// A work-group of four warps has 128 columns of y and 64 rows: a warp 32 columns, as two tiles of 16, by
// eight tiles of 8 rows. The first form, `few`, is the shared one.
#include "dialect.cl"

#include "codecs.cl"

#define TILE_ELSEWHERE
#include "linear.cl"

#include "codes.h"
#include "mma.h"

#define MMA_N 128
#define MMA_T 64
#define MMA_THREADS 128
#define STRIDE (RUN + 8)  // of a row in shared memory: neighbours in different banks
#define PARTS_MAX tg_cuda::kPartsMax

// Bf16 weights have no scale: their sums go on from run to run.
#define IS_SCALED (CODEC != BF16)

KERNEL_OF(MMA_THREADS)
tg_linear_tile(PRODUCT_PARAMETERS) {
  SHARED __align__(16) ushort w_tile[MMA_N * STRIDE];
  SHARED __align__(16) ushort x_tile[PARTS_MAX][MMA_T * STRIDE];
  SHARED float scales[MMA_N][2], least[MMA_N], x_sums[MMA_T];
  ROWS_OF_MATRIX();
  int first = GROUP1 * MMA_T;
  if (first >= count) return;
  int here = count - first < MMA_T ? count - first : MMA_T;
  int n0 = GROUP0 * MMA_N;
  int warp = LID / 32, lane = LID % 32;
  // Rows past the end repeat the last and are not stored.
  int mine = n0 + LID < n ? n0 + LID : n - 1;
  const uchar* row = w + (ulong)GROUP2 * w_step + (ulong)mine * row_bytes;
  // Two threads read a row of x.
  int token = LID / 2, half_of = LID % 2 * (RUN / 2);
  const float* from = token < here ? ROW_OF_X(first + token) : x;
  float sums[2][8][4] = {};
  for (int r = 0; r < runs_of(k); ++r) {
    tg_cuda::RunScales run = tg_cuda::read_run<CODEC>(row, r, w_tile + LID * STRIDE);
    scales[LID][0] = run.scale[0];
    scales[LID][1] = run.scale[1];
    least[LID] = run.least;
    float total = 0.0f;
    for (int c = 0; c < RUN / 2; ++c) {
      int column = r * RUN + half_of + c;
      float v = token < here && column < k ? from[column] : 0.0f;
      ushort split[PARTS_MAX];
      tg_cuda::split(v, parts, split);
      for (int p = 0; p < PARTS_MAX; ++p) {
        if (p < parts) x_tile[p][token * STRIDE + half_of + c] = split[p];
      }
      total += v;
    }
    total += __shfl_xor_sync(0xFFFFFFFFu, total, 1);
    if (half_of == 0) x_sums[token] = total;
    BARRIER();
    for (int kk = 0; kk < RUN; kk += 16) {
      unsigned a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        tg_cuda::load_a(a[m], w_tile, STRIDE, warp * 32 + m * 16, kk);
      }
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        float part[2][4] = {};
        for (int p = 0; p < parts; ++p) {
          unsigned b[2];
          tg_cuda::load_b(b, x_tile[p], STRIDE, j * 8, kk);
#pragma unroll
          for (int m = 0; m < 2; ++m) tg_cuda::mma_bf16(IS_SCALED ? part[m] : sums[m][j], a[m], b);
        }
#pragma unroll
        for (int m = 0; IS_SCALED && m < 2; ++m) {
          int at = warp * 32 + m * 16 + lane / 4;
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sums[m][j][i] = fmaf(scales[at + i / 2 * 8][kk / 16], part[m][i], sums[m][j][i]);
          }
        }
      }
    }
    if (CODEC == Q4_K) {
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            int at = warp * 32 + m * 16 + lane / 4 + i / 2 * 8;
            int t = j * 8 + lane % 4 * 2 + i % 2;
            sums[m][j][i] = fmaf(-least[at], x_sums[t], sums[m][j][i]);
          }
        }
      }
    }
    BARRIER();
  }
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int column = n0 + warp * 32 + m * 16 + lane / 4 + i / 2 * 8;
        int t = j * 8 + lane % 4 * 2 + i % 2;
        if (t < here && column < n) STORE_PRODUCT(first + t, column, sums[m][j][i]);
      }
    }
  }
}
