#include "market/funding/catalogue.h"

#include <gtest/gtest.h>

#include "market/lifecycle/life_testing.h"

namespace tg::market {
namespace {

constexpr std::string_view kExample = R"(
[[plan]]
name = "starter"
kind = "bundle"
amount_st = "2.5"
price = "9.90"
days = 90
models = ["llama-*"]

[[plan]]
name = "pro"
kind = "subscription"
amount_st = 1_000
rollover_st = 100
days = 30
priority = 5

[[plan]]
name = "invoice"
kind = "credit"
amount_st = "1"
classes = ["chat"]
)";

constexpr i64 kDayNs = 86'400'000'000'000;

std::vector<Plan> example() {
  Result<std::vector<Plan>> plans = parse_catalogue(kExample, "plans.toml");
  EXPECT_TRUE(plans.ok()) << (plans.ok() ? "" : plans.error().message);
  return plans.ok() ? *plans : std::vector<Plan>(3);
}

TEST(Catalogue, PlansAreRead) {
  std::vector<Plan> plans = example();
  EXPECT_EQ(plans[0].amount, 2'500'000'000);
  EXPECT_EQ(plans[0].price_ucredit, 9'900'000);
  EXPECT_EQ(plans[0].allowed.models, std::vector<std::string>{"llama-*"});
  EXPECT_EQ(plans[1].amount, 1'000);
  EXPECT_EQ(plans[1].priority, 5u);
  EXPECT_EQ(plans[2].kind, SourceKind::kCreditLine);
  EXPECT_EQ(find_plan(plans, plans[1].product()), &plans[1]);
  EXPECT_EQ(find_plan(plans, 0), nullptr);
}

TEST(Catalogue, ErrorsNameLineFieldAndValue) {
  struct Case {
    const char* toml;
    const char* message;
  };
  const Case cases[] = {
      {"[[plans]]\n", "p.toml, line 1: plans is no field of a catalogue"},
      {"plan = 3\n", "p.toml, line 1: plan must be written [[plan]]"},
      {"[[plan]]\nname = \"a\"\namount_st = 1\n", "p.toml, line 1: plan 1 has no kind"},
      {"[[plan]]\nname = \"a\"\nkind = \"gift\"\n",
       "p.toml, line 3: kind is \"gift\", not \"bundle\", \"subscription\" or \"credit\""},
      {"[[plan]]\nname = \"a b\"\nkind = \"bundle\"\n",
       "p.toml, line 1: plan 1 has the name 'a b'"},
      {"[[plan]]\nname = \"a\"\nkind = \"bundle\"\n", "p.toml, line 1: plan 1 has no amount_st"},
      {"[[plan]]\namount_st = \"0.0000000001\"\n",
       "p.toml, line 2: amount_st is \"0.0000000001\", not a decimal of at most 9 places in range"},
      {"[[plan]]\namount_st = \"1000000001\"\n", "p.toml, line 2: amount_st is above 10^9 ST"},
      {"[[plan]]\nname = \"a\"\nkind = \"subscription\"\namount_st = 1\n",
       "p.toml, line 1: plan 1 is a subscription without days"},
      {"[[plan]]\nname = \"a\"\nkind = \"bundle\"\namount_st = 1\nrollover_st = 1\n",
       "p.toml, line 1: plan 1 has a rollover_st but is no subscription"},
      {"[[plan]]\nmodels = []\n",
       "p.toml, line 2: models is empty: nothing could be bought with it"},
      {"[[plan]]\nbudget = 1\n", "p.toml, line 2: budget is no field of a plan"},
      {"[[plan]]\nname = \"a\"\nkind = \"credit\"\namount_st = 1\n"
       "[[plan]]\nname = \"a\"\nkind = \"credit\"\namount_st = 1\n",
       "p.toml, line 5: plan 2 'a' is there already"},
  };
  for (const Case& c : cases) {
    Result<std::vector<Plan>> plans = parse_catalogue(c.toml, "p.toml");
    ASSERT_FALSE(plans.ok()) << c.toml;
    EXPECT_EQ(plans.error().message, c.message);
  }
}

struct Shop {
  LedgerWorld world;
  std::vector<Plan> plans = example();

  u128 sell(const Plan& plan, u128 purchase) {
    Sale sale{.owner = 500, .purchase = purchase, .at = world.now};
    ledger::Request request = sale_request(world.books, plan, sale);
    ledger::AccountStatus opened = world.machine.create_account(request.accounts[0], world.now);
    EXPECT_TRUE(ledger::succeeded(opened)) << ledger::name(opened);
    EXPECT_EQ(judge(world.apply(request.transfers)), Verdict::kDone);
    return account_of(plan, sale);
  }
  const ledger::Account& account(u128 id) { return *world.machine.find_account(id); }
};

TEST(Catalogue, ASaleIsMadeOnce) {
  Shop shop;
  for (const Plan& plan : shop.plans) {
    u128 account = shop.sell(plan, 1);
    EXPECT_EQ(shop.sell(plan, 1), account);
    EXPECT_EQ(shop.world.available(account), static_cast<u128>(plan.amount)) << plan.name;
    EXPECT_NE(shop.sell(plan, 2), account);
  }
}

TEST(Catalogue, AnAccountIsTheSourceItsPlanSays) {
  Shop shop;
  const ledger::Account& bundle = shop.account(shop.sell(shop.plans[0], 1));
  EXPECT_EQ(find_plan(shop.plans, bundle.product), &shop.plans[0]);
  FundingSource source = source_of(shop.plans[0], bundle);
  EXPECT_EQ(source.available, 2'500'000'000u);
  FundingRequest request{.model = "llama-3", .service = "chat", .now = shop.world.now};
  EXPECT_TRUE(is_usable(source, request));
  request.now.ns += 90 * kDayNs;
  EXPECT_FALSE(is_usable(source, request));
  request = {.model = "gpt", .service = "chat", .now = shop.world.now};
  EXPECT_FALSE(is_usable(source, request));
}

TEST(Catalogue, ASubscriptionRefillsByPeriod) {
  Shop shop;
  const Plan& plan = shop.plans[1];
  u128 id = shop.sell(plan, 1);
  EXPECT_EQ(period_of(plan, shop.account(id), Timestamp{shop.world.now.ns + 30 * kDayNs - 1}), 0u);
  shop.world.now.ns += 30 * kDayNs;
  u64 period = period_of(plan, shop.account(id), shop.world.now);
  EXPECT_EQ(period, 1u);
  Chain refill =
      refill_chain(shop.world.books, source_of(plan, shop.account(id)), refill_of(plan, period));
  EXPECT_EQ(judge(shop.world.apply(refill)), Verdict::kDone);
  EXPECT_EQ(shop.world.available(id), 1'100u);
}

}  // namespace
}  // namespace tg::market
