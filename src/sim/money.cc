#include "sim/money.h"

#include <algorithm>

#include "base/assert.h"
#include "ledger/id.h"
#include "market/settle.h"

namespace tg::sim {

namespace {

namespace code = ledger::account_code;
namespace flag = ledger::transfer_flag;
using ledger::ledgers::kBudget;
using ledger::ledgers::kStandard;
using market::RatedClass;

constexpr i64 kNanoPerSt = 1'000'000'000;
constexpr i64 kEpochNs = 1'767'225'600'000'000'000;  // the ledger's times are of an age
constexpr i64 kPpm = 1'000'000;

// Accounts. Those of tenants and suppliers follow from their numbers.
constexpr u128 kWash = 1;
constexpr u128 kClearing = 2;
constexpr u128 kFees = 3;
constexpr u128 kBudgetPool = 4;
constexpr u128 kBudgetSpent = 5;

u128 numbered(u64 kind, u32 number) {
  return static_cast<u128>(kind) << 64 | number;
}
u128 bundle_of(u32 tenant) {
  return numbered(1, tenant);
}
u128 budget_of(u32 tenant) {
  return numbered(2, tenant);
}
u128 earnings_of(u32 supplier) {
  return numbered(3, supplier);
}
u128 name_of(u32 request) {
  return numbered(4, request);
}

u128 nano(i64 st) {
  return static_cast<u128>(st) * kNanoPerSt;
}

ledger::Transfer payment(u32 request, u32 part, u128 to, u128 amount) {
  ledger::Transfer t;
  t.id = numbered(5, request) | static_cast<u128>(part) << 32;
  t.debit_account = kClearing;
  t.credit_account = to;
  t.amount = amount;
  t.correlation = name_of(request);
  t.ledger = kStandard;
  t.code = to == kFees ? ledger::transfer_code::kFee : ledger::transfer_code::kDeliver;
  return t;
}

}  // namespace

MoneyTerms::MoneyTerms() {
  prices[RatedClass::kWork] = market::units_per_price(RatedClass::kWork);
}

Money::Money(const MoneyTerms& terms, i64 suppliers)
    : terms_(terms), suppliers_(suppliers), slice_min_(market::least_slice(terms.prices)) {
  add_account(kWash, kStandard, code::kWash, false);
  add_account(kClearing, kStandard, code::kClearing, true);
  add_account(kFees, kStandard, code::kFee, true);
  add_account(kBudgetPool, kBudget, code::kBudgetPool, false);
  add_account(kBudgetSpent, kBudget, code::kBudgetPool, false);
  for (u32 i = 0; i < suppliers; ++i) {
    add_account(earnings_of(i), kStandard, code::kSellerPending, true);
  }
}

Money::~Money() = default;

void Money::add_account(u128 id, u32 ledger_number, u16 account_code, bool is_limited) {
  u16 flags = is_limited ? ledger::account_flag::kDebitsMustNotExceedCredits : u16{0};
  ledger::AccountStatus made = machine_.create_account(
      {.id = id, .ledger = ledger_number, .code = account_code, .flags = flags},
      Timestamp{kEpochNs});
  TG_ASSERT(made == ledger::AccountStatus::kOk);
}

Money::Tenant& Money::tenant_of(u32 number, i64 now_ns) {
  if (number >= tenants_.size()) tenants_.resize(number + 1);
  Tenant& tenant = tenants_[number];
  if (tenant.is_known) return tenant;
  tenant.is_known = true;
  ++result_.tenants;
  add_account(bundle_of(number), kStandard, code::kBuyerBundle, true);
  tenant.funding.sources.push_back({.account = bundle_of(number)});
  if (terms_.bundle_st > 0) {
    apply_whole(
        market::grant_chain({.ledger = kStandard, .wash = kWash}, {.account = bundle_of(number),
                                                                   .amount = nano(terms_.bundle_st),
                                                                   .purchase = name_of(0)}),
        now_ns);
  }
  if (terms_.budget_st == 0) return tenant;
  add_account(budget_of(number), kBudget, code::kBudget, true);
  tenant.funding.limits.push_back(
      {.account = budget_of(number), .sink = kBudgetSpent, .ledger = kBudget});
  apply_whole(
      market::grant_chain(
          {.ledger = kBudget, .wash = kBudgetPool},
          {.account = budget_of(number), .amount = nano(terms_.budget_st), .purchase = name_of(0)}),
      now_ns);
  return tenant;
}

market::RequestLife::View Money::view_of(Tenant& tenant, i64 now_ns) {
  machine_.expire(Timestamp{kEpochNs + now_ns});
  auto available = [this](u128 account) {
    return ledger::available(*machine_.find_account(account));
  };
  for (market::FundingSource& s : tenant.funding.sources) s.available = available(s.account);
  for (market::BudgetLimit& l : tenant.funding.limits) l.available = available(l.account);
  return {.funding = tenant.funding, .now = Timestamp{kEpochNs + now_ns}};
}

// Until nothing is under way.
void Money::settle(Open& open, market::Chain chain, i64 now_ns) {
  while (!chain.empty()) {
    machine_.apply(chain, Timestamp{kEpochNs + now_ns}, statuses_);
    chain = open.life.answer(statuses_, view_of(tenants_[open.tenant], now_ns));
  }
}

void Money::apply_whole(const market::Chain& chain, i64 now_ns) {
  machine_.apply(chain, Timestamp{kEpochNs + now_ns}, statuses_);
  for (ledger::TransferStatus status : statuses_) TG_ASSERT(status == ledger::TransferStatus::kOk);
}

bool Money::open(const Asked& asked, i64 now_ns) {
  Tenant& tenant = tenant_of(asked.tenant, now_ns);
  i64 output_max = std::max(terms_.max_tokens, asked.output_tokens);
  Result<market::RequestRate> rate = market::RequestRate::make(&standard_.matrix(), terms_.prices,
                                                               asked.prompt_tokens, output_max);
  TG_ASSERT(rate.ok());
  market::LifeTerms terms{
      .hold = {.request = name_of(asked.request), .seller = kClearing, .ledger = kStandard},
      .mode = terms_.mode,
      .max_cost = rate->most(output_max),
      .slice_min = slice_min_,
      .ends_at_edge = false};
  auto [place, is_new] = open_.emplace(
      asked.request,
      Open{.tenant = asked.tenant, .life = {std::move(terms), *std::move(rate)}, .shares = {}});
  TG_ASSERT(is_new);
  Open& open = place->second;
  settle(open, open.life.open(view_of(tenant, now_ns)), now_ns);
  if (!open.life.is_closed()) return true;
  ++result_.refused;
  open_.erase(place);
  return false;
}

Money::Edge Money::edge_of(const market::RequestLife& life) {
  return {.tokens = life.edge(), .is_final = life.is_edge_final()};
}

Money::Edge Money::delivered(u32 request, i64 output_tokens, i64 now_ns) {
  Open& open = open_.at(request);
  market::RequestLife::View view = view_of(tenants_[open.tenant], now_ns);
  settle(open,
         output_tokens > 0 ? open.life.delivered({.output = output_tokens}, view)
                           : open.life.tick(view),
         now_ns);
  return edge_of(open.life);
}

void Money::earned(u32 request, u32 supplier, i64 output_tokens) {
  std::vector<Share>& shares = open_.at(request).shares;
  if (output_tokens > 0) shares.push_back({supplier, output_tokens});
}

void Money::close(u32 request, const Final& last, i64 now_ns) {
  auto found = open_.find(request);
  TG_ASSERT(found != open_.end());
  Open& open = found->second;
  market::RequestLife& life = open.life;
  market::InputReading input{.prompt = life.rate().prompt(), .cached = last.cached_tokens};
  market::OutputReading output{.output = last.output_tokens};
  settle(open,
         life.finish({.input = input, .delivered = output, .cause = last.cause},
                     view_of(tenants_[open.tenant], now_ns)),
         now_ns);
  TG_ASSERT(life.is_closed() && !life.has_lapsed());
  i64 due = market::charge_of(life.outcome(), life.rate(), input, output);
  TG_ASSERT(life.charge() <= due);
  result_.charged += static_cast<u128>(life.charge());
  result_.unpaid += static_cast<u128>(due - life.charge());
  result_.slices += life.slices();
  result_.cut += life.outcome() == meter::Outcome::kBudget ? 1 : 0;
  ++result_.requests;
  pay(request, open, now_ns);
  open_.erase(found);
}

// By the output tokens that each has delivered; who delivered last bears the roundings.
void Money::pay(u32 request, const Open& open, i64 now_ns) {
  u128 left = static_cast<u128>(open.life.charge());
  if (left == 0) return;
  TG_ASSERT(!open.shares.empty());
  market::Chain chain;
  auto add = [&](u128 to, u128 amount) {
    if (amount > 0) chain.push_back(payment(request, static_cast<u32>(chain.size()), to, amount));
    left -= amount;
  };
  add(kFees, left * static_cast<u128>(terms_.fee_ppm) / kPpm);
  u128 whole = left;
  u128 tokens = 0;
  for (const Share& s : open.shares) tokens += static_cast<u128>(s.output_tokens);
  for (const Share& s : open.shares) {
    bool is_last = &s == &open.shares.back();
    u128 part = is_last ? left : whole * static_cast<u128>(s.output_tokens) / tokens;
    add(earnings_of(s.supplier), part);
  }
  TG_ASSERT(left == 0);
  market::link(chain);
  apply_whole(chain, now_ns);
}

// --- the sums -----------------------------------------------------------------------------------

u128 Money::posted_to(u128 account) const {
  return machine_.find_account(account)->credits_posted;
}

// Entry by entry: all that was ever held was posted or let go.
void Money::check_journal(MoneyResult& out) const {
  u128 posted = 0;
  for (u64 at = 1; at <= machine_.journal_size(); ++at) {
    ledger::JournalEntry entry = machine_.journal_entry(at);
    const ledger::Transfer& t = entry.transfer;
    if (entry.kind == ledger::EntryKind::kFailedId || t.ledger != kStandard) continue;
    ++out.transfers;
    if ((t.flags & flag::kPending) != 0) out.held += t.amount;
    if (entry.pending_position == 0) continue;
    u128 hold = machine_.journal_entry(entry.pending_position).transfer.amount;
    u128 taken = (t.flags & flag::kPostPending) != 0 ? t.amount : u128{0};
    posted += taken;
    out.released += hold - taken;
  }
  TG_ASSERT(posted == out.charged);
  TG_ASSERT(out.held == out.charged + out.released);
}

MoneyResult Money::balance() const {
  TG_ASSERT(open_.empty() && machine_.pending_count() == 0);
  MoneyResult out = result_;
  out.is_on = true;
  check_journal(out);
  for (const ledger::LedgerTotals& totals : machine_.totals()) {
    TG_ASSERT(totals.debits_posted == totals.credits_posted);
    TG_ASSERT(totals.debits_pending == 0 && totals.credits_pending == 0);
  }
  // What buyers paid is what was charged, and what is left of their bundles was not.
  u128 spent = 0;
  u128 budgeted = 0;
  for (u32 i = 0; i < tenants_.size(); ++i) {
    if (!tenants_[i].is_known) continue;
    const ledger::Account& bundle = *machine_.find_account(bundle_of(i));
    spent += bundle.debits_posted;
    out.left += ledger::available(bundle);
    if (terms_.budget_st > 0) budgeted += machine_.find_account(budget_of(i))->debits_posted;
  }
  TG_ASSERT(spent == out.charged);
  TG_ASSERT(terms_.budget_st == 0 || budgeted == out.charged);
  TG_ASSERT(machine_.find_account(kWash)->debits_posted == out.charged + out.left);
  // All of it went on to suppliers and, as a fee, to the operator.
  for (u32 i = 0; i < suppliers_; ++i) out.paid += posted_to(earnings_of(i));
  out.fees = posted_to(kFees);
  TG_ASSERT(out.paid + out.fees == out.charged);
  TG_ASSERT(ledger::available(*machine_.find_account(kClearing)) == 0);
  return out;
}

}  // namespace tg::sim
