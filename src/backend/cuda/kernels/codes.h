// A run of 32 weights as what tensor cores multiply exactly: codes that bf16 holds, and the scales
// and minimum that turn their sums into the product: w = scale * code - least. Plain C++ too, so
// that it is tested without a GPU (codes_test.cc); the bytes are those of gpu/packed.h.
#pragma once

#ifdef __CUDACC__
#define TG_HOST_DEVICE __host__ __device__ __forceinline__
#else
#include <cstring>
#define TG_HOST_DEVICE inline
#endif

namespace tg_cuda {

enum { kBf16 = 9, kQ4_0 = 14, kQ8_0 = 18, kQ4K = 21, kQ6K = 23, kInt4G128 = 29, kFp8B128 = 30 };

struct RunScales {
  float scale[2];  // of columns 0 to 15 and 16 to 31
  float least;
};

TG_HOST_DEVICE float bits_to_float(unsigned bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float out;
  memcpy(&out, &bits, sizeof(out));
  return out;
#endif
}

TG_HOST_DEVICE unsigned float_to_bits(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  unsigned out;
  memcpy(&out, &x, sizeof(out));
  return out;
#endif
}

TG_HOST_DEVICE float half_to_float(unsigned h) {
  unsigned magnitude = h & 0x7FFFu;
  float value = magnitude >= 0x7C00u
                    ? bits_to_float(0x7F800000u | (magnitude & 0x3FFu) << 13)
                    : bits_to_float(magnitude << 13) * 5.192296858534828e33f;  // 2^112
  return h & 0x8000u ? -value : value;
}

TG_HOST_DEVICE float half_at(const unsigned char* p) {
  return half_to_float(static_cast<unsigned>(p[0]) | static_cast<unsigned>(p[1]) << 8);
}

// REQUIRES: bf16 holds it.
TG_HOST_DEVICE unsigned short exact_bfloat(float x) {
  return static_cast<unsigned short>(float_to_bits(x) >> 16);
}
TG_HOST_DEVICE unsigned short code(int c) {
  return exact_bfloat(static_cast<float>(c));
}

TG_HOST_DEVICE float e4m3_to_float(unsigned v) {
  unsigned m = v & 0x7Fu;
  if (m == 0x7Fu) return bits_to_float(0x7FC00000u);
  float magnitude =
      m < 8u ? static_cast<float>(m) * 0.001953125f : bits_to_float((m << 20) + (120u << 23));
  return v & 0x80u ? -magnitude : magnitude;
}

enum { kPartsMax = 3 };

// x as bf16 numbers that add up to it: one for what is bf16, two for f16, three for f32. Bounds are
// constant here and where parts are used, so that arrays of them are registers.
TG_HOST_DEVICE void split(float x, int parts, unsigned short* out) {
  for (int i = 0; i < kPartsMax; ++i) {
    if (i >= parts) continue;
    unsigned bits = float_to_bits(x);
    unsigned rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    out[i] = static_cast<unsigned short>(rounded);
    x -= bits_to_float(rounded << 16);
  }
}

// Columns 32 run .. 32 run + 31 of a packed row.
template <int kCodec>
TG_HOST_DEVICE RunScales read_run(const unsigned char* row, int run, unsigned short* codes) {
  if constexpr (kCodec == kBf16) {
    const unsigned char* b = row + run * 64;
    for (int i = 0; i < 32; ++i) {
      codes[i] = static_cast<unsigned short>(b[2 * i] | b[2 * i + 1] << 8);
    }
    return {{1.0f, 1.0f}, 0.0f};
  } else if constexpr (kCodec == kQ8_0) {
    const unsigned char* b = row + run * 36;
    for (int i = 0; i < 32; ++i) codes[i] = code(static_cast<signed char>(b[4 + i]));
    float scale = half_at(b);
    return {{scale, scale}, 0.0f};
  } else if constexpr (kCodec == kQ4_0) {
    const unsigned char* b = row + run * 20;
    for (int i = 0; i < 16; ++i) {
      codes[i] = code((b[4 + i] & 15) - 8);
      codes[i + 16] = code((b[4 + i] >> 4) - 8);
    }
    float scale = half_at(b);
    return {{scale, scale}, 0.0f};
  } else if constexpr (kCodec == kQ4K) {
    const unsigned char* b = row + run / 8 * 144;
    const unsigned char* t = b + 4;
    int j = run % 8;
    int s = j < 4 ? t[j] & 63 : (t[j + 4] & 15) + 16 * (t[j - 4] >> 6);
    int m = j < 4 ? t[j + 4] & 63 : (t[j + 4] >> 4) + 16 * (t[j] >> 6);
    for (int i = 0; i < 32; ++i) codes[i] = code(b[16 + 32 * (j / 2) + i] >> (4 * (j % 2)) & 15);
    float scale = half_at(b) * static_cast<float>(s);
    return {{scale, scale}, half_at(b + 2) * static_cast<float>(m)};
  } else if constexpr (kCodec == kQ6K) {
    const unsigned char* b = row + run / 8 * 212;
    int h = run % 8 / 4, g = run % 4;
    for (int i = 0; i < 32; ++i) {
      int low = b[64 * h + 32 * (g % 2) + i] >> (4 * (g / 2)) & 15;
      int high = b[128 + 32 * h + i] >> (2 * g) & 3;
      codes[i] = code(low + 16 * high - 32);
    }
    const unsigned char* scales = b + 192 + 2 * (run % 8);
    return {{half_at(b + 208) * static_cast<float>(static_cast<signed char>(scales[0])),
             half_at(b + 208) * static_cast<float>(static_cast<signed char>(scales[1]))},
            0.0f};
  } else if constexpr (kCodec == kInt4G128) {
    const unsigned char* b = row + run / 4 * 68;
    for (int i = 0; i < 16; ++i) {
      int v = b[4 + 16 * (run % 4) + i];
      codes[2 * i] = code((v & 15) - b[2]);
      codes[2 * i + 1] = code((v >> 4) - b[2]);
    }
    float scale = half_at(b);
    return {{scale, scale}, 0.0f};
  } else {
    static_assert(kCodec == kFp8B128);
    const unsigned char* b = row + run / 4 * 132;
    for (int i = 0; i < 32; ++i) {
      codes[i] = exact_bfloat(e4m3_to_float(b[4 + 32 * (run % 4) + i]));
    }
    unsigned bits = static_cast<unsigned>(b[0]) | static_cast<unsigned>(b[1]) << 8 |
                    static_cast<unsigned>(b[2]) << 16 | static_cast<unsigned>(b[3]) << 24;
    float scale = bits_to_float(bits);
    return {{scale, scale}, 0.0f};
  }
}

}  // namespace tg_cuda
