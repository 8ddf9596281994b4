// Many requests on the same accounts, in random order, with stale views, late and repeated answers,
// clock jumps and crashes, on the real ledger state machine. A failure names its seed; TG_SEED
// replays it.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "env/random.h"
#include "env/seed_testing.h"
#include "market/lifecycle/life_testing.h"
#include "market/lifecycle/request_life.h"

namespace tg::market {
namespace {

constexpr u64 kSeeds = 10'000;

unit::CostMatrix small_matrix() {
  unit::CostMatrix m;
  m.per_token[unit::kMmF16] = 900'000;
  m.per_token[unit::kKvWr] = 4'096;
  m.per_pass[unit::kWBytes] = 900'000;
  m.head_bytes = 100'000;
  m.windows = {unit::WindowCost{0, 8'192, 0, 2'048}};
  return m;
}

class Simulation {
 public:
  explicit Simulation(u64 seed) : random_(seed), matrix_(small_matrix()) {
    u64 bundles = 1 + random_.below(10);
    for (u64 i = 0; i < bundles; ++i) {
      FundingSource source{.priority = static_cast<u32>(random_.below(3))};
      if (random_.below(3) == 0)
        source.expires_ns = world_.now.ns + static_cast<i64>(random_.below(200'000'000'000));
      world_.add_bundle(10 + i, random_.below(scale()), source);
    }
    if (random_.below(2) == 0) world_.add_limit(1 + random_.below(4 * scale()));
    u64 requests = 1 + random_.below(8);
    for (u64 i = 0; i < requests; ++i) add_request(i);
    stale_ = world_.view();
  }

  void run() {
    bool crashes = random_.below(4) == 0;
    u64 steps = crashes ? random_.below(200) : 5'000;
    for (u64 i = 0; i < steps && !done(); ++i) {
      step(actors_[random_.below(actors_.size())]);
      if (::testing::Test::HasFatalFailure()) return;
    }
    if (!done() || crashes) return crash();
    check_end();
  }
  i64 lapses = 0;
  i64 budgets = 0;
  i64 slices = 0;

 private:
  struct Actor {
    u128 request = 0;
    std::unique_ptr<RequestLife> life;
    RequestRate rate;
    HoldMode mode = HoldMode::kSliced;
    i64 max_cost = 0;
    i64 output_wanted = 0;
    OutputReading produced;
    OutputReading delivered;
    OutputReading reported;  // Of what was produced.
    i64 authorised_most = 0;
    bool opened = false;
    bool ended = false;
  };

  u64 scale() { return 6'000; }

  PriceVector random_prices() {
    PriceVector prices;
    for (std::size_t i = 0; i < kTokenClasses; ++i)
      prices.values[i] = static_cast<i64>(random_.below(30'000'000));
    if (random_.below(2) == 0) prices[RatedClass::kWork] = 1'000'000'000'000'000;
    return prices;
  }

  void add_request(u64 number) {
    i64 prompt = static_cast<i64>(random_.below(300));
    i64 output_max = 1 + static_cast<i64>(random_.below(200));
    const unit::CostMatrix* cost = random_.below(2) == 0 ? &matrix_ : nullptr;
    Result<RequestRate> rate = RequestRate::make(cost, random_prices(), prompt, output_max);
    ASSERT_TRUE(rate.ok());
    LifeTerms terms;
    terms.mode = static_cast<HoldMode>(random_.below(3));
    terms.max_cost = static_cast<i64>(random_.below(2 * scale()));
    terms.slice_min = 1 + static_cast<i64>(random_.below(1'000));
    terms.hold = {.request = 1'000 + number, .seller = LedgerWorld::kSeller};
    actors_.push_back(
        {.request = terms.hold.request,
         .life = std::make_unique<RequestLife>(terms, *rate),
         .rate = *rate,
         .mode = terms.mode,
         .max_cost = terms.max_cost,
         .output_wanted = static_cast<i64>(random_.below(static_cast<u64>(output_max) + 1))});
  }

  bool done() const {
    for (const Actor& actor : actors_) {
      if (!actor.life->is_closed()) return false;
    }
    return true;
  }

  RequestLife::View view() {
    if (random_.below(3) != 0) stale_ = world_.view();
    return {.funding = stale_, .now = world_.now};
  }

  void step(Actor& actor) {
    advance();
    RequestLife& life = *actor.life;
    if (life.is_closed()) return;
    if (life.waits() && random_.below(3) != 0) {
      answer(actor);
    } else if (!actor.opened) {
      actor.opened = true;
      if (random_.below(20) == 0) {
        life.end(EndCause::kAbort, view());
      } else {
        life.open(view());
      }
    } else {
      use(actor);
    }
    check(actor);
  }

  void advance() {
    u64 dice = random_.below(1'000);
    if (dice == 0) world_.now.ns += 70'000'000'000;
    if (dice > 500) world_.now.ns += static_cast<i64>(random_.below(400'000'000));
  }

  void answer(Actor& actor) {
    RequestLife& life = *actor.life;
    Chain chain = life.in_flight();
    std::vector<ledger::TransferStatus> statuses = world_.apply(chain);
    bool is_ok = std::all_of(statuses.begin(), statuses.end(),
                             [](ledger::TransferStatus s) { return ledger::succeeded(s); });
    // The answer was lost and the chain is sent again; nothing may change.
    if (random_.below(5) == 0) {
      u64 size = world_.machine.journal_size();
      std::vector<ledger::TransferStatus> again = world_.apply(chain);
      if (is_ok) {
        ASSERT_EQ(world_.machine.journal_size(), size);
        statuses = again;
      }
    }
    life.answer(statuses, view());
  }

  void use(Actor& actor) {
    RequestLife& life = *actor.life;
    u64 dice = random_.below(100);
    if (dice < 10 && actor.delivered.total() == 0) {
      i64 cached = static_cast<i64>(random_.below(static_cast<u64>(actor.rate.prompt()) + 1));
      // Read before the first token, as the engine reports it with its first step.
      if (actor.produced.total() == 0) life.input_read({actor.rate.prompt(), cached, 0});
    } else if (dice < 45) {
      i64 room = std::min(life.edge(), actor.output_wanted) - actor.produced.total();
      if (room > 0)
        add(actor.produced, 1 + static_cast<i64>(random_.below(static_cast<u64>(room))));
      actor.reported = actor.produced;
      life.produced(actor.produced, view());
    } else if (dice < 85) {
      if (random_.below(2) == 0) {
        actor.delivered.reasoning = actor.produced.reasoning;
      } else {
        actor.delivered = actor.produced;
      }
      life.delivered(actor.delivered, view());
    } else if (dice < 94) {
      life.tick(view());
    } else if (dice < 95) {
      reprice(actor);
    } else {
      end(actor);
    }
  }

  // A new price, which the model of the request follows.
  void reprice(Actor& actor) {
    PriceVector prices = random_prices();
    bool is_closing = actor.life->waits() && actor.ended;
    if (is_closing || actor.life->state() != RequestLife::State::kOpen) return;
    // The life knows what was reported to it, no more.
    if (actor.rate.reprice(actor.reported, prices).ok()) actor.life->reprice(prices, 5, view());
  }

  void add(OutputReading& reading, i64 tokens) {
    i64 reasoning = random_.below(3) == 0 ? tokens : 0;
    reading.reasoning += reasoning;
    reading.output += tokens - reasoning;
  }

  void end(Actor& actor) {
    constexpr EndCause kCauses[] = {EndCause::kStop,  EndCause::kLength,    EndCause::kAbort,
                                    EndCause::kFault, EndCause::kPreempted, EndCause::kDeadline};
    actor.ended = true;
    actor.life->end(kCauses[random_.below(6)], view());
  }

  // I-13 at every moment, and no account below zero (the machine asserts it as well: I-2).
  void check(Actor& actor) {
    const RequestLife& life = *actor.life;
    ASSERT_LE(life.posted(), life.authorised());
    ASSERT_LE(life.authorised(), actor.max_cost);
    for (const FundingSource& source : world_.sources) {
      const ledger::Account& a = *world_.machine.find_account(source.account);
      ASSERT_LE(a.debits_pending + a.debits_posted, a.credits_posted);
    }
    actor.authorised_most = std::max(actor.authorised_most, life.authorised());
    lapses += life.has_lapsed() ? 1 : 0;
  }

  void check_end() {
    u128 earned = 0;
    ASSERT_EQ(world_.machine.pending_count(), 0);  // I-5: every hold is resolved.
    for (const Actor& actor : actors_) {
      const RequestLife& life = *actor.life;
      ASSERT_EQ(world_.charged(actor.request), static_cast<u128>(life.charge()));  // I-20's half.
      ASSERT_EQ(sum(life.paid().draws), static_cast<u128>(life.charge()));
      i64 due = charge_of(life.outcome(), actor.rate, life.input(), life.delivered());
      if (life.has_lapsed()) {
        ASSERT_LE(life.charge(), due);
      } else if (actor.mode == HoldMode::kBestEffort) {
        ASSERT_EQ(life.charge(), std::min(due, actor.authorised_most));
      } else {
        ASSERT_EQ(life.charge(), due);  // I-14, exactly: generation stayed within the edge.
      }
      if (life.delivered().total() == 0) {
        ASSERT_EQ(life.charge(), 0);  // I-19.
      }
      earned += static_cast<u128>(life.charge());
      budgets += life.outcome() == meter::Outcome::kBudget ? 1 : 0;
      slices += life.slices();
    }
    ASSERT_EQ(world_.machine.find_account(LedgerWorld::kSeller)->credits_posted, earned);
    if (!world_.limits.empty()) {  // The budget saw every charge, and the same ones.
      ASSERT_EQ(world_.machine.find_account(LedgerWorld::kLimit)->debits_posted, earned);
    }
  }

  // I-15: everything in memory is gone; each request is charged at most what was delivered of it,
  // and after the ledger's release at start nothing is held.
  void crash() {
    for (const Actor& actor : actors_) {
      if (actor.life->waits() && random_.below(2) == 0) world_.apply(actor.life->in_flight());
    }
    world_.machine.release_open(ledger::transfer_code::kHold, world_.now);
    ASSERT_EQ(world_.machine.pending_count(), 0);
    for (const Actor& actor : actors_) {
      const RequestLife& life = *actor.life;
      i64 delivered = actor.rate.charge(life.input(), life.delivered());
      u128 most = life.delivered().total() == 0 ? 0 : static_cast<u128>(delivered);
      ASSERT_LE(world_.charged(actor.request), most);
    }
  }

  SeededRandom random_;
  unit::CostMatrix matrix_;
  LedgerWorld world_;
  FundingView stale_;
  std::vector<Actor> actors_;
};

TEST(RequestLifeSimulation, I5I13I14I15I19AnyInterleaving) {
  i64 lapses = 0, budgets = 0, slices = 0;
  for (u64 seed = first_seed(); seed < first_seed() + seed_count(kSeeds); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(seed);
    simulation.run();
    if (HasFatalFailure()) return;
    lapses += simulation.lapses;
    budgets += simulation.budgets;
    slices += simulation.slices;
  }
  if (seed_count(kSeeds) < kSeeds) return;
  // The runs reached what they are for.
  EXPECT_GT(lapses, 50);
  EXPECT_GT(budgets, 300);
  EXPECT_GT(slices, 3'000);
}

}  // namespace
}  // namespace tg::market
