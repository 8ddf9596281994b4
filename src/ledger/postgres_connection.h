// One connection to PostgreSQL through libpq: statements, rows in, rows out. Errors carry the
// server's first line: kIo if it found fault with the statement, kUnavailable for everything that
// another try, perhaps on another connection, may find otherwise.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

struct pg_conn;
struct pg_result;

namespace tg::ledger {

class PostgresResult {
 public:
  explicit PostgresResult(pg_result* result) : result_(result) {}
  ~PostgresResult();
  PostgresResult(PostgresResult&& other) noexcept;
  PostgresResult& operator=(PostgresResult&&) = delete;

  i64 rows() const;
  // Empty for NULL. REQUIRES: a row and column that the query returns.
  std::span<const u8> bytes(i64 row, int column) const;
  std::string text(i64 row, int column) const;
  // A bigint sent as text; 0 if it is none.
  i64 integer(i64 row, int column) const;

 private:
  pg_result* result_;
};

class PostgresConnection {
 public:
  // Not usable: what is asked of it fails.
  PostgresConnection() = default;
  // `address` is libpq's connection string or URI. kUnavailable if there is no server.
  static Result<PostgresConnection> open(const std::string& address);
  PostgresConnection(PostgresConnection&& other) noexcept;
  PostgresConnection& operator=(PostgresConnection&& other) noexcept;
  ~PostgresConnection();

  // One or more statements, in the server's text format; the last one's rows.
  Result<PostgresResult> execute(const std::string& sql);
  // One statement with binary parameters; rows come back binary.
  Result<PostgresResult> query(const std::string& sql, std::span<const std::vector<u8>> parameters);
  // Several statements as one message; each COPY ... FROM STDIN among them takes the next of
  // `copies`. The server starts on a statement when the one before it is done, without waiting for
  // us, so all of them cost one round trip and each COPY one more.
  Status execute_with(const std::string& sql, std::span<const std::span<const u8>> copies);
  // COPY ... TO STDOUT: each message in turn, the first with is_first. Stops at the first error.
  using Visit = std::function<Status(std::span<const u8> message, bool is_first)>;
  Status copy_out(const std::string& sql, const Visit& visit);

  bool is_usable() const;

 private:
  explicit PostgresConnection(pg_conn* connection) : connection_(connection) {}
  // `result`: what the server said, if it said something.
  Error failed(const char* what, const pg_result* result = nullptr) const;
  Status finish_copy(const char* what);
  Status put_copy(std::span<const u8> bytes);

  pg_conn* connection_ = nullptr;
};

}  // namespace tg::ledger
