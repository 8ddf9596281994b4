#include "ledger/postgres_store.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "ledger/id.h"
#include "ledger/journal_chain.h"
#include "ledger/postgres_connection.h"
#include "ledger/postgres_rows.h"

namespace tg::ledger {

namespace {

constexpr i64 kSchemaVersion = 2;
constexpr i64 kDocumentsPageMax = 10'000;
// So that two gateways do not make the tables at once.
constexpr const char* kSchemaLock = "SELECT pg_advisory_xact_lock(1413957703)";

// Only appends: balances follow from the journal, and updating two account rows for each transfer
// would cost more than all the rest. The view gives them to people who ask in SQL.
constexpr const char* kSchema = R"sql(
CREATE SCHEMA tokengrid_ledger;
CREATE TABLE tokengrid_ledger.head(
  version bigint NOT NULL, commits bigint NOT NULL, entries bigint NOT NULL,
  documents bigint NOT NULL);
INSERT INTO tokengrid_ledger.head VALUES(2, 0, 0, 0);
CREATE TABLE tokengrid_ledger.accounts(
  number bigint PRIMARY KEY, commit bigint NOT NULL, id uuid NOT NULL UNIQUE, owner uuid,
  expires_ns bigint NOT NULL, ledger bigint NOT NULL, product bigint NOT NULL,
  code int NOT NULL, flags int NOT NULL, timestamp_ns bigint NOT NULL);
CREATE INDEX ON tokengrid_ledger.accounts(commit);
CREATE TABLE tokengrid_ledger.journal(
  position bigint PRIMARY KEY, kind int NOT NULL, status int NOT NULL, id uuid,
  debit_account uuid, credit_account uuid, amount numeric(39,0) NOT NULL, pending_id uuid,
  correlation uuid, reference bigint NOT NULL, timeout_ms bigint NOT NULL,
  ledger bigint NOT NULL, code int NOT NULL, flags int NOT NULL, sequence bigint NOT NULL,
  timestamp_ns bigint NOT NULL);
CREATE TABLE tokengrid_ledger.commits(
  number bigint PRIMARY KEY, entries bigint NOT NULL, digest bytea NOT NULL,
  gateway text NOT NULL DEFAULT '');
CREATE TABLE tokengrid_ledger.documents(
  sequence bigint PRIMARY KEY, id uuid NOT NULL UNIQUE, bytes bytea NOT NULL);
CREATE VIEW tokengrid_ledger.posted AS
  SELECT account, sum(debit) AS debits_posted, sum(credit) AS credits_posted FROM (
    SELECT debit_account AS account, amount AS debit, 0 AS credit
      FROM tokengrid_ledger.journal WHERE kind = 0 AND flags & 10 = 0
    UNION ALL
    SELECT credit_account, 0, amount
      FROM tokengrid_ledger.journal WHERE kind = 0 AND flags & 10 = 0) AS moved
  GROUP BY account;
)sql";
static_assert((transfer_flag::kPending | transfer_flag::kVoidPending) == 10);
// Version 2 says who committed, so that a gateway that comes back knows its own holds.
constexpr const char* kUpgradeFrom1 =
    "ALTER TABLE tokengrid_ledger.commits ADD COLUMN gateway text NOT NULL DEFAULT ''; "
    "UPDATE tokengrid_ledger.head SET version = 2";

constexpr const char* kAccountColumns =
    "number, commit, id, owner, expires_ns, ledger, product, code, flags, timestamp_ns";
constexpr u16 kAccountFields = 10;
constexpr const char* kJournalColumns =
    "position, kind, status, id, debit_account, credit_account, amount, pending_id, correlation, "
    "reference, timeout_ms, ledger, code, flags, sequence, timestamp_ns";
constexpr u16 kJournalFields = 16;

Error corrupt(const std::string& what) {
  return Error{Code::kCorrupt, "ledger in postgresql: " + what};
}

void add_account(PostgresRowWriter& out, u64 commit, const ChangedAccount& changed) {
  const Account& a = changed.account;
  out.begin_row(kAccountFields);
  out.add_i64(changed.number);
  out.add_i64(static_cast<i64>(commit));
  out.add_id(a.id);
  out.add_id(a.owner);
  out.add_i64(a.expires_ns);
  out.add_i64(a.ledger);
  out.add_i64(a.product);
  out.add_i32(a.code);
  out.add_i32(a.flags);
  out.add_i64(a.timestamp_ns);
}

void add_entry(PostgresRowWriter& out, u64 position, const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  out.begin_row(kJournalFields);
  out.add_i64(static_cast<i64>(position));
  out.add_i32(static_cast<i32>(entry.kind));
  out.add_i32(static_cast<i32>(entry.status));
  out.add_id(t.id);
  out.add_id(t.debit_account);
  out.add_id(t.credit_account);
  out.add_amount(t.amount);
  out.add_id(t.pending_id);
  out.add_id(t.correlation);
  out.add_i64(static_cast<i64>(t.reference));
  out.add_i64(t.timeout_ms);
  out.add_i64(t.ledger);
  out.add_i32(t.code);
  out.add_i32(t.flags);
  out.add_i64(t.sequence);
  out.add_i64(t.timestamp_ns);
}

Account account_from(PostgresRowReader& in) {
  return Account{.id = in.id_field(),
                 .owner = in.id_field(),
                 .expires_ns = in.i64_field(),
                 .ledger = in.narrow<u32>(),
                 .product = in.narrow<u32>(),
                 .code = in.narrow_i32<u16>(),
                 .flags = in.narrow_i32<u16>(),
                 .timestamp_ns = in.i64_field()};
}

Result<JournalEntry> entry_from(PostgresRowReader& in, u64 position) {
  i64 stored = in.i64_field();
  u8 kind = in.narrow_i32<u8>();
  u16 status = in.narrow_i32<u16>();
  JournalEntry entry{.transfer = {.id = in.id_field(),
                                  .debit_account = in.id_field(),
                                  .credit_account = in.id_field(),
                                  .amount = in.amount_field(),
                                  .pending_id = in.id_field(),
                                  .correlation = in.id_field(),
                                  .reference = static_cast<u64>(in.i64_field()),
                                  .timeout_ms = in.narrow<u32>(),
                                  .ledger = in.narrow<u32>(),
                                  .code = in.narrow_i32<u16>(),
                                  .flags = in.narrow_i32<u16>(),
                                  .sequence = in.narrow<u32>(),
                                  .timestamp_ns = in.i64_field()},
                     .status = static_cast<TransferStatus>(status),
                     .kind = static_cast<EntryKind>(kind)};
  bool is_ours = in.is_ok() && kind <= static_cast<u8>(EntryKind::kRelease) &&
                 stored == static_cast<i64>(position);
  if (!is_ours) return corrupt("journal row " + std::to_string(position) + " is damaged");
  return entry;
}

// An array of uuid as a parameter has it.
std::vector<u8> id_array(std::span<const u128> ids) {
  constexpr u32 kUuidType = 2950;
  std::vector<u8> out;
  auto append = [&](u64 value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<u8>(value >> (8 * i)));
  };
  for (u64 word : {u64{1}, u64{0}, u64{kUuidType}, u64{ids.size()}, u64{1}}) append(word, 4);
  for (u128 id : ids) {
    append(16, 4);
    append(static_cast<u64>(id >> 64), 8);
    append(static_cast<u64>(id), 8);
  }
  return out;
}

