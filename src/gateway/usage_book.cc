#include "gateway/usage_book.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/json_out.h"
#include "ledger/focus.h"

namespace tg::gateway {

namespace {

constexpr i64 kNsPerHour = 3'600'000'000'000;
constexpr i64 kSecondsPerHour = 3'600;
constexpr i64 kHoursPerDay = 24;
constexpr i64 kHourMax = 2'000'000;  // Beyond what timestamps hold.

Error bad(std::string_view name, std::string_view value, std::string_view wanted) {
  return Error{Code::kInvalid,
               fmt::format("'{}' is \"{}\", not {}", name, value.substr(0, 64), wanted)};
}

Result<i64> seconds(std::string_view name, std::string_view value) {
  i64 out = 0;
  std::from_chars_result end = std::from_chars(value.data(), value.data() + value.size(), out);
  bool is_whole = end.ec == std::errc() && end.ptr == value.data() + value.size();
  if (!is_whole || out < 0) return bad(name, value, "a time in Unix seconds");
  return out;
}

Status set_groups(std::string_view value, UsageQuery& out) {
  out.by_key = out.by_project = out.by_model = out.by_device = false;
  while (!value.empty()) {
    std::size_t comma = value.find(',');
    std::string_view word = value.substr(0, comma);
    bool* flag = word == "key"       ? &out.by_key
                 : word == "project" ? &out.by_project
                 : word == "model"   ? &out.by_model
                 : word == "device"  ? &out.by_device
                                     : nullptr;
    if (flag == nullptr) return bad("group_by", word, "key, project, model or device");
    *flag = true;
    value = comma == std::string_view::npos ? std::string_view{} : value.substr(comma + 1);
  }
  return {};
}

Status set_parameter(std::string_view name, std::string_view value, UsageQuery& out) {
  if (name == "start") {
    TG_ASSIGN(out.from_s, seconds(name, value));
  } else if (name == "end") {
    TG_ASSIGN(out.to_s, seconds(name, value));
  } else if (name == "bucket") {
    if (value != "hour" && value != "day" && value != "all")
      return bad(name, value, "hour, day or all");
    out.bucket_hours = value == "hour" ? 1 : value == "day" ? kHoursPerDay : 0;
  } else if (name == "group_by") {
    return set_groups(value, out);
  } else if (name == "key") {
    out.key = value;
  } else if (name == "project") {
    out.project = value;
  } else if (name == "format") {
    std::optional<UsageFormat> format = usage_format_by_name(value);
    if (!format) return bad(name, value, "json, csv or focus");
    out.format = *format;
  } else {
    return Error{Code::kInvalid, fmt::format("'{}' is no parameter of usage", name.substr(0, 64))};
  }
  return {};
}

UsageRow grouped(const UsageRow& row, const UsageQuery& query) {
  UsageRow out = row;
  out.hour = query.bucket_hours == 0 ? 0 : row.hour / query.bucket_hours * query.bucket_hours;
  if (!query.by_key) out.key = "*";
  if (!query.by_project) out.project = "*";
  if (!query.by_model) out.model = "*";
  if (!query.by_device) out.device = "*";
  return out;
}

// A ratio of work, in 10^-3; nullopt over nothing.
std::optional<f64> ratio(u128 above, u128 below) {
  if (below == 0) return std::nullopt;
  return static_cast<f64>(above) / static_cast<f64>(below);
}

std::string time_of(i64 hour) {
  return to_rfc3339(Timestamp{hour * kNsPerHour});
}

// The operator's cost of the time that requests took of devices.
u128 capacity_cost(const UsageSums& sums, i64 capacity) {
  constexpr u128 kUsPerHour = 3'600'000'000;
  return static_cast<u128>(sums.device_us) * static_cast<u128>(capacity) / kUsPerHour;
}

void write_row(JsonWriter& json, const UsageRow& row, const UsageSums& sums, i64 capacity) {
  json.begin_object().key("start").string(time_of(row.hour));
  json.key("account").string(to_hex(row.account)).key("project").string(row.project);
  json.key("key").string(row.key).key("model").string(row.model);
  json.key("device").string(row.device).key("requests").number_u64(sums.requests);
  json.key("prompt_tokens").number_u64(sums.prompt_tokens);
  json.key("cached_tokens").number_u64(sums.cached_tokens);
  json.key("output_tokens").number_u64(sums.output_tokens);
  json.key("reasoning_tokens").number_u64(sums.reasoning_tokens);
  json.key("nominal_nst").raw(to_string(sums.nominal_nst));
  json.key("accepted_nst").raw(to_string(sums.accepted_nst));
  json.key("actual_nst").raw(to_string(sums.actual_nst));
  json.key("charged_nst").raw(to_string(sums.charged));
  json.key("charged_ucredit").raw(to_string(sums.charged_ucredit));
  json.key("device_us").number_u64(sums.device_us);
  if (std::optional<f64> yield = ratio(sums.accepted_nst, sums.actual_nst))
    json.key("yield").raw(fmt::format("{:.4f}", *yield));
  constexpr u128 kNanoPerMst = 1'000'000'000'000'000;
  u128 cost = capacity_cost(sums, capacity);
  std::optional<f64> cput = ratio(cost * kNanoPerMst, sums.accepted_nst);
  if (capacity > 0 && cput) json.key("cput_ucredit_per_mst").raw(fmt::format("{:.1f}", *cput));
  json.end_object();
}

std::string csv_row(const UsageRow& row, const UsageSums& sums) {
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", time_of(row.hour),
                     to_hex(row.account), ledger::csv_cell(row.project), ledger::csv_cell(row.key),
                     ledger::csv_cell(row.model), ledger::csv_cell(row.device), sums.requests,
                     sums.prompt_tokens, sums.cached_tokens, sums.output_tokens,
                     sums.reasoning_tokens, to_string(sums.nominal_nst),
                     to_string(sums.accepted_nst), to_string(sums.actual_nst),
                     to_string(sums.charged), to_string(sums.charged_ucredit), sums.device_us);
}

// One charge of one period. Its ST are what was measured; what was charged in ST stands beside.
std::string focus_row(const UsageRow& row, const UsageSums& sums, i64 hours) {
  std::string work = ledger::focus_decimal(sums.nominal_nst, ledger::kStandardDigits);
  return ledger::focus_text(
      {.cost = ledger::focus_decimal(sums.charged_ucredit, ledger::kCreditDigits),
       .payer = to_hex(row.account),
       .category = "Usage",
       .description = "tokens of " + row.model,
       .frequency = "Usage-Based",
       .begin = time_of(row.hour),
       .end = time_of(row.hour + hours),
       .consumed = work,
       .quantity = work,
       .unit = "ST",
       .resource = row.key,
       .sku = row.model,
       .sku_price = "",
       .sub_account = to_hex(row.account),
       .extra = fmt::format("{},{}", ledger::csv_cell(row.project),
                            ledger::focus_decimal(sums.charged, ledger::kStandardDigits))});
}

constexpr std::string_view kCsvHead =
    "start,account,project,key,model,device,requests,prompt_tokens,cached_tokens,output_tokens,"
    "reasoning_tokens,nominal_nst,accepted_nst,actual_nst,charged_nst,charged_ucredit,device_us\n";
constexpr std::string_view kFocusColumns = "x_Project,x_ChargedST";

}  // namespace

