#include "ledger/lease_tender.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"

namespace tg::ledger {

namespace {

constexpr i64 kNsPerMs = 1'000'000;
constexpr i64 kSettleNsMax = 5'000'000'000;
constexpr i64 kIdleNsMax = 15'000'000'000;
constexpr u32 kMarginMsMax = 60'000;
// How old may be what is known of whose account is whose.
constexpr i64 kAccountsNs = 1'000'000'000;
constexpr i64 kAskAgainNs = 500'000'000;
// Rounds at once: whoever asks waits for them.
constexpr int kTendMax = 256;

u32 margin_ms(u32 timeout_ms) {
  return std::min(kMarginMsMax, timeout_ms / 10);
}

bool is_over(const LeaseReport& report) {
  return report.leased == 0 && !report.is_in_doubt && report.spent == report.settled;
}

}  // namespace

LeaseTender::LeaseTender(Service& own, Service& shared, Clock& clock, Random& random,
                         std::string name, LeaseServiceOptions options)
    : own_(own), shared_(shared), clock_(clock), options_(std::move(options)) {
  TG_ASSERT(!options_.terms.empty());
  for (const auto& [ledger, terms] : options_.terms) {
    LeaseOptions keeper{.gateway = name,
                        .payee = terms.payee,
                        .amount = terms.amount,
                        .timeout_ms = options_.timeout_ms,
                        .margin_ms = margin_ms(options_.timeout_ms)};
    keepers_[ledger] = std::make_unique<LeaseKeeper>(own, shared, clock, random, std::move(keeper));
  }
}

LeaseTimes LeaseTender::times() const {
  i64 lasts_ns = i64{options_.timeout_ms - margin_ms(options_.timeout_ms)} * kNsPerMs;
  return {.lasts_ns = lasts_ns,
          .settle_ns = std::min(kSettleNsMax, lasts_ns / 8),
          .idle_ns = std::min(kIdleNsMax, lasts_ns / 4)};
}

Status LeaseTender::stop_overdue() {
  for (const auto& [ledger, keeper] : keepers_) TG_TRY(keeper->stop_overdue());
  return {};
}

// --- what is known ------------------------------------------------------------------------------

LeaseKeeper* LeaseTender::keeper_of(u32 ledger) {
  auto found = keepers_.find(ledger);
  return found == keepers_.end() ? nullptr : found->second.get();
}

// nullptr if there is no such account, or none that is leased.
LeaseKeeper* LeaseTender::keeper_for(u128 account) {
  auto ledger = ledgers_.find(account);
  return ledger == ledgers_.end() ? nullptr : keeper_of(ledger->second);
}

LeaseTender::Active& LeaseTender::activate(u128 account, u32 ledger) {
  LeasePace pace(options_.terms.at(ledger).amount, times(), clock_.now());
  Active made{
      .ledger = ledger, .keeper = keeper_of(ledger), .pace = pace, .balances = {}, .report = {}};
  return active_.emplace(account, std::move(made)).first->second;
}

LeaseFigures LeaseTender::figures() const {
  LeaseFigures out{
      .ledgers = {}, .is_away = is_away_, .rounds = rounds_, .failures = failures_, .late = 0};
  for (const auto& [ledger, terms] : options_.terms) out.ledgers[ledger];
  for (const auto& [ledger, lost] : lost_) out.ledgers[ledger].lost = lost;
  for (const auto& [account, active] : active_) {
    LeaseSums& sums = out.ledgers[active.ledger];
    LeaseReport report = active.report.value_or(LeaseReport{});
    ++sums.accounts;
    sums.leased += report.leased;
    sums.free += active.balances.free;
    // A round may have settled more than was seen at the last look.
    sums.unsettled += std::max(active.balances.spent, report.settled) - report.settled;
  }
  return out;
}

// Of an account whose lease was not known before, nothing can have been lost by its first round.
void LeaseTender::note_round(Active& active, const LeaseReport& report, u128 least, Timestamp now) {
  active.pace.renewed(report, least, now);
  if (active.report) lost_[active.ledger] += report.lost - active.report->lost;
  active.report = report;
  active.balances.spent = report.spent;
  active.balances.free = report.free;
  ++rounds_;
}

Status LeaseTender::recover() {
  TG_ASSIGN(std::vector<Account> accounts, own_.all_accounts());
  std::set<u128> known;
  for (const Account& account : accounts) known.insert(account.id);
  for (const Account& account : accounts) {
    LeaseKeeper* keeper = keeper_of(account.ledger);
    bool is_leased = keeper != nullptr && known.count(LeaseKeeper::notes_account(account.id)) != 0;
    if (!is_leased) continue;
    TG_ASSIGN(LeaseReport report, keeper->report(account.id));
    if (!is_over(report)) activate(account.id, account.ledger).report = report;
  }
  return {};
}

Status LeaseTender::read_shared_accounts(std::span<const Need> needs) {
  bool are_known = std::all_of(needs.begin(), needs.end(), [&](const Need& need) {
    return std::all_of(need.accounts.begin(), need.accounts.end(),
                       [&](u128 account) { return ledgers_.count(account) != 0; });
  });
  if (are_known && clock_.now().ns - read_at_ns_ < kAccountsNs) return {};
  Result<std::vector<Account>> accounts = shared_.all_accounts();
  TG_TRY(note_shared(accounts.ok() ? Status() : Status(accounts.error())));
  ledgers_.clear();
  owned_.clear();
  for (const Account& account : *accounts) {
    ledgers_[account.id] = account.ledger;
    if (account.owner != 0) owned_[account.owner].push_back(account.id);
  }
  read_at_ns_ = clock_.now().ns;
  return {};
}

void LeaseTender::add_owned(std::vector<u128>& accounts) const {
  std::set<u128> all(accounts.begin(), accounts.end());
  std::size_t asked = accounts.size();
  for (std::size_t i = 0; i < asked; ++i) {
    auto found = owned_.find(accounts[i]);
    if (found == owned_.end()) continue;
    for (u128 owned : found->second) {
      if (all.insert(owned).second) accounts.push_back(owned);
    }
  }
}

Status LeaseTender::note_shared(Status status) {
  bool is_away = !status.ok() && status.error().code == Code::kUnavailable;
  bool was_away = std::exchange(is_away_, is_away);
  if (!status.ok()) ask_again_ns_ = clock_.now().ns + kAskAgainNs;
  failures_ += status.ok() ? 0 : 1;
  if (is_away && !was_away)
    log_warn("ledger", "the shared ledger is away; {} leases go on: {}", active_.size(),
             status.error().message);
  if (!status.ok() && !is_away) log_error("ledger", "lease: {}", status.error().message);
  if (status.ok() && was_away) log_info("ledger", "the shared ledger is back");
  return status;
}

// --- what requests ask for ----------------------------------------------------------------------

Result<std::vector<LeaseTender::Need>> LeaseTender::needs_of(std::span<LeaseJob> jobs) {
  std::vector<u128> accounts;
  for (const LeaseJob& job : jobs)
    accounts.insert(accounts.end(), job.accounts.begin(), job.accounts.end());
  TG_ASSIGN(std::vector<std::optional<LeaseBalances>> found,
            keepers_.begin()->second->balances(accounts));
  std::vector<Need> out;
  std::size_t next = 0;
  for (LeaseJob& job : jobs) {
    Need need{.job = &job, .accounts = {}};
    for (u128 account : job.accounts) {
      const std::optional<LeaseBalances>& has = found[next++];
      bool has_enough = has && has->free > 0 && has->free >= job.least;
      if (!has_enough || job.use != LeaseUse::kSpend) need.accounts.push_back(account);
    }
    if (!need.accounts.empty()) out.push_back(std::move(need));
  }
  return out;
}

void LeaseTender::provide(std::span<LeaseJob> jobs) {
  Result<std::vector<Need>> needs = needs_of(jobs);
  if (!needs.ok()) {
    for (LeaseJob& job : jobs) job.status = needs.error();
    return;
  }
  Status brought = bring(*needs);
  for (const Need& need : *needs) need.job->status = brought;
}

Status LeaseTender::bring(std::span<const Need> needs) {
  if (needs.empty()) return {};
  // Nobody waits for a connection that has just failed.
  if (is_away_ && clock_.now().ns < ask_again_ns_)
    return Error{Code::kUnavailable, "the shared ledger is away"};
  TG_TRY(read_shared_accounts(needs));
  Wishes wishes;
  for (const Need& need : needs) TG_TRY(add_wishes(need, wishes));
  return renew(wishes);
}

Status LeaseTender::add_wishes(const Need& need, Wishes& wishes) {
  LeaseJob& job = *need.job;
  for (u128 account : need.accounts) TG_TRY(add_wish(account, job.least, job.use, wishes));
  // Of what else is theirs, whoever asks learns; it may be in another unit.
  std::size_t asked = job.accounts.size();
  add_owned(job.accounts);
  for (std::size_t i = asked; i < job.accounts.size(); ++i)
    TG_TRY(add_wish(job.accounts[i], 0, job.use, wishes));
  return {};
}

Status LeaseTender::add_wish(u128 account, u128 least, LeaseUse use, Wishes& wishes) {
  LeaseKeeper* keeper = keeper_for(account);
  if (keeper == nullptr) return {};
  if (use == LeaseUse::kKnow) {
    Result<LeaseReport> known = keeper->report(account);
    return note_shared(known.ok() ? Status() : Status(known.error()));
  }
  if (use == LeaseUse::kSettle && active_.count(account) == 0) return {};
  LeasePace& pace = activate(account, ledgers_.at(account)).pace;
  Timestamp now = clock_.now();
  if (use == LeaseUse::kSpend) pace.asked(now);
  if (use == LeaseUse::kSpend && pace.is_refused(least, now)) return {};
  // More than the one request needs, for it will not be the last.
  LeaseWish& wish = wishes[keeper][account];
  wish.least = std::max(wish.least, least);
  wish.wanted = std::max(pace.target(), 2 * wish.least);
  return {};
}

// --- rounds -------------------------------------------------------------------------------------

Status LeaseTender::renew(const Wishes& wishes) {
  for (const auto& [keeper, of] : wishes) {
    std::vector<LeaseAsk> asks;
    for (const auto& [account, wish] : of) {
      asks.push_back({.account = account, .wish = wish});
      if (asks.size() < kLeaseAsksMax) continue;
      TG_TRY(renew(*keeper, asks));
      asks.clear();
    }
    if (!asks.empty()) TG_TRY(renew(*keeper, asks));
  }
  return {};
}

Status LeaseTender::renew(LeaseKeeper& keeper, std::span<const LeaseAsk> asks) {
  Result<std::vector<LeaseReport>> reports = keeper.renew(asks);
  TG_TRY(note_shared(reports.ok() ? Status() : Status(reports.error())));
  Timestamp now = clock_.now();
  for (std::size_t i = 0; i < asks.size(); ++i)
    note_round(active_.at(asks[i].account), (*reports)[i], asks[i].wish.least, now);
  return {};
}

Status LeaseTender::give_back(const Returns& returns) {
  for (const auto& [keeper, accounts] : returns) {
    std::span<const u128> left = accounts;
    while (!left.empty()) {
      std::size_t count = std::min(left.size(), kLeaseAsksMax);
      TG_TRY(give_back(*keeper, left.first(count)));
      left = left.subspan(count);
    }
  }
  return {};
}

Status LeaseTender::give_back(LeaseKeeper& keeper, std::span<const u128> accounts) {
  Result<std::vector<LeaseReport>> reports = keeper.give_back(accounts);
  TG_TRY(note_shared(reports.ok() ? Status() : Status(reports.error())));
  Timestamp now = clock_.now();
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    const LeaseReport& report = (*reports)[i];
    note_round(active_.at(accounts[i]), report, 0, now);
    if (is_over(report)) active_.erase(accounts[i]);
  }
  return {};
}

