#include "gateway/funding_book.h"

#include <algorithm>

#include "ledger/checks.h"

namespace tg::gateway {

namespace {

constexpr i64 kNsPerQuarter = 900'000'000'000;
// Topped up by hand, never expiring: after what was sold with an end, as burn_order has it.
constexpr u32 kTopUpPriority = 100;

}  // namespace

void FundingBook::learn(const ledger::Account& account) {
  auto [found, is_new] = accounts_.try_emplace(account.id, Known{.account = account});
  found->second.account = account;
  if (!is_new) return;
  bool pays = account.code == ledger::account_code::kBuyerBundle ||
              account.code == ledger::account_code::kBuyerMoney;
  if (!pays) return;
  u128 owner = account.owner == 0 ? account.id : account.owner;
  owners_[owner].push_back(account.id);
  if (account.product != 0) sold_.push_back(account.id);
}

u128 FundingBook::available(const Known& known) {
  u128 free = ledger::available(known.account);
  return free > known.in_flight ? free - known.in_flight : 0;
}

u128 FundingBook::available(u128 account) const {
  auto found = accounts_.find(account);
  return found == accounts_.end() ? 0 : available(found->second);
}

// What was sold under a plan that is gone pays for nothing: its restrictions are not known.
std::optional<market::FundingSource> FundingBook::source_of(const Known& known) const {
  const ledger::Account& account = known.account;
  if ((account.flags & ledger::account_flag::kClosed) != 0) return std::nullopt;
  market::FundingSource out{.account = account.id, .priority = kTopUpPriority};
  if (account.product != 0) {
    const market::Plan* plan = market::find_plan(plans_, account.product);
    if (plan == nullptr) return std::nullopt;
    out = market::source_of(*plan, account);
  }
  out.expires_ns = account.expires_ns;
  out.available = available(known);
  return out;
}

std::vector<market::FundingSource> FundingBook::sources(
    u128 owner, u32 ledger_number, const market::FundingRequest& request) const {
  std::vector<market::FundingSource> all;
  auto owned = owners_.find(owner);
  if (owned == owners_.end()) return all;
  for (u128 id : owned->second) {
    const Known& known = accounts_.at(id);
    if (known.account.ledger != ledger_number) continue;
    std::optional<market::FundingSource> source = source_of(known);
    if (source && market::is_usable(*source, request)) all.push_back(std::move(*source));
  }
  std::vector<market::FundingSource> out;
  for (const market::FundingSource* source : market::burn_order(all, request)) {
    if (out.size() == kRunSourcesMax) break;
    // What is empty now may be filled while the run is open; what is sold out for good only takes
    // the place of others.
    if (source->available > 0 || all.size() <= kRunSourcesMax) out.push_back(*source);
  }
  return out;
}

std::vector<u128> FundingBook::accounts_of(u128 owner, u32 ledger) const {
  std::vector<u128> out;
  auto owned = owners_.find(owner);
  if (owned != owners_.end()) {
    for (u128 id : owned->second) {
      if (accounts_.at(id).account.ledger == ledger) out.push_back(id);
    }
  }
  if (out.empty()) out.push_back(owner);
  return out;
}

void FundingBook::refresh(market::FundingView& view) const {
  for (market::FundingSource& source : view.sources) source.available = available(source.account);
  for (market::BudgetLimit& limit : view.limits) limit.available = available(limit.account);
}

// Holds less what the holds they replace give back, where that is more than nothing.
FundingBook::Growth FundingBook::growth(const market::Chain& chain,
                                        std::span<const market::HeldPart> parts) const {
  struct Net {
    u128 account;
    i128 amount;
  };
  std::vector<Net> nets;
  auto add_to = [&](u128 account, i128 amount) {
    for (Net& net : nets) {
      if (net.account == account) {
        net.amount += amount;
        return;
      }
    }
    nets.push_back({account, amount});
  };
  for (const ledger::Transfer& t : chain) {
    if (ledger::is_pending(t)) add_to(t.debit_account, static_cast<i128>(t.amount));
    if (!ledger::is_resolution(t)) continue;
    for (const market::HeldPart& part : parts) {
      if (part.transfer != t.pending_id) continue;
      i128 posted = ledger::is_post(t) ? static_cast<i128>(t.amount) : 0;
      add_to(part.account, posted - static_cast<i128>(part.amount));
    }
  }
  Growth out;
  for (const Net& net : nets) {
    if (net.amount > 0) out.push_back({net.account, static_cast<u128>(net.amount)});
  }
  return out;
}

void FundingBook::add(const Growth& growth) {
  for (const market::Draw& draw : growth) {
    auto found = accounts_.find(draw.account);
    if (found != accounts_.end()) found->second.in_flight += draw.amount;
  }
}

void FundingBook::remove(const Growth& growth) {
  for (const market::Draw& draw : growth) {
    auto found = accounts_.find(draw.account);
    if (found == accounts_.end()) continue;
    TG_ASSERT(found->second.in_flight >= draw.amount);
    found->second.in_flight -= draw.amount;
  }
}

std::vector<SweepName> FundingBook::due(Timestamp now) {
  std::vector<SweepName> out;
  u64 quarter = static_cast<u64>(now.ns / kNsPerQuarter);
  for (u128 id : sold_) {
    Known& known = accounts_.at(id);
    const ledger::Account& account = known.account;
    bool is_expired = account.expires_ns != 0 && now.ns >= account.expires_ns;
    if (is_expired && ledger::available(account) > 0 && known.expiry_swept < quarter) {
      known.expiry_swept = quarter;
      out.push_back({.account = id, .is_refill = false, .number = quarter});
    }
    const market::Plan* plan = market::find_plan(plans_, account.product);
    if (plan == nullptr || plan->kind != market::SourceKind::kSubscription) continue;
    if (now.ns < account.timestamp_ns) continue;
    u64 period = market::period_of(*plan, account, now);
    if (period <= known.period_granted) continue;
    known.period_granted = period;
    out.push_back({.account = id, .is_refill = true, .number = period});
  }
  return out;
}

market::Chain FundingBook::sweep_chain(const market::FundingBooks& books,
                                       const SweepName& sweep) const {
  const Known& known = accounts_.at(sweep.account);
  market::FundingSource source{.account = sweep.account,
                               .available = ledger::available(known.account)};
  if (!sweep.is_refill)
    return market::expiry_chain(books, source, {.number = sweep.number, .attempt = sweep.attempt});
  const market::Plan* plan = market::find_plan(plans_, known.account.product);
  if (plan == nullptr) return {};
  market::Refill refill = market::refill_of(*plan, sweep.number);
  refill.attempt = sweep.attempt;
  return market::refill_chain(books, source, refill);
}

}  // namespace tg::gateway