std::string hex_literal(std::span<const u8> bytes) {
  return "'\\x" + to_hex(bytes) + "'";
}

std::string uuid_literal(u128 id) {
  return "'" + to_hex(id) + "'";
}

}  // namespace

struct PostgresStore::State {
  State(std::string where, std::string name)
      : address(std::move(where)), gateway(std::move(name)) {}

  // How far a machine is.
  struct Replica {
    u64 commits = 0;
    u64 entries = 0;
    u64 documents = 0;
    JournalChain chain;
  };
  struct Seal {
    u64 entries = 0;
    std::string digest;
    bool is_own = false;
  };
  // Of journal positions.
  struct Range {
    u64 first = 0;
    u64 last = 0;
  };

  Status configure();
  Status make_schema();
  Status connect();
  Result<Replica> lock_head(bool is_locked);
  Status take_in(StateMachine& machine, Replica& replica, const Replica& head);
  Status take_in_accounts(StateMachine& machine, const Replica& replica);
  Status take_in_entries(StateMachine& machine, Replica& replica, const Replica& head);
  Result<std::vector<Seal>> read_seals(const Replica& replica, const Replica& head);
  void note_own(u64 first, u64 last);
  Status roll_back();

  Status write(const Effects& effects, std::span<DocumentWrite> documents);
  Result<std::map<u128, std::string>> known_documents(std::span<DocumentWrite> documents);
  Status settle_documents(std::span<DocumentWrite> documents);
  std::string add_accounts(const Effects& effects, u64 commit);
  void add_entries(const Effects& effects);
  std::string end_statements(const Replica& next, const Digest& digest) const;

