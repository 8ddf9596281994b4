// The cashier's decisions without its thread: commands, the ledger's replies and time go in;
// requests to the ledger and replies come out. It owns every open run's RequestLife and remembers
// what ledger accounts had when last seen. Nothing here waits, reads a clock or touches a socket,
// so that till_simulation_test.cc runs the code that serves.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "env/random.h"
#include "gateway/billing.h"
#include "gateway/funding_book.h"
#include "gateway/price_desk.h"
#include "gateway/run_meters.h"
#include "ledger/service.h"
#include "market/settle.h"

namespace tg::gateway {

// What a refusal says while the ledger is away.
inline constexpr const char* kAway = "the ledger is not available";

// After stop().
inline constexpr i64 kLastTriesNs = 5'000'000'000;

class Till {
 public:
  struct Answer {
    std::shared_ptr<Mailbox<BillingReply>> to;
    BillingReply reply;
  };
  struct Output {
    std::vector<ledger::Request> requests;  // In this order.
    std::vector<Answer> answers;
  };

  Till(TillOptions options, Random& random);
  Till(const Till&) = delete;
  Till& operator=(const Till&) = delete;

  // An account that exists, as it is. Before the first command, and whenever one is made.
  void learn(const ledger::Account& account) { funds_.learn(account); }

  // HoldOpen, HoldProgress, HoldClose or QuoteRead.
  void obey(BillingCommand command, Timestamp now, Output& out);
  // The answer to a request that came out. kUnavailable is as good as no answer: the request comes
  // out again on a later tick, until the ledger is back, and its ids make that safe. So a run that
  // was granted is settled, however long that takes; one that was not is refused, and if it may
  // hold something, that is found out and let go. Any other error ends the run.
  void complete(const ledger::Reply& reply, Timestamp now, Output& out);
  // Renews holds, changes prices, sweeps what expired, asks a ledger again that was away; call at
  // least every second, and sooner for answers to come sooner.
  void tick(Timestamp now, Output& out);
  // The process is to end: after kLastTriesNs nothing is asked again, and what is not settled by
  // then never is.
  void stop(Timestamp now) { asks_until_ns_ = now.ns + kLastTriesNs; }

  // Of a request that came out and only looks accounts up: how much it wants each to have.
  u128 wanted(u64 tag) const { return sent_.at(tag).wanted; }

  i64 open_runs() const { return static_cast<i64>(runs_.size()); }
  // The account's meters by key and project, as one JSON object.
  std::string meters(AccountRef account) const;
  // Requests that came out and were not answered.
  i64 waiting() const { return static_cast<i64>(sent_.size()); }
  const market::RateBook& rates() const { return desk_.rates(); }

 private:
  struct Run {
    u128 id = 0;
    BillingCommand opener;
    std::unique_ptr<BillingCommand> closer;  // Elsewhere: a stream lasts long without.
    const market::Contract* contract = nullptr;
    meter::Pricing pricing;
    std::optional<market::RequestLife> life;  // Once the accounts are known.
    market::FundingView view;
    meter::Salt salt{};
    i64 locked_until_ns = 0;  // Of its prices.
    i64 told_edge = -1;
    bool told_final = false;
    bool is_answered = false;  // The opener.
    bool is_sent = false;      // A chain of it was ever sent.
    bool is_fresh = false;     // Its view was looked up since the last event from outside.
    u32 looks = 0;             // How often since then.
    bool is_filed = false;     // Its receipt is stored.
    bool is_refused = false;   // Who asked was refused; what it may hold is being let go.
    bool is_granted() const { return is_answered && !is_refused; }
    const HoldOpen& open() const { return std::get<HoldOpen>(opener.what); }
    const HoldClose& close() const { return std::get<HoldClose>(closer->what); }
  };
  enum class Purpose : u8 { kChain, kFetch, kRefresh, kFile, kSweep };
  struct Sent {
    Purpose purpose = Purpose::kChain;
    u128 run = 0;
    ledger::Request request;
    AccountRef payer = 0;  // Of a look-up, with what its run needs,
    u128 needed = 0;
    u128 wanted = 0;  // and that with what others need at the same time.
    FundingBook::Growth growth;
    bool is_out = true;
    SweepName sweep;
  };
  using Sents = std::map<u64, Sent>;

  void open(BillingCommand command, Timestamp now, Output& out);
  void begin(Run& run, Timestamp now, Output& out);
  void refuse(Run& run, BillingReply reply, Output& out);
  void progress(const HoldProgress& what, Timestamp now, Output& out);
  void close(BillingCommand command, Timestamp now, Output& out);
  // After whatever happened to a run: sends its chain, or says what became of it.
  void proceed(Run& run, market::Chain chain, Timestamp now, Output& out);
  void grant(Run& run, Output& out);
  void settle_refusal(Run& run, Timestamp now, Output& out);
  void file(Run& run, Output& out);
  void tell_edge(Run& run, Output& out);
  // The ledger did not take a request: it is kept for later, or its run ends.
  void postpone(Sents::iterator found, const Error& error, Timestamp now, Output& out);
  void go_without(Sents::iterator found, Timestamp now, Output& out);
  void let_go(Run& run, Timestamp now, Output& out);
  void give_up(Sents::iterator found, Output& out);
  void answer_closed(Run& run, Output& out);
  void complete_run(Sent sent, const ledger::Reply& reply, Timestamp now, Output& out);
  void complete_sweep(const Sent& sent, const ledger::Reply& reply, Timestamp now, Output& out);
  void retry(Timestamp now, Output& out);
  void wait_longer(Timestamp now);
  void tick_run(Run& run, Timestamp now, Output& out);
  void sweep(Timestamp now, Output& out);

  void send(Sent sent, Output& out);
  Sent take_out(Sents::iterator found);
  void send_chain(Run& run, market::Chain chain, Timestamp now, Output& out);
  void look_up(Run& run, Purpose purpose, Output& out);
  static i64 wanted_by(const Run& run);
  bool may_look(Run& run) const;
  void answer(const BillingCommand& command, BillingReply reply, Output& out) const;
  market::RequestLife::View view(Run& run, Timestamp now);
  Result<meter::Draft> draft(const Run& run, Timestamp now) const;
  Settlement settlement(const Run& run) const;
  void forget(u128 run) { runs_.erase(run); }

  TillOptions options_;
  PriceDesk desk_;
  RunMeters meters_;
  Random& random_;
  FundingBook funds_;
  std::map<u128, Run> runs_;
  Sents sent_;                        // By ledger tag.
  std::map<AccountRef, u128> needs_;  // Of look-ups that are out, by who pays.
  u64 tag_next_ = 1;
  i64 swept_at_ns_ = 0;
  i64 ticked_at_ns_ = 0;

  bool is_away_ = false;  // The ledger, since it was last asked.
  i64 ask_again_ns_ = 0;  // When to, if it is away.
  i64 ask_again_after_ns_ = 0;
  i64 asks_until_ns_ = INT64_MAX;
};

// The ledger and receipt id of one run: the same request and choice always give the same.
u128 run_id(const std::string& request_id, i64 choice);

}  // namespace tg::gateway
