#include "market/rating/rate_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/assert.h"

namespace tg::market {

namespace {

constexpr std::string_view kHeader = "tokengrid-rates/1";
constexpr i64 kNsPerSecond = 1'000'000'000;
constexpr i64 kSecondsPerDay = 86'400;
constexpr i64 kQuantumNs = i64{kRateQuantumMinutes} * 60 * kNsPerSecond;
// 9999-12-31; later is a typing error.
constexpr i64 kValidFromMax = 253'402'300'799;

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-_.:/@").find(c) != std::string_view::npos;
}

bool is_name(std::string_view text) {
  return !text.empty() && static_cast<i64>(text.size()) <= kRateNameBytesMax &&
         std::all_of(text.begin(), text.end(), is_name_byte);
}

// A name, a prefix of one and "*", or "*".
bool is_pattern(std::string_view text) {
  if (!text.empty() && text.back() == '*')
    text.remove_suffix(1);
  else if (text.empty())
    return false;
  return text.empty() || is_name(text);
}

bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.back() != '*') return pattern == text;
  pattern.remove_suffix(1);
  return text.substr(0, pattern.size()) == pattern;
}

bool is_minute(i32 minute) {
  return minute >= 0 && minute <= kMinutesPerDay && minute % kRateQuantumMinutes == 0;
}

Status check_rule(const RateRule& rule, i64 number) {
  auto bad = [&](std::string_view field, const auto& value) {
    return Error{Code::kInvalid, fmt::format("rates: rule {}: {} is '{}'", number, field, value)};
  };
  if (!is_pattern(rule.model)) return bad("model", rule.model);
  if (!is_pattern(rule.service)) return bad("class", rule.service);
  if (!is_pattern(rule.zone)) return bad("zone", rule.zone);
  if (rule.days == 0 || rule.days > 0x7F) return bad("days", rule.days);
  if (!is_minute(rule.from_minute) || rule.from_minute == kMinutesPerDay)
    return bad("from", rule.from_minute);
  if (!is_minute(rule.to_minute) || rule.to_minute == 0) return bad("to", rule.to_minute);
  if (rule.input_from < 0 || rule.input_from > kRatedTokensMax)
    return bad("input_from", rule.input_from);
  Status prices = check(rule.prices);
  if (prices.ok()) return {};
  return Error{prices.error().code,
               fmt::format("rates: rule {}: {}", number, prices.error().message)};
}

struct DayMinute {
  i32 day = 0;  // 0 is Monday.
  i32 minute = 0;
};

// REQUIRES: at is not before 1970, whose first day was a Thursday.
DayMinute day_minute(Timestamp at) {
  constexpr i64 kThursday = 3;
  i64 seconds = at.ns / kNsPerSecond;
  i64 day = seconds / kSecondsPerDay;
  return {.day = static_cast<i32>((day + kThursday) % 7),
          .minute = static_cast<i32>(seconds % kSecondsPerDay / 60)};
}

bool covers(const RateRule& rule, DayMinute at) {
  auto has_day = [&](i32 day) { return (rule.days >> ((day + 7) % 7) & 1) != 0; };
  if (rule.from_minute < rule.to_minute) {
    return has_day(at.day) && at.minute >= rule.from_minute && at.minute < rule.to_minute;
  }
  return (has_day(at.day) && at.minute >= rule.from_minute) ||
         (has_day(at.day - 1) && at.minute < rule.to_minute);
}

void append_rule(std::string& out, const RateRule& rule) {
  out += fmt::format("rule model={} class={} zone={} days={} from={} to={} input_from={}",
                     rule.model, rule.service, rule.zone, rule.days, rule.from_minute,
                     rule.to_minute, rule.input_from);
  for (std::size_t i = 0; i < kRatedClasses; ++i) {
    out += fmt::format(" {}={}", name(static_cast<RatedClass>(i)), rule.prices.values[i]);
  }
  out += '\n';
}

// Reads "key value" and "key=value" parts of one line; the canonical text is checked as a whole
// afterwards, so that the parts need only be understood.
class LineReader {
 public:
  LineReader(std::string_view line, i64 number) : rest_(line), number_(number) {}

  Error error(std::string_view what) const {
    return Error{Code::kInvalid, fmt::format("rates: line {}: {}", number_, what)};
  }
  // The value after `key` and `separator`, to the next space.
  Result<std::string_view> value(std::string_view key, char separator) {
    if (rest_.substr(0, key.size()) != key || rest_.size() <= key.size() ||
        rest_[key.size()] != separator) {
      return error(fmt::format("expected {} at '{}'", key, rest_.substr(0, 40)));
    }
    rest_.remove_prefix(key.size() + 1);
    std::size_t space = std::min(rest_.find(' '), rest_.size());
    std::string_view out = rest_.substr(0, space);
    rest_.remove_prefix(std::min(space + 1, rest_.size()));
    return out;
  }
  template <typename Integer>
  Result<Integer> number(std::string_view key, char separator) {
    TG_ASSIGN(std::string_view text, value(key, separator));
    Integer out = 0;
    std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), out);
    if (end.ec != std::errc() || end.ptr != text.data() + text.size())
      return error(fmt::format("{} is '{}'", key, text));
    return out;
  }

 private:
  std::string_view rest_;
  i64 number_ = 0;
};

