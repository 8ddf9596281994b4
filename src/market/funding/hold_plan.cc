#include "market/funding/hold_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/bytes.h"
#include "ledger/id.h"

namespace tg::market {

namespace {

u128 transfer_id(u128 request, std::string_view what, SliceName name, std::size_t index) {
  return ledger::id_from_name(
      fmt::format("{}/{}/{}/{}/{}", what, to_hex(request), name.slice, name.attempt, index));
}

ledger::Transfer common(const HoldTerms& terms, SliceName name) {
  ledger::Transfer out;
  out.correlation = terms.request;
  out.reference = terms.reference;
  out.sequence = name.slice;
  return out;
}

ledger::Transfer pending(const HoldTerms& terms, SliceName name, u128 amount) {
  ledger::Transfer out = common(terms, name);
  out.amount = amount;
  out.timeout_ms = terms.timeout_ms;
  out.code = ledger::transfer_code::kHold;
  out.flags = ledger::transfer_flag::kPending;
  return out;
}

}  // namespace

std::vector<Draw> held_draws(std::span<const HeldPart> parts) {
  std::vector<Draw> out;
  for (const HeldPart& part : parts) {
    if (!part.is_limit) out.push_back({.account = part.account, .amount = part.amount});
  }
  return out;
}

std::vector<HeldPart> append_holds(const HoldTerms& terms, SliceName name,
                                   std::span<const Draw> draws, std::span<const BudgetLimit> limits,
                                   Chain& chain) {
  u128 total = sum(draws);
  TG_ASSERT(total > 0);
  TG_ASSERT(draws.size() <= kDrawsMax && limits.size() <= kLimitsMax);
  std::vector<HeldPart> parts;
  auto append = [&](ledger::Transfer t, bool is_limit) {
    t.id = transfer_id(terms.request, "hold", name, parts.size());
    parts.push_back(
        {.transfer = t.id, .account = t.debit_account, .amount = t.amount, .is_limit = is_limit});
    chain.push_back(t);
  };
  for (const Draw& draw : draws) {
    if (draw.amount == 0) continue;
    ledger::Transfer t = pending(terms, name, draw.amount);
    t.debit_account = draw.account;
    t.credit_account = terms.seller;
    t.ledger = terms.ledger;
    append(t, false);
  }
  for (const BudgetLimit& limit : limits) {
    ledger::Transfer t = pending(terms, name, total);
    t.debit_account = limit.account;
    t.credit_account = limit.sink;
    t.ledger = limit.ledger;
    append(t, true);
  }
  return parts;
}

std::vector<Draw> append_resolutions(const HoldTerms& terms, SliceName name,
                                     std::span<const HeldPart> parts, u128 amount, Chain& chain) {
  std::vector<Draw> paid;
  u128 left = amount;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const HeldPart& part = parts[i];
    u128 take = std::min(part.is_limit ? amount : left, part.amount);
    ledger::Transfer t = common(terms, name);
    t.id = transfer_id(terms.request, "post", name, i);
    t.pending_id = part.transfer;
    t.amount = take;
    t.code = take > 0 ? ledger::transfer_code::kPostSlice : ledger::transfer_code::kVoid;
    t.flags = take > 0 ? ledger::transfer_flag::kPostPending : ledger::transfer_flag::kVoidPending;
    chain.push_back(t);
    if (part.is_limit) continue;
    left -= take;
    if (take > 0) paid.push_back({.account = part.account, .amount = take});
  }
  TG_ASSERT(left == 0);
  return paid;
}

Chain recovery_chain(u128 request, std::span<const ledger::Transfer> open) {
  Chain out;
  for (const ledger::Transfer& hold : open) {
    if (hold.correlation != request || hold.code != ledger::transfer_code::kHold) continue;
    ledger::Transfer t;
    t.id = ledger::id_from_name(fmt::format("recover/{}", to_hex(hold.id)));
    t.pending_id = hold.id;
    t.correlation = request;
    t.reference = hold.reference;
    t.sequence = hold.sequence;
    t.code = ledger::transfer_code::kVoid;
    t.flags = ledger::transfer_flag::kVoidPending;
    out.push_back(t);
  }
  // Not linked: one hold that expired meanwhile must not keep the others.
  return out;
}

}  // namespace tg::market