// --- what is due --------------------------------------------------------------------------------

Status LeaseTender::look() {
  due_.clear();
  if (active_.empty()) return {};
  std::vector<u128> accounts;
  for (const auto& [account, active] : active_) accounts.push_back(account);
  TG_ASSIGN(std::vector<std::optional<LeaseBalances>> found,
            keepers_.begin()->second->balances(accounts));
  Timestamp now = clock_.now();
  bool may_ask = !is_away_ || now.ns >= ask_again_ns_;
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    Active& active = active_.at(accounts[i]);
    active.balances = found[i].value_or(LeaseBalances{});
    LeasePace::Deed deed = active.pace.look(active.balances, now);
    if (deed != LeasePace::Deed::kNothing && may_ask)
      due_.push_back({.account = accounts[i], .deed = deed});
  }
  return {};
}

void LeaseTender::tend() {
  Wishes wishes;
  Returns returns;
  for (int i = 0; i < kTendMax && !due_.empty(); ++i) {
    Due due = due_.front();
    due_.pop_front();
    auto found = active_.find(due.account);
    if (found == active_.end()) continue;
    Active& active = found->second;
    if (due.deed == LeasePace::Deed::kGiveBack) {
      returns[active.keeper].push_back(due.account);
    } else {
      wishes[active.keeper][due.account] = {.wanted = active.pace.target()};
    }
  }
  Status done = renew(wishes);
  if (done.ok()) done = give_back(returns);
  // A network that is gone for these is gone for all.
  if (!done.ok()) due_.clear();
}

// What was taken back here for a ledger that is away, the next start could not serve: it is asked
// for first whether it is there.
void LeaseTender::give_back_all(i64 until_ns) {
  due_.clear();
  if (!active_.empty() && !is_away_) {
    Result<std::optional<Account>> any = shared_.find_account(active_.begin()->first);
    [[maybe_unused]] Status noted = note_shared(any.ok() ? Status() : Status(any.error()));
  }
  for (const auto& [account, active] : active_)
    due_.push_back({.account = account, .deed = LeasePace::Deed::kGiveBack});
  while (!due_.empty() && !is_away_ && clock_.monotonic_ns() < until_ns) tend();
  if (!active_.empty())
    log_warn("ledger", "{} leases were not given back; they are settled at the next start",
             active_.size());
}

}  // namespace tg::ledger