  std::string address;
  std::string gateway;
  std::unique_ptr<File> lock;  // Held, not used.
  PostgresConnection connection;
  Replica replica;
  PostgresRowWriter account_rows;
  PostgresRowWriter entry_rows;
  PostgresRowWriter document_rows;
  std::vector<Range> own;  // What this gateway committed before this process did.
  bool has_committed = false;
  u64 documents_new = 0;
  bool is_loaded = false;
  bool is_locked = false;
  bool has_failed = false;
};

// --- opening ------------------------------------------------------------------------------------

Result<std::unique_ptr<PostgresStore>> PostgresStore::open(const std::string& address,
                                                           const std::string& gateway,
                                                           std::unique_ptr<File> lock,
                                                           bool may_be_away) {
  constexpr const char* kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
  if (gateway.size() > 64 || gateway.find_first_not_of(kNameCharacters) != gateway.npos)
    return Error{Code::kInvalid, "ledger in postgresql: the gateway's name \"" + gateway +
                                     "\" is not up to 64 of a-z, 0-9, - _ ."};
  std::unique_ptr<State> state = std::make_unique<State>(address, gateway);
  state->lock = std::move(lock);
  Status connected = state->connect();
  bool is_away = !connected.ok() && connected.error().code == Code::kUnavailable;
  if (!is_away || !may_be_away) TG_TRY(connected);
  return std::unique_ptr<PostgresStore>(new PostgresStore(std::move(state)));
}

PostgresStore::PostgresStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
PostgresStore::~PostgresStore() = default;

Status PostgresStore::State::configure() {
  static_assert(kLockWaitMs < kPostgresAnswerMs);
  TG_TRY(connection.execute(
      "SET client_min_messages = warning; SET synchronous_commit = on; "
      "SET idle_in_transaction_session_timeout = " +
      std::to_string(kIdleLockMs) + "; SET lock_timeout = " + std::to_string(kLockWaitMs)));
  for (const char* setting : {"fsync", "full_page_writes"}) {
    TG_ASSIGN(PostgresResult value, connection.execute(std::string("SHOW ") + setting));
    if (value.rows() != 1 || value.text(0, 0) != "on")
      return Error{Code::kInvalid, std::string("postgresql: ") + setting +
                                       " is off: a commit would not be durable"};
  }
  return {};
}

Status PostgresStore::State::make_schema() {
  TG_TRY(connection.execute(std::string("BEGIN; ") + kSchemaLock));
  TG_ASSIGN(PostgresResult found,
            connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = "
                               "'tokengrid_ledger'"));
  if (found.integer(0, 0) == 0) TG_TRY(connection.execute(kSchema));
  TG_ASSIGN(PostgresResult old, connection.execute("SELECT version FROM tokengrid_ledger.head"));
  if (old.rows() == 1 && old.integer(0, 0) == 1) TG_TRY(connection.execute(kUpgradeFrom1));
  TG_TRY(connection.execute("COMMIT; SET search_path = tokengrid_ledger"));
  TG_ASSIGN(PostgresResult version, connection.execute("SELECT version FROM head"));
  if (version.rows() == 1 && version.integer(0, 0) == kSchemaVersion) return {};
  return Error{Code::kUnsupported,
               "ledger in postgresql: not schema version " + std::to_string(kSchemaVersion)};
}

