#include "ledger/open_store.h"

#include <filesystem>

#include "ledger/log_store.h"
#include "ledger/sqlite_store.h"

namespace tg::ledger {

std::string_view name(StoreKind kind) {
  return kind == StoreKind::kLog ? "log" : "sqlite";
}

std::optional<StoreKind> store_kind_by_name(std::string_view text) {
  for (StoreKind kind : {StoreKind::kLog, StoreKind::kSqlite}) {
    if (text == name(kind)) return kind;
  }
  return std::nullopt;
}

static Result<std::optional<StoreKind>> find_store(const std::string& directory) {
  std::error_code error;
  bool has_log = std::filesystem::exists(directory + "/" + kLogFileName, error);
  bool has_sqlite = std::filesystem::exists(directory + "/" + kSqliteFileName, error);
  if (has_log && has_sqlite)
    return Error{Code::kInvalid, "ledger " + directory + ": holds both " + kLogFileName + " and " +
                                     kSqliteFileName};
  std::optional<StoreKind> found;
  if (has_log) found = StoreKind::kLog;
  if (has_sqlite) found = StoreKind::kSqlite;
  return found;
}

template <typename S>
static Result<std::unique_ptr<Store>> open_as(const std::string& directory) {
  TG_ASSIGN(std::unique_ptr<S> store, S::open(directory));
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::unique_ptr<Store>> open_store(const std::string& directory,
                                          std::optional<StoreKind> wanted) {
  TG_ASSIGN(std::optional<StoreKind> found, find_store(directory));
  if (found && wanted && *found != *wanted)
    return Error{Code::kInvalid, "ledger " + directory + ": is kept as " +
                                     std::string(name(*found)) + ", not as " +
                                     std::string(name(*wanted))};
  StoreKind kind = found.value_or(wanted.value_or(kStoreKindDefault));
  if (kind == StoreKind::kLog) return open_as<LogStore>(directory);
  return open_as<SqliteStore>(directory);
}

}  // namespace tg::ledger
