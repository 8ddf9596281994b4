// Where seeded tests begin, TG_SEED from the environment (`./dev sim SEED`) or 1, and how many
// seeds they run, TG_SIM_SEEDS or what each says. For tests only.
#pragma once

#include <cstdlib>

#include "base/types.h"

namespace tg {

inline u64 first_seed() {
  const char* text = std::getenv("TG_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

inline u64 seed_count(u64 otherwise) {
  const char* text = std::getenv("TG_SIM_SEEDS");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace tg
