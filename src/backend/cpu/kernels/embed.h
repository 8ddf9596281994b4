// y = table[ids], read from panels so that a table that is also the output matrix is stored once.
// All 16 rows of a panel are dequantised to keep one: for a step's few tokens that is still
// microseconds.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/codecs.h"

namespace tg::backend::cpu::TG_VARIANT {

// Products of a codec's parts are exact in f32, so that scale * q - min rounds once, as the codec's
// definition does.
template <typename Codec>
static void embed_row(const u8* panel, i64 lane, i64 k, f32* y) {
  constexpr int kHalf = Codec::kSub / 2;
  const typename Codec::Block* block = reinterpret_cast<const typename Codec::Block*>(panel);
  f32 lanes[16];
  for (i64 column = 0; column < k; ++block) {
    for (int s = 0; s < Codec::kSubs; ++s, column += Codec::kSub) {
      typename Codec::Sub source(*block, s);
      each_pair<Codec>(source, [&](int j, const Pair& w) {
        V parts[2] = {w.low, w.high};
        for (int half = 0; half < 2; ++half) {
          V value = parts[half];
          if constexpr (!Codec::kUnit) value = mul(source.scale, value);
          if constexpr (Codec::kMin && !Codec::kUnit) value = sub(value, source.min);
          store(lanes, value);
          i64 c = column + j + half * kHalf;
          if (c < k) y[c] = lanes[lane];
        }
      });
    }
  }
}

template <typename Codec>
static void embed_share(const EmbedArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.tokens, part, parts);
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    i64 id = a.ids[t];
    const u8* panel = a.table + id / kPanelRows * panel_bytes(a.form, a.k);
    embed_row<Codec>(panel, id % kPanelRows, a.k, a.y + t * a.k);
  }
}

static void embed(const EmbedArgs& a, i32 part, i32 parts) {
  with_codec(a.form, [&]<typename Codec>() { embed_share<Codec>(a, part, parts); });
}

}  // namespace tg::backend::cpu::TG_VARIANT
