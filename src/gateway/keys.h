// gateway.db: organisations, teams, projects and their keys, who pays, and what each level limits.
// One SQLite file that a server reads and a command line may change meanwhile. Only a key's SHA-256
// is stored; the key is shown once. The command line, the admin API and tests call these functions.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "env/random.h"
#include "gateway/access/directory.h"
#include "gateway/access/identity.h"

namespace tg::gateway {

struct AccountName {
  std::string name;
  u128 id = 0;
};

// An organisation, a team or a project.
struct Unit {
  std::string id;  // "org_", "team_" or "proj_" + 16 hex digits
  Level level = Level::kOrganisation;
  std::string parent;  // Id; "" for organisations.
  std::string name;    // Unique among its siblings.
  // Name of the account that pays for its keys unless a lower level says otherwise; "" if none.
  std::string account;
  Policy policy;
  Timestamp created;
  std::optional<Timestamp> suspended;
};

struct NewUnit {
  Level level = Level::kOrganisation;
  std::string parent;  // Id or name, as find_unit() takes it; "" for organisations.
  std::string name;
  std::string account;  // Made if it does not exist; "" for none of its own.
  Policy policy = {};
};

struct KeyRecord {
  std::string id;      // "key_" + 16 hex digits
  std::string prefix;  // The key's first characters, for people to tell keys apart.
  std::string name;
  std::string account_name;
  u128 account = 0;     // Ledger account.
  std::string project;  // Id.
  ScopeSet scopes;
  Policy policy;
  Timestamp created;
  std::optional<Timestamp> expires;
  std::optional<Timestamp> revoked;
};

struct NewKey {
  std::string name;
  // Who pays; made if it does not exist. "": the project's, or its organisation's.
  std::string account;
  // Id or name; "": the project of the account's name in the default team, made if need be.
  std::string project = {};
  std::optional<Timestamp> expires = {};
  ScopeSet scopes = ScopeSet::standard();
  Policy policy = {.service = fleet::ServiceClass::kStandard};
};

struct CreatedKey {
  std::string plaintext;  // "tg-" + 64 hex digits: 256 random bits. Never stored.
  KeyRecord info;
};

// Fields that are not set stay as they are.
struct SubjectChange {
  std::optional<std::string> name = {};
  std::optional<RateLimits> limits = {};
  std::optional<ModelPatterns> models = {};
  std::optional<fleet::ServiceClass> service = {};
  std::optional<i64> weight = {};                        // Units.
  std::optional<std::string> account = {};               // Organisations and projects; made.
  std::optional<bool> is_suspended = {};                 // Units.
  std::optional<ScopeSet> scopes = {};                   // Keys.
  std::optional<std::optional<Timestamp>> expires = {};  // Keys.
};

// One thread per object; several objects and processes may share the file.
class KeyStore {
 public:
  static constexpr i64 kNameBytesMax = 128;
  static constexpr std::size_t kPatternsMax = 64;
  static constexpr i64 kGraceNsMax = 366LL * 86'400 * 1'000'000'000;

  // Opens or creates gateway.db in `directory` (mode 0600) and brings it to the newest version.
  // kCorrupt or kUnsupported names the file and its version.
  static Result<std::unique_ptr<KeyStore>> open(const std::string& directory, Random& random);
  ~KeyStore();
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  // kInvalid for names that are empty, too long or hold control characters.
  Result<CreatedKey> create(const NewKey& key, Timestamp now);
  // All keys, oldest first.
  Result<std::vector<KeyRecord>> list();
  // By id ("key_...") or by prefix if that names exactly one. kNotFound otherwise.
  Result<KeyRecord> find(std::string_view id_or_prefix);
  Result<KeyRecord> update(std::string_view id_or_prefix, const SubjectChange& change);
  // Revoking again keeps the first time.
  Status revoke(std::string_view id_or_prefix, Timestamp now);
  // A new secret for the same key; the old one is valid for `grace_ns` more. kInvalid if the key is
  // revoked.
  Result<CreatedKey> rotate(std::string_view id_or_prefix, i64 grace_ns, Timestamp now);

  // kExists if a sibling has that name.
  Result<Unit> create_unit(const NewUnit& unit, Timestamp now);
  // Oldest first.
  Result<std::vector<Unit>> units(Level level);
  // By id, or by name if exactly one of that level has it.
  Result<Unit> find_unit(Level level, std::string_view id_or_name);
  Result<Unit> update_unit(Level level, std::string_view id_or_name, const SubjectChange& change,
                           Timestamp now);

  // Of a key or unit, by id. At most one total and one periodic budget each: a second periodic one
  // replaces the first.
  Result<std::vector<Budget>> budgets(std::string_view subject);
  Result<Budget> set_budget(std::string_view subject, BudgetPeriod period, i64 amount_nst);
  // kNotFound if there is none.
  Status remove_budget(std::string_view subject, BudgetPeriod period);

  // The account of that name, made with a random id if there is none.
  Result<AccountName> ensure_account(const std::string& name);
  Result<std::vector<AccountName>> accounts();

  Result<std::shared_ptr<const Directory>> load_directory();
  // True if anybody has changed the file since this was last asked; true at first.
  Result<bool> take_changes();

 private:
  struct State;
  explicit KeyStore(std::unique_ptr<State> state);
  Result<Unit> project_of(const NewKey& key, Timestamp now);
  Result<std::string> inherited_account(const Unit& project);
  Result<Unit> insert_unit(Unit unit);
  Status check_subject(std::string_view id);
  Status replace_secret(const std::string& id, const std::string& plaintext, Timestamp until,
                        Timestamp now);
  std::unique_ptr<State> state_;
};

}  // namespace tg::gateway
