#include "ledger/sqlite_store.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "env/disk.h"
#include "ledger/id.h"
#include "ledger/journal_chain.h"
#include "ledger/sqlite_database.h"

namespace tg::ledger {

namespace {

constexpr i64 kSchemaVersion = 1;
constexpr i64 kApplicationId = 0x54474C47;  // "TGLG"
constexpr i64 kDocumentsPageMax = 10'000;

// Unsigned 64-bit numbers are stored with the same bits as signed ones. There is no index by
// transfer id or account: ids are unique because the state machine says so, statements follow the
// machine's own chains, and either index would cost the commit path more than the rows themselves.
constexpr const char* kSchema = R"sql(
CREATE TABLE accounts(
  number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
  debits_pending BLOB NOT NULL, debits_posted BLOB NOT NULL,
  credits_pending BLOB NOT NULL, credits_posted BLOB NOT NULL,
  owner BLOB, expires_ns INTEGER NOT NULL, ledger INTEGER NOT NULL, product INTEGER NOT NULL,
  code INTEGER NOT NULL, flags INTEGER NOT NULL, timestamp_ns INTEGER NOT NULL) STRICT;
CREATE TABLE journal(
  position INTEGER PRIMARY KEY, kind INTEGER NOT NULL, status INTEGER NOT NULL, id BLOB,
  debit_account BLOB, credit_account BLOB, amount BLOB, pending_id BLOB,
  correlation BLOB, reference INTEGER NOT NULL, timeout_ms INTEGER NOT NULL,
  ledger INTEGER NOT NULL, code INTEGER NOT NULL, flags INTEGER NOT NULL,
  sequence INTEGER NOT NULL, timestamp_ns INTEGER NOT NULL) STRICT;
CREATE TABLE commits(position INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT;
CREATE TABLE documents(
  sequence INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT;
)sql";

constexpr const char* kAccountColumns =
    "number, id, debits_pending, debits_posted, credits_pending, credits_posted, owner, "
    "expires_ns, ledger, product, code, flags, timestamp_ns";
constexpr const char* kJournalColumns =
    "position, kind, status, id, debit_account, credit_account, amount, pending_id, correlation, "
    "reference, timeout_ms, ledger, code, flags, sequence, timestamp_ns";

// Narrows a stored integer, or remembers that the row is not what we wrote.
class RowReader {
 public:
  explicit RowReader(const SqliteStatement& row) : row_(row) {}

  u128 wide(int i) {
    std::optional<u128> value = row_.column_u128(i);
    is_ok_ = is_ok_ && value.has_value();
    return value.value_or(0);
  }
  template <typename T>
  T narrow(int i) {
    i64 value = row_.column(i);
    is_ok_ = is_ok_ && std::in_range<T>(value);
    return static_cast<T>(value);
  }
  i64 signed64(int i) const { return row_.column(i); }
  bool is_ok() const { return is_ok_; }

 private:
  const SqliteStatement& row_;
  bool is_ok_ = true;
};

std::optional<Account> account_from(const SqliteStatement& row, u64 number) {
  RowReader in(row);
  Account a{.id = in.wide(1),
            .debits_pending = in.wide(2),
            .debits_posted = in.wide(3),
            .credits_pending = in.wide(4),
            .credits_posted = in.wide(5),
            .owner = in.wide(6),
            .expires_ns = in.signed64(7),
            .ledger = in.narrow<u32>(8),
            .product = in.narrow<u32>(9),
            .code = in.narrow<u16>(10),
            .flags = in.narrow<u16>(11),
            .timestamp_ns = in.signed64(12)};
  if (!in.is_ok() || in.signed64(0) != static_cast<i64>(number)) return std::nullopt;
  return a;
}

std::optional<JournalEntry> entry_from(const SqliteStatement& row, u64 position) {
  RowReader in(row);
  JournalEntry entry;
  u8 kind = in.narrow<u8>(1);
  entry.kind = static_cast<EntryKind>(kind);
  entry.status = static_cast<TransferStatus>(in.narrow<u16>(2));
  entry.transfer = Transfer{.id = in.wide(3),
                            .debit_account = in.wide(4),
                            .credit_account = in.wide(5),
                            .amount = in.wide(6),
                            .pending_id = in.wide(7),
                            .correlation = in.wide(8),
                            .reference = static_cast<u64>(in.signed64(9)),
                            .timeout_ms = in.narrow<u32>(10),
                            .ledger = in.narrow<u32>(11),
                            .code = in.narrow<u16>(12),
                            .flags = in.narrow<u16>(13),
                            .sequence = in.narrow<u32>(14),
                            .timestamp_ns = in.signed64(15)};
  bool is_ours = in.is_ok() && kind <= static_cast<u8>(EntryKind::kRelease) &&
                 in.signed64(0) == static_cast<i64>(position);
  if (!is_ours) return std::nullopt;
  return entry;
}

}  // namespace

struct SqliteStore::State {
  explicit State(SqliteDatabase opened) : database(std::move(opened)) {}