// What is only half made ready is not used.
Status PostgresStore::State::connect() {
  is_locked = false;
  connection = PostgresConnection();
  TG_ASSIGN(PostgresConnection opened, PostgresConnection::open(address));
  connection = std::move(opened);
  Status ready = configure();
  if (ready.ok()) ready = make_schema();
  if (!ready.ok()) connection = PostgresConnection();
  return ready;
}

// --- taking in what is there --------------------------------------------------------------------

Result<PostgresStore::State::Replica> PostgresStore::State::lock_head(bool for_writing) {
  const char* sql = for_writing ? "BEGIN; SELECT commits, entries, documents FROM head FOR UPDATE"
                                : "BEGIN ISOLATION LEVEL REPEATABLE READ; "
                                  "SELECT commits, entries, documents FROM head";
  is_locked = true;
  Result<PostgresResult> row = connection.execute(sql);
  for (i64 waited_ms = 0; !row.ok() && connection.was_locked_out() && waited_ms <= kIdleLockMs;
       waited_ms += kLockWaitMs) {
    row = connection.execute(std::string("ROLLBACK; ") + sql);
  }
  if (!row.ok() || row->rows() != 1) {
    TG_TRY(roll_back());
    return row.ok() ? corrupt("head has no row") : row.error();
  }
  Replica head;
  head.commits = static_cast<u64>(row->integer(0, 0));
  head.entries = static_cast<u64>(row->integer(0, 1));
  head.documents = static_cast<u64>(row->integer(0, 2));
  return head;
}

Status PostgresStore::State::roll_back() {
  is_locked = false;
  if (!connection.is_usable()) return {};
  Result<PostgresResult> done = connection.execute("ROLLBACK");
  if (!done.ok()) return done.error();
  return {};
}

Status PostgresStore::State::take_in_accounts(StateMachine& machine, const Replica& replica_now) {
  std::string sql = std::string("COPY (SELECT ") + kAccountColumns +
                    " FROM accounts WHERE commit > " + std::to_string(replica_now.commits) +
                    " ORDER BY number) TO STDOUT (FORMAT binary)";
  return connection.copy_out(sql, [&](std::span<const u8> message, bool is_first) -> Status {
    PostgresRowReader in(message);
    if (!in.begin_row(kAccountFields, is_first)) return {};
    i64 number = in.i64_field();
    in.i64_field();
    Account account = account_from(in);
    bool is_known = machine.find_account(account.id) != nullptr;
    bool fits = is_known || number == static_cast<i64>(machine.accounts().size()) + 1;
    if (!in.is_ok() || !fits) return corrupt("account row " + std::to_string(number));
    Status restored = machine.restore_account(account);
    if (!restored.ok()) return corrupt(restored.error().message);
    return {};
  });
}

Result<std::vector<PostgresStore::State::Seal>> PostgresStore::State::read_seals(
    const Replica& from, const Replica& head) {
  TG_ASSIGN(
      PostgresResult found,
      connection.execute("SELECT number, entries, encode(digest, 'hex'), gateway FROM commits "
                         "WHERE number > " +
                         std::to_string(from.commits) +
                         " AND number <= " + std::to_string(head.commits) + " ORDER BY number"));
  std::vector<Seal> seals;
  u64 entries = from.entries;
  for (i64 i = 0; i < found.rows(); ++i) {
    if (found.integer(i, 0) != static_cast<i64>(from.commits) + 1 + i ||
        found.integer(i, 1) < static_cast<i64>(entries))
      return corrupt("commit row " + std::to_string(found.integer(i, 0)) + " is out of order");
    entries = static_cast<u64>(found.integer(i, 1));
    bool is_own = !gateway.empty() && found.text(i, 3) == gateway;
    seals.push_back({.entries = entries, .digest = found.text(i, 2), .is_own = is_own});
  }
  if (seals.size() != head.commits - from.commits || entries != head.entries)
    return corrupt("commits and head disagree");
  return seals;
}

