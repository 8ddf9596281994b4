// What the till remembers of ledger accounts: whose they are, what plan they were sold under, what
// they had when last looked up and how much of that is on its way to the ledger. A view may be old;
// the ledger decides.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "ledger/service.h"
#include "market/funding/catalogue.h"
#include "market/funding/hold_plan.h"

namespace tg::gateway {

// Accounts that one run draws from.
inline constexpr std::size_t kRunSourcesMax = 48;

// Which sweep of which account: an expiry or a refill.
struct SweepName {
  u128 account = 0;
  bool is_refill = false;
  u64 number = 0;  // The quarter hour of an expiry, the period of a refill.
  u32 attempt = 0;
};

class FundingBook {
 public:
  // Net amounts that a chain takes from accounts, until the ledger has answered.
  using Growth = std::vector<market::Draw>;

  explicit FundingBook(const std::vector<market::Plan>& plans) : plans_(plans) {}

  void learn(const ledger::Account& account);
  bool knows(u128 account) const { return accounts_.count(account) != 0; }

  // The owner's accounts on that ledger which `request` may use, in burn order. The owner itself is
  // one of them.
  std::vector<market::FundingSource> sources(u128 owner, u32 ledger,
                                             const market::FundingRequest& request) const;
  // The owner's accounts on that ledger, for looking them up; if none is known, the owner's own.
  std::vector<u128> accounts_of(u128 owner, u32 ledger) const;
  // Sets what is available now, of those that are known.
  void refresh(market::FundingView& view) const;
  u128 available(u128 account) const;

  Growth growth(const market::Chain& chain, std::span<const market::HeldPart> parts) const;
  void add(const Growth& growth);
  void remove(const Growth& growth);

  // Expiries and refills that are due and not known to be done. Says each of a number once.
  std::vector<SweepName> due(Timestamp now);
  // The transfers of one, from what is known now; empty if nothing is to be done.
  market::Chain sweep_chain(const market::FundingBooks& books, const SweepName& sweep) const;

 private:
  struct Known {
    ledger::Account account;
    u128 in_flight = 0;
    u64 expiry_swept = 0;    // The last number that was said.
    u64 period_granted = 0;  // The same; period 0 came with the sale.
  };
  struct Hash {
    std::size_t operator()(u128 id) const {
      return static_cast<std::size_t>(static_cast<u64>(id) ^ static_cast<u64>(id >> 64));
    }
  };
  std::optional<market::FundingSource> source_of(const Known& known) const;
  static u128 available(const Known& known);

  const std::vector<market::Plan>& plans_;
  std::unordered_map<u128, Known, Hash> accounts_;
  std::unordered_map<u128, std::vector<u128>, Hash> owners_;  // In order of becoming known.
  std::vector<u128> sold_;                                    // Accounts with a product.
};

}  // namespace tg::gateway
