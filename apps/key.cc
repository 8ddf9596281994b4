// `tokengrid key {create,list,revoke}`: API keys. Works beside a running server, which notices
// within a second.
#include <fmt/format.h>

#include <memory>

#include "apps/ask.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "base/json_out.h"
#include "env/clock.h"
#include "gateway/keys.h"

namespace tg::apps {

namespace {

struct KeyOptions {
  std::string data = default_data_directory();
  std::string name;
  std::string account = "demo";
  bool json = false;
};

Result<std::unique_ptr<gateway::KeyStore>> open_keys(const KeyOptions& o, Random& random) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  return gateway::KeyStore::open(data.path, random);
}

Status create(const KeyOptions& o) {
  OsRandom random;
  SystemClock clock;
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_TRY(account_by_name(data, o.account, true));
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys, gateway::KeyStore::open(data.path, random));
  TG_ASSIGN(gateway::CreatedKey made,
            keys->create({.name = o.name, .account = o.account}, clock.now()));
  if (o.json) {
    std::string out;
    JsonWriter json(out);
    json.begin_object().key("id").string(made.info.id).key("key").string(made.plaintext);
    json.key("name").string(o.name).key("account").string(o.account).end_object();
    fmt::print("{}\n", out);
  } else {
    fmt::print("{}\n", made.plaintext);
    fmt::print(stderr, "key {} for account {}; it is shown this once\n", made.info.id, o.account);
  }
  return {};
}

void append_key(JsonWriter& json, const gateway::KeyInfo& key) {
  json.begin_object()
      .key("id")
      .string(key.id)
      .key("prefix")
      .string(key.prefix)
      .key("name")
      .string(key.name);
  json.key("account").string(key.account_name).key("created").string(to_rfc3339(key.created));
  json.key("revoked");
  if (key.revoked) {
    json.string(to_rfc3339(*key.revoked));
  } else {
    json.null();
  }
  json.end_object();
}

Status list(const KeyOptions& o) {
  OsRandom random;
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys, open_keys(o, random));
  TG_ASSIGN(std::vector<gateway::KeyInfo> all, keys->list());
  if (o.json) {
    std::string out;
    JsonWriter json(out);
    json.begin_object().key("keys").begin_array();
    for (const gateway::KeyInfo& key : all) append_key(json, key);
    json.end_array().end_object();
    fmt::print("{}\n", out);
    return {};
  }
  for (const gateway::KeyInfo& key : all) {
    fmt::print("{}  {}…  {:<16} {:<16} {}  {}\n", key.id, key.prefix, key.name, key.account_name,
               to_rfc3339(key.created), key.revoked ? "revoked" : "");
  }
  return {};
}

Status revoke(const KeyOptions& o) {
  OsRandom random;
  SystemClock clock;
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys, open_keys(o, random));
  return keys->revoke(o.name, clock.now());
}

}  // namespace

void add_key(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("key", "API keys: create, list, revoke");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const KeyOptions&)) {
    std::shared_ptr<KeyOptions> o = std::make_shared<KeyOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("--data", o->data, "data directory")->capture_default_str();
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto created = add("create", "make a key for an account; printed once", create);
  created.first->add_option("name", created.second->name, "what the key is for")->required();
  created.first->add_option("--account", created.second->account, "account that pays")
      ->capture_default_str();
  created.first->add_flag("--json", created.second->json, "machine-readable output");
  auto listed = add("list", "all keys, without their secrets", list);
  listed.first->add_flag("--json", listed.second->json, "machine-readable output");
  auto revoked = add("revoke", "end a key", revoke);
  revoked.first->add_option("id", revoked.second->name, "key id or prefix")->required();
}

}  // namespace tg::apps
