#include "apps/ledgers.h"

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "env/disk.h"
#include "gateway/billing.h"
#include "gateway/books.h"
#include "ledger/open_store.h"
#include "ledger/postgres_store.h"
#include "market/tariff.h"

namespace tg::apps {

namespace {

constexpr const char* kOwnFolder = "leased";

bool exists(const DataDirectory& data, const char* file) {
  std::error_code error;
  return std::filesystem::exists(data.file(file), error);
}

Result<std::unique_ptr<ledger::Service>> open_one(const std::string& folder,
                                                  std::optional<ledger::StoreKind> kind,
                                                  Clock& clock, bool may_be_away = false) {
  TG_ASSIGN(std::unique_ptr<ledger::Store> store, ledger::open_store(folder, kind, may_be_away));
  TG_ASSIGN(std::unique_ptr<ledger::Service> service,
            ledger::Service::open(std::move(store), clock, {.may_be_away = may_be_away}));
  if (service->holds_released_at_open() > 0)
    log_warn("serve", "released {} holds that a crash left open",
             service->holds_released_at_open());
  return service;
}

Status check_leases(const DataDirectory& data, std::optional<ledger::StoreKind> kind, bool leases) {
  bool has_own = exists(data, kOwnFolder);
  if (has_own && !leases)
    return Error{Code::kInvalid, data.path +
                                     " has served with leases: set data.leases = true, or "
                                     "use a new data directory"};
  if (!leases || has_own) return {};
  bool is_shared =
      kind ? kind == ledger::StoreKind::kPostgres : exists(data, ledger::kPostgresFileName);
  if (!is_shared) return Error{Code::kInvalid, "data.leases needs data.ledger = \"postgresql\""};
  if (!exists(data, "meter.seed")) return {};
  return Error{Code::kInvalid, data.path +
                                   " has served without leases, and its receipts are of "
                                   "the shared ledger: use a new data directory"};
}

Result<Ledgers> open_both(const DataDirectory& data, std::optional<ledger::StoreKind> kind,
                          bool leases, Clock& clock) {
  // Before anything is made.
  TG_TRY(check_leases(data, kind, leases));
  Ledgers out;
  // A gateway that has leased before may have something left to serve from.
  bool may_be_away = leases && exists(data, kOwnFolder);
  TG_ASSIGN(out.accounts, open_one(data.path, kind, clock, may_be_away));
  if (!leases) return out;
  TG_TRY(ensure_writable_directory(data.file(kOwnFolder)));
  TG_ASSIGN(out.own, open_one(data.file(kOwnFolder), ledger::StoreKind::kLog, clock));
  return out;
}

}  // namespace

Result<Ledgers> open_ledgers(const DataDirectory& data, const ServeConfig& config, Clock& clock) {
  return open_both(data, config.ledger_store, config.leases, clock);
}

Result<Ledgers> open_ledgers(const DataDirectory& data, Clock& clock) {
  return open_both(data, std::nullopt, exists(data, kOwnFolder), clock);
}

std::unique_ptr<gateway::Archive> open_archive(const DataDirectory& data, Ledgers& ledgers,
                                               Clock& clock) {
  return std::make_unique<gateway::Archive>(*ledgers.accounts, clock,
                                            data.file("receipts-archived"));
}

ledger::LeaseServiceOptions lease_options(const ServeConfig& config) {
  constexpr i64 kNanoPerSt = 1'000'000'000;
  constexpr u32 kMsPerSecond = 1'000;
  i64 amount = config.lease_st * kNanoPerSt;
  i64 value = std::max<i64>(1, market::list_value_ucredit(config.tariff, amount));
  ledger::LeaseServiceOptions out;
  out.timeout_ms = static_cast<u32>(config.lease_seconds) * kMsPerSecond;
  out.terms[ledger::ledgers::kStandard] = {.payee = gateway::seller_account(),
                                           .amount = static_cast<u128>(amount)};
  out.terms[ledger::ledgers::kBudget] = {.payee = gateway::budget_sink_account(),
                                         .amount = static_cast<u128>(amount)};
  out.terms[ledger::ledgers::kMoney] = {.payee = gateway::money_seller_account(),
                                        .amount = static_cast<u128>(value)};
  return out;
}

}  // namespace tg::apps
