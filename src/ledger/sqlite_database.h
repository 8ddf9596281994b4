// The little of SQLite's C interface that the store needs, with its errors as Results and its
// handles owned.
#pragma once

#include <sqlite3.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::ledger {

// A prepared statement. Bind all parameters, step, read columns, reset. Parameters count from 1,
// columns from 0.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement, &sqlite3_finalize) {}

  void bind(int parameter, i64 value);
  // 16 bytes, big-endian, so that memcmp order is numeric order; kept until the next bind.
  void bind_u128(int parameter, u128 value);
  // The same, but 0 is NULL: most transfers leave these columns empty.
  void bind_u128_or_null(int parameter, u128 value);
  // Borrowed until reset().
  void bind_blob(int parameter, std::span<const u8> bytes);

  // True if there is a row.
  Result<bool> step();
  // Steps to the end and resets: for statements without rows.
  Status run();
  void reset();

  i64 column(int i) const { return sqlite3_column_int64(statement_.get(), i); }
  std::span<const u8> column_blob(int i) const;
  // nullopt unless the column is NULL (0) or a blob of 16 bytes.
  std::optional<u128> column_u128(int i) const;

 private:
  static constexpr int kParametersMax = 16;
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement_{nullptr, &sqlite3_finalize};
  std::array<std::array<u8, 16>, kParametersMax + 1> wide_{};
};

class SqliteDatabase {
 public:
  // Opens or creates the file for the use of one thread at a time.
  static Result<SqliteDatabase> open(const std::string& path);

  const std::string& path() const { return path_; }
  // Runs statements that return nothing of interest.
  Status execute(const char* sql);
  Result<SqliteStatement> prepare(std::string_view sql);
  // The first column of the first row.
  Result<i64> integer(std::string_view sql);
  Result<std::string> text(std::string_view sql);
  // Rows changed by the last statement.
  i64 changes() const { return sqlite3_changes64(handle_.get()); }
  bool is_in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

 private:
  SqliteDatabase(sqlite3* handle, std::string path)
      : handle_(handle, &sqlite3_close_v2), path_(std::move(path)) {}

  std::unique_ptr<sqlite3, int (*)(sqlite3*)> handle_;
  std::string path_;
};

}  // namespace tg::ledger
