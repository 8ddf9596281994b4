#include "meter/receipt.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/bytes.h"

namespace tg::meter {

namespace {

constexpr std::string_view kMagic = "tokengrid-receipt/1";
constexpr i64 kNameBytesMax = 128;

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::strchr("-_.:/@", c) != nullptr);
}

bool is_name(std::string_view text) {
  if (text.empty() || static_cast<i64>(text.size()) > kNameBytesMax) return false;
  for (char c : text) {
    if (!is_name_byte(c)) return false;
  }
  return true;
}

std::string join(const std::vector<i64>& values) {
  return fmt::format("{}", fmt::join(values, ","));
}

// Takes the text apart line by line; every line is "<key> <values>".
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  // The values of the next line, which must start with `key`.
  Result<std::string_view> line(std::string_view key) {
    ++number_;
    std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) return wrong(key);
    std::string_view whole = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    if (!whole.starts_with(key)) return wrong(key);
    whole.remove_prefix(key.size());
    if (whole.empty()) return whole;
    if (whole.front() != ' ') return wrong(key);
    return whole.substr(1);
  }
  Error wrong(std::string_view key) const {
    return Error{Code::kInvalid,
                 fmt::format("receipt: line {} is not a valid '{}' line", number_, key)};
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  int number_ = 0;
};

// Takes a line apart: "<value> <value>", each optionally "name=<value>".
class FieldReader {
 public:
  FieldReader(const LineReader& lines, std::string_view key, std::string_view text)
      : lines_(lines), key_(key), rest_(text) {}

  Result<std::string_view> text(std::string_view prefix = {}) {
    std::size_t end = rest_.find(' ');
    std::string_view field = rest_.substr(0, end);
    rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
    if (!field.starts_with(prefix)) return lines_.wrong(key_);
    return field.substr(prefix.size());
  }
  Result<std::string> name(std::string_view prefix = {}) {
    TG_ASSIGN(std::string_view field, text(prefix));
    if (!is_name(field)) return lines_.wrong(key_);
    return std::string(field);
  }
  Result<i64> number(std::string_view prefix = {}) {
    TG_ASSIGN(std::string_view field, text(prefix));
    return parse_number(field);
  }
  Result<i64> parse_number(std::string_view field) const {
    i64 value = 0;
    std::from_chars_result end = std::from_chars(field.data(), field.data() + field.size(), value);
    if (end.ec != std::errc() || end.ptr != field.data() + field.size() || value < 0)
      return lines_.wrong(key_);
    return value;
  }
  Result<u128> id(std::string_view prefix = {}) {
    TG_ASSIGN(std::string_view field, text(prefix));
    Result<u128> value = id_from_hex(field);
    if (!value.ok()) return lines_.wrong(key_);
    return value;
  }

 private:
  const LineReader& lines_;
  std::string_view key_;
  std::string_view rest_;
};