void PostgresStore::State::note_own(u64 first, u64 last) {
  if (has_committed || first > last) return;
  if (!own.empty() && own.back().last + 1 == first) {
    own.back().last = last;
  } else {
    own.push_back({first, last});
  }
}

bool PostgresStore::is_own(u64 position) const {
  const std::vector<State::Range>& own = state_->own;
  auto after = std::upper_bound(own.begin(), own.end(), position,
                                [](u64 p, const State::Range& r) { return p < r.first; });
  return after != own.begin() && position <= std::prev(after)->last;
}

// Every commit's entries, then its seal; one without entries repeats the digest before it.
Status PostgresStore::State::take_in_entries(StateMachine& machine, Replica& now,
                                             const Replica& head) {
  TG_ASSIGN(std::vector<Seal> seals, read_seals(now, head));
  std::size_t next = 0;
  u64 entries_before = now.entries;
  auto close_commits = [&]() -> Status {
    for (; next < seals.size() && seals[next].entries == now.entries; ++next) {
      ++now.commits;
      if (seals[next].is_own) note_own(entries_before + 1, now.entries);
      entries_before = now.entries;
      if (now.chain.has_unsealed() && to_hex(now.chain.seal()) != seals[next].digest)
        return corrupt("digest of commit " + std::to_string(now.commits) +
                       " does not match its entries");
    }
    return {};
  };
  TG_TRY(close_commits());
  std::string sql = std::string("COPY (SELECT ") + kJournalColumns +
                    " FROM journal WHERE position > " + std::to_string(now.entries) +
                    " AND position <= " + std::to_string(head.entries) +
                    " ORDER BY position) TO STDOUT (FORMAT binary)";
  TG_TRY(connection.copy_out(sql, [&](std::span<const u8> message, bool is_first) -> Status {
    PostgresRowReader in(message);
    if (!in.begin_row(kJournalFields, is_first)) return {};
    TG_ASSIGN(JournalEntry entry, entry_from(in, now.entries + 1));
    ++now.entries;
    now.chain.add(now.entries, entry);
    Status restored = machine.restore_entry(entry);
    if (!restored.ok()) return corrupt(restored.error().message);
    return close_commits();
  }));
  if (now.entries == head.entries && now.commits == head.commits) return {};
  return corrupt("journal ends at entry " + std::to_string(now.entries) + ", head says " +
                 std::to_string(head.entries));
}

Status PostgresStore::State::take_in(StateMachine& machine, Replica& now, const Replica& head) {
  if (head.commits < now.commits) return corrupt("commits that we saw are gone");
  if (head.commits == now.commits) return {};
  TG_TRY(take_in_accounts(machine, now));
  TG_TRY(take_in_entries(machine, now, head));
  now.documents = head.documents;
  return {};
}

Result<AuditReport> PostgresStore::load(StateMachine& machine) {
  TG_ASSERT(machine.journal_size() == 0 && machine.accounts().empty());
  State& s = *state_;
  bool is_audit = s.is_loaded && !s.has_failed;
  bool was_locked = is_audit && s.is_locked;
  if (!s.connection.is_usable() || s.has_failed) TG_TRY(s.connect());
  State::Replica head = s.replica;
  if (!was_locked) {
    TG_ASSIGN(head, s.lock_head(false));
  }
  // What was acknowledged and is not there any more, as after the fail-over to a copy that was
  // behind, is not to be forgotten over loading again.
  if (s.is_loaded && head.commits < s.replica.commits) {
    TG_TRY(s.roll_back());
    return corrupt("commits that we saw are gone");
  }
  State::Replica fresh;
  if (!is_audit && !s.has_committed) s.own.clear();
  Status taken = s.take_in(machine, fresh, head);
  if (!was_locked) TG_TRY(s.roll_back());
  TG_TRY(taken);
  Status sums = check_sums(machine);
  if (!sums.ok()) return corrupt(sums.error().message);
  if (!is_audit) s.replica = fresh;
  s.is_loaded = true;
  s.has_failed = false;
  return AuditReport{.accounts = static_cast<i64>(machine.accounts().size()),
                     .journal_entries = machine.journal_size(),
                     .holds_open = machine.pending_count(),
                     .commits = static_cast<i64>(fresh.commits)};
}

