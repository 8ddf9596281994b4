#include "ledger/postgres_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
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

PostgresResult& PostgresResult::operator=(PostgresResult&& other) noexcept {
  std::swap(result_, other.result_);
  return *this;
}

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
  // One that is busy or stands still is given up as below, one behind a network also between
  // statements.
  const char* keywords[] = {
      "connect_timeout",  "tcp_user_timeout", "keepalives_idle",  "keepalives_interval",
      "keepalives_count", "dbname",           "application_name", nullptr};
  std::string connect = std::to_string(kPostgresConnectSeconds);
  std::string answer = std::to_string(kPostgresAnswerMs);
  const char* values[] = {connect.c_str(), answer.c_str(),     "5",    "2", "3",
                          address.c_str(), "tokengrid-ledger", nullptr};
  PostgresConnection connection(PQconnectdbParams(keywords, values, 1));
  if (connection.connection_ == nullptr) return Error{Code::kIo, "postgresql: no memory"};
  if (PQstatus(connection.connection_) != CONNECTION_OK) return connection.failed("connect");
  if (PQsetnonblocking(connection.connection_, 1) != 0) return connection.failed("connect");
  return connection;
}

PostgresConnection::PostgresConnection(PostgresConnection&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)),
      is_lost_(other.is_lost_),
      was_locked_out_(other.was_locked_out_) {}

PostgresConnection& PostgresConnection::operator=(PostgresConnection&& other) noexcept {
  std::swap(connection_, other.connection_);
  std::swap(is_lost_, other.is_lost_);
  std::swap(was_locked_out_, other.was_locked_out_);
  return *this;
}

PostgresConnection::~PostgresConnection() {
  if (connection_ != nullptr) PQfinish(connection_);
}

bool PostgresConnection::is_usable() const {
  return connection_ != nullptr && !is_lost_ && PQstatus(connection_) == CONNECTION_OK;
}

// Whether the server found fault with the statement itself; anything else (it is going down, coming
// up, full, somebody has the lock) says nothing against asking again. A server that goes down says
// so before the connection is seen to end.
static bool is_about_the_statement(std::string_view sqlstate) {
  // Not supported, data, constraint, syntax or access, internal.
  constexpr std::string_view kClasses[] = {"0A", "22", "23", "42", "XX"};
  return std::any_of(std::begin(kClasses), std::end(kClasses),
                     [&](std::string_view c) { return sqlstate.starts_with(c); });
}

static std::string_view sqlstate_of(const PGresult* result) {
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state == nullptr ? "" : state;
}

Error PostgresConnection::failed(const char* what, const pg_result* result) {
  std::string message = PQerrorMessage(connection_);
  message.resize(std::min(message.find('\n'), message.size()));
  std::string_view sqlstate = sqlstate_of(result);
  was_locked_out_ = sqlstate == "55P03";
  Code code = is_about_the_statement(sqlstate) ? Code::kIo : Code::kUnavailable;
  return Error{code, std::string("postgresql: ") + what + ": " + message};
}

static bool is_success(const PGresult* result) {
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

// --- waiting ------------------------------------------------------------------------------------

Status PostgresConnection::wait(short events) {
  pollfd socket{.fd = PQsocket(connection_), .events = events, .revents = 0};
  int ready = 0;
  while ((ready = ::poll(&socket, 1, kPostgresAnswerMs)) < 0 && errno == EINTR) {
  }
  if (ready > 0) return {};
  // An answer that came later would be taken for that of the next statement.
  was_locked_out_ = false;
  is_lost_ = true;
  return Error{Code::kUnavailable,
               "postgresql: silent for " + std::to_string(kPostgresAnswerMs) + " ms"};
}

Status PostgresConnection::flush() {
  int left = 0;
  while ((left = PQflush(connection_)) == 1) {
    TG_TRY(wait(POLLIN | POLLOUT));
    if (PQconsumeInput(connection_) != 1) return failed("send");
  }
  return left == 0 ? Status() : failed("send");
}

Result<pg_result*> PostgresConnection::next_result() {
  TG_TRY(flush());
  while (PQisBusy(connection_) == 1) {
    TG_TRY(wait(POLLIN));
    // An error is told with the result.
    if (PQconsumeInput(connection_) != 1) break;
  }
  return PQgetResult(connection_);
}

Result<PostgresResult> PostgresConnection::finish_results(const char* what) {
  PostgresResult last(nullptr);
  Status status;
  for (;;) {
    TG_ASSIGN(PGresult * result, next_result());
    if (result == nullptr) break;
    PostgresResult owned(result);
    if (!is_success(result) && status.ok()) status = failed(what, result);
    last = std::move(owned);
    if (!is_usable()) break;
  }
  TG_TRY(status);
  if (!is_usable()) return failed(what);
  return last;
}

Result<PostgresResult> PostgresConnection::execute(const std::string& sql) {
  if (!is_usable() || PQsendQuery(connection_, sql.c_str()) != 1) return failed("execute");
  return finish_results("execute");
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
  int sent = is_usable()
                 ? PQsendQueryParams(connection_, sql.c_str(), static_cast<int>(parameters.size()),
                                     nullptr, values.data(), lengths.data(), formats.data(), 1)
                 : 0;
  if (sent != 1) return failed("query");
  return finish_results("query");
}

// --- COPY ---------------------------------------------------------------------------------------

Status PostgresConnection::put_copy(std::span<const u8> bytes) {
  // libpq takes an int; pieces this size also keep its buffer small.
  constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  while (!bytes.empty()) {
    std::span<const u8> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    const char* data = reinterpret_cast<const char*>(piece.data());
    int put = PQputCopyData(connection_, data, static_cast<int>(piece.size()));
    if (put < 0) return failed("copy data");
    // Its buffer does not grow without end: what it has goes out first.
    TG_TRY(flush());
    if (put == 1) bytes = bytes.subspan(piece.size());
  }
  int end = 0;
  while ((end = PQputCopyEnd(connection_, nullptr)) == 0) TG_TRY(flush());
  return end == 1 ? Status() : failed("copy end");
}

Status PostgresConnection::execute_with(const std::string& sql,
                                        std::span<const std::span<const u8>> copies) {
  if (!is_usable() || PQsendQuery(connection_, sql.c_str()) != 1) return failed("execute");
  Status status;
  // Every result is read, after an error too, so that the connection stays usable.
  for (;;) {
    TG_ASSIGN(PGresult * result, next_result());
    if (result == nullptr) break;
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
  if (!is_usable() || PQsendQuery(connection_, sql.c_str()) != 1) return failed("copy");
  TG_ASSIGN(PGresult * started, next_result());
  PostgresResult owned(started);
  if (PQresultStatus(started) != PGRES_COPY_OUT) {
    Error refused = failed("copy", started);
    [[maybe_unused]] Result<PostgresResult> rest = finish_results("copy");
    return refused;
  }
  Status visited;
  bool is_first = true;
  char* message = nullptr;
  int size = 0;
  // After an error the rest is read and dropped, so that the connection stays usable.
  while ((size = PQgetCopyData(connection_, &message, 1)) >= 0) {
    if (size == 0) {
      TG_TRY(wait(POLLIN));
      if (PQconsumeInput(connection_) != 1) return failed("copy");
      continue;
    }
    if (visited.ok())
      visited =
          visit({reinterpret_cast<const u8*>(message), static_cast<std::size_t>(size)}, is_first);
    is_first = false;
    PQfreemem(message);
  }
  if (size == -2) return failed("copy");
  TG_TRY(finish_results("copy"));
  return visited;
}

}  // namespace tg::ledger
