// A reservation over several accounts: taken, rolled into the next slice and resolved as one linked
// chain, so that a request is paid for whole or not at all (money.md §5.3-5.4).
#pragma once

#include <span>
#include <vector>

#include "market/funding/plan.h"
#include "market/funding/source.h"

namespace tg::market {

// What a request's transfers have in common.
struct HoldTerms {
  u128 request = 0;
  u128 seller = 0;
  u32 ledger = ledger::ledgers::kStandard;
  u64 reference = 0;  // rate_reference() of the card that prices it.
  u32 timeout_ms = 0;
};

// One pending transfer of a hold.
struct HeldPart {
  u128 transfer = 0;
  u128 account = 0;
  u128 amount = 0;
  bool is_limit = false;  // Of a budget: mirrors the whole hold.
};
// What the sources hold, in burn order; limits are not counted.
std::vector<Draw> held_draws(std::span<const HeldPart> parts);

// Ids follow from request, slice and attempt.
struct SliceName {
  u32 slice = 0;
  u32 attempt = 0;
};

// Appends the pending transfers that reserve `draws`, and their sum on each limit, to `chain`;
// returns the parts they make. REQUIRES: draws.size() <= kDrawsMax, limits.size() <= kLimitsMax,
// the draws sum to more than 0.
std::vector<HeldPart> append_holds(const HoldTerms& terms, SliceName name,
                                   std::span<const Draw> draws, std::span<const BudgetLimit> limits,
                                   Chain& chain);

// Appends what posts `amount` of the parts, first held first, and voids the rest; returns what each
// source paid. REQUIRES: amount <= the sources' held sum.
std::vector<Draw> append_resolutions(const HoldTerms& terms, SliceName name,
                                     std::span<const HeldPart> parts, u128 amount, Chain& chain);

// Voids what a crash left of a request: those of `open` (ledger::Service::pending_transfers) whose
// correlation is the request. Nothing is charged beyond what was posted (I-15).
Chain recovery_chain(u128 request, std::span<const ledger::Transfer> open);

}  // namespace tg::market
