// One connection to PostgreSQL through libpq: statements, rows in, rows out. Errors carry the
// server's first line: kIo if it found fault with the statement, kUnavailable for everything that
// another try, perhaps on another connection, may find otherwise. A server that stands still is as
// one that is gone: nobody waits for its next word longer than kPostgresAnswerMs, nor for a new
// connection longer than kPostgresConnectMs.
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

// Longer than any statement takes, or waits for a lock; loading much is many words.
inline constexpr int kPostgresAnswerMs = 3'000;
// libpq's connect_timeout counts whole seconds, so that so many may be one more.
inline constexpr int kPostgresConnectSeconds = 2;
inline constexpr int kPostgresConnectMs = (kPostgresConnectSeconds + 1) * 1'000;

class PostgresResult {
 public:
  explicit PostgresResult(pg_result* result) : result_(result) {}
  ~PostgresResult();
  PostgresResult(PostgresResult&& other) noexcept;
  PostgresResult& operator=(PostgresResult&& other) noexcept;

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
  // Whether the last error was that others kept a lock for longer than lock_timeout.
  bool was_locked_out() const { return was_locked_out_; }

 private:
  explicit PostgresConnection(pg_conn* connection) : connection_(connection) {}
  // Until the server takes or sends something; whoever is silent for too long is lost.
  Status wait(short events);
  Status flush();
  // The next of the results under way, null after the last.
  Result<pg_result*> next_result();
  // All of them; the last one, or the first that is no success.
  Result<PostgresResult> finish_results(const char* what);
  // `result`: what the server said, if it said something.
  Error failed(const char* what, const pg_result* result = nullptr);
  Status put_copy(std::span<const u8> bytes);

  pg_conn* connection_ = nullptr;
  bool is_lost_ = false;
  bool was_locked_out_ = false;
};

}  // namespace tg::ledger
