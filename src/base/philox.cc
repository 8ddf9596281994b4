#include "base/philox.h"

namespace tg {

std::array<u32, 4> philox4x32_10(std::array<u32, 2> key, std::array<u32, 4> counter) {
  constexpr u64 kMultiplier0 = 0xD2511F53;
  constexpr u64 kMultiplier1 = 0xCD9E8D57;
  for (int round = 0; round < 10; ++round) {
    u64 product0 = kMultiplier0 * counter[0];
    u64 product1 = kMultiplier1 * counter[2];
    counter = {static_cast<u32>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<u32>(product1),
               static_cast<u32>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<u32>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

}  // namespace tg
