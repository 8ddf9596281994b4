// The part of the key store that concerns organisations, teams, projects and budgets.
#include <algorithm>

#include "gateway/access/rows.h"

namespace tg::gateway {
namespace {

constexpr const char* kIdPrefixes[] = {"org_", "team_", "proj_"};

// "acme/research/web", "research/web" or "web": a name, and the names above it.
bool is_named(const Unit& unit, std::string_view path, const std::vector<Unit>& all) {
  if (unit.name == path) return true;
  if (path.size() <= unit.name.size() + 1 || !path.ends_with("/" + unit.name)) return false;
  path.remove_suffix(unit.name.size() + 1);
  return std::any_of(all.begin(), all.end(), [&](const Unit& parent) {
    return parent.id == unit.parent && is_named(parent, path, all);
  });
}

Status not_for(Level level, std::string_view field) {
  return Error{Code::kInvalid,
               "a " + std::string(name(level)) + " has no field '" + std::string(field) + "'"};
}

Status check_change(Level level, const SubjectChange& change) {
  if (change.scopes) return not_for(level, "scopes");
  if (change.expires) return not_for(level, "expires");
  if (change.account && level == Level::kTeam) return not_for(level, "account");
  if (change.weight && level == Level::kTeam) return not_for(level, "weight");
  return {};
}

void apply(const SubjectChange& change, Timestamp now, Unit& unit) {
  if (change.name) unit.name = *change.name;
  if (change.account) unit.account = *change.account;
  if (change.limits) unit.policy.limits = *change.limits;
  if (change.models) unit.policy.models = *change.models;
  if (change.service) unit.policy.service = *change.service;
  if (change.weight) unit.policy.weight = *change.weight;
  if (!change.is_suspended) return;
  if (!*change.is_suspended) unit.suspended.reset();
  if (*change.is_suspended && !unit.suspended) unit.suspended = now;
}

}  // namespace

Result<std::vector<Unit>> KeyStore::units(Level level) {
  TG_ASSIGN(std::vector<Unit> all, read_all<Unit>(state_->db, kSelectUnits, read_unit));
  std::erase_if(all, [&](const Unit& unit) { return unit.level != level; });
  return all;
}

Result<Unit> KeyStore::find_unit(Level level, std::string_view id_or_name) {
  TG_ASSIGN(std::vector<Unit> all, read_all<Unit>(state_->db, kSelectUnits, read_unit));
  std::vector<const Unit*> found;
  for (const Unit& unit : all) {
    if (unit.level != level) continue;
    if (unit.id == id_or_name) return unit;
    if (is_named(unit, id_or_name, all)) found.push_back(&unit);
  }
  if (found.size() == 1) return *found.front();
  std::string what(name(level));
  std::string message =
      found.empty() ? "no " + what : std::to_string(found.size()) + " " + what + "s";
  message += " with id or name '" + std::string(id_or_name) + "'";
  if (found.size() > 1) message += "; say which by its id or as parent/name";
  return Error{Code::kNotFound, message};
}

Result<Unit> KeyStore::create_unit(const NewUnit& wanted, Timestamp now) {
  TG_ASSERT(wanted.level != Level::kKey);
  TG_TRY(check_name(name(wanted.level), wanted.name));
  if (wanted.name.find('/') != std::string::npos) {
    return Error{Code::kInvalid, "a name must not contain '/': '" + wanted.name + "'"};
  }
  TG_TRY(check_policy(wanted.policy));
  Unit unit{.level = wanted.level,
            .name = wanted.name,
            .account = wanted.account,
            .policy = wanted.policy,
            .created = now};
  if (wanted.level != Level::kOrganisation) {
    Level above = static_cast<Level>(static_cast<u8>(wanted.level) - 1);
    TG_ASSIGN(Unit parent, find_unit(above, wanted.parent));
    unit.parent = parent.id;
  }
  if (!unit.account.empty()) {
    TG_ASSIGN([[maybe_unused]] AccountName account, ensure_account(unit.account));
  }
  return insert_unit(std::move(unit));
}

Result<Unit> KeyStore::insert_unit(Unit unit) {
  if (unit.id.empty()) {
    unit.id = kIdPrefixes[static_cast<std::size_t>(unit.level)] +
              id_hex(state_->random_number()).substr(16);
  }
  TG_ASSIGN(Statement insert,
            state_->db.prepare("INSERT INTO units (id, level, parent, name, account, weight, "
                               "created_ns, requests_per_minute, tokens_per_minute, "
                               "nst_per_minute, concurrent, models, service) "
                               "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                               "ON CONFLICT DO NOTHING RETURNING id"));
  insert.text(unit.id).integer(static_cast<i64>(unit.level)).text(unit.parent).text(unit.name);
  if (unit.account.empty()) {
    insert.null();
  } else {
    insert.text(unit.account);
  }
  insert.integer(unit.policy.weight).integer(unit.created.ns);
  bind_policy(insert, unit.policy);
  TG_ASSIGN(bool is_new, insert.step());
  if (!is_new) {
    return Error{Code::kExists, "there is a " + std::string(name(unit.level)) + " named '" +
                                    unit.name + "' already"};
  }
  // Only now, at its end, is the statement's write committed.
  TG_TRY(insert.step());
  ++state_->own_changes;
  return unit;
}

Result<Unit> KeyStore::update_unit(Level level, std::string_view id_or_name,
                                   const SubjectChange& change, Timestamp now) {
  TG_TRY(check_change(level, change));
  TG_ASSIGN(Unit unit, find_unit(level, id_or_name));
  apply(change, now, unit);
  TG_TRY(check_name(name(level), unit.name));
  TG_TRY(check_policy(unit.policy));
  if (!unit.account.empty()) {
    TG_ASSIGN([[maybe_unused]] AccountName account, ensure_account(unit.account));
  }
  TG_ASSIGN(Statement update,
            state_->db.prepare("UPDATE OR IGNORE units SET requests_per_minute = ?, "
                               "tokens_per_minute = ?, nst_per_minute = ?, concurrent = ?, "
                               "models = ?, service = ?, weight = ?, suspended_ns = ?, name = ?, "
                               "account = nullif(?, '') WHERE id = ? RETURNING id"));
  bind_policy(update, unit.policy);
  update.integer(unit.policy.weight);
  bind_time(update, unit.suspended);
  TG_ASSIGN(bool is_done, update.text(unit.name).text(unit.account).text(unit.id).step());
  if (!is_done) {
    return Error{Code::kExists,
                 "there is a " + std::string(name(level)) + " named '" + unit.name + "' already"};
  }
  TG_TRY(update.step());
  ++state_->own_changes;
  return unit;
}

// Where a new key belongs. Without a project it is the one of the account that pays.
Result<Unit> KeyStore::project_of(const NewKey& key, Timestamp now) {
  if (!key.project.empty()) return find_unit(Level::kProject, key.project);
  TG_ASSIGN(AccountName account, ensure_account(key.account));
  TG_ASSIGN(std::vector<Unit> projects, units(Level::kProject));
  for (const Unit& project : projects) {
    if (project.parent == kDefaultTeam && project.account == account.name) return project;
  }
  return insert_unit({.level = Level::kProject,
                      .parent = kDefaultTeam,
                      .name = account.name,
                      .account = account.name,
                      .created = now});
}

Result<std::string> KeyStore::inherited_account(const Unit& project) {
  TG_ASSIGN(Unit team, find_unit(Level::kTeam, project.parent));
  TG_ASSIGN(Unit organisation, find_unit(Level::kOrganisation, team.parent));
  if (!organisation.account.empty()) return organisation.account;
  return Error{Code::kInvalid, "neither project '" + project.name + "' nor organisation '" +
                                   organisation.name + "' has an account; name one that pays"};
}

Result<std::vector<Budget>> KeyStore::budgets(std::string_view subject) {
  TG_ASSIGN(Statement rows, state_->db.prepare("SELECT id, period, amount_nst, generation FROM "
                                               "budgets WHERE subject = ? ORDER BY period"));
  rows.text(subject);
  std::vector<Budget> all;
  for (;;) {
    TG_ASSIGN(bool has_row, rows.step());
    if (!has_row) return all;
    i64 period = std::clamp<i64>(rows.integer_at(1), 0, kBudgetPeriods - 1);
    all.push_back({.id = rows.text_at(0),
                   .period = static_cast<BudgetPeriod>(period),
                   .amount_nst = rows.integer_at(2),
                   .generation = rows.integer_at(3)});
  }
}

Result<Budget> KeyStore::set_budget(std::string_view subject, BudgetPeriod period, i64 amount_nst) {
  constexpr i64 kBudgetMax = 1'000'000'000'000'000'000;
  if (amount_nst < 0 || amount_nst > kBudgetMax) {
    return Error{Code::kInvalid,
                 "a budget of " + std::to_string(amount_nst) + " nano-ST is out of range"};
  }
  TG_TRY(check_subject(subject));
  Database& db = state_->db;
  if (period != BudgetPeriod::kTotal) {
    TG_ASSIGN(Statement others, db.prepare("DELETE FROM budgets WHERE subject = ? AND period != 0 "
                                           "AND period != ?"));
    TG_TRY(others.text(subject).integer(static_cast<i64>(period)).step());
  }
  TG_ASSIGN(Statement write,
            db.prepare("INSERT INTO budgets (id, subject, period, amount_nst) VALUES (?, ?, ?, ?) "
                       "ON CONFLICT (subject, period) DO UPDATE SET amount_nst = "
                       "excluded.amount_nst, generation = generation + "
                       "(excluded.amount_nst < amount_nst)"));
  write.text("bud_" + id_hex(state_->random_number()).substr(16)).text(subject);
  TG_TRY(write.integer(static_cast<i64>(period)).integer(amount_nst).step());
  ++state_->own_changes;
  TG_ASSIGN(std::vector<Budget> all, budgets(subject));
  for (Budget& budget : all) {
    if (budget.period == period) return std::move(budget);
  }
  return Error{Code::kIo, "the budget was changed by someone else meanwhile"};
}

Status KeyStore::remove_budget(std::string_view subject, BudgetPeriod period) {
  TG_ASSIGN(Statement remove, state_->db.prepare("DELETE FROM budgets WHERE subject = ? AND "
                                                 "period = ? RETURNING id"));
  TG_ASSIGN(bool was_there, remove.text(subject).integer(static_cast<i64>(period)).step());
  if (!was_there) {
    return Error{Code::kNotFound,
                 std::string(subject) + " has no budget of period " + std::string(name(period))};
  }
  TG_TRY(remove.step());
  ++state_->own_changes;
  return {};
}

Status KeyStore::check_subject(std::string_view id) {
  TG_ASSIGN(Statement look, state_->db.prepare("SELECT id FROM units WHERE id = ? UNION ALL "
                                               "SELECT id FROM keys WHERE id = ?"));
  TG_ASSIGN(bool is_there, look.text(id).text(id).step());
  if (is_there) return {};
  return Error{Code::kNotFound, "nothing has the id '" + std::string(id) + "'"};
}

}  // namespace tg::gateway
