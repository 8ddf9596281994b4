// gateway.db → Directory: four small tables, read in one transaction so that they fit together.
#include <algorithm>

#include "base/bytes.h"
#include "gateway/access/rows.h"

namespace tg::gateway {
namespace {

using BudgetMap = std::unordered_map<std::string, std::vector<Budget>>;
using SubjectMap = std::unordered_map<std::string, std::shared_ptr<const Subject>>;

Result<BudgetMap> read_budgets(Database& db) {
  TG_ASSIGN(Statement rows, db.prepare("SELECT subject, id, period, amount_nst, generation FROM "
                                       "budgets ORDER BY subject, period"));
  BudgetMap budgets;
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return budgets;
    std::vector<Budget>& of = budgets[rows.text_at(0)];
    if (of.size() == kBudgetsPerSubjectMax) continue;
    i64 period = std::clamp<i64>(rows.integer_at(2), 0, kBudgetPeriods - 1);
    of.push_back({.id = rows.text_at(1),
                  .period = static_cast<BudgetPeriod>(period),
                  .amount_nst = rows.integer_at(3),
                  .generation = rows.integer_at(4)});
  }
}

std::vector<Budget> budgets_of(const BudgetMap& budgets, const std::string& id) {
  auto found = budgets.find(id);
  return found == budgets.end() ? std::vector<Budget>() : found->second;
}

struct Tree {
  std::unordered_map<std::string, Unit> units;
  SubjectMap subjects;
};

Result<Tree> read_tree(Database& db, const BudgetMap& budgets) {
  TG_ASSIGN(std::vector<Unit> units, read_all<Unit>(db, kSelectUnits, read_unit));
  Tree tree;
  for (Unit& unit : units) {
    Subject subject{.level = unit.level,
                    .id = unit.id,
                    .name = unit.name,
                    .policy = unit.policy,
                    .budgets = budgets_of(budgets, unit.id),
                    .is_suspended = unit.suspended.has_value()};
    TG_ASSIGN(subject.number, number_of_id(unit.id));
    tree.subjects.emplace(unit.id, std::make_shared<const Subject>(std::move(subject)));
    std::string id = unit.id;
    tree.units.emplace(std::move(id), std::move(unit));
  }
  return tree;
}

Result<std::shared_ptr<const Standing>> standing_of(const KeyRecord& key, const Tree& tree,
                                                    const BudgetMap& budgets) {
  Standing standing;
  standing.scopes = key.scopes;
  Subject own{.level = Level::kKey,
              .id = key.id,
              .name = key.name,
              .policy = key.policy,
              .budgets = budgets_of(budgets, key.id)};
  TG_ASSIGN(own.number, number_of_id(key.id));
  standing.levels[static_cast<std::size_t>(Level::kKey)] =
      std::make_shared<const Subject>(std::move(own));
  std::string above = key.project;
  for (std::size_t level = static_cast<std::size_t>(Level::kKey); level-- > 0;) {
    auto unit = tree.units.find(above);
    if (unit == tree.units.end() || static_cast<std::size_t>(unit->second.level) != level) {
      return Error{Code::kCorrupt, "gateway.db: key " + key.id + " has no " +
                                       std::string(name(static_cast<Level>(level)))};
    }
    standing.levels[level] = tree.subjects.at(above);
    above = unit->second.parent;
  }
  standing.service = fleet::ServiceClass::kInteractive;
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    standing.service = std::max(standing.service, subject->policy.service);
  }
  return std::make_shared<const Standing>(std::move(standing));
}

Result<Digest> parse_digest(const std::string& hex) {
  TG_ASSIGN(std::vector<u8> bytes, from_hex(hex));
  Digest digest;
  if (bytes.size() != digest.size()) return Error{Code::kCorrupt, "gateway.db: hash " + hex};
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

std::optional<Timestamp> earlier(std::optional<Timestamp> a, Timestamp b) {
  return a && *a < b ? a : b;
}

// Secrets that a rotation replaced: the same key, for a while.
Status add_former(Database& db, const std::unordered_map<std::string, Directory::Entry>& by_id,
                  Directory& directory) {
  TG_ASSIGN(Statement rows, db.prepare("SELECT hash, key, expires_ns FROM former_secrets"));
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return {};
    auto found = by_id.find(rows.text_at(1));
    if (found == by_id.end()) continue;
    Directory::Entry entry = found->second;
    entry.expires = earlier(entry.expires, Timestamp{rows.integer_at(2)});
    TG_ASSIGN(Digest hash, parse_digest(rows.text_at(0)));
    directory.add(hash, std::move(entry));
  }
}

Result<std::shared_ptr<const Directory>> read_directory(Database& db) {
  TG_ASSIGN(BudgetMap budgets, read_budgets(db));
  TG_ASSIGN(Tree tree, read_tree(db, budgets));
  std::shared_ptr<Directory> directory = std::make_shared<Directory>();
  std::unordered_map<std::string, Directory::Entry> by_id;
  TG_ASSIGN(Statement rows, db.prepare(kSelectKeys));
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) break;
    TG_ASSIGN(KeyRecord key, read_key(rows));
    if (key.revoked) continue;
    Directory::Entry entry{.key = {.id = key.id, .account = key.account}, .expires = key.expires};
    TG_ASSIGN(entry.key.standing, standing_of(key, tree, budgets));
    TG_ASSIGN(Digest hash, parse_digest(rows.text_at(kHashColumn)));
    by_id.emplace(key.id, entry);
    directory->add(hash, std::move(entry));
  }
  TG_TRY(add_former(db, by_id, *directory));
  return std::shared_ptr<const Directory>(std::move(directory));
}

}  // namespace

Result<std::shared_ptr<const Directory>> KeyStore::load_directory() {
  TG_TRY(state_->db.execute("BEGIN"));
  Result<std::shared_ptr<const Directory>> directory = read_directory(state_->db);
  TG_TRY(state_->db.execute("COMMIT"));
  return directory;
}

}  // namespace tg::gateway
