#include "gateway/batch/batch_book.h"

#include <algorithm>

#include "base/assert.h"
#include "gateway/sqlite.h"

namespace tg::gateway {
namespace {

constexpr i64 kVersion = 2;

constexpr const char* kSchema = R"(
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS files (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
  filename TEXT NOT NULL, purpose TEXT NOT NULL, created_s INTEGER NOT NULL,
  bytes INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS files_by_owner ON files (owner, sequence);
CREATE TABLE IF NOT EXISTS batches (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, key TEXT NOT NULL,
  endpoint TEXT NOT NULL, input_file TEXT NOT NULL, metadata TEXT NOT NULL,
  status INTEGER NOT NULL, model TEXT NOT NULL, errors TEXT NOT NULL, output_file TEXT NOT NULL,
  error_file TEXT NOT NULL, total INTEGER NOT NULL, completed INTEGER NOT NULL,
  failed INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, expires_s INTEGER NOT NULL,
  entered TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS batches_by_owner ON batches (owner, sequence);
CREATE TABLE IF NOT EXISTS results (
  batch TEXT NOT NULL, line INTEGER NOT NULL, is_failure INTEGER NOT NULL, text TEXT NOT NULL,
  input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL, PRIMARY KEY (batch, line)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file_expiries (
  id TEXT PRIMARY KEY, expires_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_expiries_by_time ON file_expiries (expires_s);
CREATE TABLE IF NOT EXISTS batch_output_lives (
  id TEXT PRIMARY KEY, life_s INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 2;
)";

constexpr const char* kSelectFiles =
    "SELECT id, owner, filename, purpose, bytes, created_s, coalesce((SELECT expires_s FROM "
    "file_expiries WHERE file_expiries.id = files.id), 0) FROM files WHERE ";

constexpr const char* kBatchColumns =
    "id, owner, key, endpoint, input_file, metadata, status, model, errors, output_file, "
    "error_file, total, completed, failed, input_tokens, cached_tokens, output_tokens, "
    "reasoning_tokens, expires_s, entered";
constexpr const char* kOutputLife =
    ", coalesce((SELECT life_s FROM batch_output_lives WHERE batch_output_lives.id = batches.id), "
    "0)";

Status run(Statement& statement) {
  TG_ASSIGN(bool has_row, statement.step());
  TG_ASSERT(!has_row);
  return {};
}

std::string entered_text(const Batch& batch) {
  std::string out;
  for (i64 at : batch.entered_s) out += std::to_string(at) + " ";
  return out;
}

void read_entered(const std::string& text, Batch& batch) {
  const char* at = text.c_str();
  for (i64& entered : batch.entered_s) {
    char* end = nullptr;
    entered = std::strtoll(at, &end, 10);
    at = end;
  }
}

void bind(Statement& statement, const Batch& batch) {
  statement.text(batch.id).text(batch.owner).text(batch.key).text(batch.endpoint);
  statement.text(batch.input_file).text(batch.metadata).integer(static_cast<i64>(batch.status));
  statement.text(batch.model).text(batch.errors).text(batch.output_file).text(batch.error_file);
  statement.integer(batch.total).integer(batch.completed).integer(batch.failed);
  statement.integer(batch.usage.input_tokens).integer(batch.usage.cached_tokens);
  statement.integer(batch.usage.output_tokens).integer(batch.usage.reasoning_tokens);
  statement.integer(batch.expires_s).text(entered_text(batch));
}

Batch batch_of(const Statement& row) {
  Batch out{.id = row.text_at(0),
            .owner = row.text_at(1),
            .key = row.text_at(2),
            .endpoint = row.text_at(3),
            .input_file = row.text_at(4),
            .metadata = row.text_at(5),
            .status = static_cast<BatchStatus>(row.integer_at(6)),
            .model = row.text_at(7),
            .errors = row.text_at(8),
            .output_file = row.text_at(9),
            .error_file = row.text_at(10),
            .total = row.integer_at(11),
            .completed = row.integer_at(12),
            .failed = row.integer_at(13),
            .usage = {.input_tokens = row.integer_at(14),
                      .cached_tokens = row.integer_at(15),
                      .output_tokens = row.integer_at(16),
                      .reasoning_tokens = row.integer_at(17)},
            .expires_s = row.integer_at(18),
            .output_life_s = row.integer_at(20)};
  read_entered(row.text_at(19), out);
  return out;
}

StoredFile file_of(const Statement& row) {
  return {.id = row.text_at(0),
          .owner = row.text_at(1),
          .filename = row.text_at(2),
          .purpose = row.text_at(3),
          .bytes = row.integer_at(4),
          .created_s = row.integer_at(5),
          .expires_s = row.integer_at(6)};
}

Error no_file(std::string_view id) {
  return {Code::kNotFound, "no file '" + std::string(id.substr(0, 100)) + "'"};
}

// What follows "WHERE owner = ?": a page of a table.
std::string page_clause(const std::string& table, const ListQuery& query) {
  std::string out;
  if (!query.after.empty()) {
    out += query.is_ascending ? " AND sequence > " : " AND sequence < ";
    out += "(SELECT sequence FROM " + table + " WHERE id = ?)";
  }
  out += query.is_ascending ? " ORDER BY sequence" : " ORDER BY sequence DESC";
  return out + " LIMIT " + std::to_string(query.limit + 1);
}

}  // namespace

std::string_view name(BatchStatus status) {
  switch (status) {
    case BatchStatus::kValidating: return "validating";
    case BatchStatus::kFailed: return "failed";
    case BatchStatus::kInProgress: return "in_progress";
    case BatchStatus::kFinalizing: return "finalizing";
    case BatchStatus::kCompleted: return "completed";
    case BatchStatus::kExpired: return "expired";
    case BatchStatus::kCancelling: return "cancelling";
    case BatchStatus::kCancelled: return "cancelled";
  }
  return "";
}

bool is_over(BatchStatus status) {
  return status == BatchStatus::kFailed || status == BatchStatus::kCompleted ||
         status == BatchStatus::kExpired || status == BatchStatus::kCancelled;
}

struct BatchBook::State {
  Database db;
};

BatchBook::BatchBook(std::unique_ptr<State> state) : state_(std::move(state)) {}
BatchBook::~BatchBook() = default;

Result<std::unique_ptr<BatchBook>> BatchBook::open(const std::string& directory) {
  TG_ASSIGN(Database db, open_store(directory, "batches.db", kSchema, kVersion));
  return std::unique_ptr<BatchBook>(new BatchBook(std::make_unique<State>(State{std::move(db)})));
}

// ---- files --------------------------------------------------------------------------------------

// The expiry first: alone it hurts nobody.
Status BatchBook::insert_file(const StoredFile& file, std::string_view content) {
  if (file.expires_s > 0) {
    TG_ASSIGN(Statement expiry,
              state_->db.prepare("INSERT OR REPLACE INTO file_expiries VALUES (?, ?)"));
    TG_TRY(run(expiry.text(file.id).integer(file.expires_s)));
  }
  TG_ASSIGN(Statement insert,
            state_->db.prepare("INSERT INTO files (id, owner, filename, purpose, created_s, bytes, "
                               "content) VALUES (?, ?, ?, ?, ?, ?, ?)"));
  insert.text(file.id).text(file.owner).text(file.filename).text(file.purpose);
  insert.integer(file.created_s).integer(static_cast<i64>(content.size())).text(content);
  return run(insert);
}

Status BatchBook::put_file(const StoredFile& file, std::string_view content) {
  TG_ASSIGN(Statement sum, state_->db.prepare("SELECT count(*), coalesce(sum(bytes), 0) FROM files "
                                              "WHERE owner = ?"));
  TG_ASSIGN(bool has_row, sum.text(file.owner).step());
  TG_ASSERT(has_row);
  if (sum.integer_at(0) >= kOwnerFilesMax)
    return Error{Code::kLimit, "this project has too many files; delete some"};
  if (sum.integer_at(1) + static_cast<i64>(content.size()) > kOwnerBytesMax)
    return Error{Code::kLimit, "this project's files are too large together; delete some"};
  return insert_file(file, content);
}

Result<StoredFile> BatchBook::file(std::string_view id, std::string_view owner) {
  std::string sql = std::string(kSelectFiles) + "id = ? AND owner = ?";
  TG_ASSIGN(Statement select, state_->db.prepare(sql.c_str()));
  TG_ASSIGN(bool has_row, select.text(id).text(owner).step());
  if (!has_row) return no_file(id);
  return file_of(select);
}

Result<std::string> BatchBook::content(std::string_view id, std::string_view owner) {
  TG_ASSIGN(Statement select,
            state_->db.prepare("SELECT content FROM files WHERE id = ? AND owner = ?"));
  TG_ASSIGN(bool has_row, select.text(id).text(owner).step());
  if (!has_row) return no_file(id);
  return select.text_at(0);
}

Status BatchBook::erase_file(std::string_view id, std::string_view owner) {
  TG_ASSIGN(StoredFile known, file(id, owner));
  TG_ASSIGN(Statement remove, state_->db.prepare("DELETE FROM files WHERE id = ?"));
  return run(remove.text(known.id));
}

// The expiry goes last: what is interrupted is done again.
Status BatchBook::erase_expired(i64 now_s) {
  constexpr const char* kDue =
      " IN (SELECT id FROM file_expiries WHERE expires_s <= ? AND id NOT IN (SELECT input_file "
      "FROM batches WHERE status IN (0, 2, 3, 6)))";
  for (const char* table : {"files", "file_expiries"}) {
    std::string sql = std::string("DELETE FROM ") + table + " WHERE id" + kDue;
    TG_ASSIGN(Statement remove, state_->db.prepare(sql.c_str()));
    TG_TRY(run(remove.integer(now_s)));
  }
  return {};
}

Result<std::vector<StoredFile>> BatchBook::files(std::string_view owner, const ListQuery& query) {
  std::string sql = std::string(kSelectFiles) + "owner = ?";
  if (!query.purpose.empty()) sql += " AND purpose = ?";
  sql += page_clause("files", query);
  TG_ASSIGN(Statement select, state_->db.prepare(sql.c_str()));
  select.text(owner);
  if (!query.purpose.empty()) select.text(query.purpose);
  if (!query.after.empty()) select.text(query.after);
  std::vector<StoredFile> out;
  for (;;) {
    TG_ASSIGN(bool has_row, select.step());
    if (!has_row) return out;
    out.push_back(file_of(select));
  }
}

// ---- batches ------------------------------------------------------------------------------------

Status BatchBook::put_batch(const Batch& batch) {
  TG_ASSIGN(Statement open, state_->db.prepare("SELECT count(*) FROM batches WHERE owner = ? AND "
                                               "status IN (0, 2, 3, 6)"));
  TG_ASSIGN(bool has_row, open.text(batch.owner).step());
  TG_ASSERT(has_row);
  if (open.integer_at(0) >= kOwnerBatchesMax)
    return Error{Code::kLimit, "this project has too many batches that are not over"};
  if (batch.output_life_s > 0) {
    TG_ASSIGN(Statement life,
              state_->db.prepare("INSERT OR REPLACE INTO batch_output_lives VALUES (?, ?)"));
    TG_TRY(run(life.text(batch.id).integer(batch.output_life_s)));
  }
  std::string sql = std::string("INSERT INTO batches (") + kBatchColumns +
                    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  TG_ASSIGN(Statement insert, state_->db.prepare(sql.c_str()));
  bind(insert, batch);
  return run(insert);
}

Status BatchBook::update(const Batch& batch) {
  std::string sql = std::string("UPDATE batches SET (") + kBatchColumns +
                    ") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "WHERE id = ?";
  TG_ASSIGN(Statement change, state_->db.prepare(sql.c_str()));
  bind(change, batch);
  return run(change.text(batch.id));
}

Result<std::vector<Batch>> BatchBook::select_batches(const std::string& where,
                                                     const std::vector<std::string>& values) {
  std::string sql =
      std::string("SELECT ") + kBatchColumns + kOutputLife + " FROM batches WHERE " + where;
  TG_ASSIGN(Statement select, state_->db.prepare(sql.c_str()));
  for (const std::string& value : values) select.text(value);
  std::vector<Batch> out;
  for (;;) {
    TG_ASSIGN(bool has_row, select.step());
    if (!has_row) return out;
    out.push_back(batch_of(select));
  }
}

Result<Batch> BatchBook::batch(std::string_view id, std::string_view owner) {
  TG_ASSIGN(std::vector<Batch> found,
            select_batches("id = ? AND owner = ?", {std::string(id), std::string(owner)}));
  if (!found.empty()) return std::move(found.front());
  return Error{Code::kNotFound, "no batch '" + std::string(id.substr(0, 100)) + "'"};
}

Result<std::vector<Batch>> BatchBook::batches(std::string_view owner, const ListQuery& query) {
  std::vector<std::string> values = {std::string(owner)};
  if (!query.after.empty()) values.push_back(query.after);
  return select_batches("owner = ?" + page_clause("batches", query), values);
}

Result<std::vector<Batch>> BatchBook::open_batches() {
  return select_batches("status IN (0, 2, 3, 6) ORDER BY sequence", {});
}

// ---- results ------------------------------------------------------------------------------------

Status BatchBook::put_result(std::string_view batch, const BatchResult& result) {
  TG_ASSIGN(Statement insert, state_->db.prepare("INSERT OR IGNORE INTO results VALUES "
                                                 "(?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.text(batch).integer(result.line).integer(result.is_failure).text(result.text);
  insert.integer(result.usage.input_tokens).integer(result.usage.cached_tokens);
  insert.integer(result.usage.output_tokens).integer(result.usage.reasoning_tokens);
  return run(insert);
}

Result<std::vector<i64>> BatchBook::lines_done(std::string_view batch) {
  TG_ASSIGN(Statement select,
            state_->db.prepare("SELECT line FROM results WHERE batch = ? ORDER BY line"));
  select.text(batch);
  std::vector<i64> out;
  for (;;) {
    TG_ASSIGN(bool has_row, select.step());
    if (!has_row) return out;
    out.push_back(select.integer_at(0));
  }
}

Result<std::string> BatchBook::results(std::string_view batch, bool is_failure) {
  TG_ASSIGN(Statement select,
            state_->db.prepare("SELECT text FROM results WHERE batch = ? AND is_failure = ? "
                               "ORDER BY line"));
  select.text(batch).integer(is_failure);
  std::string out;
  for (;;) {
    TG_ASSIGN(bool has_row, select.step());
    if (!has_row) return out;
    out += select.text_at(0) + "\n";
  }
}

Status BatchBook::count(Batch& batch) {
  TG_ASSIGN(Statement sum,
            state_->db.prepare("SELECT count(*) - coalesce(sum(is_failure), 0), "
                               "coalesce(sum(is_failure), 0), coalesce(sum(input_tokens), 0), "
                               "coalesce(sum(cached_tokens), 0), coalesce(sum(output_tokens), 0), "
                               "coalesce(sum(reasoning_tokens), 0) FROM results WHERE batch = ?"));
  TG_ASSIGN(bool has_row, sum.text(batch.id).step());
  TG_ASSERT(has_row);
  batch.completed = sum.integer_at(0);
  batch.failed = sum.integer_at(1);
  batch.usage = {.input_tokens = sum.integer_at(2),
                 .cached_tokens = sum.integer_at(3),
                 .output_tokens = sum.integer_at(4),
                 .reasoning_tokens = sum.integer_at(5)};
  return {};
}

Status BatchBook::finish_within(Batch& batch, const StoredFile& output, const StoredFile& errors) {
  TG_TRY(count(batch));
  if (batch.completed > 0) {
    TG_ASSIGN(std::string text, results(batch.id, false));
    TG_TRY(insert_file(output, text));
    batch.output_file = output.id;
  }
  if (batch.failed > 0) {
    TG_ASSIGN(std::string text, results(batch.id, true));
    TG_TRY(insert_file(errors, text));
    batch.error_file = errors.id;
  }
  TG_ASSIGN(Statement remove, state_->db.prepare("DELETE FROM results WHERE batch = ?"));
  TG_TRY(run(remove.text(batch.id)));
  return update(batch);
}

Status BatchBook::finish(Batch& batch, const StoredFile& output, const StoredFile& errors) {
  TG_TRY(state_->db.execute("BEGIN IMMEDIATE"));
  Status done = finish_within(batch, output, errors);
  if (!done.ok()) {
    (void)state_->db.execute("ROLLBACK");
    return done;
  }
  return state_->db.execute("COMMIT");
}

}  // namespace tg::gateway