Status PostgresStore::begin(StateMachine& machine) {
  State& s = *state_;
  TG_ASSERT(s.is_loaded && !s.is_locked);
  if (s.has_failed) return Error{Code::kUnavailable, "ledger in postgresql failed; load it again"};
  if (!s.connection.is_usable()) TG_TRY(s.connect());
  TG_ASSIGN(State::Replica head, s.lock_head(true));
  Status taken = s.take_in(machine, s.replica, head);
  if (taken.ok()) return {};
  s.has_failed = true;
  [[maybe_unused]] Status ignored = s.roll_back();
  return taken;
}

Status PostgresStore::check_medium() {
  if (!state_->connection.is_usable()) TG_TRY(state_->connect());
  Result<PostgresResult> answer = state_->connection.execute("SELECT 1");
  if (!answer.ok()) return answer.error();
  return {};
}

// --- committing ---------------------------------------------------------------------------------

Status PostgresStore::commit(const Effects& effects, std::span<DocumentWrite> documents) {
  State& s = *state_;
  if (!s.is_loaded || s.has_failed)
    return Error{Code::kUnavailable, "ledger in postgresql failed; load it again"};
  s.has_committed = true;
  Status written = s.write(effects, documents);
  if (written.ok()) return {};
  // Perhaps the server did commit: only reading again tells.
  s.has_failed = true;
  [[maybe_unused]] Status ignored = s.roll_back();
  return written;
}

Status PostgresStore::State::write(const Effects& effects, std::span<DocumentWrite> documents) {
  if (!is_locked) {
    TG_ASSIGN(Replica head, lock_head(true));
    if (head.commits != replica.commits)
      return Error{Code::kUnavailable, "ledger in postgresql: another gateway has committed"};
  }
  TG_TRY(settle_documents(documents));
  if (effects.empty() && documents_new == 0) return roll_back();
  Replica next = replica;
  ++next.commits;
  next.entries += effects.entries.size();
  next.documents += documents_new;
  TG_ASSERT(effects.entries.empty() || effects.position_first == replica.entries + 1);
  std::string sql = add_accounts(effects, next.commits);
  add_entries(effects);
  for (std::size_t i = 0; i < effects.entries.size(); ++i)
    next.chain.add(effects.position_first + i, effects.entries[i]);
  Digest digest = next.chain.has_unsealed() ? next.chain.seal() : Digest{};
  std::vector<std::span<const u8>> copies;
  auto copy = [&](const char* table, PostgresRowWriter& rows) {
    if (!rows.has_rows()) return;
    sql += std::string("COPY ") + table + " FROM STDIN (FORMAT binary); ";
    copies.push_back(rows.finish());
  };
  copy("accounts", account_rows);
  copy("journal", entry_rows);
  if (documents_new > 0) copy("documents", document_rows);
  TG_TRY(connection.execute_with(sql + end_statements(next, digest), copies));
  is_locked = false;
  replica = next;
  return {};
}

// The new ones as rows, the closed ones as statements.
std::string PostgresStore::State::add_accounts(const Effects& effects, u64 commit) {
  account_rows.clear();
  std::string sql;
  for (const ChangedAccount& changed : effects.accounts) {
    if (changed.is_new) add_account(account_rows, commit, changed);
    if (changed.is_new || (changed.account.flags & account_flag::kClosed) == 0) continue;
    sql += "UPDATE accounts SET flags = " + std::to_string(changed.account.flags) +
           ", commit = " + std::to_string(commit) +
           " WHERE number = " + std::to_string(changed.number) + "; ";
  }
  return sql;
}

