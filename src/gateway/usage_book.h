// What was used, added up from receipts' drafts by hour and by whose it was: for reports, never for
// bills. Whatever is here can be made again from the ledger's documents.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "meter/receipt.h"

namespace tg::gateway {

// Rows kept: beyond, the oldest hours are forgotten here.
inline constexpr std::size_t kUsageRowsMax = 1'000'000;

struct UsageRow {
  i64 hour = 0;  // Since 1970.
  u128 account = 0;
  std::string project;
  std::string key;
  std::string model;
  std::string device;
  auto operator<=>(const UsageRow&) const = default;
};

struct UsageSums {
  u64 requests = 0;
  u64 prompt_tokens = 0;
  u64 cached_tokens = 0;
  u64 output_tokens = 0;
  u64 reasoning_tokens = 0;
  u128 nominal_nst = 0;
  u128 accepted_nst = 0;  // What of it was billable by its outcome: useful work.
  u128 actual_nst = 0;
  u128 charged = 0;          // nano-ST,
  u128 charged_ucredit = 0;  // and of what is priced in credits.
  u64 device_us = 0;
  void add(const UsageSums& other);
};

enum class UsageFormat : u8 { kJson, kCsv, kFocus };
std::optional<UsageFormat> usage_format_by_name(std::string_view name);

struct UsageQuery {
  std::optional<u128> account;  // None: everybody's.
  i64 from_s = 0;               // Unix seconds; whole hours that begin in [from, to).
  i64 to_s = INT64_MAX;
  i64 bucket_hours = 1;  // 0: all of them as one.
  std::string key;       // "": any.
  std::string project;
  bool by_key = true;  // False: keys, projects, models or devices are added up.
  bool by_project = true;
  bool by_model = true;
  bool by_device = false;
  UsageFormat format = UsageFormat::kJson;
};
// From "start=..&end=..&bucket=hour|day|all&group_by=key,project,model,device&key=..&project=..&
// format=json|csv|focus"; times are Unix seconds. kInvalid naming the parameter.
Result<UsageQuery> parse_usage_query(std::string_view query);

class UsageBook {
 public:
  // `capacity_ucredit_per_hour`: what an hour of a device costs its operator; 0: not known.
  explicit UsageBook(i64 capacity_ucredit_per_hour = 0) : capacity_(capacity_ucredit_per_hour) {}

  void add(const meter::Draft& draft);
  // `is_whole`: nothing is missing that other gateways served; else the JSON says so.
  // JSON with yield (accepted work / actual work) and, if capacity has a price, the cost per useful
  // ST; CSV; or CSV with FOCUS column names.
  std::string report(const UsageQuery& query, bool is_whole = true) const;
  std::size_t size() const { return rows_.size(); }

 private:
  std::map<UsageRow, UsageSums> rows_;
  i64 capacity_;
};

}  // namespace tg::gateway
