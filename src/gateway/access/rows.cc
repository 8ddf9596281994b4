#include "gateway/access/rows.h"

#include <algorithm>
#include <charconv>

#include "base/bytes.h"

namespace tg::gateway {
namespace {

bool is_plain(std::string_view text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<u8>(c) < 0x20 || c == 0x7F;
         });
}

std::string joined(const ModelPatterns& patterns) {
  std::string out;
  for (const std::string& pattern : patterns) out += (out.empty() ? "" : "\n") + pattern;
  return out;
}

ModelPatterns split(std::string_view text) {
  ModelPatterns patterns;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    patterns.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return patterns;
}

// Of an enumeration with `count` values; a file from elsewhere may hold anything.
template <typename Enum>
Enum enum_at(const Statement& row, i32 column, i64 count) {
  return static_cast<Enum>(std::clamp<i64>(row.integer_at(column), 0, count - 1));
}

}  // namespace

u64 KeyStore::State::random_number() {
  u64 number = 0;
  while (number == 0) number = random->next_u64();
  return number;
}

std::string id_hex(u128 id) {
  u8 bytes[16];
  for (i32 i = 15; i >= 0; --i, id >>= 8) bytes[i] = static_cast<u8>(id);
  return to_hex(std::span<const u8>(bytes));
}

Result<u128> parse_account_id(const std::string& hex) {
  TG_ASSIGN(std::vector<u8> bytes, from_hex(hex));
  if (bytes.size() != 16) return Error{Code::kCorrupt, "gateway.db: account id " + hex};
  u128 id = 0;
  for (u8 byte : bytes) id = id << 8 | byte;
  return id;
}

Result<u64> number_of_id(std::string_view id) {
  std::string_view digits = id.substr(std::min(id.find('_') + 1, id.size()));
  u64 number = 0;
  auto end = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  bool is_whole =
      digits.size() == 16 && end.ec == std::errc() && end.ptr == digits.data() + digits.size();
  if (is_whole) return number;
  return Error{Code::kCorrupt, "gateway.db: '" + std::string(id) + "' is no id"};
}

Status check_name(std::string_view what, const std::string& name) {
  i64 size = static_cast<i64>(name.size());
  if (size > 0 && size <= KeyStore::kNameBytesMax && is_plain(name)) return {};
  return Error{Code::kInvalid, std::string(what) + " name must be 1 to 128 bytes of plain text"};
}

Status check_policy(const Policy& policy) {
  const RateLimits& limits = policy.limits;
  const std::pair<std::string_view, i64> numbers[] = {
      {"requests_per_minute", limits.requests_per_minute},
      {"tokens_per_minute", limits.tokens_per_minute},
      {"nst_per_minute", limits.nst_per_minute},
      {"concurrent", limits.concurrent}};
  constexpr i64 kLimitMax = 1'000'000'000'000'000'000;
  for (const auto& [what, value] : numbers) {
    if (value >= 0 && value <= kLimitMax) continue;
    return Error{Code::kInvalid, std::string(what) + " is " + std::to_string(value) +
                                     ", not within 0..10^18 (0: no limit)"};
  }
  if (policy.weight < 1 || policy.weight > kWeightMax) {
    return Error{Code::kInvalid, "weight is " + std::to_string(policy.weight) + ", not within 1.." +
                                     std::to_string(kWeightMax)};
  }
  if (policy.models.size() > KeyStore::kPatternsMax) {
    return Error{Code::kLimit, "a list of models has at most 64 patterns"};
  }
  for (const std::string& pattern : policy.models) {
    if (!pattern.empty() && pattern.size() <= 200 && is_plain(pattern)) continue;
    return Error{Code::kInvalid, "a model pattern must be 1 to 200 bytes of plain text"};
  }
  return {};
}

void bind_policy(Statement& statement, const Policy& policy) {
  const RateLimits& limits = policy.limits;
  statement.integer(limits.requests_per_minute).integer(limits.tokens_per_minute);
  statement.integer(limits.nst_per_minute).integer(limits.concurrent);
  statement.text(joined(policy.models)).integer(static_cast<i64>(policy.service));
}

Policy policy_at(const Statement& row, i32 column) {
  Policy policy;
  policy.limits.requests_per_minute = row.integer_at(column);
  policy.limits.tokens_per_minute = row.integer_at(column + 1);
  policy.limits.nst_per_minute = row.integer_at(column + 2);
  policy.limits.concurrent = row.integer_at(column + 3);
  policy.models = split(row.text_at(column + 4));
  policy.service = enum_at<fleet::ServiceClass>(row, column + 5, 3);
  return policy;
}

std::optional<Timestamp> time_at(const Statement& row, i32 column) {
  if (row.is_null_at(column)) return std::nullopt;
  return Timestamp{row.integer_at(column)};
}

void bind_time(Statement& statement, std::optional<Timestamp> time) {
  if (time) {
    statement.integer(time->ns);
  } else {
    statement.null();
  }
}

Result<KeyRecord> read_key(const Statement& row) {
  TG_ASSIGN(u128 account, parse_account_id(row.text_at(4)));
  return KeyRecord{.id = row.text_at(0),
                   .prefix = row.text_at(1),
                   .name = row.text_at(2),
                   .account_name = row.text_at(3),
                   .account = account,
                   .project = row.text_at(5),
                   .scopes = ScopeSet{static_cast<u8>(row.integer_at(6) & 0xF)},
                   .policy = policy_at(row, 10),
                   .created = Timestamp{row.integer_at(7)},
                   .expires = time_at(row, 8),
                   .revoked = time_at(row, 9)};
}

Result<Unit> read_unit(const Statement& row) {
  Unit unit{.id = row.text_at(0),
            .level = enum_at<Level>(row, 1, 3),
            .parent = row.text_at(2),
            .name = row.text_at(3),
            .account = row.text_at(4),
            .policy = policy_at(row, 8),
            .created = Timestamp{row.integer_at(6)},
            .suspended = time_at(row, 7)};
  unit.policy.weight = std::clamp<i64>(row.integer_at(5), 1, kWeightMax);
  return unit;
}

}  // namespace tg::gateway
