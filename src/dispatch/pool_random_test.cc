// Suppliers that fail in every way there is, in virtual time, from a seed: whatever they do, a
// buyer gets each token of its reply once and in order, then one end, and the pool's books come out
// even.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "dispatch/pool_core.h"
#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::dispatch {
namespace {

using fleet::FinishReason;
using Kind = fleet::SupplierEvent::Kind;

constexpr i64 kMs = 1'000'000;

// A reply follows from what stands before it, wherever it is made.
TokenId next_token(TokenId last) {
  return (last * 31 + 7) % 1'000;
}

struct Job {
  u32 supplier = 0;
  std::vector<TokenId> text;
  i64 prompt = 0;
  i64 left = 0;
  i64 next_ns = 0;
  i64 tpot_ns = 0;
  i64 dies_after = -1;  // tokens; -1: does not
  bool is_silent = false;
  bool is_surplus = false;
  bool is_cancelled = false;
};

struct Buyer {
  fleet::SupplyRequest request;
  std::vector<TokenId> got;
  i64 ends = 0;
  FinishReason reason = FinishReason::kStop;
  bool is_cancelled = false;
};

class World {
 public:
  World(u64 seed, u32 suppliers) : random_(seed), core_(settings()) {
    for (u32 i = 0; i < suppliers; ++i) {
      PoolSupplier s{.name = "s" + std::to_string(i), .requests_max = 4};
      s.step = {.ns_per_step = 1e6, .ns_per_token = 1e4};
      core_.join(s, now_);
      core_.report(i, load(), now_);
    }
  }
  static PoolSettings settings() {
    PoolSettings settings{.route = {.hold_ns = 50 * kMs, .hedge_factor = 3},
                          .attempts_max = 50,
                          .hedges_ppm_max = 300'000,
                          .first_token_ns_max = 400 * kMs,
                          .stall_ns_max = 300 * kMs,
                          .absence_ns_max = 60'000 * kMs};
    settings.breaker.cooldown_ns = 200 * kMs;
    return settings;
  }

  void run(i64 requests) {
    i64 next_arrival_ns = now_;
    while (made_ < requests || open_buyers_ > 0) {
      ASSERT_LT(now_, 3'600'000 * kMs) << "it does not come to an end";
      if (made_ < requests && now_ >= next_arrival_ns) {
        arrive();
        next_arrival_ns = now_ + static_cast<i64>(random_.below(8 * kMs));
      }
      trouble();
      advance_jobs();
      if (ticks_++ % 10 == 0) core_.tick(now_);
      pump();
      if (testing::Test::HasFatalFailure()) return;
      now_ += kMs;
    }
    check_end();
  }
  const PoolCounters& counters() const { return core_.counters(); }

 private:
  static fleet::SupplierLoad load() {
    return {.context_max = 100'000, .step = {.ns_per_step = 1e6, .ns_per_token = 1e4}};
  }
  void arrive() {
    u64 id = static_cast<u64>(++made_);
    Buyer buyer;
    buyer.request.id = id;
    for (u64 i = 0; i < 1 + random_.below(80); ++i)
      buyer.request.prompt.push_back(static_cast<TokenId>(random_.below(1'000)));
    buyer.request.max_tokens = 1 + static_cast<i64>(random_.below(40));
    buyer.request.cache_salt = random_.below(5);
    buyer.request.service = static_cast<fleet::ServiceClass>(random_.below(3));
    buyer.request.events = mailbox_;
    ++open_buyers_;
    fleet::SupplyRequest request = buyer.request;
    buyers_.emplace(id, std::move(buyer));
    core_.submit(std::move(request), now_);
    pump();
  }
  // Now and then a buyer goes, a supplier goes down or leaves, or comes back.
  void trouble() {
    if (random_.below(400) == 0 && made_ > 0) {
      u64 id = 1 + random_.below(static_cast<u64>(made_));
      Buyer& buyer = buyers_.at(id);
      buyer.is_cancelled = buyer.is_cancelled || buyer.ends == 0;
      core_.cancel(id, now_);
    }
    u32 supplier = static_cast<u32>(random_.below(core_.view().size()));
    if (random_.below(500) == 0) {
      fleet::SupplierLoad state = load();
      state.is_up = random_.below(3) > 0;
      state.is_draining = random_.below(4) == 0;
      core_.report(supplier, state, now_);
    }
    if (random_.below(60) == 0) core_.report(supplier, load(), now_);
    if (random_.below(1'500) == 0) core_.leave(supplier, now_);
    if (random_.below(300) == 0)
      core_.join({.name = "s" + std::to_string(supplier), .requests_max = 4}, now_);
  }
  void obey(PoolOrder& order) {
    if (order.kind == PoolOrder::Kind::kCancel) {
      auto found = jobs_.find(order.attempt);
      if (found != jobs_.end()) found->second.is_cancelled = true;
      return;
    }
    if (order.kind != PoolOrder::Kind::kSubmit) return;
    ASSERT_TRUE(attempts_.insert(order.attempt).second) << "an attempt's id came twice";
    if (random_.below(20) == 0)
      return core_.refused(order.attempt, Error{Code::kUnavailable, "full"}, now_);
    Job job;
    job.supplier = order.supplier;
    job.text = order.request.prompt;
    job.prompt = static_cast<i64>(job.text.size());
    job.left = order.request.max_tokens;
    ASSERT_GT(job.left, 0);
    job.tpot_ns = kMs * static_cast<i64>(1 + random_.below(6));
    job.next_ns = now_ + kMs * static_cast<i64>(random_.below(random_.below(20) == 0 ? 300 : 20));
    if (random_.below(6) == 0) job.dies_after = static_cast<i64>(random_.below(20));
    job.is_silent = random_.below(40) == 0;
    job.is_surplus = random_.below(30) == 0;
    jobs_.emplace(order.attempt, std::move(job));
  }
  void end(u64 id, const Job& job, FinishReason reason) {
    fleet::SupplierEvent event;
    event.request = id;
    event.kind = Kind::kFinished;
    event.reason = reason;
    event.error = reason == FinishReason::kError ? "it broke" : "";
    event.usage.output_tokens = static_cast<i64>(job.text.size()) - job.prompt;
    // Claims are not to be believed.
    if (random_.below(10) == 0) event.usage.output_tokens += 1'000;
    if (random_.below(10) == 0) event.usage.cached_tokens = 1'000'000;
    core_.event(std::move(event), now_);
  }
  void advance_jobs() {
    std::vector<u64> over;
    std::vector<u64> ids;
    for (const auto& [id, job] : jobs_) ids.push_back(id);
    for (u64 id : ids) {
      Job& job = jobs_.at(id);
      if (job.is_cancelled) {
        end(id, job, FinishReason::kCancelled);
        over.push_back(id);
      } else if (now_ >= job.next_ns && !job.is_silent) {
        if (advance(id, job)) over.push_back(id);
      }
    }
    for (u64 id : over) jobs_.erase(id);
  }
  // True at its end.
  bool advance(u64 id, Job& job) {
    if (job.dies_after == 0) {
      end(id, job, FinishReason::kError);
      return true;
    }
    if (job.dies_after > 0) --job.dies_after;
    if (job.left == 0) {
      end(id, job, FinishReason::kLength);
      return true;
    }
    fleet::SupplierEvent event;
    event.request = id;
    i64 count = std::min<i64>(job.left, 1 + static_cast<i64>(random_.below(3)));
    job.left -= count;
    if (job.is_surplus && job.left == 0) count += 5;
    for (i64 i = 0; i < count; ++i) {
      job.text.push_back(next_token(job.text.back()));
      event.tokens.push_back(job.text.back());
    }
    core_.event(std::move(event), now_);
    job.next_ns = now_ + job.tpot_ns;
    return false;
  }
  void pump() {
    for (bool is_new = true; is_new;) {
      std::vector<PoolOrder> orders = core_.take_orders();
      is_new = !orders.empty();
      for (PoolOrder& order : orders) obey(order);
    }
    for (PoolDelivery& d : core_.take_deliveries()) take(d.event);
    core_.take_records();
  }
  void take(const fleet::SupplierEvent& event) {
    Buyer& buyer = buyers_.at(event.request);
    ASSERT_EQ(buyer.ends, 0) << "something came after the end";
    for (TokenId token : event.tokens) {
      TokenId last = buyer.got.empty() ? buyer.request.prompt.back() : buyer.got.back();
      ASSERT_EQ(token, next_token(last)) << "request " << event.request;
      buyer.got.push_back(token);
    }
    ASSERT_LE(static_cast<i64>(buyer.got.size()), buyer.request.max_tokens);
    if (event.kind != Kind::kFinished) return;
    ++buyer.ends;
    --open_buyers_;
    buyer.reason = event.reason;
    ASSERT_EQ(event.usage.output_tokens, static_cast<i64>(buyer.got.size()));
    ASSERT_EQ(event.usage.prompt_tokens, static_cast<i64>(buyer.request.prompt.size()));
    ASSERT_LE(event.usage.cached_tokens, event.usage.prompt_tokens);
    if (buyer.is_cancelled) return;
    ASSERT_EQ(event.reason, FinishReason::kLength) << event.error;
    ASSERT_EQ(static_cast<i64>(buyer.got.size()), buyer.request.max_tokens);
  }
  void check_end() {
    for (const auto& [id, buyer] : buyers_) EXPECT_EQ(buyer.ends, 1) << id;
    EXPECT_EQ(core_.open(), 0);
    EXPECT_EQ(core_.waiting(), 0);
    for (u32 i = 0; i < core_.view().size(); ++i) {
      EXPECT_EQ(core_.member_status(i).open, 0);
      EXPECT_EQ(core_.view().at(i).running, 0);
      EXPECT_EQ(core_.view().at(i).keys, 0);
    }
  }

  SeededRandom random_;
  PoolCore core_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(1);
  i64 now_ = 1'000 * kMs;
  i64 made_ = 0;
  i64 open_buyers_ = 0;
  i64 ticks_ = 0;
  std::map<u64, Buyer> buyers_;
  std::map<u64, Job> jobs_;
  std::set<u64> attempts_;
};

TEST(PoolRandom, EveryBuyerIsServedOnceWhateverSuppliersDo) {
  PoolCounters sum;
  for (u64 seed = first_seed(); seed < first_seed() + 12; ++seed) {
    SCOPED_TRACE("TG_SEED=" + std::to_string(seed));
    World world(seed, 2 + static_cast<u32>(seed % 5));
    world.run(250);
    if (HasFatalFailure()) return;
    sum.retries += world.counters().retries;
    sum.continuations += world.counters().continuations;
    sum.hedges_won += world.counters().hedges_won;
    sum.disputes += world.counters().disputes;
    sum.held += world.counters().held;
  }
  // All of it did happen.
  EXPECT_GT(sum.retries, 0u);
  EXPECT_GT(sum.continuations, 0u);
  EXPECT_GT(sum.hedges_won, 0u);
  EXPECT_GT(sum.disputes, 0u);
  EXPECT_GT(sum.held, 0u);
}

}  // namespace
}  // namespace tg::dispatch
