// Finds where the end of a sequence has occurred before in it: the match finder of LZ77 with hash
// chains over its last three tokens. What followed there is a good guess of what follows here.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::engine {

class SuffixIndex {
 public:
  // Makes room for `tokens_max` tokens; without room it finds nothing.
  void reserve(i64 tokens_max);
  // Indexes what `tokens` has more than at the last call. REQUIRES: tokens only ever grow, at the
  // end.
  void extend(std::span<const i32> tokens);

  struct Match {
    i64 follows = -1;  // index of the token after the earlier occurrence; -1: there is none
    i64 length = 0;    // tokens that agree, at least kMatchMin
  };
  // The longest match that a short search finds, the latest of equals. REQUIRES: extend(tokens).
  Match find(std::span<const i32> tokens) const;

  static constexpr i64 kMatchMin = 3;

 private:
  std::size_t bucket(std::span<const i32> tokens, i64 end) const;

  std::vector<i32> heads_;     // by bucket: the latest end of such three tokens, or -1
  std::vector<i32> previous_;  // by end: the one before it in its bucket
  i64 indexed_ = 0;            // ends up to here are in the chains
};

}  // namespace tg::engine
