// `tokengrid account {show,topup,audit}`: bundles of standard tokens.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "apps/ask.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "unit/standard_token.h"

namespace tg::apps {

namespace {

struct AccountOptions {
  std::string data = default_data_directory();
  std::string name;
  f64 amount = 0;
  bool json = false;
};

std::string st(const nlohmann::json& value) {
  return unit::to_decimal(unit::NanoSt(value.get<i64>()));
}

void print(const AccountOptions& o, nlohmann::json account) {
  if (o.json) {
    account["name"] = o.name;
    fmt::print("{}\n", account.dump());
    return;
  }
  fmt::print(
      "{}\n  balance {:>22} ST\n  held    {:>22} ST\n  spent   {:>22} ST\n  granted {:>22} ST\n",
      o.name, st(account["balance_nst"]), st(account["held_nst"]), st(account["spent_nst"]),
      st(account["granted_nst"]));
}

Status show(const AccountOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(u128 id, account_by_name(data, o.name, false));
  TG_ASSIGN(nlohmann::json account, ask(data, "show " + to_hex(id)));
  print(o, std::move(account));
  return {};
}

Status top_up(const AccountOptions& o) {
  constexpr f64 kStMax = 1e9;
  if (!(o.amount > 0) || o.amount > kStMax) {
    return Error{Code::kInvalid,
                 fmt::format("a top-up of {} ST is out of range (up to {})", o.amount, kStMax)};
  }
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(u128 id, account_by_name(data, o.name, true));
  i64 nano = std::llround(o.amount * 1e9);
  TG_ASSIGN(nlohmann::json account, ask(data, fmt::format("topup {} {}", to_hex(id), nano)));
  print(o, std::move(account));
  return {};
}

Status audit(const AccountOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(nlohmann::json report, ask(data, "audit"));
  if (o.json) {
    fmt::print("{}\n", report.dump());
  } else {
    fmt::print(
        "balances re-derived from the journal agree: {} accounts, {} entries, {} open holds, sum "
        "{} nano-ST\n",
        report["accounts"].get<i64>(), report["journal_entries"].get<i64>(),
        report["holds_open"].get<i64>(), report["sum_nst"].get<i64>());
  }
  return {};
}

}  // namespace

void add_account(CLI::App& root, int& exit_status) {
  CLI::App* group =
      root.add_subcommand("account", "Bundles of standard tokens: show, top up, audit");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const AccountOptions&)) {
    std::shared_ptr<AccountOptions> o = std::make_shared<AccountOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("--data", o->data, "data directory")->capture_default_str();
    command->add_flag("--json", o->json, "machine-readable output");
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto shown = add("show", "balance, held and spent", show);
  shown.first->add_option("name", shown.second->name, "account")->required();
  auto topped = add("topup", "add standard tokens to an account, making it if needed", top_up);
  topped.first->add_option("name", topped.second->name, "account")->required();
  topped.first->add_option("st", topped.second->amount, "standard tokens")->required();
  add("audit", "re-derive every balance from the journal", audit);
}

}  // namespace tg::apps
