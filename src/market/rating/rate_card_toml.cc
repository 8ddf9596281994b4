// Rate cards as people write them. An unknown field is an error, and every error says where.
#include <array>

#include "base/toml_field.h"
#include "market/rating/rate_card.h"

namespace tg::market {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

// A whole number in the card's unit, or a decimal string in whole credits or ST.
Result<i64> price_of(const Field& field, RateUnit unit) {
  constexpr i64 kCreditDecimals = 6;
  constexpr i64 kStandardDecimals = 9;
  return field.amount(unit == RateUnit::kMicroCredit ? kCreditDecimals : kStandardDecimals);
}

Result<PriceVector> prices_of(const Field& field, RateUnit unit) {
  if (!field.node.is_table()) return field.error("must be a table of prices by class");
  PriceVector out;
  for (const auto& [key, node] : *field.node.as_table()) {
    std::string path = fmt::format("price.{}", key.str());
    Field price{.file = field.file, .key = path, .node = node};
    std::size_t i = 0;
    while (i < kRatedClasses && name(static_cast<RatedClass>(i)) != key.str()) ++i;
    if (i == kRatedClasses) return price.error("is no class of use");
    TG_ASSIGN(out.values[i], price_of(price, unit));
  }
  Status bounds = check(out);
  if (!bounds.ok()) return field.error("has a " + bounds.error().message);
  return out;
}

Result<u8> days_of(const Field& field) {
  TG_ASSIGN(std::vector<std::string> names, field.texts(kDays.size()));
  u8 out = 0;
  for (const std::string& day : names) {
    std::size_t i = 0;
    while (i < kDays.size() && kDays[i] != day) ++i;
    if (i == kDays.size()) return field.error(fmt::format("has '{}', not mon to sun", day));
    out = static_cast<u8>(out | 1U << i);
  }
  if (out == 0) return field.error("is empty");
  return out;
}

std::optional<i32> parse_minute(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  for (std::size_t i : {0U, 1U, 3U, 4U}) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
  }
  i32 hour = (text[0] - '0') * 10 + (text[1] - '0');
  i32 minute = (text[3] - '0') * 10 + (text[4] - '0');
  i32 total = hour * 60 + minute;
  if (minute > 59 || total > kMinutesPerDay || total % kRateQuantumMinutes != 0)
    return std::nullopt;
  return total;
}

Status set_hours(const Field& field, RateRule& rule) {
  TG_ASSIGN(std::string text, field.text());
  std::optional<i32> from = parse_minute(std::string_view(text).substr(0, 5));
  std::optional<i32> to;
  if (text.size() == 11 && text[5] == '-') to = parse_minute(std::string_view(text).substr(6));
  if (!from || !to || *from == kMinutesPerDay || *to == 0 || *from == *to) {
    return field.error(
        fmt::format("is \"{}\", not HH:MM-HH:MM (UTC) on different quarter hours", text));
  }
  rule.from_minute = *from;
  rule.to_minute = *to;
  return {};
}

Status set_rule_field(const Field& field, RateUnit unit, RateRule& rule) {
  if (field.key == "price") {
    TG_ASSIGN(rule.prices, prices_of(field, unit));
  } else if (field.key == "model") {
    TG_ASSIGN(rule.model, field.text());
  } else if (field.key == "class") {
    TG_ASSIGN(rule.service, field.text());
  } else if (field.key == "zone") {
    TG_ASSIGN(rule.zone, field.text());
  } else if (field.key == "days") {
    TG_ASSIGN(rule.days, days_of(field));
  } else if (field.key == "hours") {
    TG_TRY(set_hours(field, rule));
  } else if (field.key == "input_from") {
    TG_ASSIGN(rule.input_from, field.number(0, kRatedTokensMax));
  } else {
    return field.error("is no field of a rule");
  }
  return {};
}

Result<RateRule> rule_of(const Field& field, RateUnit unit) {
  if (!field.node.is_table()) return field.error("must be a table");
  RateRule rule;
  bool has_price = false;
  for (const auto& [key, node] : *field.node.as_table()) {
    TG_TRY(set_rule_field(Field{field.file, key.str(), node}, unit, rule));
    has_price = has_price || key.str() == "price";
  }
  if (!has_price) return field.error("has no price");
  return rule;
}

Status set_rules(const Field& field, RateCard& card) {
  if (!field.node.is_array()) return field.error("must be written [[rule]]");
  i64 number = 0;
  for (const toml::node& node : *field.node.as_array()) {
    if (++number > kRateRulesMax)
      return field.error(fmt::format("occurs more than {} times", kRateRulesMax));
    std::string key = fmt::format("rule {}", number);
    TG_ASSIGN(RateRule rule, rule_of(Field{field.file, key, node}, card.unit));
    card.rules.push_back(std::move(rule));
  }
  return {};
}

Status set_unit(const Field& field, RateCard& card) {
  TG_ASSIGN(std::string text, field.text());
  if (text != "ucredit" && text != "nano_st")
    return field.error(fmt::format("is \"{}\", not \"ucredit\" or \"nano_st\"", text));
  card.unit = text == "ucredit" ? RateUnit::kMicroCredit : RateUnit::kNanoStandard;
  return {};
}

Status set_card_field(const Field& field, RateCard& card) {
  if (field.key == "name") {
    TG_ASSIGN(card.name, field.text());
  } else if (field.key == "version") {
    TG_ASSIGN(i64 version, field.number(1, INT64_MAX));
    card.version = static_cast<u64>(version);
  } else if (field.key == "valid_from") {
    TG_ASSIGN(card.valid_from_s, field.number(0, INT64_MAX));
  } else if (field.key != "unit" && field.key != "rule") {
    return field.error("is no field of a rate card");
  }
  return {};
}

}  // namespace

Result<RateCard> parse_rate_card_toml(std::string_view text, std::string_view file) {
  TG_ASSIGN(toml::table table, parse_table(text, file, kRateCardBytesMax));
  RateCard card;
  // The unit first: decimals of prices depend on it.
  if (const toml::node* unit = table.get("unit"))
    TG_TRY(set_unit(Field{file, "unit", *unit}, card));
  for (const auto& [key, node] : table) TG_TRY(set_card_field(Field{file, key.str(), node}, card));
  if (const toml::node* rules = table.get("rule"))
    TG_TRY(set_rules(Field{file, "rule", *rules}, card));
  Status whole = card.check();
  if (!whole.ok())
    return Error{whole.error().code, fmt::format("{}: {}", file, whole.error().message)};
  return card;
}

}  // namespace tg::market
