// One canonical block of one weight row (isa/codec.h) with its fields apart and its codes one per
// byte: what pack.cc lays out anew.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu {

struct Fields {
  u16 d = 0;           // scale of all, f16 bits (mxfp4: half of it, bf16 bits)
  u16 dmin = 0;        // scale of the mins, or the offset m
  u16 halves[4] = {};  // nvfp4: half of each sub-block's scale, f16 bits
  f32 scale_f32 = 0;
  u8 zero = 0;
  u8 scale[16] = {};  // two's complement where the codec's scales are signed
  u8 min[16] = {};
  u8 q[256] = {};
};

using ReadBlock = Fields (*)(const u8* block);

Fields read_q8_0(const u8* block);
Fields read_q4_0(const u8* block);  // iq4_nl as well
Fields read_q4_1(const u8* block);
Fields read_q5_0(const u8* block);
Fields read_q5_1(const u8* block);
Fields read_q2_k(const u8* block);
Fields read_q3_k(const u8* block);
Fields read_q4_k(const u8* block);
Fields read_q5_k(const u8* block);
Fields read_q6_k(const u8* block);
Fields read_iq4_xs(const u8* block);
Fields read_mxfp4(const u8* block);
Fields read_nvfp4(const u8* block);
Fields read_int4_g32(const u8* block);
Fields read_int4_g128(const u8* block);
Fields read_fp8_b128(const u8* block);

}  // namespace tg::backend::cpu
