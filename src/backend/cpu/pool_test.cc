#include "backend/cpu/pool.h"

#include <gtest/gtest.h>

#include <chrono>

namespace tg::backend::cpu {
namespace {

TEST(Pool, does_every_part_once_and_returns_after_the_last) {
  for (i32 threads : {1, 2, 3, 5}) {
    Pool pool(threads);
    std::vector<i32> hits(static_cast<std::size_t>(threads));
    for (int round = 0; round < 400; ++round) {
      pool.run([&hits](i32 part, i32) { ++hits[static_cast<std::size_t>(part)]; }, threads);
    }
    EXPECT_EQ(hits, std::vector<i32>(static_cast<std::size_t>(threads), 400));
  }
}

TEST(Pool, fewer_parts_than_threads_and_one_runs_inline) {
  Pool pool(3);
  std::vector<std::thread::id> who(2);
  pool.run(
      [&who](i32 part, i32 parts) {
        EXPECT_EQ(parts, 2);
        who[static_cast<std::size_t>(part)] = std::this_thread::get_id();
      },
      2);
  EXPECT_NE(who[0], who[1]);
  std::thread::id inline_id;
  pool.run([&inline_id](i32, i32) { inline_id = std::this_thread::get_id(); }, 1);
  EXPECT_EQ(inline_id, std::this_thread::get_id());
}

TEST(Pool, wakes_parked_workers) {
  Pool pool(2);
  i32 sum = 0;
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::vector<i32> parts(2);
    pool.run([&parts](i32 part, i32) { parts[static_cast<std::size_t>(part)] = part + 1; }, 2);
    sum += parts[0] + parts[1];
  }
  EXPECT_EQ(sum, 9);
}

}  // namespace
}  // namespace tg::backend::cpu
