// Rows of gateway.db as values and back, and what a value must be before it is written. Only the
// files of the key store include this.
#pragma once

#include "gateway/access/schema.h"
#include "gateway/keys.h"
#include "gateway/sqlite.h"

namespace tg::gateway {

struct KeyStore::State {
  State(Database database, Random& source) : db(std::move(database)), random(&source) {}

  Database db;
  Random* random;
  i64 seen_version = -1;  // PRAGMA data_version when the directory was last read.
  i64 own_changes = 0;    // data_version counts only those of other connections.
  i64 own_seen = -1;

  u64 random_number();
};

std::string id_hex(u128 id);
Result<u128> parse_account_id(const std::string& hex);
// The number in an id like "key_0123456789abcdef".
Result<u64> number_of_id(std::string_view id);

Status check_name(std::string_view what, const std::string& name);
Status check_policy(const Policy& policy);

// The six columns of a policy without its weight, in this order; bound and read together.
inline constexpr const char* kPolicyColumns =
    "requests_per_minute, tokens_per_minute, nst_per_minute, concurrent, models, service";
void bind_policy(Statement& statement, const Policy& policy);
Policy policy_at(const Statement& row, i32 column);
std::optional<Timestamp> time_at(const Statement& row, i32 column);
void bind_time(Statement& statement, std::optional<Timestamp> time);

Result<KeyRecord> read_key(const Statement& row);
Result<Unit> read_unit(const Statement& row);
inline constexpr const char* kSelectKeys =
    "SELECT k.id, k.prefix, k.name, a.name, a.id, k.project, k.scopes, k.created_ns, k.expires_ns, "
    "k.revoked_ns, k.requests_per_minute, k.tokens_per_minute, k.nst_per_minute, k.concurrent, "
    "k.models, k.service, k.hash FROM keys k JOIN accounts a ON a.name = k.account "
    "ORDER BY k.sequence";
inline constexpr i32 kHashColumn = 16;
inline constexpr const char* kSelectUnits =
    "SELECT id, level, parent, name, account, weight, created_ns, suspended_ns, "
    "requests_per_minute, tokens_per_minute, nst_per_minute, concurrent, models, service "
    "FROM units ORDER BY sequence";

// All rows of a select as values.
template <typename T>
Result<std::vector<T>> read_all(Database& db, const char* select,
                                Result<T> (*read)(const Statement& row)) {
  TG_ASSIGN(Statement rows, db.prepare(select));
  std::vector<T> all;
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return all;
    TG_ASSIGN(T one, read(rows));
    all.push_back(std::move(one));
  }
}

}  // namespace tg::gateway
