// Bundles, subscriptions, credit lines, expiry and refunds: scenes, and random years against a
// naive model, on the real ledger state machine.
#include <gtest/gtest.h>

#include <map>

#include "env/random.h"
#include "env/seed_testing.h"
#include "market/funding/hold_plan.h"
#include "market/lifecycle/life_testing.h"

namespace tg::market {
namespace {

constexpr FundingRequest kAnyRequest{.model = "llama-3", .service = "chat", .now = {1'000}};

TEST(BurnOrder, PriorityThenExpiryThenId) {
  std::vector<FundingSource> sources = {
      {.account = 5},
      {.account = 4, .expires_ns = 9'000},
      {.account = 3, .expires_ns = 8'000},
      {.account = 2, .priority = 1, .expires_ns = 2'000},
      {.account = 1},
      {.account = 6, .expires_ns = 1'000},  // Expired.
  };
  std::vector<u128> ids;
  for (const FundingSource* source : burn_order(sources, kAnyRequest))
    ids.push_back(source->account);
  EXPECT_EQ(ids, (std::vector<u128>{3, 4, 1, 5, 2}));
}

TEST(BurnOrder, RestrictionsNameModelsAndClasses) {
  auto usable = [](Restriction allowed) {
    return is_usable({.account = 1, .allowed = std::move(allowed)}, kAnyRequest);
  };
  EXPECT_TRUE(usable({}));
  EXPECT_TRUE(usable({.models = {"gpt", "llama-*"}}));
  EXPECT_TRUE(usable({.models = {"llama-3"}, .services = {"chat"}}));
  EXPECT_TRUE(usable({.models = {"*"}}));
  EXPECT_FALSE(usable({.models = {"llama"}}));
  EXPECT_FALSE(usable({.models = {""}}));
  EXPECT_FALSE(usable({.services = {"batch"}}));
}

TEST(Allocate, KeepsWhatIsHeldAndAddsInOrder) {
  std::vector<FundingSource> sources = {{.account = 1, .available = 10},
                                        {.account = 2, .available = 0},
                                        {.account = 3, .available = 50}};
  std::vector<const FundingSource*> order = burn_order(sources, kAnyRequest);
  EXPECT_EQ(allocate(order, 25), (std::vector<Draw>{{1, 10}, {3, 15}}));
  std::vector<Draw> held = {{7, 4}, {3, 1}};
  EXPECT_EQ(allocate(order, 25, held), (std::vector<Draw>{{7, 4}, {3, 16}, {1, 10}}));
  EXPECT_EQ(sum(allocate(order, 1'000)), 60u);
}

TEST(Allocate, UsesAtMostEightAccounts) {
  std::vector<FundingSource> sources;
  for (u128 id = 1; id <= 12; ++id) sources.push_back({.account = id, .available = 1});
  EXPECT_EQ(allocate(burn_order(sources, kAnyRequest), 12).size(), kDrawsMax);
}

TEST(Grant, TheSamePurchaseGrantsOnce) {
  LedgerWorld world;
  world.add_bundle(10, 500);
  EXPECT_EQ(world.apply(grant_chain(world.books, {.account = 10, .amount = 500, .purchase = 1}))[0],
            ledger::TransferStatus::kExists);
  EXPECT_EQ(world.available(10), 500u);
}

TEST(Expiry, BreaksWhatIsLeftAndLaterWhatWasHeld) {
  LedgerWorld world;
  world.add_bundle(10, 500);
  HoldTerms terms{.request = 77, .seller = LedgerWorld::kSeller};
  Chain hold;
  std::vector<HeldPart> parts = append_holds(terms, {}, std::vector<Draw>{{10, 200}}, {}, hold);
  link(hold);
  world.apply(hold);
  world.apply(expiry_chain(world.books, world.view().sources[0], {.number = 1}));
  EXPECT_EQ(world.available(10), 0u);
  Chain post;  // A hold granted before the expiry still pays.
  append_resolutions(terms, {}, parts, 120, post);
  link(post);
  EXPECT_EQ(judge(world.apply(post)), Verdict::kDone);
  world.apply(expiry_chain(world.books, world.view().sources[0], {.number = 2}));
  EXPECT_EQ(world.machine.find_account(LedgerWorld::kBreakage)->credits_posted, 380u);
  EXPECT_TRUE(expiry_chain(world.books, world.view().sources[0], {.number = 3}).empty());
}

// A refill is one per period, however often and from whatever view it is planned: attempts go up
// from 0, also after a crash.
struct Refiller {
  LedgerWorld& world;
  Verdict run(const FundingSource& stale, Refill refill) {
    FundingSource view = stale;
    for (;; ++refill.attempt) {
      Verdict verdict = judge(world.apply(refill_chain(world.books, view, refill)));
      if (verdict != Verdict::kAgain) return verdict;
      view = world.view().sources[0];
    }
  }
};

TEST(Refill, LapsesAboveTheRolloverAndGrantsOnce) {
  LedgerWorld world;
  world.add_bundle(10, 0);
  Refiller refiller{world};
  Refill month{.amount = 1'000, .rollover_max = 100};
  EXPECT_EQ(refiller.run(world.view().sources[0], month), Verdict::kDone);
  EXPECT_EQ(world.available(10), 1'000u);
  // The same period again, from a view in which there is something to lapse.
  EXPECT_EQ(refiller.run(world.view().sources[0], month), Verdict::kDone);
  EXPECT_EQ(world.available(10), 1'000u);
  month.period = 1;
  FundingSource stale = world.view().sources[0];
  stale.available = 5'000;  // More than there is: refused, then planned again.
  EXPECT_EQ(refiller.run(stale, month), Verdict::kDone);
  EXPECT_EQ(world.available(10), 1'100u);
  EXPECT_EQ(refiller.run(world.view().sources[0], month), Verdict::kDone);
  EXPECT_EQ(refiller.run(stale, month), Verdict::kDone);
  EXPECT_EQ(world.available(10), 1'100u);
  EXPECT_EQ(world.machine.find_account(LedgerWorld::kBreakage)->credits_posted, 900u);
}

TEST(CreditLine, LimitIsGrantedAndRepaymentRestoresIt) {
  LedgerWorld world;
  world.add_bundle(10, 0);
  world.apply(credit_chain(world.books, {.account = 10, .from = 0, .to = 300, .change = 1}));
  Chain spend;
  append_holds({.request = 77, .seller = LedgerWorld::kSeller}, {}, std::vector<Draw>{{10, 250}},
               {}, spend);
  world.apply(spend);
  EXPECT_EQ(owed(*world.machine.find_account(10), 300), 250u);
  // Below what is used: refused by the ledger, not negative.
  Chain lower = credit_chain(world.books, {.account = 10, .from = 300, .to = 200, .change = 2});
  EXPECT_EQ(world.apply(lower)[0], ledger::TransferStatus::kExceedsCredits);
  world.apply(grant_chain(
      world.books,
      {.account = 10, .amount = 250, .purchase = 9, .code = ledger::transfer_code::kTopUp}));
  EXPECT_EQ(owed(*world.machine.find_account(10), 300), 0u);
}

TEST(Refund, IsBoundedAndACorrectionNeverRaises) {
  Charged charged{.request = 7, .seller = 3, .draws = {{1, 10}, {2, 20}}, .refunded = 5};
  EXPECT_FALSE(refund_chain(charged, 26, 1).ok());
  EXPECT_FALSE(refund_chain(charged, 0, 1).ok());
  Result<Chain> rest = refund_chain(charged, 25, 1);
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ((*rest)[0].credit_account, 2u);
  EXPECT_EQ((*rest)[0].amount, 15u);
  EXPECT_EQ((*rest)[1].amount, 10u);
  EXPECT_EQ(correction_chain(charged, 26, 1).error().message,
            "request 00000000000000000000000000000007: cannot be corrected from 25 up to 26");
  Result<Chain> corrected = correction_chain(charged, 22, 1);
  ASSERT_TRUE(corrected.ok());
  EXPECT_EQ((*corrected)[0].code, ledger::transfer_code::kCorrect);
  EXPECT_EQ((*corrected)[0].amount, 3u);
}

// The same rules said slowly: per account, what came, what went where, what is held.
struct NaiveAccount {
  u128 free = 0, held = 0, spent = 0, broken = 0, granted = 0;
};

class RandomFunding {
 public:
  explicit RandomFunding(u64 seed) : random_(seed) {
    for (u128 id = 10; id < 10 + 3 + random_.below(9); ++id) {
      FundingSource source{.priority = static_cast<u32>(random_.below(2))};
      if (random_.below(2) == 0)
        source.expires_ns = world_.now.ns + static_cast<i64>(random_.below(100'000));
      if (random_.below(4) == 0) source.allowed.models = {"gpt-*"};
      world_.add_bundle(id, 0, source);
    }
  }

  void step() {
    world_.now.ns += static_cast<i64>(random_.below(2'000));
    u64 dice = random_.below(100);
    if (dice < 20)
      grant();
    else if (dice < 55)
      hold();
    else if (dice < 80)
      resolve();
    else if (dice < 90)
      expire();
    else
      refund();
    check();
  }
  i64 refunds = 0, expiries = 0, charges = 0;

 private:
  struct Open {
    HoldTerms terms;
    std::vector<HeldPart> parts;
  };

  FundingSource& pick() { return world_.sources[random_.below(world_.sources.size())]; }

  void grant() {
    u128 account = pick().account;
    u128 amount = 1 + random_.below(500);
    world_.apply(
        grant_chain(world_.books, {.account = account, .amount = amount, .purchase = ++names_}));
    naive_[account].free += amount;
    naive_[account].granted += amount;
  }

  // The next account to burn, found by asking for the least of all, one at a time.
  const FundingSource* next_to_burn(const std::map<u128, u128>& taken) {
    const FundingSource* best = nullptr;
    for (const FundingSource& s : world_.sources) {
      bool is_open = s.expires_ns == 0 || s.expires_ns > world_.now.ns;
      if (!is_open || !s.allowed.models.empty() || naive_[s.account].free == 0) continue;
      if (taken.count(s.account) != 0) continue;
      auto sooner = [](i64 a, i64 b) { return a != b && (b == 0 || (a != 0 && a < b)); };
      bool is_before = best == nullptr || s.priority < best->priority ||
                       (s.priority == best->priority && sooner(s.expires_ns, best->expires_ns)) ||
                       (s.priority == best->priority && s.expires_ns == best->expires_ns &&
                        s.account < best->account);
      if (is_before) best = &s;
    }
    return best;
  }

  void hold() {
    u128 amount = 1 + random_.below(600);
    FundingView view = world_.view();
    std::vector<Draw> draws = allocate(
        burn_order(view.sources, {.model = "llama", .service = "chat", .now = world_.now}), amount);
    std::map<u128, u128> taken;
    std::vector<Draw> expected;
    for (u128 left = amount; left > 0 && expected.size() < kDrawsMax;) {
      const FundingSource* source = next_to_burn(taken);
      if (source == nullptr) break;
      u128 take = std::min(left, naive_[source->account].free);
      taken[source->account] = take;
      expected.push_back({source->account, take});
      left -= take;
    }
    ASSERT_EQ(draws, expected);
    if (draws.empty()) return;
    Open open{.terms = {.request = ++names_, .seller = LedgerWorld::kSeller}};
    Chain chain;
    open.parts = append_holds(open.terms, {}, draws, {}, chain);
    link(chain);
    ASSERT_EQ(judge(world_.apply(chain)), Verdict::kDone);
    for (const Draw& draw : draws) {
      naive_[draw.account].free -= draw.amount;
      naive_[draw.account].held += draw.amount;
    }
    open_.push_back(open);
  }

  void resolve() {
    if (open_.empty()) return;
    std::size_t at = random_.below(open_.size());
    Open open = open_[at];
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(at));
    u128 total = sum(held_draws(open.parts));
    u128 amount = random_.below(static_cast<u64>(total) + 1);
    Chain chain;
    std::vector<Draw> paid = append_resolutions(open.terms, {}, open.parts, amount, chain);
    link(chain);
    ASSERT_EQ(judge(world_.apply(chain)), Verdict::kDone);
    ASSERT_EQ(sum(paid), amount);
    u128 left = amount;
    for (const HeldPart& part : open.parts) {
      u128 take = std::min(left, part.amount);
      left -= take;
      NaiveAccount& account = naive_[part.account];
      account.held -= part.amount;
      account.free += part.amount - take;
      account.spent += take;
    }
    ++charges;
    if (amount > 0) charged_.push_back({open.terms.request, LedgerWorld::kSeller, 2, 0, paid, 0});
  }

  void expire() {
    FundingView view = world_.view();
    const FundingSource& source = view.sources[random_.below(view.sources.size())];
    bool is_due = source.expires_ns != 0 && source.expires_ns <= world_.now.ns;
    if (!is_due || source.available == 0) return;
    ASSERT_EQ(judge(world_.apply(expiry_chain(world_.books, source, {.number = ++names_}))),
              Verdict::kDone);
    naive_[source.account].broken += naive_[source.account].free;
    naive_[source.account].free = 0;
    ++expiries;
  }

  void refund() {
    if (charged_.empty()) return;
    Charged& charged = charged_[random_.below(charged_.size())];
    u128 left = sum(charged.draws) - charged.refunded;
    if (left == 0) return;
    u128 amount = 1 + random_.below(static_cast<u64>(left));
    Result<Chain> chain = refund_chain(charged, amount, static_cast<u32>(++names_));
    ASSERT_TRUE(chain.ok());
    ASSERT_EQ(judge(world_.apply(*chain)), Verdict::kDone);
    // Unit by unit from the end.
    std::vector<u128> units;
    for (const Draw& draw : charged.draws)
      units.insert(units.end(), static_cast<std::size_t>(draw.amount), draw.account);
    for (u128 i = 0; i < amount; ++i) {
      NaiveAccount& account = naive_[units[static_cast<std::size_t>(
          static_cast<u128>(units.size()) - charged.refunded - i - 1)]];
      account.spent -= 1;
      account.free += 1;
    }
    charged.refunded += amount;
    ++refunds;
  }

  // I-17: value is conserved per account: granted = free + held + spent + broken.
  void check() {
    u128 spent = 0, broken = 0;
    for (const FundingSource& source : world_.sources) {
      const NaiveAccount& n = naive_[source.account];
      const ledger::Account& a = *world_.machine.find_account(source.account);
      ASSERT_EQ(ledger::available(a), n.free);
      ASSERT_EQ(a.debits_pending, n.held);
      ASSERT_EQ(n.granted, n.free + n.held + n.spent + n.broken);
      spent += n.spent;
      broken += n.broken;
    }
    ASSERT_EQ(world_.available(LedgerWorld::kSeller), spent);
    ASSERT_EQ(world_.machine.find_account(LedgerWorld::kBreakage)->credits_posted, broken);
  }

  SeededRandom random_;
  LedgerWorld world_;
  std::map<u128, NaiveAccount> naive_;
  std::vector<Open> open_;
  std::vector<Charged> charged_;
  u64 names_ = 100;
};

TEST(FundingProperty, I17I18AgreesWithANaiveModel) {
  i64 refunds = 0, expiries = 0, charges = 0;
  for (u64 seed = first_seed(); seed < first_seed() + 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomFunding run(seed);
    for (int i = 0; i < 300; ++i) {
      run.step();
      if (HasFatalFailure()) return;
    }
    refunds += run.refunds;
    expiries += run.expiries;
    charges += run.charges;
  }
  EXPECT_GT(refunds, 1'000);
  EXPECT_GT(expiries, 200);
  EXPECT_GT(charges, 5'000);
}

}  // namespace
}  // namespace tg::market
