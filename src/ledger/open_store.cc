#include "ledger/open_store.h"

#include <array>
#include <filesystem>
#include <span>

#include "base/bytes.h"
#include "env/disk.h"
#include "env/file.h"
#include "env/random.h"
#include "ledger/log_store.h"
#include "ledger/postgres_store.h"
#include "ledger/sqlite_store.h"

namespace tg::ledger {

namespace {

struct KnownStore {
  StoreKind kind;
  std::string_view name;
  const char* file;
};
constexpr KnownStore kStores[] = {{StoreKind::kLog, "log", kLogFileName},
                                  {StoreKind::kSqlite, "sqlite", kSqliteFileName},
                                  {StoreKind::kPostgres, "postgresql", kPostgresFileName}};
constexpr u64 kAddressBytesMax = 4096;

}  // namespace

std::string_view name(StoreKind kind) {
  return kStores[static_cast<std::size_t>(kind)].name;
}

std::optional<StoreKind> store_kind_by_name(std::string_view text) {
  for (const KnownStore& store : kStores) {
    if (text == store.name) return store.kind;
  }
  return std::nullopt;
}

static Result<std::optional<StoreKind>> find_store(const std::string& directory) {
  std::optional<StoreKind> found;
  for (const KnownStore& store : kStores) {
    std::error_code error;
    if (!std::filesystem::exists(directory + "/" + store.file, error)) continue;
    if (found.has_value())
      return Error{Code::kInvalid, "ledger " + directory + ": holds both " +
                                       kStores[static_cast<std::size_t>(*found)].file + " and " +
                                       store.file};
    found = store.kind;
  }
  return found;
}

// Chosen once, at random, and kept.
static Result<std::string> gateway_name(File& file) {
  constexpr std::size_t kNameBytes = 32;
  TG_ASSIGN(u64 size, file.size());
  if (size == 0) {
    std::array<u8, kNameBytes / 2> noise;
    OsRandom().fill(noise);
    std::string made = to_hex(std::span<const u8>(noise));
    TG_ASSIGN([[maybe_unused]] u64 count, file.write_at(0, as_bytes(made)));
    TG_TRY(file.sync());
  }
  std::vector<u8> bytes(kNameBytes);
  TG_ASSIGN(u64 count, file.read_at(0, bytes));
  if (count != kNameBytes)
    return Error{Code::kCorrupt, file.path() + ": is no gateway's name; delete it to get another"};
  return std::string(as_text(bytes));
}

// Who only reads has no name and may come beside who writes.
static Result<std::unique_ptr<Store>> open_postgres(const std::string& directory, bool is_reader,
                                                    bool may_be_away = false) {
  std::string path = directory + "/" + kPostgresFileName;
  Result<std::string> address = read_file(path, kAddressBytesMax);
  if (!address.ok())
    return Error{Code::kInvalid,
                 "ledger in postgresql: write its address (libpq's connection "
                 "string) to " +
                     path};
  std::string line = address->substr(0, address->find('\n'));
  std::unique_ptr<File> lock;
  std::string gateway;
  if (!is_reader) {
    TG_ASSIGN(lock, open_locked_file(directory + "/" + kGatewayFileName));
    TG_ASSIGN(gateway, gateway_name(*lock));
  }
  TG_ASSIGN(std::unique_ptr<PostgresStore> store,
            PostgresStore::open(line, gateway, std::move(lock), may_be_away));
  return std::unique_ptr<Store>(std::move(store));
}

template <typename S>
static Result<std::unique_ptr<Store>> open_as(const std::string& directory) {
  TG_ASSIGN(std::unique_ptr<S> store, S::open(directory));
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::unique_ptr<Store>> open_store(const std::string& directory,
                                          std::optional<StoreKind> wanted, bool may_be_away) {
  TG_ASSIGN(std::optional<StoreKind> found, find_store(directory));
  if (found && wanted && *found != *wanted)
    return Error{Code::kInvalid, "ledger " + directory + ": is kept as " +
                                     std::string(name(*found)) + ", not as " +
                                     std::string(name(*wanted))};
  StoreKind kind = found.value_or(wanted.value_or(kStoreKindDefault));
  if (kind == StoreKind::kPostgres) return open_postgres(directory, false, may_be_away);
  if (kind == StoreKind::kLog) return open_as<LogStore>(directory);
  return open_as<SqliteStore>(directory);
}

Result<AuditReport> read_ledger(const std::string& directory, StateMachine& machine) {
  TG_ASSIGN(std::optional<StoreKind> found, find_store(directory));
  if (!found.has_value()) return Error{Code::kNotFound, "no ledger in " + directory};
  if (*found == StoreKind::kLog) return LogStore::read(directory, machine);
  bool is_postgres = *found == StoreKind::kPostgres;
  TG_ASSIGN(std::unique_ptr<Store> store,
            is_postgres ? open_postgres(directory, true) : open_store(directory));
  TG_TRY(store->check_medium());
  return store->load(machine);
}

}  // namespace tg::ledger
