#include "gateway/keys.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/bytes.h"
#include "env/disk.h"
#include "gateway/sqlite.h"

namespace tg::gateway {
namespace {

constexpr i64 kSchemaVersion = 1;
constexpr i32 kBusyMs = 250;
constexpr std::size_t kPrefixBytes = 11;  // "tg-" and 8 digits: 32 of 256 bits.

constexpr const char* kSchema = R"(
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE,
  prefix TEXT NOT NULL, name TEXT NOT NULL, account TEXT NOT NULL REFERENCES accounts(name),
  created_ns INTEGER NOT NULL, expires_ns INTEGER, revoked_ns INTEGER);
PRAGMA user_version = 1;
COMMIT;
)";

constexpr const char* kSelectKeys =
    "SELECT k.id, k.prefix, k.name, a.name, a.id, k.created_ns, k.expires_ns, k.revoked_ns, k.hash "
    "FROM keys k JOIN accounts a ON a.name = k.account ORDER BY k.sequence";
constexpr i32 kHashColumn = 8;

std::string id_hex(u128 id) {
  u8 bytes[16];
  for (i32 i = 15; i >= 0; --i, id >>= 8) bytes[i] = static_cast<u8>(id);
  return to_hex(std::span<const u8>(bytes));
}

Result<u128> parse_account_id(const std::string& hex) {
  TG_ASSIGN(std::vector<u8> bytes, from_hex(hex));
  if (bytes.size() != 16) return Error{Code::kCorrupt, "gateway.db: account id " + hex};
  u128 id = 0;
  for (u8 byte : bytes) id = id << 8 | byte;
  return id;
}

Status check_name(const char* what, const std::string& name) {
  bool is_plain = std::none_of(name.begin(), name.end(),
                               [](char c) { return static_cast<u8>(c) < 0x20 || c == 0x7F; });
  i64 size = static_cast<i64>(name.size());
  if (size > 0 && size <= KeyStore::kNameBytesMax && is_plain && is_utf8(name)) return {};
  return Error{Code::kInvalid, std::string(what) + " name must be 1 to 128 bytes of plain text"};
}

std::optional<Timestamp> time_at(const Statement& row, i32 column) {
  if (row.is_null_at(column)) return std::nullopt;
  return Timestamp{row.integer_at(column)};
}

Result<KeyInfo> read_key(const Statement& row) {
  TG_ASSIGN(u128 account, parse_account_id(row.text_at(4)));
  return KeyInfo{.id = row.text_at(0),
                 .prefix = row.text_at(1),
                 .name = row.text_at(2),
                 .account_name = row.text_at(3),
                 .account = account,
                 .created = Timestamp{row.integer_at(5)},
                 .expires = time_at(row, 6),
                 .revoked = time_at(row, 7)};
}

// Made before SQLite opens it, so that it is never readable to others, not even for a moment.
Status create_private(const std::string& path) {
  i32 fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Error{Code::kIo, path + ": " + std::strerror(errno)};
  ::close(fd);
  return {};
}

}  // namespace

struct KeyStore::State {
  State(Database database, Random& source) : db(std::move(database)), random(&source) {}

  Database db;
  Random* random;
  std::unordered_map<std::string, KeyInfo> by_hash;  // SHA-256 in hex
  i64 data_version = -1;
  bool is_loaded = false;
  Timestamp checked;

  Status load();
  Status refresh(Timestamp now);
  u128 random_id();
};

// All or nothing: a failed read keeps the map as it was.
Status KeyStore::State::load() {
  TG_ASSIGN(Statement rows, db.prepare(kSelectKeys));
  std::unordered_map<std::string, KeyInfo> fresh;
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) break;
    TG_ASSIGN(KeyInfo info, read_key(rows));
    fresh.emplace(rows.text_at(kHashColumn), std::move(info));
  }
  by_hash = std::move(fresh);
  is_loaded = true;
  return {};
}

Status KeyStore::State::refresh(Timestamp now) {
  i64 age_ns = now.ns - checked.ns;
  if (is_loaded && age_ns >= 0 && age_ns < kRefreshNs) return {};
  checked = now;
  // Changes only when another connection wrote; our own writes clear is_loaded.
  TG_ASSIGN(i64 version, db.integer("PRAGMA data_version"));
  if (is_loaded && version == data_version) return {};
  TG_TRY(load());
  data_version = version;
  return {};
}

u128 KeyStore::State::random_id() {
  u128 id = 0;
  while (id == 0) id = static_cast<u128>(random->next_u64()) << 64 | random->next_u64();
  return id;
}

KeyStore::KeyStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeyStore::~KeyStore() = default;