void PostgresStore::State::add_entries(const Effects& effects) {
  entry_rows.clear();
  u64 position = effects.position_first;
  for (const JournalEntry& entry : effects.entries) add_entry(entry_rows, position++, entry);
}

std::string PostgresStore::State::end_statements(const Replica& next, const Digest& digest) const {
  std::string commits = std::to_string(next.commits);
  std::string entries = std::to_string(next.entries);
  return "INSERT INTO commits VALUES(" + commits + ", " + entries + ", " + hex_literal(digest) +
         ", '" + gateway + "'); UPDATE head SET commits = " + commits + ", entries = " + entries +
         ", documents = " + std::to_string(next.documents) + "; COMMIT";
}

// --- documents ----------------------------------------------------------------------------------

Result<std::map<u128, std::string>> PostgresStore::State::known_documents(
    std::span<DocumentWrite> documents) {
  std::vector<u128> ids;
  for (const DocumentWrite& write : documents) ids.push_back(write.document->id);
  std::vector<u8> parameter = id_array(ids);
  TG_ASSIGN(PostgresResult rows_found,
            connection.query("SELECT id, bytes FROM documents WHERE id = ANY($1::uuid[])",
                             std::span(&parameter, 1)));
  std::map<u128, std::string> known;
  for (i64 i = 0; i < rows_found.rows(); ++i) {
    u128 id = 0;
    for (u8 b : rows_found.bytes(i, 0)) id = id << 8 | b;
    known.emplace(id, rows_found.text(i, 1));
  }
  return known;
}

// The first bytes under an id stay, whether they are in the table or earlier in this commit.
Status PostgresStore::State::settle_documents(std::span<DocumentWrite> documents) {
  documents_new = 0;
  if (documents.empty()) return {};
  document_rows.clear();
  TG_ASSIGN(auto known, known_documents(documents));
  for (DocumentWrite& write : documents) {
    const Document& document = *write.document;
    auto [place, is_new] = known.try_emplace(document.id, document.bytes);
    write.status = is_new                            ? DocumentStatus::kOk
                   : place->second == document.bytes ? DocumentStatus::kExists
                                                     : DocumentStatus::kExistsWithDifferentBytes;
    if (!is_new) continue;
    document_rows.begin_row(3);
    document_rows.add_i64(static_cast<i64>(replica.documents + ++documents_new));
    document_rows.add_id(document.id);
    document_rows.add_bytes(as_bytes(document.bytes));
  }
  return {};
}

Result<std::string> PostgresStore::read_document(u128 id) {
  std::vector<std::vector<u8>> none;
  TG_ASSIGN(
      PostgresResult rows,
      state_->connection.query("SELECT bytes FROM documents WHERE id = " + uuid_literal(id), none));
  if (rows.rows() == 0) return Error{Code::kNotFound, "no document " + to_hex(id)};
  return rows.text(0, 0);
}

Result<std::vector<StoredDocument>> PostgresStore::documents_after(u64 sequence, i64 limit) {
  std::vector<std::vector<u8>> none;
  std::string after = std::to_string(std::min<u64>(sequence, INT64_MAX));
  std::string count = std::to_string(std::clamp<i64>(limit, 1, kDocumentsPageMax));
  TG_ASSIGN(PostgresResult rows,
            state_->connection.query("SELECT id, bytes FROM documents WHERE sequence > " + after +
                                         " ORDER BY sequence LIMIT " + count,
                                     none));
  std::vector<StoredDocument> out;
  for (i64 i = 0; i < rows.rows(); ++i) {
    u128 id = 0;
    for (u8 b : rows.bytes(i, 0)) id = id << 8 | b;
    out.push_back(
        {.sequence = sequence + 1 + static_cast<u64>(i), .id = id, .bytes = rows.text(i, 1)});
  }
  return out;
}

}  // namespace tg::ledger