// Days from 1970-01-01 of a civil date (H. Hinnant's algorithm).
i64 days_from_civil(i64 y, i64 m, i64 d) {
  y -= m <= 2;
  i64 era = y / 400;
  i64 year_of_era = y - era * 400;
  i64 day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  i64 day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

Result<Timestamp> parse_time(std::string_view text, const Error& error) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd.dddZ";
  if (text.size() != kForm.size()) return error;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == 'd' ? !digit : text[i] != kForm[i]) return error;
  }
  auto number = [&](std::size_t from, std::size_t count) {
    i64 value = 0;
    for (std::size_t i = from; i < from + count; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  i64 seconds = days_from_civil(number(0, 4), number(5, 2), number(8, 2)) * 86'400 +
                number(11, 2) * 3'600 + number(14, 2) * 60 + number(17, 2);
  Timestamp time{seconds * 1'000'000'000 + number(20, 3) * 1'000'000};
  if (to_rfc3339(time) != text) return error;
  return time;
}

Status parse_parties(LineReader& lines, Receipt& r) {
  TG_ASSIGN(std::string_view log, lines.line("log"));
  TG_ASSIGN(r.log, FieldReader(lines, "log", log).name());
  TG_ASSIGN(std::string_view meter, lines.line("meter"));
  FieldReader meter_fields(lines, "meter", meter);
  TG_ASSIGN(r.meter, meter_fields.name());
  TG_ASSIGN(r.device, meter_fields.name("device="));
  TG_ASSIGN(std::string_view request, lines.line("request"));
  FieldReader request_fields(lines, "request", request);
  TG_ASSIGN(r.request, request_fields.id());
  TG_ASSIGN(r.buyer, request_fields.id("buyer="));
  TG_ASSIGN(r.seller, request_fields.id("seller="));
  return {};
}

Status parse_product(LineReader& lines, Receipt& r) {
  TG_ASSIGN(std::string_view model, lines.line("model"));
  FieldReader model_fields(lines, "model", model);
  TG_ASSIGN(r.model, model_fields.name());
  TG_ASSIGN(std::string_view program, model_fields.text("program=sha256:"));
  Result<std::vector<u8>> digest = from_hex(program);
  if (!digest.ok() || digest->size() != r.program.size()) return lines.wrong("model");
  std::copy(digest->begin(), digest->end(), r.program.begin());
  TG_ASSIGN(std::string_view tables, lines.line("tables"));
  FieldReader table_fields(lines, "tables", tables);
  TG_ASSIGN(i64 revision, table_fields.number("st="));
  if (revision != unit::kRevision) return lines.wrong("tables");
  TG_ASSIGN(r.tariff, table_fields.name("tariff="));
  TG_ASSIGN(i64 factor, table_fields.number("ppm="));
  r.factor_ppm = static_cast<u64>(factor);
  TG_ASSIGN(std::string_view time, lines.line("time"));
  TG_ASSIGN(r.time, parse_time(time, lines.wrong("time")));
  return {};
}

Status parse_outputs(FieldReader& fields, const LineReader& lines, std::vector<i64>& outputs) {
  TG_ASSIGN(std::string_view list, fields.text("out="));
  while (static_cast<i64>(outputs.size()) < kChoicesMax) {
    std::size_t comma = list.find(',');
    TG_ASSIGN(i64 value, fields.parse_number(list.substr(0, comma)));
    outputs.push_back(value);
    if (comma == std::string_view::npos) return {};
    list.remove_prefix(comma + 1);
  }
  return lines.wrong("reading");
}

Status parse_readings(LineReader& lines, Receipt& r) {
  TG_ASSIGN(std::string_view reading, lines.line("reading"));
  FieldReader reading_fields(lines, "reading", reading);
  TG_ASSIGN(r.prompt_tokens, reading_fields.number("in="));
  TG_ASSIGN(r.cached_tokens, reading_fields.number("cached="));
  TG_TRY(parse_outputs(reading_fields, lines, r.output_tokens));
  TG_ASSIGN(std::string_view outcome_text, lines.line("outcome"));
  std::optional<Outcome> outcome = outcome_by_name(outcome_text);
  if (!outcome) return lines.wrong("outcome");
  r.outcome = *outcome;
  TG_ASSIGN(std::string_view work, lines.line("work"));
  FieldReader work_fields(lines, "work", work);
  TG_ASSIGN(r.nominal_nst, work_fields.number("nominal_nst="));
  TG_ASSIGN(r.input_nst, work_fields.number("input_nst="));
  TG_ASSIGN(r.output_nst, work_fields.number("output_nst="));
  TG_ASSIGN(r.billable_nst, work_fields.number("billable_nst="));
  TG_ASSIGN(r.actual_nst, work_fields.number("actual_nst="));
  return {};
}

Status parse_timing_and_posts(LineReader& lines, Receipt& r) {
  TG_ASSIGN(std::string_view timing, lines.line("timing"));
  FieldReader timing_fields(lines, "timing", timing);
  TG_ASSIGN(r.steps, timing_fields.number("steps="));
  TG_ASSIGN(r.device_us, timing_fields.number("device_us="));
  TG_ASSIGN(r.queue_us, timing_fields.number("queue_us="));
  TG_ASSIGN(r.first_token_us, timing_fields.number("ttft_us="));
  TG_ASSIGN(r.total_us, timing_fields.number("total_us="));
  TG_ASSIGN(std::string_view hold, lines.line("hold"));
  FieldReader hold_fields(lines, "hold", hold);
  TG_ASSIGN(r.hold, hold_fields.id());
  TG_ASSIGN(r.held, hold_fields.number("amount="));
  TG_ASSIGN(std::string_view billed, lines.line("billed"));
  FieldReader billed_fields(lines, "billed", billed);
  TG_ASSIGN(r.billed, billed_fields.number());
  TG_ASSIGN(r.post, billed_fields.id("post="));
  return {};
}

}  // namespace

std::string to_text(const Receipt& r) {
  for (const std::string* text : {&r.log, &r.meter, &r.device, &r.model, &r.tariff})
    TG_ASSERT(is_name(*text));
  TG_ASSERT(!r.output_tokens.empty() && static_cast<i64>(r.output_tokens.size()) <= kChoicesMax);
  std::string out;
  out += fmt::format("{}\nlog {}\nmeter {} device={}\n", kMagic, r.log, r.meter, r.device);
  out += fmt::format("request {} buyer={} seller={}\n", to_hex(r.request), to_hex(r.buyer),
                     to_hex(r.seller));
  out += fmt::format("model {} program=sha256:{}\n", r.model, to_hex(r.program));
  out += fmt::format("tables st={} tariff={} ppm={}\n", unit::kRevision, r.tariff, r.factor_ppm);
  out += fmt::format("time {}\n", to_rfc3339(r.time));
  out += fmt::format("reading in={} cached={} out={}\n", r.prompt_tokens, r.cached_tokens,
                     join(r.output_tokens));
  out += fmt::format("outcome {}\n", name(r.outcome));
  out +=
      fmt::format("work nominal_nst={} input_nst={} output_nst={} billable_nst={} actual_nst={}\n",
                  r.nominal_nst, r.input_nst, r.output_nst, r.billable_nst, r.actual_nst);
  out += fmt::format("timing steps={} device_us={} queue_us={} ttft_us={} total_us={}\n", r.steps,
                     r.device_us, r.queue_us, r.first_token_us, r.total_us);
  out += fmt::format("hold {} amount={}\n", to_hex(r.hold), r.held);
  out += fmt::format("billed {} post={}\n", r.billed, to_hex(r.post));
  return out;
}

Result<Receipt> parse_receipt(std::string_view text) {
  LineReader lines(text);
  Receipt receipt;
  TG_ASSIGN(std::string_view magic, lines.line(kMagic));
  if (!magic.empty()) return lines.wrong(kMagic);
  TG_TRY(parse_parties(lines, receipt));
  TG_TRY(parse_product(lines, receipt));
  TG_TRY(parse_readings(lines, receipt));
  TG_TRY(parse_timing_and_posts(lines, receipt));
  // One encoding only: leading zeros, extra fields or lines do not survive this comparison.
  if (!lines.at_end() || to_text(receipt) != text) {
    return Error{Code::kInvalid, "receipt: not in canonical form"};
  }
  return receipt;
}

i64 billed_amount(i64 billable_nst, u64 factor_ppm, i64 held) {
  TG_ASSERT(billable_nst >= 0 && held >= 0);
  u128 billed = static_cast<u128>(billable_nst) * factor_ppm / 1'000'000;
  return static_cast<i64>(std::min<u128>(billed, static_cast<u128>(held)));
}

static Status expect_equal(const char* figure, i64 stated, i64 recomputed) {
  if (stated == recomputed) return {};
  return Error{Code::kCorrupt,
               fmt::format("receipt: {} is {}, recomputed {}", figure, stated, recomputed)};
}

Status check_arithmetic(const Receipt& r, const unit::CostMatrix& cost) {
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(cost, {.prompt = r.prompt_tokens,
                                                              .cached = r.cached_tokens,
                                                              .outputs = r.output_tokens}));
  i64 delivered = 0;
  for (i64 output : r.output_tokens) delivered += output;
  TG_TRY(expect_equal("nominal_nst", r.nominal_nst, work.total.value));
  TG_TRY(expect_equal("input_nst", r.input_nst, work.input.value));
  TG_TRY(expect_equal("output_nst", r.output_nst, work.output.value));
  TG_TRY(expect_equal("billable_nst", r.billable_nst, billable(r.outcome, work, delivered).value));
  TG_TRY(expect_equal("billed", r.billed, billed_amount(r.billable_nst, r.factor_ppm, r.held)));
  if ((r.billed == 0) != (r.post == 0))
    return Error{Code::kCorrupt, "receipt: post does not match billed"};
  return {};
}

std::string receipt_name(std::string_view text) {
  std::string out(text.substr(0, kNameBytesMax));
  for (char& c : out) {
    if (!is_name_byte(c)) c = '_';
  }
  return out.empty() ? "_" : out;
}

}  // namespace tg::meter