  Status configure();
  Status make_schema();
  Status prepare();
  Error corrupt(const std::string& what) const {
    return Error{Code::kCorrupt, "ledger " + database.path() + ": " + what};
  }

  Result<AuditReport> load(StateMachine& machine);
  Result<std::vector<Account>> load_accounts(StateMachine& machine);
  Result<i64> load_journal(StateMachine& machine);
  Status check_seal(SqliteStatement& commits, u64 position);

  Status write(const Effects& effects, std::span<DocumentWrite> documents);
  Status insert_account(const ChangedAccount& changed);
  Status update_account(const ChangedAccount& changed);
  Status insert_entry(u64 position, const JournalEntry& entry);
  Status insert_seal(u64 position);
  Status insert_document(DocumentWrite& write);
  Result<std::string> read_document(u128 id);

  SqliteDatabase database;  // Declared first: statements end before it closes.
  SqliteStatement account_insert;
  SqliteStatement account_update;
  SqliteStatement journal_insert;
  SqliteStatement commit_insert;
  SqliteStatement document_insert;
  SqliteStatement document_select;
  JournalChain chain;
  bool can_commit = false;
  bool has_failed = false;
};

// --- opening ------------------------------------------------------------------------------------

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& directory) {
  TG_TRY(ensure_writable_directory(directory));
  TG_ASSIGN(SqliteDatabase database, SqliteDatabase::open(directory + "/" + kSqliteFileName));
  std::unique_ptr<State> state = std::make_unique<State>(std::move(database));
  TG_TRY(state->configure());
  TG_TRY(state->make_schema());
  TG_TRY(state->prepare());
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(state)));
}

SqliteStore::SqliteStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteStore::~SqliteStore() = default;

const std::string& SqliteStore::path() const {
  return state_->database.path();
}

Status SqliteStore::State::configure() {
  // Exclusive first: WAL then needs no shared memory, and a second process is refused for as long
  // as this one lives. The lock is taken by the first access.
  TG_TRY(database.execute("PRAGMA locking_mode=EXCLUSIVE"));
  // Of a new file. A batch changes nearly every page of accounts, and each page is two writes.
  TG_TRY(database.execute("PRAGMA page_size=8192"));
  TG_ASSIGN(std::string mode, database.text("PRAGMA journal_mode=WAL"));
  if (mode != "wal") return Error{Code::kIo, "ledger " + database.path() + ": no WAL, " + mode};
  TG_TRY(database.execute("PRAGMA synchronous=FULL"));
  TG_TRY(database.execute("PRAGMA cache_size=-65536"));
  TG_TRY(database.execute("PRAGMA wal_autocheckpoint=4096"));
  TG_TRY(database.execute("PRAGMA cell_size_check=ON"));
  TG_TRY(database.execute("PRAGMA trusted_schema=OFF"));
  return database.execute("BEGIN IMMEDIATE; COMMIT");
}

