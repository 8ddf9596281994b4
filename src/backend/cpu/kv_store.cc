#include "backend/cpu/kv_store.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::backend::cpu {

namespace {

isa::DType codec_of(KvFormat format) {
  switch (format) {
    case KvFormat::kF32: return isa::DType::kF32;
    case KvFormat::kF16: return isa::DType::kF16;
    case KvFormat::kBf16: return isa::DType::kBf16;
    case KvFormat::kE4m3: return isa::DType::kE4m3;
    case KvFormat::kQ8_0: return isa::DType::kQ8_0;
    case KvFormat::kQ4_0: return isa::DType::kQ4_0;
  }
  TG_ASSERT(false);
}

// A head's row as the codec stores it: at most f32.
struct CanonicalRow {
  u8 bytes[kHeadDimMax * 4];
};

// Blocks of 32 have one scale: a number that is not finite makes all of them NaN.
void encode_block(KvFormat format, const f32* x, u8* out) {
  isa::DType codec = codec_of(format);
  std::span<u8> block(out, static_cast<std::size_t>(isa::row_bytes(codec, 32)));
  if (std::all_of(x, x + 32, [](f32 v) { return v - v == 0.0f; })) {
    return isa::quantize_row(codec, {x, 32}, block);
  }
  std::fill(block.begin(), block.end(), u8{0});
  block[1] = 0x7E;  // the upper byte of a NaN
}

void encode(KvFormat format, const f32* x, i64 n, CanonicalRow& out) {
  isa::DType codec = codec_of(format);
  if (element_bytes(format) == 0) {
    for (i64 i = 0; i < n; i += 32) {
      encode_block(format, x + i, out.bytes + isa::row_bytes(codec, i));
    }
    return;
  }
  std::size_t bytes = static_cast<std::size_t>(isa::row_bytes(codec, n));
  isa::quantize_row(codec, {x, static_cast<std::size_t>(n)}, {out.bytes, bytes});
}

// Channels of one key become a lane of its block.
void place_elements(const CanonicalRow& row, i64 n, i64 size, i64 lane, u8* block) {
  for (i64 c = 0; c < n; ++c) {
    std::memcpy(block + (c * 16 + lane) * size, row.bytes + c * size,
                static_cast<std::size_t>(size));
  }
}

template <typename Block>
void place_blocks(const CanonicalRow& row, i64 n, i64 lane, u8* to) {
  constexpr i64 kCodes = sizeof(Block::q) / 16;
  Block* blocks = reinterpret_cast<Block*>(to);
  for (i64 b = 0; b < n / 32; ++b) {
    const u8* from = row.bytes + b * (2 + kCodes);
    std::memcpy(&blocks[b].d[lane], from, 2);
    for (i64 j = 0; j < kCodes; ++j) std::memcpy(&blocks[b].q[j][lane], from + 2 + j, 1);
  }
}

void place_key(const KvPages& kv, const CanonicalRow& row, i64 lane, u8* block) {
  switch (kv.format) {
    case KvFormat::kQ8_0: return place_blocks<KeysQ8_0>(row, kv.dk, lane, block);
    case KvFormat::kQ4_0: return place_blocks<KeysQ4_0>(row, kv.dk, lane, block);
    default: return place_elements(row, kv.dk, element_bytes(kv.format), lane, block);
  }
}

// Rows are stored as they are; what is padded was zeroed with the page.
void write_row(const KvPages& kv, const f32* x, i64 n, u8* to) {
  CanonicalRow row;
  encode(kv.format, x, n, row);
  std::memcpy(to, row.bytes, static_cast<std::size_t>(isa::row_bytes(codec_of(kv.format), n)));
}

void append_head(const KvAppendArgs& a, i64 t, i64 h, i64 slot) {
  const KvPages& kv = a.kv;
  i64 offset = slot % kv.page_tokens;
  u8* head = kv_head_at(kv, slot / kv.page_tokens, h);
  u8* row_at = head + kv_keys_bytes(kv) + offset * kv_row_bytes(kv.format, kv_row_width(kv));
  const f32* k = a.k + (t * kv.heads + h) * kv.dk;
  if (kv.latent > 0) return write_row(kv, k, kv.dk, row_at);
  CanonicalRow row;
  encode(kv.format, k, kv.dk, row);
  place_key(kv, row, offset % 16, head + offset / 16 * key_block_bytes(kv.format, kv.dk));
  if (a.v) write_row(kv, a.v + (t * kv.heads + h) * kv.dv, kv.dv, row_at);
}

}  // namespace

std::optional<KvFormat> kv_format(isa::DType format) {
  switch (format) {
    case isa::DType::kF32: return KvFormat::kF32;
    case isa::DType::kF16: return KvFormat::kF16;
    case isa::DType::kBf16: return KvFormat::kBf16;
    case isa::DType::kE4m3: return KvFormat::kE4m3;
    case isa::DType::kQ8_0: return KvFormat::kQ8_0;
    case isa::DType::kQ4_0: return KvFormat::kQ4_0;
    default: return std::nullopt;
  }
}

void kv_append(const KvAppendArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.tokens, part, parts);
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    i64 slot = a.batch.slots[t];
    if (slot < 0) continue;
    for (i64 h = 0; h < a.kv.heads; ++h) append_head(a, t, h, slot);
  }
}

}  // namespace tg::backend::cpu
