#include "env/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace tg {

u64 Random::next_u64() {
  std::array<u8, 8> raw;
  fill(raw);
  u64 value;
  std::memcpy(&value, raw.data(), sizeof(value));
  return value;
}

static void fill_from_system(std::span<u8> out) {
  while (!out.empty()) {
    ssize_t n = getrandom(out.data(), out.size(), 0);
    TG_ASSERT(n > 0);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

// A few ids and salts from one call of the system. What has been handed out is not kept.
void OsRandom::fill(std::span<u8> out) {
  struct Stock {
    std::array<u8, 256> bytes;
    std::size_t used = sizeof(bytes);
  };
  thread_local Stock stock;
  if (out.size() > sizeof(stock.bytes)) return fill_from_system(out);
  if (out.size() > sizeof(stock.bytes) - stock.used) {
    fill_from_system(stock.bytes);
    stock.used = 0;
  }
  u8* from = stock.bytes.data() + stock.used;
  std::copy_n(from, out.size(), out.data());
  std::fill_n(from, out.size(), u8{0});
  stock.used += out.size();
}

u64 SeededRandom::next() {
  state_ += 0x9E3779B97F4A7C15u;
  u64 z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void SeededRandom::fill(std::span<u8> out) {
  while (!out.empty()) {
    u64 word = next();
    std::size_t n = std::min<std::size_t>(out.size(), sizeof(word));
    std::memcpy(out.data(), &word, n);
    out = out.subspan(n);
  }
}

}  // namespace tg
