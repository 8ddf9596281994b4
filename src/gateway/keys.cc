#include "gateway/keys.h"

#include <algorithm>

#include "base/bytes.h"
#include "env/disk.h"
#include "gateway/access/rows.h"

namespace tg::gateway {
namespace {

constexpr i32 kBusyMs = 2'000;
constexpr std::size_t kPrefixBytes = 11;  // "tg-" and 8 digits: 32 of 256 bits.

std::string new_secret(Random& random) {
  u8 secret[32];
  random.fill(secret);
  return "tg-" + to_hex(std::span<const u8>(secret));
}

}  // namespace

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
  TG_TRY(migrate(db, path));
  return std::unique_ptr<KeyStore>(new KeyStore(std::make_unique<State>(std::move(db), random)));
}

Result<CreatedKey> KeyStore::create(const NewKey& key, Timestamp now) {
  TG_TRY(check_name("key", key.name));
  TG_TRY(check_policy(key.policy));
  TG_ASSIGN(Unit project, project_of(key, now));
  std::string payer = key.account.empty() ? project.account : key.account;
  if (payer.empty()) {
    TG_ASSIGN(payer, inherited_account(project));
  }
  TG_ASSIGN(AccountName account, ensure_account(payer));
  std::string plaintext = new_secret(*state_->random);
  KeyRecord info{.id = "key_" + id_hex(state_->random_number()).substr(16),
                 .prefix = plaintext.substr(0, kPrefixBytes),
                 .name = key.name,
                 .account_name = account.name,
                 .account = account.id,
                 .project = project.id,
                 .scopes = key.scopes,
                 .policy = key.policy,
                 .created = now,
                 .expires = key.expires};
  TG_ASSIGN(
      Statement insert,
      state_->db.prepare("INSERT INTO keys (id, hash, prefix, name, account, project, scopes, "
                         "created_ns, expires_ns, requests_per_minute, tokens_per_minute, "
                         "nst_per_minute, concurrent, models, service) "
                         "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.text(info.id).text(to_hex(sha256(plaintext))).text(info.prefix).text(info.name);
  insert.text(info.account_name).text(info.project).integer(info.scopes.bits).integer(now.ns);
  bind_time(insert, info.expires);
  bind_policy(insert, info.policy);
  TG_TRY(insert.step());
  ++state_->own_changes;
  return CreatedKey{.plaintext = std::move(plaintext), .info = std::move(info)};
}

Result<std::vector<KeyRecord>> KeyStore::list() {
  return read_all<KeyRecord>(state_->db, kSelectKeys, read_key);
}

Result<KeyRecord> KeyStore::find(std::string_view id_or_prefix) {
  TG_ASSIGN(std::vector<KeyRecord> keys, list());
  std::erase_if(keys, [&](const KeyRecord& key) {
    return key.id != id_or_prefix && key.prefix != id_or_prefix;
  });
  if (keys.size() == 1) return std::move(keys.front());
  std::string count = keys.empty() ? "no key" : std::to_string(keys.size()) + " keys";
  return Error{Code::kNotFound, count + " with id or prefix '" + std::string(id_or_prefix) + "'"};
}

Result<KeyRecord> KeyStore::update(std::string_view id_or_prefix, const SubjectChange& change) {
  TG_ASSIGN(KeyRecord key, find(id_or_prefix));
  if (change.name) key.name = *change.name;
  if (change.limits) key.policy.limits = *change.limits;
  if (change.models) key.policy.models = *change.models;
  if (change.service) key.policy.service = *change.service;
  if (change.scopes) key.scopes = *change.scopes;
  if (change.expires) key.expires = *change.expires;
  TG_TRY(check_name("key", key.name));
  TG_TRY(check_policy(key.policy));
  TG_ASSIGN(Statement update,
            state_->db.prepare("UPDATE keys SET requests_per_minute = ?, tokens_per_minute = ?, "
                               "nst_per_minute = ?, concurrent = ?, models = ?, service = ?, "
                               "name = ?, scopes = ?, expires_ns = ? WHERE id = ?"));
  bind_policy(update, key.policy);
  update.text(key.name).integer(key.scopes.bits);
  bind_time(update, key.expires);
  TG_TRY(update.text(key.id).step());
  ++state_->own_changes;
  return key;
}

Status KeyStore::revoke(std::string_view id_or_prefix, Timestamp now) {
  TG_ASSIGN(KeyRecord key, find(id_or_prefix));
  TG_ASSIGN(Statement update,
            state_->db.prepare("UPDATE keys SET revoked_ns = coalesce(revoked_ns, ?) "
                               "WHERE id = ?"));
  TG_TRY(update.integer(now.ns).text(key.id).step());
  ++state_->own_changes;
  return {};
}

Result<CreatedKey> KeyStore::rotate(std::string_view id_or_prefix, i64 grace_ns, Timestamp now) {
  if (grace_ns < 0 || grace_ns > kGraceNsMax) {
    return Error{Code::kInvalid, "the grace time must be within a year"};
  }
  TG_ASSIGN(KeyRecord key, find(id_or_prefix));
  if (key.revoked) return Error{Code::kInvalid, "key " + key.id + " is revoked"};
  std::string plaintext = new_secret(*state_->random);
  TG_TRY(state_->db.execute("BEGIN IMMEDIATE"));
  Status done = replace_secret(key.id, plaintext, Timestamp{now.ns + grace_ns}, now);
  Status ended = state_->db.execute(done.ok() ? "COMMIT" : "ROLLBACK");
  if (!done.ok()) return std::move(done).error();
  TG_TRY(ended);
  ++state_->own_changes;
  key.prefix = plaintext.substr(0, kPrefixBytes);
  return CreatedKey{.plaintext = std::move(plaintext), .info = std::move(key)};
}

// Secrets of earlier rotations end with the latest grace time; nothing lengthens theirs.
Status KeyStore::replace_secret(const std::string& id, const std::string& plaintext,
                                Timestamp until, Timestamp now) {
  Database& db = state_->db;
  TG_ASSIGN(Statement forget, db.prepare("DELETE FROM former_secrets WHERE expires_ns <= ?"));
  TG_TRY(forget.integer(now.ns).step());
  TG_ASSIGN(Statement shorten, db.prepare("UPDATE former_secrets SET expires_ns = "
                                          "min(expires_ns, ?) WHERE key = ?"));
  TG_TRY(shorten.integer(until.ns).text(id).step());
  TG_ASSIGN(Statement keep, db.prepare("INSERT INTO former_secrets SELECT hash, id, prefix, ? "
                                       "FROM keys WHERE id = ?"));
  TG_TRY(keep.integer(until.ns).text(id).step());
  TG_ASSIGN(Statement update, db.prepare("UPDATE keys SET hash = ?, prefix = ? WHERE id = ?"));
  update.text(to_hex(sha256(plaintext))).text(plaintext.substr(0, kPrefixBytes)).text(id);
  TG_TRY(update.step());
  return {};
}

Result<AccountName> KeyStore::ensure_account(const std::string& name) {
  TG_TRY(check_name("account", name));
  TG_ASSIGN(Statement insert, state_->db.prepare("INSERT INTO accounts (name, id) VALUES (?, ?) "
                                                 "ON CONFLICT (name) DO NOTHING"));
  u128 fresh = static_cast<u128>(state_->random_number()) << 64 | state_->random_number();
  TG_TRY(insert.text(name).text(id_hex(fresh)).step());
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

Result<bool> KeyStore::take_changes() {
  TG_ASSIGN(i64 version, state_->db.integer("PRAGMA data_version"));
  bool is_changed = version != state_->seen_version || state_->own_changes != state_->own_seen;
  state_->seen_version = version;
  state_->own_seen = state_->own_changes;
  return is_changed;
}

}  // namespace tg::gateway
