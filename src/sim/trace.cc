#include "sim/trace.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

namespace tg::sim {

namespace {

constexpr i64 kMs = 1'000'000;
constexpr i64 kSecond = 1'000'000'000;
constexpr i64 kAtMsMax = i64{1} << 43;  // 278 years; in ns it fits an i64
constexpr i64 kTokensMax = 100'000'000;
constexpr std::size_t kTextBytesMax = std::size_t{4} << 30;

Error wrong(std::string_view file, i64 line, std::string_view what, std::string_view value) {
  return Error{Code::kInvalid, std::string(file) + ":" + std::to_string(line) + ": " +
                                   std::string(what) + " '" + std::string(value.substr(0, 80)) +
                                   "'"};
}

std::optional<i64> number(std::string_view text) {
  i64 value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The next line without its end; the rest stays.
std::string_view take_line(std::string_view& text) {
  std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// "2023-11-16 18:17:03.9799600" to ns since 1970; nothing unless every field is of a calendar day
// and clock. Four digits of a year would pass what an i64 of ns holds, so it is bounded too.
std::optional<i64> time_of(std::string_view text) {
  if (text.size() < 19) return std::nullopt;
  auto field = [&](std::size_t at, std::size_t size, i64 low, i64 high) -> std::optional<int> {
    std::optional<i64> value = number(text.substr(at, size));
    if (!value || *value < low || *value > high) return std::nullopt;
    return static_cast<int>(*value);
  };
  std::optional<int> year = field(0, 4, 1970, 2199), month = field(5, 2, 1, 12),
                     day = field(8, 2, 1, 31), hour = field(11, 2, 0, 23),
                     minute = field(14, 2, 0, 59), second = field(17, 2, 0, 60);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  std::chrono::year_month_day date = std::chrono::year(*year) / *month / *day;
  if (!date.ok()) return std::nullopt;
  i64 fraction = 0;
  if (text.size() > 20 && text[19] == '.') {
    std::string digits(text.substr(20, 9));
    digits.resize(9, '0');
    std::optional<i64> parsed = number(digits);
    if (!parsed || *parsed < 0) return std::nullopt;
    fraction = *parsed;
  }
  i64 days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + *hour) * 60 + *minute) * 60 * kSecond + *second * kSecond + fraction;
}

bool is_length(i64 tokens) {
  return tokens > 0 && tokens <= kTokensMax;
}

Result<Trace> parse_azure(std::string_view text, std::string_view file) {
  Trace trace;
  take_line(text);
  for (i64 line_number = 2; !text.empty(); ++line_number) {
    std::string_view line = take_line(text);
    if (line.empty()) continue;
    std::size_t first = line.find(',');
    std::size_t second = first == std::string_view::npos ? first : line.find(',', first + 1);
    if (second == std::string_view::npos) return wrong(file, line_number, "not three fields", line);
    std::optional<i64> at = time_of(line.substr(0, first));
    std::optional<i64> prompt = number(line.substr(first + 1, second - first - 1));
    std::optional<i64> output = number(line.substr(second + 1));
    if (!at || !prompt || !output) return wrong(file, line_number, "not a time and numbers", line);
    // A few requests of the published trace have no output: they take a prompt's time.
    if (!is_length(*prompt) || !is_length(std::max<i64>(1, *output))) {
      return wrong(file, line_number, "lengths out of range", line);
    }
    TraceRequest r;
    r.at_ns = *at;
    r.prompt_tokens = static_cast<i32>(*prompt);
    r.output_tokens = static_cast<i32>(std::max<i64>(1, *output));
    trace.requests.push_back(r);
  }
  return trace;
}

Result<Trace> parse_mooncake(std::string_view text, std::string_view file) {
  Trace trace;
  for (i64 line_number = 1; !text.empty(); ++line_number) {
    std::string_view line = take_line(text);
    if (line.empty()) continue;
    nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    auto field = [&](const char* key) -> i64 {
      auto found = json.is_object() ? json.find(key) : json.end();
      if (!json.is_object() || found == json.end() || !found->is_number()) return -1;
      // By way of f64, which no number leaves: a fraction is cut, what no trace can mean is
      // refused.
      f64 value = found->get<f64>();
      return value >= 0 && value <= static_cast<f64>(kAtMsMax) ? static_cast<i64>(value) : -1;
    };
    i64 at_ms = field("timestamp");
    i64 prompt = field("input_length");
    i64 output = field("output_length");
    if (at_ms < 0 || !is_length(prompt) || !is_length(std::max<i64>(1, output))) {
      return wrong(file, line_number, "not a request", line);
    }
    TraceRequest r;
    r.at_ns = at_ms * kMs;
    r.prompt_tokens = static_cast<i32>(prompt);
    r.output_tokens = static_cast<i32>(std::max<i64>(1, output));
    r.first_block = static_cast<u32>(trace.blocks.size());
    if (json.contains("hash_ids")) {
      for (const nlohmann::json& id : json["hash_ids"]) {
        if (!id.is_number_unsigned()) return wrong(file, line_number, "hash_ids", line);
        trace.blocks.push_back(id.get<u64>() + 1);
      }
    }
    // Only whole blocks can be shared.
    std::size_t whole = static_cast<std::size_t>(prompt / trace.block_tokens);
    r.blocks = static_cast<u32>(std::min(whole, trace.blocks.size() - r.first_block));
    trace.requests.push_back(r);
  }
  return trace;
}

}  // namespace

Result<Trace> parse_trace(std::string_view text, std::string_view file) {
  bool is_json = !text.empty() && text.front() == '{';
  TG_ASSIGN(Trace trace, is_json ? parse_mooncake(text, file) : parse_azure(text, file));
  if (trace.requests.empty()) return Error{Code::kInvalid, std::string(file) + ": no requests"};
  trace.name = file;
  std::stable_sort(trace.requests.begin(), trace.requests.end(),
                   [](const TraceRequest& a, const TraceRequest& b) { return a.at_ns < b.at_ns; });
  i64 start_ns = trace.requests.front().at_ns;
  for (TraceRequest& r : trace.requests) r.at_ns -= start_ns;
  return trace;
}

Result<Trace> read_trace(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return Error{Code::kNotFound, path + ": cannot be opened"};
  std::string text;
  std::vector<char> buffer(1 << 20);
  int count = 0;
  while ((count = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.size() > kTextBytesMax) break;
  }
  gzclose(file);
  if (count < 0) return Error{Code::kCorrupt, path + ": not a gzip file"};
  if (text.size() > kTextBytesMax) return Error{Code::kLimit, path + ": longer than 4 GiB"};
  return parse_trace(text, path);
}

}  // namespace tg::sim
