// The pool's books under every operation, and the prefix cache against a plain model of it.
#include "engine/kv/block_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "env/random.h"

namespace tg::engine {
namespace {

std::vector<i32> tokens_of(std::initializer_list<i32> tokens) {
  return tokens;
}

// A table of `tokens` computed from nothing, all full blocks published.
std::vector<i32> fill(BlockPool& pool, const std::vector<i32>& tokens, u64 salt = 0) {
  std::vector<i32> table;
  i64 size = pool.block_tokens();
  for (i64 i = 0; i < pool.blocks_for(static_cast<i64>(tokens.size())); ++i) {
    table.push_back(pool.allocate());
  }
  for (i64 i = 0; (i + 1) * size <= static_cast<i64>(tokens.size()); ++i) {
    pool.publish(table, i, salt,
                 std::span<const i32>(tokens).subspan(static_cast<std::size_t>(i * size),
                                                      static_cast<std::size_t>(size)));
  }
  pool.audit();
  return table;
}

std::vector<i32> found(const BlockPool& pool, const std::vector<i32>& tokens, u64 salt = 0) {
  std::vector<i32> chain;
  pool.match(tokens, salt, chain);
  return chain;
}

TEST(BlockPool, BlocksForTokens) {
  BlockPool pool({.blocks = 3, .block_tokens = 4});
  const std::pair<i64, i64> table[] = {{0, 0}, {1, 1}, {4, 1}, {5, 2}, {8, 2}, {9, 3}};
  for (const std::pair<i64, i64>& row : table) EXPECT_EQ(pool.blocks_for(row.first), row.second);
}

TEST(BlockPool, UnpublishedBlocksBecomeFree) {
  BlockPool pool({.blocks = 4, .block_tokens = 2});
  std::vector<i32> table = fill(pool, tokens_of({1}));
  EXPECT_EQ(pool.used(), 1);
  EXPECT_EQ(pool.available(), 3);
  pool.release_all(table);
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(pool.cached(), 0);
  EXPECT_EQ(pool.available(), 4);
}

TEST(BlockPool, PublishedBlocksStayUntilTheyAreNeeded) {
  BlockPool pool({.blocks = 4, .block_tokens = 2});
  std::vector<i32> table = fill(pool, tokens_of({1, 2, 3, 4, 5}));
  std::vector<i32> first = {table[0], table[1]};
  pool.release_all(table);
  EXPECT_EQ(pool.cached(), 2);
  EXPECT_EQ(pool.available(), 4);
  EXPECT_EQ(found(pool, tokens_of({1, 2, 3, 4, 5})), first);
  EXPECT_EQ(found(pool, tokens_of({1, 2, 3, 9})), (std::vector<i32>{first[0]}));
  EXPECT_EQ(found(pool, tokens_of({1})), (std::vector<i32>{}));
  EXPECT_EQ(found(pool, tokens_of({3, 4})), (std::vector<i32>{})) << "a middle is not a prefix";
  EXPECT_EQ(found(pool, tokens_of({1, 2, 3, 4}), 7), (std::vector<i32>{})) << "another salt";
  // Two free ones go first, then the end of the chain, then its start.
  for (std::size_t expected : {2u, 2u, 2u, 1u}) {
    std::vector<i32> all = found(pool, tokens_of({1, 2, 3, 4}));
    EXPECT_EQ(all.size(), expected);
    pool.allocate();
    pool.audit();
  }
  EXPECT_EQ(pool.available(), 0);
}

TEST(BlockPool, EvictionTakesTheLeastRecentlyReleased) {
  BlockPool pool({.blocks = 3, .block_tokens = 1});
  for (i32 token : {10, 20, 30}) {
    std::vector<i32> table = fill(pool, {token});
    pool.release_all(table);
  }
  std::vector<i32> ten = found(pool, {10});
  pool.acquire(ten[0]);
  pool.release(ten[0]);
  pool.allocate();
  EXPECT_EQ(found(pool, {20}).size(), 0u);
  EXPECT_EQ(found(pool, {10}).size(), 1u);
  EXPECT_EQ(found(pool, {30}).size(), 1u);
}

TEST(BlockPool, EqualBlocksComputedTwiceBecomeOne) {
  BlockPool pool({.blocks = 8, .block_tokens = 2});
  std::vector<i32> a = fill(pool, tokens_of({1, 2, 3, 4}));
  std::vector<i32> b = fill(pool, tokens_of({1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(a[0], b[0]);
  EXPECT_EQ(a[1], b[1]);
  EXPECT_EQ(pool.used(), 3);
  EXPECT_EQ(pool.references(), 5);
  pool.release_all(a);
  EXPECT_EQ(pool.cached(), 0);
  pool.release_all(b);
  EXPECT_EQ(pool.cached(), 3);
}

TEST(BlockPool, CountsTheBlocksThatNobodyElseHolds) {
  BlockPool pool({.blocks = 8, .block_tokens = 1});
  std::vector<i32> a = fill(pool, tokens_of({1, 2}));
  std::vector<i32> b = fill(pool, tokens_of({1, 2, 3, 4}));
  EXPECT_EQ(pool.count_unshared(a), 0);
  EXPECT_EQ(pool.count_unshared(b), 2);
  i64 available = pool.available();
  pool.release_all(b);
  EXPECT_EQ(pool.available(), available + 2);
  EXPECT_EQ(pool.count_unshared(a), 2);
}

TEST(BlockPool, FindsTheBlockThatBeginsWithMost) {
  BlockPool pool({.blocks = 16, .block_tokens = 4});
  std::vector<i32> a = fill(pool, tokens_of({1, 2, 3, 4, 5, 6, 7, 8}));
  std::vector<i32> b = fill(pool, tokens_of({1, 2, 3, 4, 5, 6, 9, 9}));
  std::vector<i32> c = fill(pool, tokens_of({1, 2, 3, 5}), 7);
  auto part = [&](i32 parent, u64 salt, std::vector<i32> tokens) {
    PartOfBlock found = pool.match_part(parent, salt, tokens);
    return std::pair(found.block, found.tokens);
  };
  EXPECT_EQ(part(kNoBlock, 0, {1, 2, 3, 5}), std::pair(a[0], i64{3}));
  EXPECT_EQ(part(kNoBlock, 7, {1, 2, 3, 5}), std::pair(c[0], i64{4}));
  EXPECT_EQ(part(kNoBlock, 0, {2}), std::pair(kNoBlock, i64{0}));
  EXPECT_EQ(part(kNoBlock, 0, {}), std::pair(kNoBlock, i64{0}));
  EXPECT_EQ(part(a[0], 0, {5, 6, 9}), std::pair(b[1], i64{3}));
  EXPECT_EQ(part(a[0], 0, {5, 6, 7}), std::pair(a[1], i64{3}));
  EXPECT_EQ(part(a[1], 0, {5}), std::pair(kNoBlock, i64{0}));
  // Gone with its block.
  pool.release_all(b);
  while (pool.cached() > 0) pool.allocate();
  EXPECT_EQ(part(a[0], 0, {5, 6, 9}), std::pair(a[1], i64{2}));
}

TEST(BlockPool, SwitchedOffFindsNothing) {
  BlockPool pool({.blocks = 2, .block_tokens = 1, .prefix_cache = false});
  std::vector<i32> table = {pool.allocate()};
  pool.release_all(table);
  EXPECT_EQ(found(pool, {1}).size(), 0u);
  EXPECT_EQ(pool.cached(), 0);
}

TEST(BlockPoolDeath, MistakesOfOursEndTheProcess) {
  BlockPool pool({.blocks = 1, .block_tokens = 1});
  i32 block = pool.allocate();
  EXPECT_DEATH(pool.allocate(), "available\\(\\) > 0");
  pool.release(block);
  EXPECT_DEATH(pool.release(block), "references > 0");
  EXPECT_DEATH(pool.acquire(block), "contains");
}

// Few tokens and little room, so that chains branch, meet, are evicted and come back.
TEST(BlockPool, RandomUseKeepsItsBooks) {
  for (u64 seed = 1; seed <= 30; ++seed) {
    SeededRandom random(seed);
    BlockPool pool({.blocks = 24, .block_tokens = 2, .prefix_seed = seed});
    std::map<i32, std::vector<i32>> content;  // what was last written to a block, from the start
    std::vector<std::vector<i32>> tables;
    for (i64 round = 0; round < 400; ++round) {
      if (!tables.empty() && (random.below(2) == 0 || pool.available() < 6)) {
        std::size_t victim = random.below(tables.size());
        pool.release_all(tables[victim]);
        tables.erase(tables.begin() + static_cast<std::ptrdiff_t>(victim));
        pool.audit();
        continue;
      }
      std::vector<i32> tokens;
      for (u64 n = 2 * (1 + random.below(5)); n > 0; --n) {
        tokens.push_back(static_cast<i32>(random.below(2)));
      }
      std::vector<i32> table = found(pool, tokens);
      for (std::size_t i = 0; i < table.size(); ++i) {
        std::vector<i32> prefix(tokens.begin(), tokens.begin() + static_cast<i64>(2 * i + 2));
        ASSERT_EQ(content[table[i]], prefix) << "seed " << seed;
        pool.acquire(table[i]);
      }
      if (2 * table.size() < tokens.size()) {
        std::vector<i32> next(tokens.begin(),
                              tokens.begin() + static_cast<i64>(2 * table.size() + 1));
        PartOfBlock part = pool.match_part(table.empty() ? kNoBlock : table.back(), 0,
                                           std::span<const i32>(next).last(1));
        ASSERT_EQ(part.tokens, part.block == kNoBlock ? 0 : 1);
        if (part.tokens > 0) {
          std::vector<i32> held = content[part.block];
          held.pop_back();
          ASSERT_EQ(held, next) << "seed " << seed;
        }
      }
      for (std::size_t i = table.size(); i < tokens.size() / 2; ++i) {
        table.push_back(pool.allocate());
        content[table[i]].assign(tokens.begin(), tokens.begin() + static_cast<i64>(2 * i + 2));
        pool.publish(table, static_cast<i64>(i), 0, std::span<const i32>(tokens).subspan(2 * i, 2));
      }
      EXPECT_EQ(std::set<i32>(table.begin(), table.end()).size(), table.size());
      tables.push_back(table);
      pool.audit();
    }
    for (std::vector<i32>& table : tables) pool.release_all(table);
    pool.audit();
    EXPECT_EQ(pool.used(), 0);
    EXPECT_EQ(pool.available(), 24);
  }
}

}  // namespace
}  // namespace tg::engine
