// Ten thousand keys in a thousand projects: all found, each with its own levels, and a change seen
// within a second.
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "gateway/access/directory_feed.h"
#include "gateway/access/limit_book.h"
#include "gateway/access/many_keys_testing.h"

namespace tg::gateway {
namespace {

TEST(ManyKeysTest, AllAreFoundAndARevocationIsSeenWithinASecond) {
  constexpr i64 kKeys = 10'000;
  constexpr i64 kProjects = 1'000;
  ManyKeys many(kKeys, kProjects);
  std::unique_ptr<DirectoryFeed> feed = DirectoryFeed::start(many.open()).value();
  std::shared_ptr<const Directory> directory = feed->current();
  ASSERT_EQ(directory->size(), static_cast<std::size_t>(kKeys));
  LimitBook book;
  std::set<std::string> projects;
  for (i64 i = 0; i < kKeys; ++i) {
    std::optional<KeyInfo> who = directory->find(many.key(i), Timestamp{1});
    ASSERT_TRUE(who.has_value()) << i;
    projects.insert(who->standing->at(Level::kProject).id);
    ASSERT_FALSE(book.admit(*who->standing, {.tokens = 1}, 1'000'000'000'000));
  }
  EXPECT_EQ(projects.size(), static_cast<std::size_t>(kProjects));
  // Keys, projects, and the ten teams and organisations above them.
  EXPECT_EQ(book.size(), static_cast<std::size_t>(kKeys + kProjects + 20));

  std::unique_ptr<KeyStore> other = many.open();
  ASSERT_TRUE(
      other->revoke("key_" + to_hex(static_cast<u128>(4'000'077)).substr(16), Timestamp{2}).ok());
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (feed->current()->find(many.key(77), Timestamp{3})) {
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(feed->current()->find(many.key(78), Timestamp{3}).has_value());
}

}  // namespace
}  // namespace tg::gateway
