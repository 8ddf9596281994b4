// Asking memory for what a product will read soon.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu::TG_VARIANT {

// What a core fetches ahead by itself reaches as far as it looks ahead in the code, and a block of
// products is long: alone it leaves up to two thirds of the memory's bandwidth unused.
inline constexpr u64 kPrefetchBytes = 8'192;

// Of the block that lies kPrefetchBytes after this one, the s-th of kSubs parts.
template <int kSubs, typename Block>
static inline void prefetch_after(const Block* block, int s) {
  constexpr u64 kPart = sizeof(Block) / kSubs;
  const u8* at = reinterpret_cast<const u8*>(block) + kPrefetchBytes + static_cast<u64>(s) * kPart;
#pragma GCC unroll 64
  for (u64 line = 0; line < kPart; line += 64) __builtin_prefetch(at + line);
}

// What passes of rows over some panels ask for. If the rows take several, they ask for the panels
// that come next, some lines with each block, so that memory works while the cores do; the first
// also for its own where nobody has.
struct NextPanels {
  const u8* at = nullptr;
  const u8* end = nullptr;
  i64 lines = 0;
  bool own = false;

  // The next panels are behind these, of as many bytes; a pass has `blocks` blocks.
  static NextPanels after(const u8* panels, i64 bytes, i64 passes, i64 blocks, bool is_first) {
    if (passes < 2) return {.own = true};
    i64 steps = passes * blocks * 64;
    return {.at = panels + bytes,
            .end = panels + 2 * bytes,
            .lines = (bytes + steps - 1) / steps,
            .own = is_first};
  }
  // For a block of a pass.
  void ask() {
    for (i64 i = 0; i < lines && at < end; ++i, at += 64) __builtin_prefetch(at);
  }
};

static inline void prefetch_bytes(const u8* at, i64 bytes) {
  for (i64 line = 0; line < bytes; line += 64) __builtin_prefetch(at + line);
}

}  // namespace tg::backend::cpu::TG_VARIANT
