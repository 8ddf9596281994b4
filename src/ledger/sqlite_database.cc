#include "ledger/sqlite_database.h"

#include <optional>

#include "base/assert.h"

namespace tg::ledger {

static Code code_of(int result) {
  switch (result & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return Code::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT: return Code::kCorrupt;
    case SQLITE_PERM:
    case SQLITE_READONLY: return Code::kDenied;
    default: return Code::kIo;
  }
}

static Error sqlite_error(sqlite3* handle, const std::string& path) {
  int result = sqlite3_extended_errcode(handle);
  Code code = code_of(result);
  if (code == Code::kUnavailable)
    return Error{code, "ledger " + path + " is in use by another process"};
  return Error{code, "ledger " + path + ": " + sqlite3_errmsg(handle) + " (sqlite " +
                         std::to_string(result) + ")"};
}

static Error sqlite_error(sqlite3* handle) {
  const char* path = sqlite3_db_filename(handle, "main");
  return sqlite_error(handle, path == nullptr ? "" : path);
}

// --- statement ----------------------------------------------------------------------------------

void SqliteStatement::bind(int parameter, i64 value) {
  int result = sqlite3_bind_int64(statement_.get(), parameter, value);
  TG_ASSERT(result == SQLITE_OK);
}

void SqliteStatement::bind_u128(int parameter, u128 value) {
  TG_ASSERT(parameter >= 1 && parameter <= kParametersMax);
  std::array<u8, 16>& bytes = wide_[static_cast<std::size_t>(parameter)];
  for (std::size_t i = 16; i-- > 0; value >>= 8) bytes[i] = static_cast<u8>(value);
  bind_blob(parameter, bytes);
}

void SqliteStatement::bind_u128_or_null(int parameter, u128 value) {
  if (value != 0) return bind_u128(parameter, value);
  int result = sqlite3_bind_null(statement_.get(), parameter);
  TG_ASSERT(result == SQLITE_OK);
}

void SqliteStatement::bind_blob(int parameter, std::span<const u8> bytes) {
  // A null pointer would bind NULL; an empty blob is a value.
  const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
  int result = sqlite3_bind_blob64(statement_.get(), parameter, data, bytes.size(), SQLITE_STATIC);
  TG_ASSERT(result == SQLITE_OK);
}

Result<bool> SqliteStatement::step() {
  int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  Error error = sqlite_error(sqlite3_db_handle(statement_.get()));
  reset();
  return error;
}

Status SqliteStatement::run() {
  bool has_row = true;
  while (has_row) {
    TG_ASSIGN(has_row, step());
  }
  reset();
  return {};
}

void SqliteStatement::reset() {
  sqlite3_reset(statement_.get());
}

std::span<const u8> SqliteStatement::column_blob(int i) const {
  const void* data = sqlite3_column_blob(statement_.get(), i);
  int size = sqlite3_column_bytes(statement_.get(), i);
  return {static_cast<const u8*>(data), data == nullptr ? 0 : static_cast<std::size_t>(size)};
}

std::optional<u128> SqliteStatement::column_u128(int i) const {
  if (sqlite3_column_type(statement_.get(), i) == SQLITE_NULL) return u128{0};
  std::span<const u8> bytes = column_blob(i);
  if (bytes.size() != 16) return std::nullopt;
  u128 value = 0;
  for (u8 byte : bytes) value = value << 8 | byte;
  return value;
}

// --- database -----------------------------------------------------------------------------------

Result<SqliteDatabase> SqliteDatabase::open(const std::string& path) {
  sqlite3* handle = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int result = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  if (handle == nullptr) return Error{Code::kIo, "ledger " + path + ": out of memory"};
  SqliteDatabase database(handle, path);
  if (result != SQLITE_OK) return sqlite_error(handle, path);
  return database;
}

Status SqliteDatabase::execute(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return sqlite_error(handle_.get(), path_);
  return {};
}

Result<SqliteStatement> SqliteDatabase::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int result = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                  SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (result != SQLITE_OK) return sqlite_error(handle_.get(), path_);
  return SqliteStatement(statement);
}

Result<i64> SqliteDatabase::integer(std::string_view sql) {
  TG_ASSIGN(SqliteStatement statement, prepare(sql));
  TG_ASSIGN(bool has_row, statement.step());
  return has_row ? statement.column(0) : 0;
}

Result<std::string> SqliteDatabase::text(std::string_view sql) {
  TG_ASSIGN(SqliteStatement statement, prepare(sql));
  TG_ASSIGN(bool has_row, statement.step());
  if (!has_row) return std::string();
  std::span<const u8> bytes = statement.column_blob(0);
  return std::string(bytes.begin(), bytes.end());
}

}  // namespace tg::ledger
