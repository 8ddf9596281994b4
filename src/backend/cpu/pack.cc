#include "backend/cpu/pack.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/canonical.h"
#include "base/assert.h"

namespace tg::backend::cpu {

namespace {

// Adds a code's bits to the word of its column: byte `column` mod 4, from bit `shift` of it.
void put(u32& word, int code, int column, int shift = 0) {
  word |= static_cast<u32>(code) << (column % 4 * 8 + shift);
}

// The low four bits of a sub-block's codes: its first half low, its second half high.
template <int kWords>
void place_nibbles(u32 (&q)[kWords][16], const u8* codes, i64 lane) {
  constexpr int kHalf = 4 * kWords;
  for (int c = 0; c < kHalf; ++c) {
    put(q[c / 4][lane], codes[c] & 15, c);
    put(q[c / 4][lane], codes[c + kHalf] & 15, c, 4);
  }
}
template <int kWords, int kSubs>
void place_nibbles(u32 (&q)[kSubs][kWords][16], const u8* codes, i64 lane) {
  for (int s = 0; s < kSubs; ++s) place_nibbles(q[s], codes + 8 * kWords * s, lane);
}

// Of up to 32 codes, `bits` bits each from bit `from` on.
void place_bits(u32& word, const u8* codes, int columns, int from, int bits) {
  for (int c = 0; c < columns; ++c) {
    put(word, codes[c] >> from & ((1 << bits) - 1), c, c / 4 * bits);
  }
}

void place(PanelQ8_0& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  for (int c = 0; c < 32; ++c) put(panel.q[c / 4][lane], f.q[c] ^ 0x80, c);
}

void place(PanelQ4_0& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelQ4_1& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  panel.m[lane] = f.dmin;
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelQ5_0& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  place_bits(panel.high[lane], f.q, 32, 4, 1);
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelQ5_1& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  panel.m[lane] = f.dmin;
  place_bits(panel.high[lane], f.q, 32, 4, 1);
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelQ2K& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  panel.dmin[lane] = f.dmin;
  for (int s = 0; s < 16; ++s) {
    panel.scale_min[s][lane] = static_cast<u8>(f.scale[s] | f.min[s] << 4);
    place_bits(panel.q[s][lane], f.q + 16 * s, 16, 0, 2);
  }
}

void place(PanelQ3K& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  for (int s = 0; s < 16; ++s) {
    panel.scale[s][lane] = static_cast<i8>(f.scale[s]);
    place_bits(panel.low[s][lane], f.q + 16 * s, 16, 0, 2);
  }
  for (int s = 0; s < 8; ++s) place_bits(panel.high[s][lane], f.q + 32 * s, 32, 2, 1);
}

template <typename Panel>
void place_scales_and_mins(Panel& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  panel.dmin[lane] = f.dmin;
  u32 numbers[16];
  for (int s = 0; s < 8; ++s) {
    numbers[s] = f.scale[s];
    numbers[8 + s] = f.min[s];
  }
  for (int i = 0; i < 15; ++i)
    panel.scale_min[SixBits::word(i)][lane] |= numbers[i] << SixBits::shift(i);
  for (int word = 0; word < 3; ++word)
    panel.scale_min[word][lane] |= (numbers[15] >> 2 * word & 3) << SixBits::kTop;
}

void place(PanelQ4K& panel, const Fields& f, i64 lane) {
  place_scales_and_mins(panel, f, lane);
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelQ5K& panel, const Fields& f, i64 lane) {
  place_scales_and_mins(panel, f, lane);
  place_nibbles(panel.q, f.q, lane);
  for (int s = 0; s < 8; ++s) place_bits(panel.high[s][lane], f.q + 32 * s, 32, 4, 1);
}

void place(PanelQ6K& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  for (int s = 0; s < 16; ++s) {
    panel.scale[s][lane] = static_cast<i8>(f.scale[s]);
    place_bits(panel.high[s][lane], f.q + 16 * s, 16, 4, 2);
  }
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelIq4Nl& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelIq4Xs& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  for (int s = 0; s < 8; ++s) panel.scale[s][lane] = static_cast<i8>(f.scale[s]);
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelMxfp4& panel, const Fields& f, i64 lane) {
  panel.half[lane] = f.d;
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelNvfp4& panel, const Fields& f, i64 lane) {
  for (int s = 0; s < 4; ++s) panel.half[s][lane] = f.halves[s];
  place_nibbles(panel.q, f.q, lane);
}

template <int kSubs>
void place(PanelInt4<kSubs>& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  panel.zero[lane] = f.zero;
  place_nibbles(panel.q, f.q, lane);
}

void place(PanelFp8& panel, const Fields& f, i64 lane) {
  panel.scale[lane] = f.scale_f32;
  for (int j = 0; j < 128; ++j) panel.q[j][lane] = f.q[j];
}

template <typename Panel>
void pack_blocks(const u8* rows, i64 n, i64 k, isa::DType codec, ReadBlock read, u8* out) {
  i64 block_bytes = isa::info(codec).block_bytes;
  i64 blocks = k / isa::info(codec).block_elements;
  for (i64 row = 0; row < n; ++row) {
    u8* panel = out + row / kPanelRows * blocks * static_cast<i64>(sizeof(Panel));
    for (i64 b = 0; b < blocks; ++b) {
      Panel& to = *reinterpret_cast<Panel*>(panel + b * static_cast<i64>(sizeof(Panel)));
      place(to, read(rows + (row * blocks + b) * block_bytes), row % kPanelRows);
    }
  }
}

template <typename Element>
void pack_dense(const u8* rows, i64 n, i64 k, u8* out) {
  i64 stride = (k + 31) / 32 * 32;
  for (i64 row = 0; row < n; ++row) {
    Element* panel = reinterpret_cast<Element*>(out) + row / kPanelRows * stride * kPanelRows;
    const u8* from = rows + row * k * static_cast<i64>(sizeof(Element));
    for (i64 c = 0; c < k; ++c) {
      Element& to = panel[c * kPanelRows + row % kPanelRows];
      std::memcpy(&to, from + c * static_cast<i64>(sizeof(Element)), sizeof(Element));
    }
  }
}

void pack_bf16(const u8* rows, i64 n, i64 k, u8* out) {
  i64 blocks = (k + 31) / 32;
  for (i64 row = 0; row < n; ++row) {
    PanelBf16* panel = reinterpret_cast<PanelBf16*>(out) + row / kPanelRows * blocks;
    for (i64 c = 0; c < k; ++c) {
      u16 bits;
      std::memcpy(&bits, rows + (row * k + c) * 2, sizeof(bits));
      panel[c / 32].w[c % 32 / 2][row % kPanelRows] |= static_cast<u32>(bits) << (c % 2 * 16);
    }
  }
}

}  // namespace

std::optional<PanelForm> panel_form(isa::DType codec) {
  switch (codec) {
    case isa::DType::kF32: return PanelForm::kF32;
    case isa::DType::kF16: return PanelForm::kF16;
    case isa::DType::kBf16: return PanelForm::kBf16;
    case isa::DType::kQ8_0: return PanelForm::kQ8_0;
    case isa::DType::kQ4_0: return PanelForm::kQ4_0;
    case isa::DType::kQ4_1: return PanelForm::kQ4_1;
    case isa::DType::kQ5_0: return PanelForm::kQ5_0;
    case isa::DType::kQ5_1: return PanelForm::kQ5_1;
    case isa::DType::kQ2K: return PanelForm::kQ2K;
    case isa::DType::kQ3K: return PanelForm::kQ3K;
    case isa::DType::kQ4K: return PanelForm::kQ4K;
    case isa::DType::kQ5K: return PanelForm::kQ5K;
    case isa::DType::kQ6K: return PanelForm::kQ6K;
    case isa::DType::kIq4Nl: return PanelForm::kIq4Nl;
    case isa::DType::kIq4Xs: return PanelForm::kIq4Xs;
    case isa::DType::kMxfp4: return PanelForm::kMxfp4;
    case isa::DType::kNvfp4: return PanelForm::kNvfp4;
    case isa::DType::kI4G32: return PanelForm::kInt4G32;
    case isa::DType::kI4G128: return PanelForm::kInt4G128;
    case isa::DType::kFp8B128: return PanelForm::kFp8B128;
    default: return std::nullopt;
  }
}

void pack_panels(isa::DType codec, const u8* rows, i64 n, i64 k, u8* out) {
  using isa::DType;
  TG_ASSERT(n > 0 && k > 0 && panel_form(codec).has_value());
  i64 bytes = panel_count(n) * panel_bytes(*panel_form(codec), k);
  std::memset(out, 0, static_cast<std::size_t>(bytes));
  auto pack = [&]<typename Panel>(ReadBlock read) {
    pack_blocks<Panel>(rows, n, k, codec, read, out);
  };
  switch (codec) {
    case DType::kF32: return pack_dense<u32>(rows, n, k, out);
    case DType::kF16: return pack_dense<u16>(rows, n, k, out);
    case DType::kBf16: return pack_bf16(rows, n, k, out);
    case DType::kQ8_0: return pack.operator()<PanelQ8_0>(read_q8_0);
    case DType::kQ4_0: return pack.operator()<PanelQ4_0>(read_q4_0);
    case DType::kQ4_1: return pack.operator()<PanelQ4_1>(read_q4_1);
    case DType::kQ5_0: return pack.operator()<PanelQ5_0>(read_q5_0);
    case DType::kQ5_1: return pack.operator()<PanelQ5_1>(read_q5_1);
    case DType::kQ2K: return pack.operator()<PanelQ2K>(read_q2_k);
    case DType::kQ3K: return pack.operator()<PanelQ3K>(read_q3_k);
    case DType::kQ4K: return pack.operator()<PanelQ4K>(read_q4_k);
    case DType::kQ5K: return pack.operator()<PanelQ5K>(read_q5_k);
    case DType::kQ6K: return pack.operator()<PanelQ6K>(read_q6_k);
    case DType::kIq4Nl: return pack.operator()<PanelIq4Nl>(read_q4_0);
    case DType::kIq4Xs: return pack.operator()<PanelIq4Xs>(read_iq4_xs);
    case DType::kMxfp4: return pack.operator()<PanelMxfp4>(read_mxfp4);
    case DType::kNvfp4: return pack.operator()<PanelNvfp4>(read_nvfp4);
    case DType::kI4G32: return pack.operator()<PanelInt4<1>>(read_int4_g32);
    case DType::kI4G128: return pack.operator()<PanelInt4<4>>(read_int4_g128);
    case DType::kFp8B128: return pack.operator()<PanelFp8>(read_fp8_b128);
    default: TG_ASSERT(false);
  }
}

}  // namespace tg::backend::cpu