Result<RateRule> parse_rule(LineReader line) {
  RateRule rule;
  TG_ASSIGN(std::string_view word, line.value("rule", ' '));
  // "rule model=…": the word read is the first field itself.
  if (word.substr(0, 6) != "model=") return line.error("a rule begins with model=");
  rule.model = word.substr(6);
  TG_ASSIGN(std::string_view service, line.value("class", '='));
  TG_ASSIGN(std::string_view zone, line.value("zone", '='));
  rule.service = service;
  rule.zone = zone;
  TG_ASSIGN(rule.days, line.number<u8>("days", '='));
  TG_ASSIGN(rule.from_minute, line.number<i32>("from", '='));
  TG_ASSIGN(rule.to_minute, line.number<i32>("to", '='));
  TG_ASSIGN(rule.input_from, line.number<i64>("input_from", '='));
  for (std::size_t i = 0; i < kRatedClasses; ++i) {
    TG_ASSIGN(rule.prices.values[i], line.number<i64>(name(static_cast<RatedClass>(i)), '='));
  }
  return rule;
}

Result<std::vector<std::string_view>> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    if (end == std::string_view::npos)
      return Error{Code::kInvalid, "rates: the last line has no end"};
    out.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
    if (static_cast<i64>(out.size()) > kRateRulesMax + 5)
      return Error{Code::kLimit, fmt::format("rates: more than {} rules", kRateRulesMax)};
  }
  return out;
}

Result<RateUnit> parse_unit(std::string_view text, const LineReader& line) {
  if (text == "ucredit") return RateUnit::kMicroCredit;
  if (text == "nano_st") return RateUnit::kNanoStandard;
  return line.error(fmt::format("unit is '{}'", text));
}

}  // namespace

Status RateCard::check() const {
  if (!is_name(name)) return Error{Code::kInvalid, fmt::format("rates: name is '{}'", name)};
  if (version == 0 || version > static_cast<u64>(INT64_MAX))
    return Error{Code::kInvalid, fmt::format("rates: version is {}", version)};
  if (valid_from_s < 0 || valid_from_s > kValidFromMax)
    return Error{Code::kInvalid, fmt::format("rates: valid_from is {}", valid_from_s)};
  if (rules.empty() || static_cast<i64>(rules.size()) > kRateRulesMax) {
    return Error{Code::kLimit,
                 fmt::format("rates: {} rules, not within 1..{}", rules.size(), kRateRulesMax)};
  }
  i64 number = 0;
  for (const RateRule& rule : rules) TG_TRY(check_rule(rule, ++number));
  return {};
}

const RateRule* find_rule(const RateCard& card, const RateQuery& query) {
  if (query.at.ns < 0 || query.at.ns / kNsPerSecond < card.valid_from_s) return nullptr;
  DayMinute at = day_minute(query.at);
  for (const RateRule& rule : card.rules) {
    if (query.input_tokens >= rule.input_from && matches(rule.model, query.model) &&
        matches(rule.service, query.service) && matches(rule.zone, query.zone) && covers(rule, at))
      return &rule;
  }
  return nullptr;
}

Timestamp price_locked_until(Timestamp at) {
  TG_ASSERT(at.ns >= 0 && at.ns <= INT64_MAX - kQuantumNs);
  return Timestamp{(at.ns / kQuantumNs + 1) * kQuantumNs};
}

std::string to_text(const RateCard& card) {
  TG_ASSERT(card.check().ok());
  std::string_view unit = card.unit == RateUnit::kMicroCredit ? "ucredit" : "nano_st";
  std::string out = fmt::format("{}\nname {}\nversion {}\nunit {}\nvalid_from {}\n", kHeader,
                                card.name, card.version, unit, card.valid_from_s);
  for (const RateRule& rule : card.rules) append_rule(out, rule);
  return out;
}

Result<RateCard> parse_rate_card(std::string_view text) {
  constexpr std::size_t kHeadLines = 5;
  if (text.size() > kRateCardBytesMax)
    return Error{Code::kLimit, fmt::format("rates: {} bytes", text.size())};
  TG_ASSIGN(std::vector<std::string_view> lines, lines_of(text));
  if (lines.size() < kHeadLines || lines[0] != kHeader)
    return Error{Code::kInvalid, fmt::format("rates: line 1: expected {}", kHeader)};
  RateCard card;
  LineReader unit_line(lines[3], 4);
  TG_ASSIGN(std::string_view card_name, LineReader(lines[1], 2).value("name", ' '));
  TG_ASSIGN(card.version, LineReader(lines[2], 3).number<u64>("version", ' '));
  TG_ASSIGN(std::string_view unit, unit_line.value("unit", ' '));
  TG_ASSIGN(card.unit, parse_unit(unit, unit_line));
  TG_ASSIGN(card.valid_from_s, LineReader(lines[4], 5).number<i64>("valid_from", ' '));
  card.name = card_name;
  for (std::size_t i = kHeadLines; i < lines.size(); ++i) {
    TG_ASSIGN(RateRule rule, parse_rule(LineReader(lines[i], static_cast<i64>(i) + 1)));
    card.rules.push_back(std::move(rule));
  }
  TG_TRY(card.check());
  // Leading zeros, trailing fields, "-0": understood, but a second spelling of the same card.
  if (to_text(card) != text) return Error{Code::kInvalid, "rates: not in canonical form"};
  return card;
}

Digest digest(const RateCard& card) {
  return sha256(to_text(card));
}

u64 rate_reference(const RateCard& card) {
  Digest hash = digest(card);
  u64 out = 0;
  for (std::size_t i = 0; i < 8; ++i) out = out << 8 | hash[i];
  return std::max<u64>(out, 1);
}

}  // namespace tg::market
