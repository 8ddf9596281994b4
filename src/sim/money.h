// The money of simulated requests: the market's life of a request (hold, slices, settlement) on the
// ledger's own state machine, at virtual times. Tenants pay in standard tokens from bundles, within
// budgets if they have any; what a request is charged goes through the operator's clearing account
// to those who delivered it. Nothing is durable; answers are what they were when it was asked, and
// are heard `latency_ns` later (spend.cc).
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "ledger/state_machine.h"
#include "market/lifecycle/request_life.h"
#include "sim/result.h"
#include "sim/standard_work.h"

namespace tg::sim {

struct MoneyTerms {
  i64 bundle_st = 1'000'000'000'000;  // of a tenant, granted with its first request
  i64 budget_st = 0;                  // of a tenant, beside the bundle; 0: none
  i64 max_tokens = 4'096;             // of outputs that are asked for, unless the trace has more
  market::HoldMode mode = market::HoldMode::kSliced;
  market::PriceVector prices;  // in nano-ST
  i64 fee_ppm = 0;             // of a charge, the operator's
  i64 tick_ns = 250'000'000;   // how often what has come is told to the market
  i64 latency_ns = 0;          // of the ledger's answer, to a first hold as to a slice

  // One standard token for each of nominal work.
  MoneyTerms();
};

class Money {
 public:
  Money(const MoneyTerms& terms, i64 suppliers);
  ~Money();

  // How many output tokens of a request are paid for, and whether it ends there.
  struct Edge {
    i64 tokens = 0;
    bool is_final = false;
    friend bool operator==(const Edge&, const Edge&) = default;
  };
  struct Asked {
    u32 request = 0;
    u32 tenant = 0;
    i64 prompt_tokens = 0;
    i64 output_tokens = 0;  // that the trace has; the market is not told
  };
  // Holds for the request; false: its tenant cannot pay for one token. REQUIRES: it is not open.
  bool open(const Asked& asked, i64 now_ns);
  Edge edge(u32 request) const { return edge_of(open_.at(request).life); }
  // So many output tokens have come by now; also renews what is held, every half minute at the
  // latest. REQUIRES: open, of this, the one before and the next two.
  Edge delivered(u32 request, i64 output_tokens, i64 now_ns);
  // So many more of its output tokens are this supplier's work.
  void earned(u32 request, u32 supplier, i64 output_tokens);
  // It is over: charged by its outcome, the rest released, suppliers paid.
  struct Final {
    i64 cached_tokens = 0;
    i64 output_tokens = 0;
    market::EndCause cause = market::EndCause::kStop;
  };
  void close(u32 request, const Final& last, i64 now_ns);

  // Asserts that every sum balances to the last nano-ST. REQUIRES: no request is open.
  MoneyResult balance() const;
  const ledger::StateMachine& machine() const { return machine_; }

 private:
  struct Tenant {
    bool is_known = false;
    market::FundingView funding;
  };
  struct Share {
    u32 supplier = 0;
    i64 output_tokens = 0;
  };
  struct Open {
    u32 tenant = 0;
    market::RequestLife life;
    std::vector<Share> shares;
  };

  void add_account(u128 id, u32 ledger_number, u16 code, bool is_limited);
  Tenant& tenant_of(u32 number, i64 now_ns);
  market::RequestLife::View view_of(Tenant& tenant, i64 now_ns);
  void settle(Open& open, market::Chain chain, i64 now_ns);
  void apply_whole(const market::Chain& chain, i64 now_ns);
  void pay(u32 request, const Open& open, i64 now_ns);
  static Edge edge_of(const market::RequestLife& life);
  u128 posted_to(u128 account) const;
  void check_journal(MoneyResult& out) const;

  const MoneyTerms terms_;
  const i64 suppliers_;
  const i64 slice_min_;
  StandardWork standard_;
  ledger::StateMachine machine_;
  std::vector<Tenant> tenants_;
  std::unordered_map<u32, Open> open_;
  MoneyResult result_;
  std::vector<ledger::TransferStatus> statuses_;  // scratch
};

}  // namespace tg::sim
