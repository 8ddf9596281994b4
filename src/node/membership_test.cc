// Membership over a real NATS server: nodes appear, drain and expire; records survive its death.
#include "node/membership.h"

#include <gtest/gtest.h>

#include "node/testing/nats_server.h"

namespace tg::node {
namespace {

class IdleSupplier final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest) override { return {}; }
  void cancel(u64) override {}
  fleet::SupplierLoad load() const override { return {}; }
};

Advert advert(const std::string& name) {
  return {.name = name,
          .address = "10.0.0.1:7070",
          .model = "m",
          .program = sha256(name),
          .zone = "z",
          .key = "k"};
}

class MembershipTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!NatsServer::is_installed()) GTEST_SKIP() << "nats-server is not installed";
    server_ = std::make_unique<NatsServer>();
    bus_ = Bus::connect(server_->url(), "test").value();
    ASSERT_TRUE(wait_until([&] { return bus_->leases().ok(); }));
  }
  bool wait_until(const std::function<bool()>& condition, int seconds = 15) {
    for (int i = 0; i < 50 * seconds; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  std::size_t lease_count() {
    Result<std::vector<Lease>> leases = bus_->leases();
    return leases.ok() ? leases->size() : 999;
  }

  SystemClock clock_;
  IdleSupplier supplier_;
  std::unique_ptr<NatsServer> server_;
  std::unique_ptr<Bus> bus_;
};

TEST_F(MembershipTest, NodesComeAndGo) {
  MemberWatch watch("secret");
  std::unique_ptr<Membership> one =
      Membership::announce(server_->url(), "secret", advert("one"), supplier_, clock_).value();
  std::unique_ptr<Membership> stranger =
      Membership::announce(server_->url(), "guess", advert("two"), supplier_, clock_).value();
  ASSERT_TRUE(wait_until([&] { return lease_count() == 2; }));
  MemberWatch::Change change = watch.look(*bus_, clock_.monotonic_ns());
  ASSERT_EQ(change.joined.size(), 1u);
  EXPECT_EQ(change.joined[0], advert("one"));
  EXPECT_TRUE(watch.look(*bus_, clock_.monotonic_ns()).joined.empty());
  one->drain();
  ASSERT_TRUE(wait_until([&] { return lease_count() == 1; }));
  // Right after the bus came back a missing lease says nothing yet.
  i64 now_ns = clock_.monotonic_ns();
  EXPECT_TRUE(watch.look(*bus_, now_ns + 1'000'000'000).left.empty());
  change = watch.look(*bus_, now_ns + 4 * kLeaseMs * 1'000'000);
  EXPECT_EQ(change.left, std::vector<std::string>{"one"});
}

TEST_F(MembershipTest, TheBusMayDieAndComeBack) {
  MemberWatch watch("secret");
  std::unique_ptr<Membership> one =
      Membership::announce(server_->url(), "secret", advert("one"), supplier_, clock_).value();
  ASSERT_TRUE(wait_until([&] { return lease_count() == 1; }));
  EXPECT_EQ(watch.look(*bus_, clock_.monotonic_ns()).joined.size(), 1u);
  UsageOutbox outbox("gw", 7);
  for (int i = 0; i < 5; ++i) outbox.add("{\"n\":" + std::to_string(i) + "}");
  EXPECT_EQ(outbox.flush(*bus_), 0u);
  server_->kill();
  outbox.add("{\"n\":5}");
  ASSERT_TRUE(wait_until([&] { return !bus_->is_connected(); }));
  EXPECT_EQ(outbox.flush(*bus_), 1u);
  MemberWatch::Change away = watch.look(*bus_, clock_.monotonic_ns());
  EXPECT_TRUE(away.joined.empty() && away.left.empty());
  server_->start();
  ASSERT_TRUE(wait_until([&] { return outbox.flush(*bus_) == 0; }));
  ASSERT_TRUE(wait_until([&] { return lease_count() == 1; }));
  MemberWatch::Change back = watch.look(*bus_, clock_.monotonic_ns());
  EXPECT_TRUE(back.joined.empty() && back.left.empty());
  EXPECT_EQ(outbox.dropped(), 0u);
}

TEST(Adverts, AreSealedByTheToken) {
  std::string text = advert_text(advert("a\"b"), "t");
  EXPECT_EQ(parse_advert(text, "t").value(), advert("a\"b"));
  EXPECT_EQ(parse_advert(text, "u").error().code, Code::kDenied);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string spoilt = text;
    spoilt[i] = static_cast<char>(spoilt[i] ^ 1);
    EXPECT_FALSE(parse_advert(spoilt, "t").ok()) << i;
  }
  EXPECT_FALSE(parse_advert("", "t").ok());
  EXPECT_FALSE(Bus::connect("", "x").ok());
}

}  // namespace
}  // namespace tg::node
