#include "backend/gpu/packed.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "backend/cpu/kv_store.h"
#include "base/assert.h"
#include "isa/codec.h"

namespace tg::backend::gpu {

namespace {

using isa::DType;

constexpr u16 kAsMatrix = TG_USE_MATRIX | TG_USE_ROWS | TG_USE_BATCHED | TG_USE_GROUPED;

// `pad` bytes go in behind the first `at` bytes of a block.
struct Padding {
  i64 at = 0, pad = 0;
};

Padding padding_of(DType codec) {
  switch (codec) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
    case DType::kIq4Nl: return {2, 2};
    case DType::kMxfp4: return {1, 3};
    case DType::kQ3K: return {110, 2};
    case DType::kQ6K: return {210, 2};
    default: return {};
  }
}

bool is_plain(DType codec) {
  return codec == DType::kF32 || codec == DType::kF16 || codec == DType::kBf16;
}

i64 packed_row_bytes(DType codec, i64 columns) {
  if (is_plain(codec)) return (columns + kRun - 1) / kRun * kRun * isa::info(codec).block_bytes;
  return columns / isa::info(codec).block_elements *
         (isa::info(codec).block_bytes + padding_of(codec).pad);
}

// REQUIRES: `to` is zeroed.
void pack_row(DType codec, const u8* from, i64 columns, u8* to) {
  i64 bytes = isa::row_bytes(codec, columns);
  Padding padding = padding_of(codec);
  if (padding.pad == 0) {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
    return;
  }
  i64 block = isa::info(codec).block_bytes;
  for (i64 at = 0; at < bytes; at += block, to += block + padding.pad) {
    std::memcpy(to, from + at, static_cast<std::size_t>(padding.at));
    std::memcpy(to + padding.at + padding.pad, from + at + padding.at,
                static_cast<std::size_t>(block - padding.at));
  }
}

i64 product(std::span<const i64> dims) {
  i64 n = 1;
  for (i64 dim : dims) n *= dim;
  return n;
}

}  // namespace

Result<Packed> packed_form(DType codec, std::span<const i64> dims, u16 uses) {
  if (!isa::is_weight_codec(codec)) {
    return Error{Code::kUnsupported, "a weight of codec " + std::string(isa::info(codec).name)};
  }
  Packed packed;
  if (uses & kAsMatrix) {
    bool is_many = (uses & (TG_USE_BATCHED | TG_USE_GROUPED)) != 0;
    if (dims.size() != (is_many ? 3u : 2u)) {
      return Error{Code::kUnsupported,
                   "a matrix of " + std::to_string(dims.size()) + " dimensions"};
    }
    packed.matrices = is_many ? dims[0] : 1;
    packed.rows = dims[dims.size() - 2];
    packed.columns = dims.back();
    packed.row_bytes = packed_row_bytes(codec, packed.columns);
  }
  if (uses & TG_USE_VECTOR) packed.vector = aligned(product(dims) * 4);
  return packed;
}

Result<Packed> packed_form(const tg_wdesc& w) {
  if (w.size < sizeof(tg_wdesc) || w.rank < 1 || w.rank > 4 ||
      static_cast<DType>(w.dtype) >= DType::kCount) {
    return Error{Code::kInvalid, "weight " + std::to_string(w.symbol) + " is malformed"};
  }
  return packed_form(static_cast<DType>(w.dtype), {w.dims, w.rank}, w.uses);
}

Status pack_weight(const tg_wdesc& w, const Packed& packed, u8* to) {
  DType codec = static_cast<DType>(w.dtype);
  i64 columns = w.dims[w.rank - 1];
  i64 elements = product({w.dims, w.rank});
  if (columns < 1 || columns % isa::info(codec).block_elements != 0 ||
      w.ref_size != static_cast<u64>(elements / columns * isa::row_bytes(codec, columns))) {
    return Error{Code::kInvalid, "weight " + std::to_string(w.symbol) + " has " +
                                     std::to_string(w.ref_size) +
                                     " bytes, which its dimensions and codec do not make"};
  }
  std::memset(to, 0, static_cast<std::size_t>(packed.bytes()));
  const u8* from = static_cast<const u8*>(w.ref_bytes);
  i64 row = packed.row_bytes > 0 ? isa::row_bytes(codec, columns) : 0;
  for (i64 r = 0; r < packed.matrices * packed.rows; ++r) {
    pack_row(codec, from + r * row, columns, to + r * packed.row_bytes);
  }
  if (packed.vector > 0) {
    std::span<f32> out(reinterpret_cast<f32*>(to + packed.vector_offset()),
                       static_cast<std::size_t>(elements));
    isa::dequantize_row(codec, {from, w.ref_size}, out);
  }
  return {};
}

namespace {

i64 cache_row_bytes(cpu::KvFormat format, i64 width) {
  if (format == cpu::KvFormat::kQ8_0) return width / 32 * 36;
  if (format == cpu::KvFormat::kQ4_0) return width / 32 * 20;
  return width * cpu::element_bytes(format);
}

CacheForm form_of(cpu::KvFormat format, const isa::KvDecl& kv) {
  bool is_latent = kv.latent > 0;
  return {.format = format,
          .heads = kv.heads,
          .page_tokens = kv.page_tokens,
          .dk = kv.dk,
          .dv = is_latent ? kv.latent : kv.dv,
          .key_row = cache_row_bytes(format, kv.dk),
          .value_row = is_latent ? 0 : cache_row_bytes(format, kv.dv)};
}

}  // namespace

Result<CacheForm> cache_form(const tg_kvdesc& kv) {
  // A host of minor 0 knows no latent caches.
  if (kv.size < offsetof(tg_kvdesc, latent)) {
    return Error{Code::kInvalid, "kv description too small"};
  }
  std::optional<cpu::KvFormat> format = cpu::kv_format(static_cast<DType>(kv.format));
  if (!format || kv.page_tokens < 1 || kv.dk > kHeadDimMax || kv.dv > kHeadDimMax) {
    return Error{Code::kUnsupported, "a cache of format " + std::to_string(kv.format) +
                                         " with heads of " + std::to_string(kv.dk) +
                                         " channels (at most " + std::to_string(kHeadDimMax) + ")"};
  }
  isa::KvDecl decl;
  decl.heads = kv.heads;
  decl.dk = kv.dk;
  decl.dv = kv.dv;
  decl.page_tokens = kv.page_tokens;
  decl.latent = kv.size >= sizeof(tg_kvdesc) ? kv.latent : 0;
  return form_of(*format, decl);
}

CacheForm cache_form(const isa::KvDecl& kv) {
  return form_of(cpu::kv_format(kv.format).value(), kv);
}

}  // namespace tg::backend::gpu
