// How the CPU lays out a page of one layer of a cache. Per kv head: keys in blocks of 16 tokens,
// channel by channel, so that a vector's lanes are keys; then values in rows, so that lanes are
// channels. A latent cache has one copy of each row, read both ways. Functions are static for the
// reason given in panel.h.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu {

enum class KvFormat : u8 { kF32, kF16, kBf16, kE4m3, kQ8_0, kQ4_0 };

// 32 channels of 16 keys. A byte of q4_0 holds channel j and, in its high bits, channel j + 16.
struct KeysQ8_0 {
  u16 d[16];
  i8 q[32][16];
};
struct KeysQ4_0 {
  u16 d[16];
  u8 q[16][16];
};

// Bytes of an element, 0 for formats of blocks of 32.
static constexpr i64 element_bytes(KvFormat format) {
  switch (format) {
    case KvFormat::kF32: return 4;
    case KvFormat::kF16:
    case KvFormat::kBf16: return 2;
    case KvFormat::kE4m3: return 1;
    default: return 0;
  }
}

struct KvPages {
  u8* base;
  i64 page_bytes;
  i64 page_tokens, heads, dk, dv;
  i64 latent;  // 0: keys and values are apart; else channels of a key that are its value
  KvFormat format;
};

// 16 tokens' keys of one head.
static constexpr i64 key_block_bytes(KvFormat format, i64 dk) {
  if (format == KvFormat::kQ8_0) return dk / 32 * static_cast<i64>(sizeof(KeysQ8_0));
  if (format == KvFormat::kQ4_0) return dk / 32 * static_cast<i64>(sizeof(KeysQ4_0));
  return dk * 16 * element_bytes(format);
}

// A row of `width` channels: padded to 16, or the codec's own blocks.
static constexpr i64 kv_row_bytes(KvFormat format, i64 width) {
  if (format == KvFormat::kQ8_0) return width / 32 * 34;
  if (format == KvFormat::kQ4_0) return width / 32 * 18;
  return (width + 15) / 16 * 16 * element_bytes(format);
}

static constexpr i64 kv_keys_bytes(const KvPages& kv) {
  return kv.latent > 0 ? 0 : kv.page_tokens / 16 * key_block_bytes(kv.format, kv.dk);
}
static constexpr i64 kv_row_width(const KvPages& kv) {
  return kv.latent > 0 ? kv.dk : kv.dv;
}
static constexpr i64 kv_head_bytes(const KvPages& kv) {
  return kv_keys_bytes(kv) + kv.page_tokens * kv_row_bytes(kv.format, kv_row_width(kv));
}
static constexpr i64 kv_value_dim(const KvPages& kv) {
  return kv.latent > 0 ? kv.latent : kv.dv;
}

static inline u8* kv_head_at(const KvPages& kv, i64 page, i64 head) {
  return kv.base + page * kv.page_bytes + head * kv_head_bytes(kv);
}

}  // namespace tg::backend::cpu
