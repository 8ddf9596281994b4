// Which store a directory holds, and opening it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ledger/store.h"

namespace tg::ledger {

enum class StoreKind : u8 { kLog, kSqlite, kPostgres };

// What a new ledger is made as; src/ledger/README.md says why.
inline constexpr StoreKind kStoreKindDefault = StoreKind::kLog;

std::string_view name(StoreKind kind);  // "log", "sqlite", "postgresql"
std::optional<StoreKind> store_kind_by_name(std::string_view name);

// Opens the ledger in the directory, whichever kind it is; makes one of kind `wanted` if there is
// none. kInvalid if there is one of another kind than wanted, or of several. A shared one is there
// if the directory has its address (postgres_store.h: kPostgresFileName), which its owner writes;
// its server need not be there if it may be away.
Result<std::unique_ptr<Store>> open_store(const std::string& directory,
                                          std::optional<StoreKind> wanted = {},
                                          bool may_be_away = false);

// The ledger as the directory has it, re-derived entry by entry into `machine`, which must be
// empty; changes nothing. A log can be read while a server writes it: what is whole by then is
// read. kNotFound if there is no ledger.
Result<AuditReport> read_ledger(const std::string& directory, StateMachine& machine);

}  // namespace tg::ledger
