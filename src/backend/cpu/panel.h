// The CPU's private weight form: panels of 16 output rows, interleaved so that a vector's lanes are
// output rows. Codecs keep their bits (a panel is within 3 %
// of the canonical size, those of common files have it), so that dequantising inside the kernel is
// exact. Rows are padded to 16 and dense columns to 32 with zeros. Functions here are static: they
// are compiled for several instruction sets, and the linker must not pick one for all.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu {

inline constexpr i64 kPanelRows = 16;

enum class PanelForm : u8 {
  kF32,
  kF16,
  kBf16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kIq4Xs,
  kMxfp4,
  kNvfp4,
  kInt4G32,
  kInt4G128,
  kFp8B128,
  kCount
};

// One superblock of columns of one panel. Codes lie in words of four neighbouring columns of one
// row, byte b of word g being column 4g + b: the order in which byte products add four at a time,
// and the right-hand tiles of AMX. A byte of nibbles holds column 4g + b of its sub-block and, in
// the high four bits, column 4g + b + half a sub-block. Words of single bits or pairs of bits hold
// column 4p + b in bit or pair p of byte b.
struct PanelF32 {
  f32 w[32][16];
};
struct PanelF16 {
  u16 w[32][16];
};
struct PanelBf16 {  // columns 2p and, in the upper half, 2p + 1: AMX's order
  u32 w[16][16];
};
struct PanelQ8_0 {  // w = d * (q - 128)
  u16 d[16];
  u32 q[8][16];
};
struct PanelQ4_0 {  // w = d * (q - 8)
  u16 d[16];
  u32 q[4][16];
};
struct PanelQ4_1 {  // w = d * q + m
  u16 d[16];
  u16 m[16];
  u32 q[4][16];
};
struct PanelQ5_0 {  // w = d * (q - 16); the fifth bits are high
  u16 d[16];
  u32 high[16];
  u32 q[4][16];
};
struct PanelQ5_1 {
  u16 d[16];
  u16 m[16];
  u32 high[16];
  u32 q[4][16];
};
struct PanelQ2K {  // w = d*scale * q - dmin*min; scale low, min high; pairs of bits
  u16 d[16];
  u16 dmin[16];
  u8 scale_min[16][16];
  u32 q[16][16];
};
struct PanelQ3K {  // w = d*scale * (q - 4); pairs of bits, and third bits: of an even sub-block in
                   // the low half of each byte, of the next in the high one
  u16 d[16];
  i8 scale[16][16];
  u32 low[16][16];
  u32 high[8][16];
};
struct PanelQ4K {  // w = d*scale * q - dmin*min, a scale and a min per 32 columns
  u16 d[16];
  u16 dmin[16];
  u32 scale_min[3][16];  // eight scales, then eight mins, as SixBits
  u32 q[8][4][16];
};
struct PanelQ5K {  // as Q4_K; the fifth bits are high
  u16 d[16];
  u16 dmin[16];
  u32 scale_min[3][16];
  u32 high[8][16];
  u32 q[8][4][16];
};
struct PanelQ6K {  // w = d*scale * (q - 32), a scale per 16; pairs of bits are high
  u16 d[16];
  i8 scale[16][16];
  u32 high[16][16];
  u32 q[16][2][16];
};
struct PanelIq4Nl {  // w = d * level[q]
  u16 d[16];
  u32 q[4][16];
};
struct PanelIq4Xs {  // w = d*scale * level[q]
  u16 d[16];
  i8 scale[8][16];
  u32 q[8][4][16];
};
struct PanelMxfp4 {  // w = half * twice e2m1[q], half a bf16
  u16 half[16];
  u32 q[4][16];
};
struct PanelNvfp4 {  // as mxfp4, a half (f16) per 16 columns
  u16 half[4][16];
  u32 q[4][2][16];
};
template <int kSubs>
struct PanelInt4 {  // w = d * (q - zero)
  u16 d[16];
  u8 zero[16];
  u32 q[kSubs][4][16];
};
struct PanelFp8 {  // w = scale * e4m3; columns one after the other
  f32 scale[16];
  u8 q[128][16];
};
static_assert(sizeof(PanelQ8_0) == 544 && sizeof(PanelQ4_0) == 288);
static_assert(sizeof(PanelInt4<1>) == 304 && sizeof(PanelInt4<4>) == 1'072);
static_assert(sizeof(PanelQ4K) == 2'304 && sizeof(PanelQ5K) == 2'816 && sizeof(PanelQ6K) == 3'360);

// Sixteen numbers of six bits in three words: fifteen in the low thirty bits of each, five by five,
// and the last one in pairs of bits on top of them.
struct SixBits {
  static constexpr int kEach = 5, kBits = 6, kTop = 30;
  static constexpr int word(int i) { return i / kEach; }
  static constexpr int shift(int i) { return i % kEach * kBits; }
};

struct PanelShape {
  i64 columns;  // of a superblock
  i64 bytes;    // of a superblock
};

static constexpr PanelShape kPanelShapes[] = {
    {32, sizeof(PanelF32)},      {32, sizeof(PanelF16)},   {32, sizeof(PanelBf16)},
    {32, sizeof(PanelQ8_0)},     {32, sizeof(PanelQ4_0)},  {32, sizeof(PanelQ4_1)},
    {32, sizeof(PanelQ5_0)},     {32, sizeof(PanelQ5_1)},  {256, sizeof(PanelQ2K)},
    {256, sizeof(PanelQ3K)},     {256, sizeof(PanelQ4K)},  {256, sizeof(PanelQ5K)},
    {256, sizeof(PanelQ6K)},     {32, sizeof(PanelIq4Nl)}, {256, sizeof(PanelIq4Xs)},
    {32, sizeof(PanelMxfp4)},    {64, sizeof(PanelNvfp4)}, {32, sizeof(PanelInt4<1>)},
    {128, sizeof(PanelInt4<4>)}, {128, sizeof(PanelFp8)}};
static_assert(sizeof(kPanelShapes) / sizeof(PanelShape) == static_cast<u64>(PanelForm::kCount));

// Bytes of one panel of k columns.
static constexpr i64 panel_bytes(PanelForm form, i64 k) {
  PanelShape shape = kPanelShapes[static_cast<int>(form)];
  return (k + shape.columns - 1) / shape.columns * shape.bytes;
}
static constexpr i64 panel_count(i64 rows) {
  return (rows + kPanelRows - 1) / kPanelRows;
}

// Whether a form's weights are scales times small integers, which multiply int8 activations.
static constexpr bool has_codes(PanelForm form) {
  return form != PanelForm::kF32 && form != PanelForm::kF16 && form != PanelForm::kBf16 &&
         form != PanelForm::kFp8B128;
}

}  // namespace tg::backend::cpu