Result<std::unique_ptr<KeyStore>> KeyStore::open(const std::string& directory, Random& random) {
  TG_TRY(ensure_writable_directory(directory));
  std::string path = directory + "/gateway.db";
  TG_TRY(create_private(path));
  TG_ASSIGN(Database db, Database::open(path, kBusyMs));
  TG_TRY(
      db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                 "PRAGMA foreign_keys = ON;"));
  TG_ASSIGN(i64 version, db.integer("PRAGMA user_version"));
  if (version > kSchemaVersion) {
    return Error{Code::kUnsupported, path + ": version " + std::to_string(version) +
                                         ", but this build knows only up to " +
                                         std::to_string(kSchemaVersion)};
  }
  if (version == 0) TG_TRY(db.execute(kSchema));
  std::unique_ptr<State> state = std::make_unique<State>(std::move(db), random);
  TG_TRY(state->load());
  return std::unique_ptr<KeyStore>(new KeyStore(std::move(state)));
}

Result<CreatedKey> KeyStore::create(const NewKey& key, Timestamp now) {
  TG_TRY(check_name("key", key.name));
  TG_ASSIGN(AccountName account, ensure_account(key.account));
  u8 secret[32];
  state_->random->fill(secret);
  std::string plaintext = "tg-" + to_hex(std::span<const u8>(secret));
  KeyInfo info{.id = "key_" + id_hex(state_->random_id()).substr(16),
               .prefix = plaintext.substr(0, kPrefixBytes),
               .name = key.name,
               .account_name = account.name,
               .account = account.id,
               .created = now,
               .expires = key.expires};
  TG_ASSIGN(Statement insert,
            state_->db.prepare("INSERT INTO keys (id, hash, prefix, name, account, created_ns, "
                               "expires_ns) VALUES (?, ?, ?, ?, ?, ?, ?)"));
  insert.text(info.id).text(to_hex(sha256(plaintext))).text(info.prefix).text(info.name);
  insert.text(info.account_name).integer(now.ns);
  if (key.expires) {
    insert.integer(key.expires->ns);
  } else {
    insert.null();
  }
  TG_TRY(insert.step());
  state_->is_loaded = false;
  return CreatedKey{.plaintext = std::move(plaintext), .info = std::move(info)};
}

Result<std::vector<KeyInfo>> KeyStore::list() {
  TG_ASSIGN(Statement rows, state_->db.prepare(kSelectKeys));
  std::vector<KeyInfo> keys;
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return keys;
    TG_ASSIGN(KeyInfo info, read_key(rows));
    keys.push_back(std::move(info));
  }
}

Status KeyStore::revoke(std::string_view id_or_prefix, Timestamp now) {
  TG_ASSIGN(std::vector<KeyInfo> keys, list());
  std::vector<std::string> matches;
  for (const KeyInfo& key : keys) {
    if (key.id == id_or_prefix || key.prefix == id_or_prefix) matches.push_back(key.id);
  }
  if (matches.size() != 1) {
    std::string count = matches.empty() ? "no key" : std::to_string(matches.size()) + " keys";
    return Error{Code::kNotFound, count + " with id or prefix '" + std::string(id_or_prefix) + "'"};
  }
  TG_ASSIGN(Statement update,
            state_->db.prepare("UPDATE keys SET revoked_ns = coalesce(revoked_ns, ?) "
                               "WHERE id = ?"));
  TG_TRY(update.integer(now.ns).text(matches.front()).step());
  state_->is_loaded = false;
  return {};
}

Result<AccountName> KeyStore::ensure_account(const std::string& name) {
  TG_TRY(check_name("account", name));
  TG_ASSIGN(Statement insert, state_->db.prepare("INSERT INTO accounts (name, id) VALUES (?, ?) "
                                                 "ON CONFLICT (name) DO NOTHING"));
  TG_TRY(insert.text(name).text(id_hex(state_->random_id())).step());
  TG_ASSIGN(Statement select, state_->db.prepare("SELECT id FROM accounts WHERE name = ?"));
  TG_ASSIGN(bool has_row, select.text(name).step());
  TG_ASSERT(has_row);
  TG_ASSIGN(u128 id, parse_account_id(select.text_at(0)));
  return AccountName{.name = name, .id = id};
}

Result<std::vector<AccountName>> KeyStore::accounts() {
  TG_ASSIGN(Statement rows, state_->db.prepare("SELECT name, id FROM accounts ORDER BY name"));
  std::vector<AccountName> accounts;
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return accounts;
    TG_ASSIGN(u128 id, parse_account_id(rows.text_at(1)));
    accounts.push_back({.name = rows.text_at(0), .id = id});
  }
}

std::optional<KeyInfo> KeyStore::authenticate(std::string_view key, Timestamp now) {
  // A busy or unreadable file must not lock everyone out: the last good map stays in force.
  [[maybe_unused]] Status refreshed = state_->refresh(now);
  std::unordered_map<std::string, KeyInfo>::const_iterator found =
      state_->by_hash.find(to_hex(sha256(key)));
  if (found == state_->by_hash.end()) return std::nullopt;
  const KeyInfo& info = found->second;
  if (info.revoked || (info.expires && now >= *info.expires)) return std::nullopt;
  return info;
}

}  // namespace tg::gateway
