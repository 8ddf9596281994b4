// What is kept, for whom, for how long, and that it stays within its bounds.
#include "gateway/response_store.h"

#include <gtest/gtest.h>

namespace tg::gateway {
namespace {

StoredResponse response(const std::string& id, std::size_t bytes = 10) {
  return {.id = id, .account = 1, .json = std::string(bytes, 'x'), .input = "[]"};
}

TEST(ResponseStore, BelongsToItsAccount) {
  ResponseStore store;
  store.put(response("a"), Timestamp{0});
  EXPECT_NE(store.find("a", 1, Timestamp{0}), nullptr);
  EXPECT_EQ(store.find("a", 2, Timestamp{0}), nullptr);
  EXPECT_FALSE(store.erase("a", 2, Timestamp{0}));
  EXPECT_TRUE(store.erase("a", 1, Timestamp{0}));
  EXPECT_EQ(store.find("a", 1, Timestamp{0}), nullptr);
}

TEST(ResponseStore, ForgetsTheOldestFirst) {
  ResponseStore store({.count_max = 2, .bytes_max = 100'000, .age_ns_max = 100});
  for (const char* id : {"a", "b", "c"}) store.put(response(id), Timestamp{0});
  EXPECT_EQ(store.find("a", 1, Timestamp{0}), nullptr);
  EXPECT_NE(store.find("c", 1, Timestamp{100}), nullptr);
  EXPECT_EQ(store.find("c", 1, Timestamp{101}), nullptr);
  EXPECT_EQ(store.count(), 0);
}

TEST(ResponseStore, BoundsItsBytes) {
  ResponseStore store({.count_max = 100, .bytes_max = 10'000, .age_ns_max = 100});
  store.put(response("huge", 20'000), Timestamp{0});
  EXPECT_EQ(store.count(), 0);
  for (int i = 0; i < 50; ++i) store.put(response(std::to_string(i), 1'000), Timestamp{0});
  EXPECT_LE(store.count(), 7);
  EXPECT_NE(store.find("49", 1, Timestamp{0}), nullptr);
}

}  // namespace
}  // namespace tg::gateway
