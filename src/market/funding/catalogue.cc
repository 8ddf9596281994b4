#include "market/funding/catalogue.h"

#include <algorithm>
#include <set>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/toml_field.h"
#include "ledger/id.h"
#include "meter/receipt.h"

namespace tg::market {

namespace {

constexpr i64 kNsPerDay = 86'400'000'000'000;
constexpr i64 kStandardDecimals = 9;
constexpr i64 kCreditDecimals = 6;

Result<i64> bounded_amount(const Field& field) {
  TG_ASSIGN(i64 value, field.amount(kStandardDecimals));
  if (value > kPlanAmountMax) return field.error("is above 10^9 ST");
  return value;
}

Status set_kind(const Field& field, Plan& plan) {
  TG_ASSIGN(std::string kind, field.text());
  if (kind == "bundle") {
    plan.kind = SourceKind::kBundle;
  } else if (kind == "subscription") {
    plan.kind = SourceKind::kSubscription;
  } else if (kind == "credit") {
    plan.kind = SourceKind::kCreditLine;
  } else {
    return field.error(
        fmt::format("is \"{}\", not \"bundle\", \"subscription\" or \"credit\"", kind));
  }
  return {};
}

Status set_plan_field(const Field& field, Plan& plan) {
  if (field.key == "name") {
    TG_ASSIGN(plan.name, field.text());
  } else if (field.key == "kind") {
    TG_TRY(set_kind(field, plan));
  } else if (field.key == "amount_st") {
    TG_ASSIGN(plan.amount, bounded_amount(field));
  } else if (field.key == "rollover_st") {
    TG_ASSIGN(plan.rollover_max, bounded_amount(field));
  } else if (field.key == "price") {
    TG_ASSIGN(plan.price_ucredit, field.amount(kCreditDecimals));
  } else if (field.key == "days") {
    TG_ASSIGN(plan.days, field.number(0, kPlanDaysMax));
  } else if (field.key == "priority") {
    TG_ASSIGN(i64 priority, field.number(0, UINT32_MAX));
    plan.priority = static_cast<u32>(priority);
  } else if (field.key == "models") {
    TG_ASSIGN(plan.allowed.models, field.texts(kPlanPatternsMax));
  } else if (field.key == "classes") {
    TG_ASSIGN(plan.allowed.services, field.texts(kPlanPatternsMax));
  } else {
    return field.error("is no field of a plan");
  }
  return {};
}

// A list left out allows everything; an empty one would too, and whoever wrote it meant the
// opposite.
Status check_patterns(const Field& plan, const toml::table& table) {
  for (std::string_view key : {"models", "classes"}) {
    const toml::node* node = table.get(key);
    if (node != nullptr && node->is_array() && node->as_array()->empty())
      return Field{plan.file, key, *node}.error("is empty: nothing could be bought with it");
  }
  return {};
}

Result<Plan> plan_of(const Field& field) {
  if (!field.node.is_table()) return field.error("must be a table");
  const toml::table& table = *field.node.as_table();
  Plan plan;
  for (const auto& [key, node] : table) {
    TG_TRY(set_plan_field(Field{field.file, key.str(), node}, plan));
  }
  TG_TRY(check_patterns(field, table));
  if (plan.name.empty() || meter::receipt_name(plan.name) != plan.name)
    return field.error(fmt::format("has the name '{}'", plan.name));
  if (table.get("kind") == nullptr) return field.error("has no kind");
  if (plan.amount == 0) return field.error("has no amount_st");
  bool is_subscription = plan.kind == SourceKind::kSubscription;
  if (is_subscription && plan.days == 0) return field.error("is a subscription without days");
  if (!is_subscription && plan.rollover_max != 0)
    return field.error("has a rollover_st but is no subscription");
  return plan;
}

i64 expiry_of(const Plan& plan, Timestamp sold) {
  bool expires = plan.kind == SourceKind::kBundle && plan.days > 0;
  return expires ? sold.ns + plan.days * kNsPerDay : 0;
}

}  // namespace

u32 Plan::product() const {
  Digest hash = sha256("plan/" + name);
  u32 out = 0;
  for (std::size_t i = 0; i < 4; ++i) out = out << 8 | hash[i];
  return std::max<u32>(out, 1);
}

Result<std::vector<Plan>> parse_catalogue(std::string_view text, std::string_view file) {
  TG_ASSIGN(toml::table table, parse_table(text, file, kCatalogueBytesMax));
  std::vector<Plan> out;
  std::set<u32> products;
  for (const auto& [key, node] : table) {
    Field list{.file = file, .key = key.str(), .node = node};
    if (key.str() != "plan") return list.error("is no field of a catalogue");
    if (!node.is_array()) return list.error("must be written [[plan]]");
    for (const toml::node& entry : *node.as_array()) {
      std::string name = fmt::format("plan {}", out.size() + 1);
      Field field{.file = file, .key = name, .node = entry};
      if (static_cast<i64>(out.size()) == kPlansMax)
        return list.error(fmt::format("occurs more than {} times", kPlansMax));
      TG_ASSIGN(Plan plan, plan_of(field));
      if (!products.insert(plan.product()).second)
        return field.error(fmt::format("'{}' is there already", plan.name));
      out.push_back(std::move(plan));
    }
  }
  return out;
}

const Plan* find_plan(const std::vector<Plan>& plans, u32 product) {
  std::vector<Plan>::const_iterator found = std::find_if(
      plans.begin(), plans.end(), [&](const Plan& plan) { return plan.product() == product; });
  return found == plans.end() ? nullptr : &*found;
}

u128 account_of(const Plan& plan, const Sale& sale) {
  return ledger::id_from_name(
      fmt::format("sold/{}/{}/{}", plan.name, to_hex(sale.owner), to_hex(sale.purchase)));
}

ledger::Request sale_request(const FundingBooks& books, const Plan& plan, const Sale& sale) {
  ledger::Account account;
  account.id = account_of(plan, sale);
  account.owner = sale.owner;
  account.expires_ns = expiry_of(plan, sale.at);
  account.ledger = books.ledger;
  account.product = plan.product();
  account.code = ledger::account_code::kBuyerBundle;
  account.flags = ledger::account_flag::kDebitsMustNotExceedCredits;
  ledger::Request out;
  out.accounts.push_back(account);
  FundingSource source{.account = account.id};
  u128 amount = static_cast<u128>(plan.amount);
  switch (plan.kind) {
    case SourceKind::kBundle:
      out.transfers =
          grant_chain(books, {.account = account.id, .amount = amount, .purchase = sale.purchase});
      break;
    case SourceKind::kSubscription:
      out.transfers = refill_chain(books, source, refill_of(plan, 0));
      break;
    case SourceKind::kCreditLine:
      out.transfers = credit_chain(
          books, {.account = account.id, .from = 0, .to = amount, .change = sale.purchase});
      break;
  }
  return out;
}

FundingSource source_of(const Plan& plan, const ledger::Account& account) {
  return {.account = account.id,
          .kind = plan.kind,
          .priority = plan.priority,
          .expires_ns = account.expires_ns,
          .allowed = plan.allowed,
          .available = ledger::available(account)};
}

u64 period_of(const Plan& plan, const ledger::Account& account, Timestamp now) {
  TG_ASSERT(plan.kind == SourceKind::kSubscription && now.ns >= account.timestamp_ns);
  return static_cast<u64>((now.ns - account.timestamp_ns) / (plan.days * kNsPerDay));
}

Refill refill_of(const Plan& plan, u64 period) {
  return {.amount = static_cast<u128>(plan.amount),
          .rollover_max = static_cast<u128>(plan.rollover_max),
          .period = period};
}

}  // namespace tg::market
