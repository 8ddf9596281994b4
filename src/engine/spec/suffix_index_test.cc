// The match finder against a plain search.
#include "engine/spec/suffix_index.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "env/random.h"

namespace tg::engine {
namespace {

SuffixIndex::Match find(const std::vector<i32>& tokens) {
  SuffixIndex index;
  index.reserve(64);
  index.extend(tokens);
  return index.find(tokens);
}

struct Case {
  std::vector<i32> tokens;
  i64 follows;
  i64 length;
};

TEST(SuffixIndex, FindsWhereTheEndWasBefore) {
  const Case table[] = {
      {{}, -1, 0},
      {{1, 2}, -1, 0},
      {{1, 2, 3}, -1, 0},
      {{1, 2, 1, 2}, -1, 0},  // Two are not enough.
      {{1, 2, 3, 9, 1, 2, 3}, 3, 3},
      {{1, 2, 3, 4, 1, 2, 3, 1, 2, 3}, 7, 3},        // The latest of equals.
      {{7, 1, 2, 3, 4, 1, 2, 3, 7, 1, 2, 3}, 4, 4},  // The longest.
      {{5, 5, 5, 5, 5}, 4, 4},                       // An overlap is a match too.
  };
  for (const Case& row : table) {
    SuffixIndex::Match match = find(row.tokens);
    EXPECT_EQ(match.follows, row.follows);
    EXPECT_EQ(match.length, row.length);
  }
}

TEST(SuffixIndex, WithoutRoomItFindsNothing) {
  SuffixIndex index;
  std::vector<i32> tokens(20, 1);
  index.extend(tokens);
  EXPECT_EQ(index.find(tokens).follows, -1);
}

// As long as chains are short, the search is exact.
TEST(SuffixIndex, EqualsAPlainSearchWhileItGrows) {
  for (u64 seed = 1; seed <= 200; ++seed) {
    SeededRandom random(seed);
    SuffixIndex index;
    index.reserve(100);
    std::vector<i32> tokens;
    i32 alphabet = static_cast<i32>(3 + random.below(20));
    while (tokens.size() < 100) {
      for (u64 burst = 1 + random.below(3); burst > 0 && tokens.size() < 100; --burst) {
        tokens.push_back(static_cast<i32>(random.below(static_cast<u64>(alphabet))));
      }
      index.extend(tokens);
      i64 size = static_cast<i64>(tokens.size());
      i64 longest = 0;
      i64 occurrences = 0;
      for (i64 end = size - 1; end >= 3; --end) {
        i64 length = 0;
        while (length < end && tokens[end - 1 - length] == tokens[size - 1 - length]) ++length;
        if (length < 3) continue;
        ++occurrences;
        longest = std::max(longest, length);
      }
      if (occurrences > 8) continue;
      SuffixIndex::Match match = index.find(tokens);
      ASSERT_EQ(match.length, std::min<i64>(longest, 32)) << "seed " << seed;
      ASSERT_EQ(match.follows >= 0, longest > 0);
    }
  }
}

}  // namespace
}  // namespace tg::engine
