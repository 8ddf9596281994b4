/* A `linear` with one defect, chosen by TGD_DEFECT, in an otherwise right backend: what conformance
 * must catch. For tests only. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/kit/vendor_kernels.h"

enum {
  F16_ACCUMULATION = 1, /* partial sums in f16 */
  SILENT_INT8 = 2,      /* activations quantised to 8 bits per 32, unasked */
  ONE_CORRUPTED = 3,    /* one element of the result off by 2 % */
  TRUNCATION = 4,       /* 16-bit results cut off instead of rounded */
  ALLOCATION = 5,       /* malloc inside run */
  BATCH_DEPENDENT = 6,  /* the order of additions depends on how many tokens there are */
  UNSTABLE = 7          /* the order of additions depends on what ran before */
};
enum { LINEAR = 7, F16 = 8, BF16 = 9, BLOCK = 32, CHUNKS = 4 };

static float dot_f16(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += a[i] * b[i];
    tgk_round(F16, &sum, 1);
  }
  return sum;
}

static float dot_int8(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t end = first + BLOCK < n ? first + BLOCK : n;
    float largest = 0;
    for (int64_t i = first; i < end; ++i) largest = fmaxf(largest, fabsf(a[i]));
    float scale = largest / 127;
    for (int64_t i = first; i < end; ++i) {
      sum += scale == 0 ? 0 : nearbyintf(a[i] / scale) * scale * b[i];
    }
  }
  return sum;
}

static float dot_in(const float* a, const float* b, int64_t n, int64_t chunks) {
  float sum = 0;
  for (int64_t c = 0; c < chunks; ++c) {
    float part = 0;
    for (int64_t i = n * c / chunks; i < n * (c + 1) / chunks; ++i) part += a[i] * b[i];
    sum += part;
  }
  return sum;
}

/* Towards zero: the low bits of the f32 go. f16 has 13 bits less, bf16 16. */
static float cut(uint32_t dtype, float x) {
  uint32_t bits = 0;
  memcpy(&bits, &x, sizeof(bits));
  if (dtype == F16) bits &= ~0x1FFFu;
  if (dtype == BF16) bits &= ~0xFFFFu;
  memcpy(&x, &bits, sizeof(bits));
  return x;
}

static float element(const tgk_call* c, const float* x, const float* w, int64_t k) {
  static int runs = 0;
  switch (TGD_DEFECT) {
    case F16_ACCUMULATION: return dot_f16(x, w, k);
    case SILENT_INT8: return dot_int8(x, w, k);
    case BATCH_DEPENDENT: return dot_in(x, w, k, c->batch.tokens > CHUNKS ? CHUNKS : 1);
    case UNSTABLE: return dot_in(x, w, k, 1 + runs++ % CHUNKS);
    default: return dot_in(x, w, k, 1);
  }
}

static void linear(const tgk_call* c) {
  int64_t k = c->in[1].dims[1], n = c->in[1].dims[0];
  /* volatile: a compiler may drop what it sees freed unused. */
  void* volatile scratch = TGD_DEFECT == ALLOCATION ? malloc((size_t)k) : NULL;
  for (int64_t t = 0; t < c->out.dims[0]; ++t) {
    for (int64_t i = 0; i < n; ++i) {
      float y = element(c, c->in[0].data + t * k, c->in[1].data + i * k, k);
      if (c->n_in > 2) y += c->in[2].data[i];
      if (TGD_DEFECT == TRUNCATION) y = cut(c->out.dtype, y);
      c->out.data[t * n + i] = y;
    }
  }
  if (TGD_DEFECT == ONE_CORRUPTED) c->out.data[n / 2] *= 1.02f;
  free(scratch);
}

tgk_kernel vendor_kernel(uint32_t opcode) {
  return opcode == LINEAR ? linear : NULL;
}
