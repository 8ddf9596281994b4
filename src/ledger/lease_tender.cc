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

void LeaseTender::activate(u128 account, u32 ledger) {
  LeasePace pace(options_.terms.at(ledger).amount, times(), clock_.now());
  active_.emplace(account, Active{.keeper = keeper_of(ledger), .pace = pace});
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
    if (!is_over(report)) activate(account.id, account.ledger);
  }
  return {};
}

Status LeaseTender::read_shared_accounts() {
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
  if (is_away && !was_away)
    log_warn("ledger", "the shared ledger is away; {} leases go on: {}", active_.size(),
             status.error().message);
  if (!status.ok() && !is_away) log_error("ledger", "lease: {}", status.error().message);
  if (status.ok() && was_away) log_info("ledger", "the shared ledger is back");
  return status;
}

// --- what requests ask for ----------------------------------------------------------------------

// Those of the accounts that have not enough here.
Result<std::vector<u128>> LeaseTender::lacking(std::span<const u128> accounts, u128 least) {
  TG_ASSIGN(std::vector<std::optional<LeaseBalances>> found,
            keepers_.begin()->second->balances(accounts));
  std::vector<u128> out;
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    bool has_enough = found[i] && found[i]->free > 0 && found[i]->free >= least;
    if (!has_enough) out.push_back(accounts[i]);
  }
  return out;
}

Status LeaseTender::provide(std::vector<u128>& accounts, u128 least, LeaseUse use) {
  std::vector<u128> wanted = accounts;
  if (use == LeaseUse::kSpend) {
    TG_ASSIGN(wanted, lacking(accounts, least));
    if (wanted.empty()) return {};
  }
  // Nobody waits for a connection that has just failed.
  if (is_away_ && clock_.now().ns < ask_again_ns_)
    return Error{Code::kUnavailable, "the shared ledger is away"};
  bool are_known = std::all_of(accounts.begin(), accounts.end(),
                               [&](u128 account) { return ledgers_.count(account) != 0; });
  i64 age_ns = clock_.now().ns - read_at_ns_;
  if (!are_known || age_ns >= kAccountsNs) TG_TRY(read_shared_accounts());
  for (u128 account : wanted) TG_TRY(provide_one(account, least, use));
  // Of what else is theirs, whoever asks learns; it may be in another unit.
  std::size_t asked = accounts.size();
  add_owned(accounts);
  for (std::size_t i = asked; i < accounts.size(); ++i) TG_TRY(provide_one(accounts[i], 0, use));
  return {};
}

Status LeaseTender::provide_one(u128 account, u128 least, LeaseUse use) {
  LeaseKeeper* keeper = keeper_for(account);
  if (keeper == nullptr) return {};
  if (use == LeaseUse::kKnow) {
    Result<LeaseReport> known = keeper->report(account);
    return note_shared(known.ok() ? Status() : Status(known.error()));
  }
  if (use == LeaseUse::kSettle && active_.count(account) == 0) return {};
  activate(account, ledgers_.at(account));
  Active& active = active_.at(account);
  if (use == LeaseUse::kSettle) return renew(account, active, 0);
  active.pace.asked(clock_.now());
  if (active.pace.is_refused(least, clock_.now())) return {};
  return renew(account, active, least);
}

// More than the one request needs, for it will not be the last.
Status LeaseTender::renew(u128 account, Active& active, u128 least) {
  LeaseWish wish{.wanted = std::max(active.pace.target(), 2 * least), .least = least};
  Result<LeaseReport> report = active.keeper->renew(account, wish);
  if (report.ok()) active.pace.renewed(*report, least, clock_.now());
  return note_shared(report.ok() ? Status() : Status(report.error()));
}

Status LeaseTender::give_back(u128 account, Active& active) {
  Result<LeaseReport> report = active.keeper->give_back(account);
  if (report.ok()) {
    active.pace.renewed(*report, 0, clock_.now());
    if (is_over(*report)) active_.erase(account);
  }
  return note_shared(report.ok() ? Status() : Status(report.error()));
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
    LeasePace& pace = active_.at(accounts[i]).pace;
    LeasePace::Deed deed = pace.look(found[i].value_or(LeaseBalances{}), now);
    if (deed != LeasePace::Deed::kNothing && may_ask)
      due_.push_back({.account = accounts[i], .deed = deed});
  }
  return {};
}

void LeaseTender::tend() {
  if (due_.empty()) return;
  Due due = due_.front();
  due_.pop_front();
  auto found = active_.find(due.account);
  if (found == active_.end()) return;
  Status done = due.deed == LeasePace::Deed::kGiveBack ? give_back(due.account, found->second)
                                                       : renew(due.account, found->second, 0);
  // A network that is gone for one is gone for all.
  if (!done.ok()) due_.clear();
}

void LeaseTender::give_back_all(i64 until_ns) {
  due_.clear();
  std::vector<u128> accounts;
  for (const auto& [account, active] : active_) accounts.push_back(account);
  for (u128 account : accounts) {
    if (is_away_ || clock_.monotonic_ns() >= until_ns) break;
    [[maybe_unused]] Status given = give_back(account, active_.at(account));
  }
  if (!active_.empty())
    log_warn("ledger", "{} leases were not given back; they are settled at the next start",
             active_.size());
}

}  // namespace tg::ledger
