#include "gateway/access/schema.h"

namespace tg::gateway {
namespace {

constexpr const char* kVersion1 = R"(
CREATE TABLE accounts (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE keys (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE,
  prefix TEXT NOT NULL, name TEXT NOT NULL, account TEXT NOT NULL REFERENCES accounts(name),
  created_ns INTEGER NOT NULL, expires_ns INTEGER, revoked_ns INTEGER);
PRAGMA user_version = 1;
)";

// Every account of version 1 becomes a project of the default team, so that its keys share
// limits and capacity as one tenant.
constexpr const char* kVersion2 = R"(
CREATE TABLE units (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, level INTEGER NOT NULL,
  parent TEXT NOT NULL, name TEXT NOT NULL, account TEXT REFERENCES accounts(name),
  requests_per_minute INTEGER NOT NULL DEFAULT 0, tokens_per_minute INTEGER NOT NULL DEFAULT 0,
  nst_per_minute INTEGER NOT NULL DEFAULT 0, concurrent INTEGER NOT NULL DEFAULT 0,
  models TEXT NOT NULL DEFAULT '', service INTEGER NOT NULL DEFAULT 0,
  weight INTEGER NOT NULL DEFAULT 1, created_ns INTEGER NOT NULL, suspended_ns INTEGER,
  UNIQUE (parent, level, name));
CREATE TABLE budgets (
  id TEXT PRIMARY KEY, subject TEXT NOT NULL, period INTEGER NOT NULL,
  amount_nst INTEGER NOT NULL, generation INTEGER NOT NULL DEFAULT 0,
  UNIQUE (subject, period)) WITHOUT ROWID;
CREATE TABLE former_secrets (
  hash TEXT PRIMARY KEY, key TEXT NOT NULL REFERENCES keys(id), prefix TEXT NOT NULL,
  expires_ns INTEGER NOT NULL) WITHOUT ROWID;
ALTER TABLE keys ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN scopes INTEGER NOT NULL DEFAULT 3;
ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN tokens_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN nst_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN concurrent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN models TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN service INTEGER NOT NULL DEFAULT 1;
INSERT INTO units (id, level, parent, name, created_ns)
  VALUES ('org_0000000000000001', 0, '', 'default', 0);
INSERT INTO units (id, level, parent, name, created_ns)
  VALUES ('team_0000000000000002', 1, 'org_0000000000000001', 'default', 0);
INSERT INTO units (id, level, parent, name, account, created_ns)
  SELECT 'proj_' || substr(id, 17), 2, 'team_0000000000000002', name, name, 0 FROM accounts
  ORDER BY name;
UPDATE keys SET project =
  (SELECT 'proj_' || substr(a.id, 17) FROM accounts a WHERE a.name = keys.account);
PRAGMA user_version = 2;
)";

constexpr const char* kSteps[] = {kVersion1, kVersion2};

Status apply(Database& db, const std::string& path) {
  TG_ASSIGN(i64 version, db.integer("PRAGMA user_version"));
  if (version < 0 || version > kSchemaVersion) {
    return Error{Code::kUnsupported, path + ": version " + std::to_string(version) +
                                         ", but this build knows only up to " +
                                         std::to_string(kSchemaVersion)};
  }
  for (; version < kSchemaVersion; ++version) TG_TRY(db.execute(kSteps[version]));
  return {};
}

}  // namespace

Status migrate(Database& db, const std::string& path) {
  TG_ASSIGN(i64 version, db.integer("PRAGMA user_version"));
  if (version == kSchemaVersion) return {};
  // Read again inside: another process may be doing the same.
  TG_TRY(db.execute("BEGIN IMMEDIATE"));
  Status applied = apply(db, path);
  if (applied.ok()) return db.execute("COMMIT");
  [[maybe_unused]] Status undone = db.execute("ROLLBACK");
  return applied;
}

}  // namespace tg::gateway
