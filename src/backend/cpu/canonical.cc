#include "backend/cpu/canonical.h"

#include <cstring>

#include "isa/codec.h"

namespace tg::backend::cpu {

static u16 u16_at(const u8* p) {
  return static_cast<u16>(p[0] | p[1] << 8);
}

// Low nibbles of `bytes` bytes, then their high ones.
static void put_nibbles(const u8* from, int bytes, u8* q) {
  for (int j = 0; j < bytes; ++j) {
    q[j] = from[j] & 15;
    q[j + bytes] = from[j] >> 4;
  }
}

// The fifth bits of 32 codes, in one word.
static void add_fifth_bits(const u8* high, u8* q) {
  for (int c = 0; c < 32; ++c) q[c] = static_cast<u8>(q[c] | (high[c / 8] >> (c % 8) & 1) << 4);
}

// Two-bit codes: four planes of 32 columns to a run of 32 bytes.
static void put_planes(const u8* from, u8* q) {
  for (int c = 0; c < 256; ++c) q[c] = from[c / 128 * 32 + c % 32] >> (c % 128 / 32 * 2) & 3;
}

Fields read_q8_0(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  std::memcpy(f.q, block + 2, 32);
  return f;
}

Fields read_q4_0(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  put_nibbles(block + 2, 16, f.q);
  return f;
}

Fields read_q4_1(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  f.dmin = u16_at(block + 2);
  put_nibbles(block + 4, 16, f.q);
  return f;
}

Fields read_q5_0(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  put_nibbles(block + 6, 16, f.q);
  add_fifth_bits(block + 2, f.q);
  return f;
}

Fields read_q5_1(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  f.dmin = u16_at(block + 2);
  put_nibbles(block + 8, 16, f.q);
  add_fifth_bits(block + 4, f.q);
  return f;
}

Fields read_q2_k(const u8* block) {
  Fields f;
  f.d = u16_at(block + 80);
  f.dmin = u16_at(block + 82);
  for (int j = 0; j < 16; ++j) {
    f.scale[j] = block[j] & 15;
    f.min[j] = block[j] >> 4;
  }
  put_planes(block + 16, f.q);
  return f;
}

Fields read_q3_k(const u8* block) {
  Fields f;
  f.d = u16_at(block + 108);
  const u8* scales = block + 96;
  for (int j = 0; j < 16; ++j) {
    int low = scales[j % 8] >> (j / 8 * 4) & 15;
    int high = scales[8 + j % 4] >> (j / 4 * 2) & 3;
    f.scale[j] = static_cast<u8>((low | high << 4) - 32);
  }
  put_planes(block + 32, f.q);
  for (int c = 0; c < 256; ++c) {
    f.q[c] = static_cast<u8>(f.q[c] | (block[c % 32] >> (c / 32) & 1) << 2);
  }
  return f;
}

// Eight 6-bit scales and mins in twelve bytes: four of each lie whole, the others in two pieces.
static void read_k_scales(const u8* s, Fields& f) {
  for (int i = 0; i < 4; ++i) {
    f.scale[i] = s[i] & 63;
    f.min[i] = s[i + 4] & 63;
    f.scale[i + 4] = static_cast<u8>((s[i + 8] & 15) | s[i] >> 6 << 4);
    f.min[i + 4] = static_cast<u8>(s[i + 8] >> 4 | s[i + 4] >> 6 << 4);
  }
}

static void read_k_nibbles(const u8* q, Fields& f) {
  for (int group = 0; group < 4; ++group) {
    for (int i = 0; i < 32; ++i) {
      f.q[64 * group + i] = q[32 * group + i] & 15;
      f.q[64 * group + 32 + i] = q[32 * group + i] >> 4;
    }
  }
}

Fields read_q4_k(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  f.dmin = u16_at(block + 2);
  read_k_scales(block + 4, f);
  read_k_nibbles(block + 16, f);
  return f;
}

Fields read_q5_k(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  f.dmin = u16_at(block + 2);
  read_k_scales(block + 4, f);
  read_k_nibbles(block + 48, f);
  for (int c = 0; c < 256; ++c) {
    int bit = block[16 + c % 32] >> (c / 32) & 1;
    f.q[c] = static_cast<u8>(f.q[c] | bit << 4);
  }
  return f;
}

Fields read_q6_k(const u8* block) {
  Fields f;
  std::memcpy(f.scale, block + 192, 16);
  f.d = u16_at(block + 208);
  for (int c = 0; c < 256; ++c) {
    int half = c / 128;
    int quarter = c % 128 / 32;
    int i = c % 32;
    int low = block[64 * half + 32 * (quarter % 2) + i] >> (4 * (quarter / 2)) & 15;
    int high = block[128 + 32 * half + i] >> (2 * quarter) & 3;
    f.q[c] = static_cast<u8>(low | high << 4);
  }
  return f;
}

Fields read_iq4_xs(const u8* block) {
  Fields f;
  f.d = u16_at(block);
  u16 high = u16_at(block + 2);
  for (int j = 0; j < 8; ++j) {
    int low = block[4 + j / 2] >> (j % 2 * 4) & 15;
    f.scale[j] = static_cast<u8>((low | (high >> (2 * j) & 3) << 4) - 32);
    put_nibbles(block + 8 + 16 * j, 16, f.q + 32 * j);
  }
  return f;
}

// 2^(e - 128) as bf16, whose exponents are f32's: below 2^-126 by a subnormal, 255 is NaN.
Fields read_mxfp4(const u8* block) {
  Fields f;
  int e = block[0];
  f.d = static_cast<u16>(e == 255 ? 0x7FC0 : e >= 2 ? (e - 1) << 7 : 0x20 << e);
  put_nibbles(block + 1, 16, f.q);
  return f;
}

// Half an e4m3 is an f16: exactly. Its sign is not read, its NaN counts as 0.
Fields read_nvfp4(const u8* block) {
  Fields f;
  for (int j = 0; j < 4; ++j) {
    u8 scale = block[j] & 0x7F;
    f.halves[j] = isa::f16_from_f32(scale == 0x7F ? 0.0f : isa::f32_from_e4m3(scale) * 0.5f);
    put_nibbles(block + 4 + 8 * j, 8, f.q + 16 * j);
  }
  return f;
}

static Fields read_int4(const u8* block, int columns) {
  Fields f;
  f.d = u16_at(block);
  f.zero = block[2];
  for (int j = 0; j < columns / 2; ++j) {
    f.q[2 * j] = block[4 + j] & 15;
    f.q[2 * j + 1] = block[4 + j] >> 4;
  }
  return f;
}
Fields read_int4_g32(const u8* block) {
  return read_int4(block, 32);
}
Fields read_int4_g128(const u8* block) {
  return read_int4(block, 128);
}

Fields read_fp8_b128(const u8* block) {
  Fields f;
  std::memcpy(&f.scale_f32, block, 4);
  std::memcpy(f.q, block + 4, 128);
  return f;
}

}  // namespace tg::backend::cpu
