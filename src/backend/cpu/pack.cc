#include "backend/cpu/pack.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace tg::backend::cpu {

namespace {

// One canonical superblock of one row with its fields apart and its quants one per byte.
struct Fields {
  u16 d = 0;
  u16 dmin = 0;
  u8 scale[16] = {};  // two's complement where the codec's scales are signed
  u8 min[8] = {};
  u8 q[256] = {};
};

u16 u16_at(const u8* p) {
  return static_cast<u16>(p[0] | p[1] << 8);
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
  for (int j = 0; j < 16; ++j) {
    f.q[j] = block[2 + j] & 15;
    f.q[j + 16] = block[2 + j] >> 4;
  }
  return f;
}

// Eight 6-bit scales and mins in twelve bytes: four of each lie whole, the others in two pieces.
void read_k_scales(const u8* s, Fields& f) {
  for (int i = 0; i < 4; ++i) {
    f.scale[i] = s[i] & 63;
    f.min[i] = s[i + 4] & 63;
    f.scale[i + 4] = static_cast<u8>((s[i + 8] & 15) | s[i] >> 6 << 4);
    f.min[i + 4] = static_cast<u8>(s[i + 8] >> 4 | s[i + 4] >> 6 << 4);
  }
}

void read_k_nibbles(const u8* q, Fields& f) {
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

// Columns j and j + kSub / 2 of each sub-block, low four bits of each, in one byte of lane `lane`.
template <int kSub, int kSubs>
void place_nibbles(u8 (&q)[kSubs][kSub / 2][16], const Fields& f, i64 lane) {
  for (int s = 0; s < kSubs; ++s) {
    for (int j = 0; j < kSub / 2; ++j) {
      int low = f.q[s * kSub + j] & 15;
      int high = f.q[s * kSub + kSub / 2 + j] & 15;
      q[s][j][lane] = static_cast<u8>(low | high << 4);
    }
  }
}

void place(PanelQ8_0& panel, const u8* block, i64 lane) {
  Fields f = read_q8_0(block);
  panel.d[lane] = f.d;
  for (int j = 0; j < 32; ++j) panel.q[j][lane] = static_cast<i8>(f.q[j]);
}

void place(PanelQ4_0& panel, const u8* block, i64 lane) {
  Fields f = read_q4_0(block);
  panel.d[lane] = f.d;
  for (int j = 0; j < 16; ++j) panel.q[j][lane] = static_cast<u8>(f.q[j] | f.q[j + 16] << 4);
}

template <typename Panel>
void place_scales_and_mins(Panel& panel, const Fields& f, i64 lane) {
  panel.d[lane] = f.d;
  panel.dmin[lane] = f.dmin;
  for (int s = 0; s < 8; ++s) {
    panel.scale[s][lane] = f.scale[s];
    panel.min[s][lane] = f.min[s];
  }
}

void place(PanelQ4K& panel, const u8* block, i64 lane) {
  Fields f = read_q4_k(block);
  place_scales_and_mins(panel, f, lane);
  place_nibbles<32>(panel.q, f, lane);
}

void place(PanelQ5K& panel, const u8* block, i64 lane) {
  Fields f = read_q5_k(block);
  place_scales_and_mins(panel, f, lane);
  place_nibbles<32>(panel.q, f, lane);
  for (int c = 0; c < 256; ++c) {
    panel.high[c / 32][lane] |= static_cast<u32>(f.q[c] >> 4) << (c % 32);
  }
}

void place(PanelQ6K& panel, const u8* block, i64 lane) {
  Fields f = read_q6_k(block);
  panel.d[lane] = f.d;
  for (int s = 0; s < 16; ++s) panel.scale[s][lane] = static_cast<i8>(f.scale[s]);
  place_nibbles<16>(panel.q, f, lane);
  for (int c = 0; c < 256; ++c) {
    panel.high[c / 16][lane] |= static_cast<u32>(f.q[c] >> 4) << (c % 16 * 2);
  }
}

template <typename Panel>
void pack_blocks(const u8* rows, i64 n, i64 blocks, i64 block_bytes, u8* out) {
  for (i64 row = 0; row < n; ++row) {
    u8* panel = out + row / kPanelRows * blocks * static_cast<i64>(sizeof(Panel));
    for (i64 b = 0; b < blocks; ++b) {
      Panel& to = *reinterpret_cast<Panel*>(panel + b * static_cast<i64>(sizeof(Panel)));
      place(to, rows + (row * blocks + b) * block_bytes, row % kPanelRows);
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

}  // namespace

std::optional<PanelForm> panel_form(isa::DType codec) {
  switch (codec) {
    case isa::DType::kF32: return PanelForm::kF32;
    case isa::DType::kF16: return PanelForm::kF16;
    case isa::DType::kBf16: return PanelForm::kBf16;
    case isa::DType::kQ8_0: return PanelForm::kQ8_0;
    case isa::DType::kQ4_0: return PanelForm::kQ4_0;
    case isa::DType::kQ4K: return PanelForm::kQ4K;
    case isa::DType::kQ5K: return PanelForm::kQ5K;
    case isa::DType::kQ6K: return PanelForm::kQ6K;
    default: return std::nullopt;
  }
}

void pack_panels(PanelForm form, const u8* rows, i64 n, i64 k, u8* out) {
  TG_ASSERT(n > 0 && k > 0);
  std::memset(out, 0, static_cast<std::size_t>(panel_count(n) * panel_bytes(form, k)));
  switch (form) {
    case PanelForm::kF32: return pack_dense<u32>(rows, n, k, out);
    case PanelForm::kF16:
    case PanelForm::kBf16: return pack_dense<u16>(rows, n, k, out);
    case PanelForm::kQ8_0: return pack_blocks<PanelQ8_0>(rows, n, k / 32, 34, out);
    case PanelForm::kQ4_0: return pack_blocks<PanelQ4_0>(rows, n, k / 32, 18, out);
    case PanelForm::kQ4K: return pack_blocks<PanelQ4K>(rows, n, k / 256, 144, out);
    case PanelForm::kQ5K: return pack_blocks<PanelQ5K>(rows, n, k / 256, 176, out);
    case PanelForm::kQ6K: return pack_blocks<PanelQ6K>(rows, n, k / 256, 210, out);
    case PanelForm::kCount: break;
  }
  TG_ASSERT(form != PanelForm::kCount);
}

}  // namespace tg::backend::cpu
