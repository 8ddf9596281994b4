#include "ledger/postgres_connection.h"

#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/assert.h"

namespace tg::ledger {

// --- results ------------------------------------------------------------------------------------

PostgresResult::~PostgresResult() {
  PQclear(result_);
}

PostgresResult::PostgresResult(PostgresResult&& other) noexcept
    : result_(std::exchange(other.result_, nullptr)) {}

i64 PostgresResult::rows() const {
  return PQntuples(result_);
}

std::span<const u8> PostgresResult::bytes(i64 row, int column) const {
  int r = static_cast<int>(row);
  TG_ASSERT(r < PQntuples(result_) && column < PQnfields(result_));
  const char* value = PQgetvalue(result_, r, column);
  return {reinterpret_cast<const u8*>(value),
          static_cast<std::size_t>(PQgetlength(result_, r, column))};
}

std::string PostgresResult::text(i64 row, int column) const {
  std::span<const u8> value = bytes(row, column);
  return std::string(value.begin(), value.end());
}

i64 PostgresResult::integer(i64 row, int column) const {
  return std::strtoll(text(row, column).c_str(), nullptr, 10);
}

// --- connection ---------------------------------------------------------------------------------

Result<PostgresConnection> PostgresConnection::open(const std::string& address) {
  // What the address says goes before these, except the name.
  // A server that vanishes while we wait for its answer is noticed by the keepalives.
  const char* keywords[] = {
      "connect_timeout",  "tcp_user_timeout", "keepalives_idle",  "keepalives_interval",
      "keepalives_count", "dbname",           "application_name", nullptr};
  const char* values[] = {"5",    "10000", "5", "2", "3", address.c_str(), "tokengrid-ledger",
                          nullptr};
  PostgresConnection connection(PQconnectdbParams(keywords, values, 1));
  if (connection.connection_ == nullptr) return Error{Code::kIo, "postgresql: no memory"};
  if (PQstatus(connection.connection_) != CONNECTION_OK) return connection.failed("connect");
  return connection;
}

PostgresConnection::PostgresConnection(PostgresConnection&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)) {}

PostgresConnection& PostgresConnection::operator=(PostgresConnection&& other) noexcept {
  std::swap(connection_, other.connection_);
  return *this;
}

PostgresConnection::~PostgresConnection() {
  if (connection_ != nullptr) PQfinish(connection_);
}

bool PostgresConnection::is_usable() const {
  return connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK;
}

// Whether the server found fault with the statement itself; anything else (it is going down, coming
// up, full, somebody has the lock) says nothing against asking again. A server that goes down says
// so before the connection is seen to end.
static bool is_about_the_statement(const PGresult* result) {
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state == nullptr) return false;
  std::string_view sqlstate = state;
  // Not supported, data, constraint, syntax or access, internal.
  constexpr std::string_view kClasses[] = {"0A", "22", "23", "42", "XX"};
  return std::any_of(std::begin(kClasses), std::end(kClasses),
                     [&](std::string_view c) { return sqlstate.starts_with(c); });
}

Error PostgresConnection::failed(const char* what, const pg_result* result) const {
  std::string message = PQerrorMessage(connection_);
  message.resize(std::min(message.find('\n'), message.size()));
  Code code = is_about_the_statement(result) ? Code::kIo : Code::kUnavailable;
  return Error{code, std::string("postgresql: ") + what + ": " + message};
}

static bool is_success(const PGresult* result) {
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

Result<PostgresResult> PostgresConnection::execute(const std::string& sql) {
  PGresult* result = PQexec(connection_, sql.c_str());
  PostgresResult owned(result);
  if (!is_success(result)) return failed("execute", result);
  return owned;
}

Result<PostgresResult> PostgresConnection::query(const std::string& sql,
                                                 std::span<const std::vector<u8>> parameters) {
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats(parameters.size(), 1);
  for (const std::vector<u8>& p : parameters) {
    values.push_back(reinterpret_cast<const char*>(p.data()));
    lengths.push_back(static_cast<int>(p.size()));
  }
  PGresult* result = PQexecParams(connection_, sql.c_str(), static_cast<int>(parameters.size()),
                                  nullptr, values.data(), lengths.data(), formats.data(), 1);
  PostgresResult owned(result);
  if (!is_success(result)) return failed("query", result);
  return owned;
}

// --- COPY ---------------------------------------------------------------------------------------

// Every result up to the end of the command; an error if any is one.
Status PostgresConnection::finish_copy(const char* what) {
  Status status;
  while (PGresult* result = PQgetResult(connection_)) {
    if (!is_success(result) && status.ok()) status = failed(what, result);
    PQclear(result);
    if (!is_usable()) break;
  }
  return status;
}

Status PostgresConnection::put_copy(std::span<const u8> bytes) {
  // libpq takes an int; pieces this size also keep its buffer small.
  constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  while (!bytes.empty()) {
    std::span<const u8> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    const char* data = reinterpret_cast<const char*>(piece.data());
    if (PQputCopyData(connection_, data, static_cast<int>(piece.size())) != 1)
      return failed("copy data");
    bytes = bytes.subspan(piece.size());
  }
  if (PQputCopyEnd(connection_, nullptr) != 1) return failed("copy end");
  return {};
}

Status PostgresConnection::execute_with(const std::string& sql,
                                        std::span<const std::span<const u8>> copies) {
  if (PQsendQuery(connection_, sql.c_str()) != 1) return failed("execute");
  Status status;
  // Every result is read, after an error too, so that the connection stays usable.
  while (PGresult* result = PQgetResult(connection_)) {
    PostgresResult owned(result);
    ExecStatusType kind = PQresultStatus(result);
    if (kind == PGRES_COPY_IN) {
      TG_ASSERT(!copies.empty());
      Status put = put_copy(copies.front());
      copies = copies.subspan(1);
      if (!put.ok()) return put;
    } else if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK && status.ok()) {
      status = failed("execute", result);
    }
    if (!is_usable()) break;
  }
  if (status.ok() && !is_usable()) return failed("execute");
  return status;
}

Status PostgresConnection::copy_out(const std::string& sql, const Visit& visit) {
  PGresult* started = PQexec(connection_, sql.c_str());
  PostgresResult owned(started);
  if (PQresultStatus(started) != PGRES_COPY_OUT) return failed("copy", started);
  Status visited;
  bool is_first = true;
  char* message = nullptr;
  int size = 0;
  // After an error the rest is read and dropped, so that the connection stays usable.
  while ((size = PQgetCopyData(connection_, &message, 0)) > 0) {
    if (visited.ok())
      visited =
          visit({reinterpret_cast<const u8*>(message), static_cast<std::size_t>(size)}, is_first);
    is_first = false;
    PQfreemem(message);
  }
  if (size == -2) return failed("copy");
  TG_TRY(finish_copy("copy"));
  return visited;
}

}  // namespace tg::ledger
