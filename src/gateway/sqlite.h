// The little of SQLite that the gateway's stores need, with errors as Results.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tg::gateway {

class Statement;

// Makes the file, mode 0600, before SQLite opens it, so that it is never readable to others, not
// even for a moment.
Status create_private(const std::string& path);

class Database;

// Opens or creates a store of its own, `name` in `directory`, mode 0600, with the tables of
// `schema`, which also sets user_version. kUnsupported if that is above `version`: a later program
// made it.
Result<Database> open_store(const std::string& directory, const std::string& name,
                            const char* schema, i64 version);

class Database {
 public:
  // Opens or creates; waits up to `busy_ms` for another process's write.
  static Result<Database> open(const std::string& path, i32 busy_ms);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) = delete;
  ~Database();

  Status execute(const char* sql);
  Result<Statement> prepare(const char* sql);
  // The first column of the first row. kCorrupt if there is none.
  Result<i64> integer(const char* sql);

 private:
  explicit Database(sqlite3* db) : db_(db) {}
  sqlite3* db_;
};

// A prepared statement; binds are numbered in the order of the calls. Must not outlive its
// database.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) = delete;
  ~Statement();

  Statement& text(std::string_view value);
  Statement& blob(std::span<const u8> value);
  Statement& integer(i64 value);
  Statement& null();

  // True: a row is ready; false: done.
  Result<bool> step();
  std::string text_at(i32 column) const;
  i64 integer_at(i32 column) const;
  bool is_null_at(i32 column) const;

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_;
  i32 bound_ = 0;
};

}  // namespace tg::gateway
