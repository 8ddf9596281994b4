// `tokengrid account`: what pays for requests: balances, bundles, subscriptions, credit lines;
// sales, refunds and statements of them.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "apps/ask.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "env/clock.h"
#include "env/random.h"
#include "ledger/id.h"
#include "unit/standard_token.h"

namespace tg::apps {

namespace {

struct AccountOptions {
  std::string data = default_data_directory();
  std::string name;
  f64 amount = 0;
  std::string plan;
  std::string purchase;
  std::string request;
  std::string value;
  u64 before = 0;
  bool in_credits = false;
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
  bool is_leased = account.contains("leased_nst") && account["leased_nst"] != 0;
  if (!is_leased) return;
  fmt::print("  leased  {:>22} ST of what is held; spending told up to {}\n",
             st(account["leased_nst"]), account["settled_at"].get<std::string>());
}

Status show(const AccountOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(u128 id, account_by_name(data, o.name, false));
  TG_ASSIGN(nlohmann::json account, ask(data, "show " + to_hex(id)));
  print(o, std::move(account));
  return {};
}

// An amount of the books in its unit, for people.
std::string shown(const nlohmann::json& amount, bool in_money) {
  i64 value = amount.get<i64>();
  if (!in_money) return unit::to_decimal(unit::NanoSt(value)) + " ST";
  return fmt::format("{}.{:06} credit", value / 1'000'000, value % 1'000'000);
}

void print_source(const nlohmann::json& source) {
  bool in_money = source["unit"] == "ucredit";
  std::string plan = source["plan"].is_null() ? "-" : source["plan"].get<std::string>();
  std::string expires =
      source["expires"].is_null() ? "never" : source["expires"].get<std::string>();
  fmt::print("{}  {:<12} {:<12} {:>24} left {:>24} spent  expires {}\n",
             source["account"].get<std::string>(), source["kind"].get<std::string>(), plan,
             shown(source["available"], in_money), shown(source["spent"], in_money), expires);
}

Status sources(const AccountOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(u128 id, account_by_name(data, o.name, false));
  TG_ASSIGN(nlohmann::json answer, ask(data, "accounts " + to_hex(id)));
  if (o.json) {
    fmt::print("{}\n", answer.dump());
    return {};
  }
  for (const nlohmann::json& source : answer["accounts"]) print_source(source);
  return {};
}

// The same purchase sells once; without one each call is a sale of its own.
Status buy(const AccountOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(u128 id, account_by_name(data, o.name, true));
  std::string purchase = o.purchase;
  if (purchase.empty()) {
    OsRandom random;
    SystemClock clock;
    purchase = to_hex(ledger::time_ordered_id(clock.now(), random));
  }
  TG_ASSIGN(nlohmann::json answer,
            ask(data, fmt::format("sell {} {} {}", to_hex(id), o.plan, purchase)));
  answer["purchase"] = purchase;
  if (o.json) {
    fmt::print("{}\n", answer.dump());
  } else {
    print_source(answer);
  }
  return {};
}

Status pay_back(const AccountOptions& o, const char* command) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_TRY(id_from_hex(o.request));
  TG_ASSIGN(nlohmann::json answer, ask(data, fmt::format("{} {} {}", command, o.request, o.value)));
  if (o.json) {
    fmt::print("{}\n", answer.dump());
  } else {
    fmt::print("{}: {} was posted, {} paid back\n", o.request, answer["posted"].dump(),
               answer["paid_back"].dump());
  }
  return {};
}

Status refund(const AccountOptions& o) {
  return pay_back(o, "refund");
}

Status correct(const AccountOptions& o) {
  return pay_back(o, "correct");
}

Status statement(const AccountOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  Result<u128> id = id_from_hex(o.name);
  if (!id.ok()) id = account_by_name(data, o.name, false);
  if (!id.ok()) return id.error();
  TG_ASSIGN(nlohmann::json answer,
            ask(data, fmt::format("statement {} {}", to_hex(*id), o.before)));
  if (o.json) {
    fmt::print("{}\n", answer.dump());
    return {};
  }
  for (const nlohmann::json& line : answer["lines"]) {
    fmt::print("{:>10}  {}  {:>3}  {}{:>22}  {:<8} {}\n", line["position"].get<u64>(),
               line["time"].get<std::string>(), line["code"].get<i64>(),
               line["is_debit"].get<bool>() ? "-" : "+", line["amount"].dump(),
               line["is_hold"].get<bool>() ? line["state"].get<std::string>() : "",
               line["request"].get<std::string>());
  }
  if (answer["next"] != 0) fmt::print("more: --before {}\n", answer["next"].get<u64>());
  return {};
}

Status top_up_credits(const AccountOptions& o, const DataDirectory& data, u128 id) {
  constexpr f64 kMicro = 1e6;
  i64 micro = std::llround(o.amount * kMicro);
  TG_ASSIGN(nlohmann::json answer, ask(data, fmt::format("topup-money {} {}", to_hex(id), micro)));
  if (o.json) {
    fmt::print("{}\n", answer.dump());
    return {};
  }
  for (const nlohmann::json& source : answer["accounts"]) print_source(source);
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
  if (o.in_credits) return top_up_credits(o, data, id);
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
      root.add_subcommand("account", "What pays for requests: show, top up, sell, pay back, audit");
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
  topped.first->add_flag("--credits", topped.second->in_credits,
                         "credits instead, for models that are priced in them");
  auto listed = add("sources", "every bundle, subscription and credit line of an account", sources);
  listed.first->add_option("name", listed.second->name, "account")->required();
  auto bought = add("buy", "sell a plan of plans.toml to an account, making it if needed", buy);
  bought.first->add_option("name", bought.second->name, "account")->required();
  bought.first->add_option("plan", bought.second->plan, "the plan's name")->required();
  bought.first->add_option("--purchase", bought.second->purchase,
                           "32 hex digits that name the sale: the same is sold once");
  for (const auto& [name, help, action] :
       {std::tuple("refund", "pay back part of a request, to what paid for it", &refund),
        std::tuple("correct", "lower what a request cost to this much", &correct)}) {
    auto paid = add(name, help, action);
    paid.first->add_option("request", paid.second->request, "receipt id")->required();
    paid.first->add_option("amount", paid.second->value, "nano-ST, or 10^-6 credit")->required();
  }
  auto stated = add("statement", "entries of a ledger account, newest first", statement);
  stated.first->add_option("name", stated.second->name, "account, or a source's id")->required();
  stated.first->add_option("--before", stated.second->before, "only entries before this position");
  add("audit", "re-derive every balance from the journal", audit);
}

}  // namespace tg::apps