void UsageSums::add(const UsageSums& other) {
  requests += other.requests;
  prompt_tokens += other.prompt_tokens;
  cached_tokens += other.cached_tokens;
  output_tokens += other.output_tokens;
  reasoning_tokens += other.reasoning_tokens;
  nominal_nst += other.nominal_nst;
  accepted_nst += other.accepted_nst;
  actual_nst += other.actual_nst;
  charged += other.charged;
  charged_ucredit += other.charged_ucredit;
  device_us += other.device_us;
}

std::optional<UsageFormat> usage_format_by_name(std::string_view name) {
  if (name == "json") return UsageFormat::kJson;
  if (name == "csv") return UsageFormat::kCsv;
  if (name == "focus") return UsageFormat::kFocus;
  return std::nullopt;
}

Result<UsageQuery> parse_usage_query(std::string_view query) {
  UsageQuery out;
  while (!query.empty()) {
    std::size_t end = query.find('&');
    std::string_view parameter = query.substr(0, end);
    std::size_t equals = parameter.find('=');
    std::string_view value = equals == std::string_view::npos ? "" : parameter.substr(equals + 1);
    if (!parameter.empty()) TG_TRY(set_parameter(parameter.substr(0, equals), value, out));
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
  }
  return out;
}

void UsageBook::add(const meter::Draft& draft) {
  const meter::Receipt& r = draft.receipt;
  UsageSums sums{.requests = 1,
                 .prompt_tokens = static_cast<u64>(r.prompt_tokens),
                 .cached_tokens = static_cast<u64>(r.cached_tokens),
                 .output_tokens = static_cast<u64>(meter::output_tokens(r)),
                 .reasoning_tokens = static_cast<u64>(r.reasoning_tokens),
                 .nominal_nst = static_cast<u128>(r.nominal_nst),
                 .accepted_nst = static_cast<u128>(r.billable_nst),
                 .actual_nst = static_cast<u128>(r.actual_nst),
                 .charged = r.pricing.in_money ? 0 : static_cast<u128>(r.billed),
                 .charged_ucredit = r.pricing.in_money ? static_cast<u128>(r.billed) : 0,
                 .device_us = static_cast<u64>(r.device_us)};
  UsageRow row{.hour = std::min(r.time.ns / kNsPerHour, kHourMax),
               .account = r.buyer,
               .project = draft.project,
               .key = draft.key,
               .model = r.model,
               .device = r.device};
  rows_[row].add(sums);
  if (rows_.size() > kUsageRowsMax) rows_.erase(rows_.begin());
}

std::string UsageBook::report(const UsageQuery& query, bool is_whole) const {
  std::map<UsageRow, UsageSums> groups;
  i64 from = query.from_s / kSecondsPerHour + (query.from_s % kSecondsPerHour != 0 ? 1 : 0);
  for (auto row = rows_.lower_bound(UsageRow{.hour = from}); row != rows_.end(); ++row) {
    const UsageRow& r = row->first;
    if (r.hour >= query.to_s / kSecondsPerHour) break;
    bool is_wanted = (!query.account || r.account == *query.account) &&
                     (query.key.empty() || r.key == query.key) &&
                     (query.project.empty() || r.project == query.project);
    if (is_wanted) groups[grouped(r, query)].add(row->second);
  }
  std::string out;
  if (query.format == UsageFormat::kJson) {
    JsonWriter json(out);
    json.begin_object().key("object").string("usage").key("data").begin_array();
    for (const auto& [row, sums] : groups) write_row(json, row, sums, capacity_);
    json.end_array();
    if (!is_whole) json.key("is_whole").boolean(false);
    json.end_object();
    return out;
  }
  bool is_focus = query.format == UsageFormat::kFocus;
  out = is_focus ? ledger::focus_header(kFocusColumns) : std::string(kCsvHead);
  for (const auto& [row, sums] : groups)
    out +=
        is_focus ? focus_row(row, sums, std::max<i64>(1, query.bucket_hours)) : csv_row(row, sums);
  return out;
}

}  // namespace tg::gateway
