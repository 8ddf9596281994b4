// `tokengrid key …`: API keys, through the admin API. Works beside a running server, which notices
// within a second.
#include <fmt/format.h>

#include <memory>

#include "apps/admin_call.h"
#include "apps/commands.h"
#include "apps/subject_options.h"

namespace tg::apps {

namespace {

using nlohmann::json;

struct KeyOptions {
  SubjectOptions subject;
  std::string account;
  std::string project;
  std::vector<std::string> scopes;
  std::string expires;
  i64 grace_seconds = 86'400;
};

std::string key_path(const KeyOptions& o) {
  return "/keys/" + path_segment(o.subject.name);
}

void put_fields(const KeyOptions& o, json& body) {
  put_policy(o.subject, body);
  if (!o.scopes.empty()) body["scopes"] = o.scopes;
  if (!o.expires.empty()) body["expires"] = o.expires == "never" ? json(nullptr) : json(o.expires);
}

void print_secret(const KeyOptions& o, const json& key) {
  if (o.subject.json) {
    fmt::print("{}\n", key.dump());
    return;
  }
  fmt::print("{}\n", key["key"].get<std::string>());
  fmt::print(stderr, "key {} for account {}; it is shown this once\n", key["id"].get<std::string>(),
             key["account"].get<std::string>());
}

Status create(const KeyOptions& o) {
  json body = json::object({{"name", o.subject.name}});
  if (!o.project.empty()) body["project"] = o.project;
  if (!o.account.empty()) body["account"] = o.account;
  if (o.project.empty() && o.account.empty()) body["account"] = "demo";
  put_fields(o, body);
  TG_ASSIGN(
      json key,
      call_admin(
          {.data = o.subject.data, .method = "POST", .path = "/keys", .body = std::move(body)}));
  print_secret(o, key);
  return {};
}

Status rotate(const KeyOptions& o) {
  json body = json::object({{"grace_seconds", o.grace_seconds}});
  TG_ASSIGN(json key, call_admin({.data = o.subject.data,
                                  .method = "POST",
                                  .path = key_path(o) + "/rotate",
                                  .body = std::move(body)}));
  print_secret(o, key);
  return {};
}

void print_key(const json& key) {
  std::string state = key["revoked"].is_null() ? "" : "revoked";
  if (state.empty() && !key["expires"].is_null()) {
    state = "until " + key["expires"].get<std::string>();
  }
  fmt::print("{}  {}…  {:<16} {:<16} {}  {}  {}\n", key["id"].get<std::string>(),
             key["prefix"].get<std::string>(), key["name"].get<std::string>(),
             key["account"].get<std::string>(), key["created"].get<std::string>(), policy_text(key),
             state);
}

Status list(const KeyOptions& o) {
  json all = json::array();
  std::string after;
  for (;;) {
    std::string path = "/keys?limit=1000" + (after.empty() ? "" : "&after=" + after);
    if (!o.project.empty()) path += "&project=" + path_segment(o.project);
    TG_ASSIGN(json page, call_admin({.data = o.subject.data, .method = "GET", .path = path}));
    for (json& key : page["data"]) all.push_back(std::move(key));
    if (!page["has_more"].get<bool>()) break;
    after = all.back()["id"].get<std::string>();
  }
  if (o.subject.json) {
    fmt::print("{}\n", json::object({{"keys", all}}).dump());
    return {};
  }
  for (const json& key : all) print_key(key);
  return {};
}

Status show_answer(const KeyOptions& o, const Result<json>& answer) {
  if (!answer.ok()) return answer.error();
  if (o.subject.json) {
    fmt::print("{}\n", answer->dump());
  } else {
    print_key(*answer);
  }
  return {};
}

Status show(const KeyOptions& o) {
  return show_answer(o, call_admin({.data = o.subject.data, .method = "GET", .path = key_path(o)}));
}

Status update(const KeyOptions& o) {
  json body = json::object();
  put_fields(o, body);
  return show_answer(o, call_admin({.data = o.subject.data,
                                    .method = "PATCH",
                                    .path = key_path(o),
                                    .body = std::move(body)}));
}

Status revoke(const KeyOptions& o) {
  TG_ASSIGN(json key,
            call_admin({.data = o.subject.data, .method = "DELETE", .path = key_path(o)}));
  if (o.subject.json) fmt::print("{}\n", key.dump());
  return {};
}

void add_fields(CLI::App& command, KeyOptions& o) {
  add_policy(command, o.subject, false);
  command.add_option("--scope", o.scopes, "inference, usage:read, admin:read, admin; repeatable")
      ->allow_extra_args(false);
  command.add_option("--expires", o.expires, "2027-01-31, 2027-01-31T12:00:00Z or never");
}

}  // namespace

void add_key(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("key", "API keys: create, list, rotate, revoke, limits");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const KeyOptions&)) {
    std::shared_ptr<KeyOptions> o = std::make_shared<KeyOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    add_common(*command, o->subject);
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto made = add("create", "make a key; printed once", create);
  made.first->add_option("name", made.second->subject.name, "what the key is for")->required();
  made.first->add_option("--account", made.second->account,
                         "account that pays (default: the project's, or demo)");
  made.first->add_option("--project", made.second->project, "id or name of its project");
  add_fields(*made.first, *made.second);
  auto listed = add("list", "all keys, without their secrets", list);
  listed.first->add_option("--project", listed.second->project, "only those of this project");
  auto with_id = [&](const char* name, const char* help, Status (*action)(const KeyOptions&)) {
    auto added = add(name, help, action);
    added.first->add_option("id", added.second->subject.name, "key id or prefix")->required();
    return added;
  };
  with_id("show", "one key", show);
  auto changed = with_id("update", "change what is named", update);
  add_fields(*changed.first, *changed.second);
  auto rotated = with_id("rotate", "a new secret; the old one stays valid for a while", rotate);
  rotated.first
      ->add_option("--grace", rotated.second->grace_seconds,
                   "seconds that the old secret stays valid")
      ->capture_default_str();
  with_id("revoke", "end a key", revoke);
  add_budgets(*group, "/keys", exit_status);
}

}  // namespace tg::apps
