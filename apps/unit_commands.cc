// `tokengrid org|team|project …`: the tree above the keys, through the admin API.
#include <fmt/format.h>

#include <memory>

#include "apps/admin_call.h"
#include "apps/commands.h"
#include "apps/subject_options.h"

namespace tg::apps {

namespace {

using nlohmann::json;

struct UnitKind {
  const char* command;
  const char* path;
  const char* parent;  // The body's field and the option; null for organisations.
  const char* help;
  bool has_account;
};
constexpr UnitKind kOrganisation = {"org", "/organisations", nullptr,
                                    "Organisations: who pays, limits, budgets", true};
constexpr UnitKind kTeam = {"team", "/teams", "organisation", "Teams of an organisation", false};
constexpr UnitKind kProject = {"project", "/projects", "team", "Projects of a team", true};

struct UnitOptions {
  SubjectOptions subject;
  const UnitKind* kind = nullptr;
  std::string parent;
  std::string account;
};

void print_unit(const json& unit) {
  std::string account = unit["account"].is_null() ? "" : unit["account"].get<std::string>();
  fmt::print("{}  {:<20} {:<16} weight {}  {}  {}\n", unit["id"].get<std::string>(),
             unit["name"].get<std::string>(), account, unit["weight"].get<i64>(), policy_text(unit),
             unit["suspended"].is_null() ? "" : "suspended");
}

Status show_answer(const UnitOptions& o, const Result<json>& answer) {
  if (!answer.ok()) return answer.error();
  if (o.subject.json) {
    fmt::print("{}\n", answer->dump());
  } else {
    print_unit(*answer);
  }
  return {};
}

std::string unit_path(const UnitOptions& o) {
  return std::string(o.kind->path) + "/" + path_segment(o.subject.name);
}

Status create(const UnitOptions& o) {
  json body = json::object({{"name", o.subject.name}});
  if (o.kind->parent != nullptr) body[o.kind->parent] = o.parent;
  if (!o.account.empty()) body["account"] = o.account;
  put_policy(o.subject, body);
  return show_answer(o, call_admin({.data = o.subject.data,
                                    .method = "POST",
                                    .path = o.kind->path,
                                    .body = std::move(body)}));
}

Status list(const UnitOptions& o) {
  std::string after;
  json all = json::array();
  for (;;) {
    std::string path = std::string(o.kind->path) + "?limit=1000";
    if (!after.empty()) path += "&after=" + after;
    if (!o.parent.empty()) path += fmt::format("&{}={}", o.kind->parent, path_segment(o.parent));
    TG_ASSIGN(json page, call_admin({.data = o.subject.data, .method = "GET", .path = path}));
    for (json& unit : page["data"]) all.push_back(std::move(unit));
    if (!page["has_more"].get<bool>()) break;
    after = all.back()["id"].get<std::string>();
  }
  if (o.subject.json) {
    fmt::print("{}\n", json::object({{"data", all}}).dump());
    return {};
  }
  for (const json& unit : all) print_unit(unit);
  return {};
}

Status show(const UnitOptions& o) {
  return show_answer(o,
                     call_admin({.data = o.subject.data, .method = "GET", .path = unit_path(o)}));
}

Status change(const UnitOptions& o, json body) {
  return show_answer(o, call_admin({.data = o.subject.data,
                                    .method = "PATCH",
                                    .path = unit_path(o),
                                    .body = std::move(body)}));
}

Status update(const UnitOptions& o) {
  json body = json::object();
  if (!o.account.empty()) body["account"] = o.account;
  put_policy(o.subject, body);
  return change(o, std::move(body));
}

Status suspend(const UnitOptions& o) {
  return change(o, {{"suspended", true}});
}

Status resume(const UnitOptions& o) {
  return change(o, {{"suspended", false}});
}

void add_group(CLI::App& root, const UnitKind& kind, int& exit_status) {
  CLI::App* group = root.add_subcommand(kind.command, kind.help);
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const UnitOptions&)) {
    std::shared_ptr<UnitOptions> o = std::make_shared<UnitOptions>();
    o->kind = &kind;
    CLI::App* command = group->add_subcommand(name, help);
    add_common(*command, o->subject);
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  std::string parent_option = kind.parent == nullptr ? "" : std::string("--") + kind.parent;
  auto with_name = [&](const char* name, const char* help, Status (*action)(const UnitOptions&)) {
    auto added = add(name, help, action);
    added.first->add_option("name", added.second->subject.name, "name, or id of one that exists")
        ->required();
    return added;
  };
  auto with_fields = [&](const char* name, const char* help, Status (*action)(const UnitOptions&)) {
    auto added = with_name(name, help, action);
    add_policy(*added.first, added.second->subject, kind.has_account);
    if (kind.has_account) {
      added.first->add_option("--account", added.second->account, "account that pays");
    }
    return added;
  };
  auto made = with_fields("create", "make one", create);
  auto listed = add("list", "all of them", list);
  if (kind.parent != nullptr) {
    made.first->add_option(parent_option, made.second->parent, "id or name")->required();
    listed.first->add_option(parent_option, listed.second->parent, "only those of this one");
  }
  with_name("show", "one of them", show);
  with_fields("update", "change what is named", update);
  with_name("suspend", "refuse all requests below it", suspend);
  with_name("resume", "end a suspension", resume);
  add_budgets(*group, kind.path, exit_status);
}

}  // namespace

void add_units(CLI::App& root, int& exit_status) {
  add_group(root, kOrganisation, exit_status);
  add_group(root, kTeam, exit_status);
  add_group(root, kProject, exit_status);
}

}  // namespace tg::apps
