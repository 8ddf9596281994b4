#include "gateway/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "env/disk.h"

namespace tg::gateway {

// The file's name without its folder.
static std::string name_of(sqlite3* db) {
  const char* path = sqlite3_db_filename(db, "main");
  std::string text = path == nullptr ? "" : path;
  return text.substr(text.rfind('/') + 1);
}

static Error sqlite_error(sqlite3* db) {
  i32 code = sqlite3_errcode(db);
  std::string message = name_of(db) + ": " + sqlite3_errmsg(db);
  bool is_corrupt = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  if (code == SQLITE_BUSY) return {Code::kUnavailable, std::move(message)};
  return {is_corrupt ? Code::kCorrupt : Code::kIo, std::move(message)};
}

// A file that is there must not be opened here: closing it would drop the locks that this process'
// other connections hold on it, and another process would then take away their log
// (sqlite.org/howtocorrupt).
Status create_private(const std::string& path) {
  i32 fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EEXIST) return {};
  if (fd < 0) return Error{Code::kIo, path + ": " + std::strerror(errno)};
  ::close(fd);
  return {};
}

Result<Database> open_store(const std::string& directory, const std::string& name,
                            const char* schema, i64 version) {
  constexpr i32 kBusyMs = 10'000;
  TG_TRY(ensure_writable_directory(directory));
  std::string path = directory + "/" + name;
  TG_TRY(create_private(path));
  TG_ASSIGN(Database db, Database::open(path, kBusyMs));
  TG_ASSIGN(i64 found, db.integer("PRAGMA user_version"));
  if (found > version)
    return Error{Code::kUnsupported, path + ": version " + std::to_string(found)};
  TG_TRY(db.execute(schema));
  return db;
}

Result<Database> Database::open(const std::string& path, i32 busy_ms) {
  sqlite3* handle = nullptr;
  i32 flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  i32 code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Database db(handle);
  if (code != SQLITE_OK) return Error{Code::kIo, path + ": " + sqlite3_errstr(code)};
  sqlite3_busy_timeout(handle, busy_ms);
  return db;
}

Database::Database(Database&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}

Database::~Database() {
  sqlite3_close(db_);
}

Status Database::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return sqlite_error(db_);
  return {};
}

Result<Statement> Database::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK) return sqlite_error(db_);
  return Statement(db_, statement);
}

Result<i64> Database::integer(const char* sql) {
  TG_ASSIGN(Statement statement, prepare(sql));
  TG_ASSIGN(bool has_row, statement.step());
  if (!has_row) return Error{Code::kCorrupt, name_of(db_) + ": no answer to " + sql};
  return statement.integer_at(0);
}

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)), bound_(other.bound_) {}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

Statement& Statement::text(std::string_view value) {
  i32 code = sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<i32>(value.size()),
                               SQLITE_TRANSIENT);
  TG_ASSERT(code == SQLITE_OK);
  return *this;
}

Statement& Statement::blob(std::span<const u8> value) {
  i32 code = sqlite3_bind_blob(statement_, ++bound_, value.data(), static_cast<i32>(value.size()),
                               SQLITE_TRANSIENT);
  TG_ASSERT(code == SQLITE_OK);
  return *this;
}

Statement& Statement::integer(i64 value) {
  TG_ASSERT(sqlite3_bind_int64(statement_, ++bound_, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::null() {
  TG_ASSERT(sqlite3_bind_null(statement_, ++bound_) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::step() {
  i32 code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(db_);
}

std::string Statement::text_at(i32 column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  i32 size = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

i64 Statement::integer_at(i32 column) const {
  return sqlite3_column_int64(statement_, column);
}

bool Statement::is_null_at(i32 column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

}  // namespace tg::gateway