Status SqliteStore::State::make_schema() {
  TG_ASSIGN(i64 application, database.integer("PRAGMA application_id"));
  TG_ASSIGN(i64 version, database.integer("PRAGMA user_version"));
  TG_ASSIGN(i64 tables, database.integer("SELECT count(*) FROM sqlite_schema"));
  if (application == 0 && version == 0 && tables == 0) {
    std::string sql = "BEGIN IMMEDIATE; PRAGMA application_id=" + std::to_string(kApplicationId) +
                      "; PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";" + kSchema +
                      "COMMIT";
    return database.execute(sql.c_str());
  }
  if (application != kApplicationId) return corrupt("not a ledger file");
  if (version == kSchemaVersion) return {};
  return Error{Code::kUnsupported, "ledger " + database.path() + ": schema version " +
                                       std::to_string(version) + ", this build knows " +
                                       std::to_string(kSchemaVersion)};
}

Status SqliteStore::State::prepare() {
  TG_ASSIGN(account_insert,
            database.prepare(std::string("INSERT INTO accounts(") + kAccountColumns +
                             ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  TG_ASSIGN(account_update,
            database.prepare("UPDATE accounts SET debits_pending=?2, debits_posted=?3, "
                             "credits_pending=?4, credits_posted=?5, flags=?6 WHERE number=?1"));
  TG_ASSIGN(journal_insert, database.prepare(std::string("INSERT INTO journal(") + kJournalColumns +
                                             ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  TG_ASSIGN(commit_insert, database.prepare("INSERT INTO commits(position, digest) VALUES(?,?)"));
  TG_ASSIGN(document_insert, database.prepare("INSERT INTO documents(id, bytes) VALUES(?,?) "
                                              "ON CONFLICT(id) DO NOTHING"));
  TG_ASSIGN(document_select, database.prepare("SELECT bytes FROM documents WHERE id=?"));
  return {};
}

// --- loading ------------------------------------------------------------------------------------

Result<AuditReport> SqliteStore::load(StateMachine& machine) {
  TG_ASSERT(machine.journal_size() == 0);
  TG_ASSERT(machine.accounts().empty());
  // An audit of a running store rebuilds the chain too; after a contradiction no commit is safe.
  state_->can_commit = false;
  Result<AuditReport> report = state_->load(machine);
  state_->can_commit = report.ok() && !state_->has_failed;
  return report;
}

Result<AuditReport> SqliteStore::State::load(StateMachine& machine) {
  chain = JournalChain();
  TG_ASSIGN(std::vector<Account> stored, load_accounts(machine));
  TG_ASSIGN(i64 commits, load_journal(machine));
  Status same = compare_accounts(stored, machine.accounts());
  if (!same.ok()) return corrupt(same.error().message);
  Status sums = check_sums(machine);
  if (!sums.ok()) return corrupt(sums.error().message);
  return AuditReport{.accounts = static_cast<i64>(stored.size()),
                     .journal_entries = machine.journal_size(),
                     .holds_open = machine.pending_count(),
                     .commits = commits};
}

Result<std::vector<Account>> SqliteStore::State::load_accounts(StateMachine& machine) {
  TG_ASSIGN(SqliteStatement rows, database.prepare(std::string("SELECT ") + kAccountColumns +
                                                   " FROM accounts ORDER BY number"));
  std::vector<Account> stored;
  while (true) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return stored;
    std::optional<Account> account = account_from(rows, stored.size() + 1);
    if (!account.has_value())
      return corrupt("account row " + std::to_string(stored.size() + 1) + " is damaged");
    stored.push_back(*account);
    Account empty = *account;
    empty.debits_pending = empty.debits_posted = empty.credits_pending = empty.credits_posted = 0;
    Status restored = machine.restore_account(empty);
    if (!restored.ok()) return corrupt(restored.error().message);
  }
}

Result<i64> SqliteStore::State::load_journal(StateMachine& machine) {
  TG_ASSIGN(SqliteStatement rows, database.prepare(std::string("SELECT ") + kJournalColumns +
                                                   " FROM journal ORDER BY position"));
  TG_ASSIGN(SqliteStatement commits,
            database.prepare("SELECT position, digest FROM commits ORDER BY position"));
  TG_ASSIGN(bool has_commit, commits.step());
  i64 commit_count = 0;
  for (u64 position = 1;; ++position) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) break;
    std::optional<JournalEntry> entry = entry_from(rows, position);
    if (!entry.has_value())
      return corrupt("journal row " + std::to_string(position) + " is damaged");
    chain.add(position, *entry);
    Status restored = machine.restore_entry(*entry);
    if (!restored.ok()) return corrupt(restored.error().message);
    if (!has_commit || commits.column(0) != static_cast<i64>(position)) continue;
    TG_TRY(check_seal(commits, position));
    ++commit_count;
    TG_ASSIGN(has_commit, commits.step());
  }
  if (has_commit || chain.has_unsealed())
    return corrupt("journal ends at entry " + std::to_string(machine.journal_size()) +
                   ", which is not the end of a commit");
  return commit_count;
}

Status SqliteStore::State::check_seal(SqliteStatement& commits, u64 position) {
  Digest derived = chain.seal();
  std::span<const u8> stored = commits.column_blob(1);
  if (std::equal(derived.begin(), derived.end(), stored.begin(), stored.end())) return {};
  return corrupt("digest of the commit that ends at journal entry " + std::to_string(position) +
                 " does not match its entries");
}

Status SqliteStore::check_medium() {
  TG_ASSIGN(std::string check, state_->database.text("PRAGMA quick_check(1)"));
  if (check != "ok") return state_->corrupt(check);
  return {};
}

// --- committing ---------------------------------------------------------------------------------

Status SqliteStore::commit(const Effects& effects, std::span<DocumentWrite> documents) {
  State& s = *state_;
  if (!s.can_commit) return Error{Code::kUnavailable, "ledger " + path() + " failed; reopen it"};
  Status written = s.write(effects, documents);
  if (written.ok()) return {};
  s.has_failed = true;
  s.can_commit = false;
  if (s.database.is_in_transaction()) {
    // The error that brought us here is the one to report.
    [[maybe_unused]] Status rolled_back = s.database.execute("ROLLBACK");
  }
  return written;
}

Status SqliteStore::State::write(const Effects& effects, std::span<DocumentWrite> documents) {
  TG_TRY(database.execute("BEGIN IMMEDIATE"));
  for (const ChangedAccount& changed : effects.accounts)
    TG_TRY(changed.is_new ? insert_account(changed) : update_account(changed));
  u64 position = effects.position_first;
  for (const JournalEntry& entry : effects.entries) TG_TRY(insert_entry(position++, entry));
  if (!effects.entries.empty()) TG_TRY(insert_seal(position - 1));
  for (DocumentWrite& document : documents) TG_TRY(insert_document(document));
  return database.execute("COMMIT");
}

Status SqliteStore::State::insert_account(const ChangedAccount& changed) {
  const Account& a = changed.account;
  account_insert.bind(1, changed.number);
  account_insert.bind_u128(2, a.id);
  account_insert.bind_u128(3, a.debits_pending);
  account_insert.bind_u128(4, a.debits_posted);
  account_insert.bind_u128(5, a.credits_pending);
  account_insert.bind_u128(6, a.credits_posted);
  account_insert.bind_u128_or_null(7, a.owner);
  account_insert.bind(8, a.expires_ns);
  account_insert.bind(9, a.ledger);
  account_insert.bind(10, a.product);
  account_insert.bind(11, a.code);
  account_insert.bind(12, a.flags);
  account_insert.bind(13, a.timestamp_ns);
  return account_insert.run();
}

Status SqliteStore::State::update_account(const ChangedAccount& changed) {
  const Account& a = changed.account;
  account_update.bind(1, changed.number);
  account_update.bind_u128(2, a.debits_pending);
  account_update.bind_u128(3, a.debits_posted);
  account_update.bind_u128(4, a.credits_pending);
  account_update.bind_u128(5, a.credits_posted);
  account_update.bind(6, a.flags);
  TG_TRY(account_update.run());
  if (database.changes() == 1) return {};
  return corrupt("account " + to_hex(a.id) + " has no row to update");
}

Status SqliteStore::State::insert_entry(u64 position, const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  chain.add(position, entry);
  journal_insert.bind(1, static_cast<i64>(position));
  journal_insert.bind(2, static_cast<i64>(entry.kind));
  journal_insert.bind(3, static_cast<i64>(entry.status));
  journal_insert.bind_u128_or_null(4, t.id);
  journal_insert.bind_u128_or_null(5, t.debit_account);
  journal_insert.bind_u128_or_null(6, t.credit_account);
  journal_insert.bind_u128_or_null(7, t.amount);
  journal_insert.bind_u128_or_null(8, t.pending_id);
  journal_insert.bind_u128_or_null(9, t.correlation);
  journal_insert.bind(10, static_cast<i64>(t.reference));
  journal_insert.bind(11, t.timeout_ms);
  journal_insert.bind(12, t.ledger);
  journal_insert.bind(13, t.code);
  journal_insert.bind(14, t.flags);
  journal_insert.bind(15, t.sequence);
  journal_insert.bind(16, t.timestamp_ns);
  return journal_insert.run();
}

Status SqliteStore::State::insert_seal(u64 position) {
  Digest digest = chain.seal();
  commit_insert.bind(1, static_cast<i64>(position));
  commit_insert.bind_blob(2, digest);
  return commit_insert.run();
}

Status SqliteStore::State::insert_document(DocumentWrite& write) {
  TG_ASSERT(write.document != nullptr);
  std::span<const u8> bytes = as_bytes(write.document->bytes);
  document_insert.bind_u128(1, write.document->id);
  document_insert.bind_blob(2, bytes);
  TG_TRY(document_insert.run());
  write.status = DocumentStatus::kOk;
  if (database.changes() == 1) return {};
  TG_ASSIGN(std::string stored, read_document(write.document->id));
  bool is_same = stored == write.document->bytes;
  write.status = is_same ? DocumentStatus::kExists : DocumentStatus::kExistsWithDifferentBytes;
  return {};
}

// --- documents ----------------------------------------------------------------------------------

Result<std::string> SqliteStore::State::read_document(u128 id) {
  document_select.bind_u128(1, id);
  TG_ASSIGN(bool has_row, document_select.step());
  if (!has_row) {
    document_select.reset();
    return Error{Code::kNotFound, "no document " + to_hex(id)};
  }
  std::string bytes(as_text(document_select.column_blob(0)));
  document_select.reset();
  return bytes;
}

Result<std::string> SqliteStore::read_document(u128 id) {
  return state_->read_document(id);
}

Result<std::vector<StoredDocument>> SqliteStore::documents_after(u64 sequence, i64 limit) {
  TG_ASSIGN(SqliteStatement rows,
            state_->database.prepare("SELECT sequence, id, bytes FROM documents "
                                     "WHERE sequence > ? ORDER BY sequence LIMIT ?"));
  rows.bind(1, static_cast<i64>(std::min<u64>(sequence, INT64_MAX)));
  rows.bind(2, std::clamp<i64>(limit, 1, kDocumentsPageMax));
  std::vector<StoredDocument> out;
  while (true) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return out;
    std::optional<u128> id = rows.column_u128(1);
    u64 row = static_cast<u64>(rows.column(0));
    if (!id.has_value()) return state_->corrupt("document " + std::to_string(row) + " is damaged");
    out.push_back({.sequence = row, .id = *id, .bytes = std::string(as_text(rows.column_blob(2)))});
  }
}

}  // namespace tg::ledger
