#include "apps/subject_options.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "apps/admin_call.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "unit/standard_token.h"

namespace tg::apps {

namespace {

using nlohmann::json;

constexpr f64 kNanoPerSt = 1e9;
constexpr f64 kStMax = 1e9;

struct BudgetOptions {
  SubjectOptions subject;
  std::string path;
  std::string period;
  f64 amount = -1;
  bool is_removal = false;
};

std::string st(const json& value) {
  return unit::to_decimal(unit::NanoSt(value.get<i64>()));
}

void print_budget(const json& budget) {
  fmt::print("{:<6} {:>22} ST   spent {} ST   held {} ST   left {} ST{}\n",
             budget["period"].get<std::string>(), st(budget["amount_nst"]), st(budget["spent_nst"]),
             st(budget["held_nst"]), st(budget["remaining_nst"]),
             budget["period_ends"].is_null()
                 ? ""
                 : "   until " + budget["period_ends"].get<std::string>());
}

std::string budgets_path(const BudgetOptions& o) {
  return o.path + "/" + path_segment(o.subject.name) + "/budgets";
}

Status set_budget(const BudgetOptions& o) {
  AdminCall call{.data = o.subject.data,
                 .method = o.is_removal ? "DELETE" : "PUT",
                 .path = budgets_path(o) + "/" + path_segment(o.period)};
  if (!o.is_removal) {
    if (!(o.amount >= 0) || o.amount > kStMax) {
      return Error{Code::kInvalid,
                   fmt::format("a budget of {} ST is out of range (0 to {})", o.amount, kStMax)};
    }
    call.body = json::object({{"amount_nst", std::llround(o.amount * kNanoPerSt)}});
  }
  TG_ASSIGN(json answer, call_admin(call));
  if (o.subject.json) {
    fmt::print("{}\n", answer.dump());
  } else if (!o.is_removal) {
    print_budget(answer);
  }
  return {};
}

Status list_budgets(const BudgetOptions& o) {
  TG_ASSIGN(json answer,
            call_admin({.data = o.subject.data, .method = "GET", .path = budgets_path(o)}));
  if (o.subject.json) {
    fmt::print("{}\n", answer.dump());
    return {};
  }
  for (const json& budget : answer["data"]) print_budget(budget);
  return {};
}

}  // namespace

void add_common(CLI::App& command, SubjectOptions& o) {
  o.data = default_data_directory();
  command.add_option("--data", o.data, "data directory")->capture_default_str();
  command.add_flag("--json", o.json, "machine-readable output");
}

void add_policy(CLI::App& command, SubjectOptions& o, bool with_weight) {
  command
      .add_option("--models", o.models, "names that are allowed, * for any characters; repeatable")
      ->allow_extra_args(false);
  command.add_option("--class", o.service, "interactive, standard or batch");
  command.add_option("--requests-per-minute", o.requests, "0: no limit");
  command.add_option("--tokens-per-minute", o.tokens, "prompt and output; 0: no limit");
  command.add_option("--st-per-minute", o.st, "nominal work; 0: no limit");
  command.add_option("--concurrent", o.concurrent, "requests at once; 0: no limit");
  if (with_weight) {
    command.add_option("--weight", o.weight, "share among its siblings, from 1 to 1000");
  }
}

void put_policy(const SubjectOptions& o, json& body) {
  if (!o.models.empty()) body["models"] = o.models;
  if (!o.service.empty()) body["class"] = o.service;
  if (o.requests >= 0) body["limits"]["requests_per_minute"] = o.requests;
  if (o.tokens >= 0) body["limits"]["tokens_per_minute"] = o.tokens;
  if (o.st >= 0)
    body["limits"]["nst_per_minute"] = std::llround(std::min(o.st, kStMax) * kNanoPerSt);
  if (o.concurrent >= 0) body["limits"]["concurrent"] = o.concurrent;
  if (o.weight >= 0) body["weight"] = o.weight;
}

void add_budgets(CLI::App& group, const std::string& path, int& exit_status) {
  auto add = [&](const char* name, const char* help, Status (*action)(const BudgetOptions&)) {
    std::shared_ptr<BudgetOptions> o = std::make_shared<BudgetOptions>();
    o->path = path;
    CLI::App* command = group.add_subcommand(name, help);
    add_common(*command, o->subject);
    command->add_option("name", o->subject.name, "id or name")->required();
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto set = add("budget", "set or remove a budget", set_budget);
  set.first->add_option("period", set.second->period, "total, day, week or month")->required();
  set.first->add_option("st", set.second->amount, "standard tokens");
  set.first->add_flag("--remove", set.second->is_removal, "end the budget of that period");
  add("budgets", "budgets and what is left of them", list_budgets);
}

std::string policy_text(const json& subject) {
  std::string out = subject["class"].get<std::string>();
  for (const auto& [name, value] : subject["limits"].items()) {
    if (value.get<i64>() > 0) out += fmt::format("  {} {}", name, value.get<i64>());
  }
  if (!subject["models"].empty()) {
    out += "  models";
    for (const json& model : subject["models"]) out += " " + model.get<std::string>();
  }
  return out;
}

}  // namespace tg::apps
