#include "meter/receipt_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/checked.h"
#include "meter/receipt.h"

namespace tg::meter {

namespace {

constexpr std::string_view kMagic1 = "tokengrid-receipt/1";
constexpr std::string_view kMagic2 = "tokengrid-receipt/2";
constexpr std::string_view kDraftMagic = "tokengrid-draft/2";

// Which lines and fields are there.
enum class Form : u8 { kVersion1, kVersion2, kDraft };

}  // namespace

bool is_name(std::string_view text) {
  return !text.empty() && static_cast<i64>(text.size()) <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), is_name_byte);
}

// --- reading lines and fields -------------------------------------------------------------------

Result<std::string_view> LineReader::line(std::string_view key) {
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

Error LineReader::wrong(std::string_view key) const {
  return Error{Code::kInvalid,
               fmt::format("receipt: line {} is not a valid '{}' line", number_, key)};
}

Result<FieldReader> FieldReader::next(LineReader& lines, std::string_view key) {
  TG_ASSIGN(std::string_view fields, lines.line(key));
  return FieldReader(lines, key, fields);
}

Result<std::string_view> FieldReader::text(std::string_view prefix) {
  std::size_t end = rest_.find(' ');
  std::string_view field = rest_.substr(0, end);
  rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
  if (!field.starts_with(prefix)) return wrong();
  return field.substr(prefix.size());
}

Result<std::string> FieldReader::name(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  if (!is_name(field)) return wrong();
  return std::string(field);
}

Result<i64> FieldReader::number(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  return parse_number(field);
}

Result<i64> FieldReader::parse_number(std::string_view field) const {
  i64 value = 0;
  std::from_chars_result end = std::from_chars(field.data(), field.data() + field.size(), value);
  if (end.ec != std::errc() || end.ptr != field.data() + field.size() || value < 0) return wrong();
  return value;
}

Result<u128> FieldReader::wide(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  if (field.empty()) return wrong();
  u128 value = 0;
  for (char c : field) {
    if (c < '0' || c > '9') return wrong();
    std::optional<u128> tens = checked_mul<u128>(value, 10);
    std::optional<u128> sum =
        tens ? checked_add<u128>(*tens, static_cast<u128>(c - '0')) : std::nullopt;
    if (!sum) return wrong();
    value = *sum;
  }
  return value;
}

Result<u128> FieldReader::id(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  Result<u128> value = id_from_hex(field);
  if (!value.ok()) return wrong();
  return value;
}

Status FieldReader::bytes(std::string_view prefix, std::span<u8> out) {
  TG_ASSIGN(std::string_view field, text(prefix));
  if (field.size() != 2 * out.size()) return wrong();
  Result<std::vector<u8>> value = from_hex(field);
  if (!value.ok()) return wrong();
  std::copy(value->begin(), value->end(), out.begin());
  return {};
}

// --- parsing ------------------------------------------------------------------------------------

namespace {

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
  if (seconds < 0) return error;
  // Nanoseconds of the year 2262 are the last that 63 bits hold.
  std::optional<i64> ns = checked_mul<i64>(seconds, 1'000'000'000);
  if (ns) ns = checked_add<i64>(*ns, number(20, 3) * 1'000'000);
  if (!ns) return error;
  Timestamp time{*ns};
  if (to_rfc3339(time) != text) return error;
  return time;
}

Status parse_parties(LineReader& lines, Form form, Receipt& r) {
  TG_ASSIGN(FieldReader log, FieldReader::next(lines, "log"));
  if (form != Form::kDraft) {
    TG_ASSIGN(r.log, log.name());
  }
  if (form != Form::kVersion1) {
    TG_ASSIGN(std::string_view suite, log.text("suite="));
    std::optional<tlog::Suite> known = tlog::suite_by_name(suite);
    if (!known) return log.wrong();
    r.suite = *known;
  }
  TG_ASSIGN(FieldReader meter, FieldReader::next(lines, "meter"));
  if (form != Form::kDraft) {
    TG_ASSIGN(r.meter, meter.name());
  }
  TG_ASSIGN(r.device, meter.name("device="));
  if (form == Form::kVersion2) {
    TG_ASSIGN(i64 page, meter.number("page="));
    r.page = static_cast<u64>(page);
    TG_TRY(meter.bytes("nonce=", r.nonce));
  }
  TG_ASSIGN(FieldReader request, FieldReader::next(lines, "request"));
  TG_ASSIGN(r.request, request.id());
  TG_ASSIGN(r.buyer, request.id("buyer="));
  TG_ASSIGN(r.seller, request.id("seller="));
  return {};
}

Status parse_product(LineReader& lines, Receipt& r) {
  TG_ASSIGN(FieldReader model, FieldReader::next(lines, "model"));
  TG_ASSIGN(r.model, model.name());
  TG_TRY(model.bytes("program=sha256:", r.program));
  TG_ASSIGN(FieldReader tables, FieldReader::next(lines, "tables"));
  TG_ASSIGN(i64 revision, tables.number("st="));
  if (revision != unit::kRevision) return tables.wrong();
  TG_ASSIGN(r.tariff, tables.name("tariff="));
  TG_ASSIGN(i64 factor, tables.number("ppm="));
  r.factor_ppm = static_cast<u64>(factor);
  TG_ASSIGN(std::string_view time, lines.line("time"));
  TG_ASSIGN(r.time, parse_time(time, lines.wrong("time")));
  return {};
}

Status parse_registers(LineReader& lines, std::string_view key, Registers& out) {
  TG_ASSIGN(FieldReader fields, FieldReader::next(lines, key));
  TG_ASSIGN(out.nominal_nst, fields.wide("nominal_nst="));
  TG_ASSIGN(out.billed, fields.wide("billed="));
  TG_ASSIGN(out.prompt_tokens, fields.wide("in="));
  TG_ASSIGN(out.cached_tokens, fields.wide("cached="));
  TG_ASSIGN(out.output_tokens, fields.wide("out="));
  return {};
}

// Their sum must be a count as well.
Status parse_outputs(FieldReader& fields, std::vector<i64>& outputs) {
  TG_ASSIGN(std::string_view list, fields.text("out="));
  i64 sum = 0;
  while (static_cast<i64>(outputs.size()) < kChoicesMax) {
    std::size_t comma = list.find(',');
    TG_ASSIGN(i64 value, fields.parse_number(list.substr(0, comma)));
    std::optional<i64> more = checked_add(sum, value);
    if (!more) return fields.wrong();
    sum = *more;
    outputs.push_back(value);
    if (comma == std::string_view::npos) return {};
    list.remove_prefix(comma + 1);
  }
  return fields.wrong();
}

Status parse_readings(LineReader& lines, Receipt& r) {
  TG_ASSIGN(FieldReader reading, FieldReader::next(lines, "reading"));
  TG_ASSIGN(r.prompt_tokens, reading.number("in="));
  TG_ASSIGN(r.cached_tokens, reading.number("cached="));
  TG_TRY(parse_outputs(reading, r.output_tokens));
  TG_ASSIGN(std::string_view outcome_text, lines.line("outcome"));
  std::optional<Outcome> outcome = outcome_by_name(outcome_text);
  if (!outcome) return lines.wrong("outcome");
  r.outcome = *outcome;
  TG_ASSIGN(FieldReader work, FieldReader::next(lines, "work"));
  TG_ASSIGN(r.nominal_nst, work.number("nominal_nst="));
  TG_ASSIGN(r.input_nst, work.number("input_nst="));
  TG_ASSIGN(r.output_nst, work.number("output_nst="));
  TG_ASSIGN(r.billable_nst, work.number("billable_nst="));
  TG_ASSIGN(r.actual_nst, work.number("actual_nst="));
  return {};
}

Status parse_timing_and_posts(LineReader& lines, Receipt& r) {
  TG_ASSIGN(FieldReader timing, FieldReader::next(lines, "timing"));
  TG_ASSIGN(r.steps, timing.number("steps="));
  TG_ASSIGN(r.device_us, timing.number("device_us="));
  TG_ASSIGN(r.queue_us, timing.number("queue_us="));
  TG_ASSIGN(r.first_token_us, timing.number("ttft_us="));
  TG_ASSIGN(r.total_us, timing.number("total_us="));
  TG_ASSIGN(FieldReader hold, FieldReader::next(lines, "hold"));
  TG_ASSIGN(r.hold, hold.id());
  TG_ASSIGN(r.held, hold.number("amount="));
  TG_ASSIGN(FieldReader billed, FieldReader::next(lines, "billed"));
  TG_ASSIGN(r.billed, billed.number());
  TG_ASSIGN(r.post, billed.id("post="));
  return {};
}

// "hmac-<hash>:<hex>", or "-" for none.
Status parse_bound(FieldReader& fields, std::string_view prefix, tlog::Suite suite,
                   std::optional<tlog::Hash>& out) {
  TG_ASSIGN(std::string_view text, fields.text(prefix));
  if (text == "-") return {};
  std::string kind = fmt::format("hmac-{}:", tlog::hash_name(suite));
  if (!text.starts_with(kind)) return fields.wrong();
  Result<std::vector<u8>> bytes = from_hex(text.substr(kind.size()));
  if (!bytes.ok() || bytes->size() != sizeof(tlog::Hash)) return fields.wrong();
  out.emplace();
  std::copy(bytes->begin(), bytes->end(), out->begin());
  return {};
}

Status parse_binding(LineReader& lines, Receipt& r) {
  TG_ASSIGN(FieldReader bind, FieldReader::next(lines, "bind"));
  TG_TRY(parse_bound(bind, "in=", r.suite, r.binding.input));
  TG_ASSIGN(r.binding.input_bytes, bind.number("bytes="));
  TG_TRY(parse_bound(bind, "out=", r.suite, r.binding.output));
  TG_ASSIGN(r.binding.output_bytes, bind.number("bytes="));
  return {};
}

Status parse_body(LineReader& lines, Form form, Receipt& r) {
  TG_TRY(parse_parties(lines, form, r));
  TG_TRY(parse_product(lines, r));
  if (form == Form::kVersion2) {
    TG_TRY(parse_registers(lines, "begin", r.begin));
    TG_TRY(parse_registers(lines, "end", r.end));
  }
  TG_TRY(parse_readings(lines, r));
  TG_TRY(parse_timing_and_posts(lines, r));
  if (form != Form::kVersion1) TG_TRY(parse_binding(lines, r));
  return {};
}

// --- printing -----------------------------------------------------------------------------------

using Out = fmt::memory_buffer;

template <typename... T>
void print(Out& out, fmt::format_string<T...> format, T&&... values) {
  fmt::format_to(fmt::appender(out), format, std::forward<T>(values)...);
}

void print_registers(Out& out, std::string_view key, const Registers& r) {
  print(out, "{} nominal_nst={} billed={} in={} cached={} out={}\n", key, to_string(r.nominal_nst),
        to_string(r.billed), to_string(r.prompt_tokens), to_string(r.cached_tokens),
        to_string(r.output_tokens));
}

std::string bound(tlog::Suite suite, const std::optional<tlog::Hash>& hash) {
  return hash ? fmt::format("hmac-{}:{}", tlog::hash_name(suite), to_hex(*hash)) : "-";
}

void print_head(Out& out, Form form, const Receipt& r) {
  if (form == Form::kVersion1) {
    print(out, "{}\nlog {}\nmeter {} device={}\n", kMagic1, r.log, r.meter, r.device);
  } else if (form == Form::kVersion2) {
    print(out, "{}\nlog {} suite={}\n", kMagic2, r.log, tlog::name(r.suite));
    print(out, "meter {} device={} page={} nonce={}\n", r.meter, r.device, r.page,
          to_hex(std::span<const u8>(r.nonce)));
  } else {
    print(out, "{}\nlog suite={}\nmeter device={}\n", kDraftMagic, tlog::name(r.suite), r.device);
  }
}

void print_body(Out& out, Form form, const Receipt& r) {
  print(out, "request {} buyer={} seller={}\n", to_hex(r.request), to_hex(r.buyer),
        to_hex(r.seller));
  print(out, "model {} program=sha256:{}\n", r.model, to_hex(r.program));
  print(out, "tables st={} tariff={} ppm={}\n", unit::kRevision, r.tariff, r.factor_ppm);
  print(out, "time {}\n", to_rfc3339(r.time));
  if (form == Form::kVersion2) {
    print_registers(out, "begin", r.begin);
    print_registers(out, "end", r.end);
  }
  print(out, "reading in={} cached={} out={}\n", r.prompt_tokens, r.cached_tokens,
        fmt::join(r.output_tokens, ","));
  print(out, "outcome {}\n", name(r.outcome));
  print(out, "work nominal_nst={} input_nst={} output_nst={} billable_nst={} actual_nst={}\n",
        r.nominal_nst, r.input_nst, r.output_nst, r.billable_nst, r.actual_nst);
  print(out, "timing steps={} device_us={} queue_us={} ttft_us={} total_us={}\n", r.steps,
        r.device_us, r.queue_us, r.first_token_us, r.total_us);
  print(out, "hold {} amount={}\n", to_hex(r.hold), r.held);
  print(out, "billed {} post={}\n", r.billed, to_hex(r.post));
  if (form == Form::kVersion1) return;
  print(out, "bind in={} bytes={} out={} bytes={}\n", bound(r.suite, r.binding.input),
        r.binding.input_bytes, bound(r.suite, r.binding.output), r.binding.output_bytes);
}

void check_names(const Receipt& r, Form form) {
  for (const std::string* text : {&r.device, &r.model, &r.tariff}) TG_ASSERT(is_name(*text));
  if (form != Form::kDraft) TG_ASSERT(is_name(r.log) && is_name(r.meter));
  TG_ASSERT(!r.output_tokens.empty() && static_cast<i64>(r.output_tokens.size()) <= kChoicesMax);
}

Error not_canonical() {
  return Error{Code::kInvalid, "receipt: not in canonical form"};
}

Status check_length(std::string_view text) {
  if (text.size() <= kReceiptTextMax) return {};
  return Error{Code::kLimit,
               fmt::format("receipt: {} bytes, the limit is {}", text.size(), kReceiptTextMax)};
}

}  // namespace

std::string to_text(const Receipt& r) {
  TG_ASSERT(r.version == 1 || r.version == 2);
  Form form = r.version == 1 ? Form::kVersion1 : Form::kVersion2;
  check_names(r, form);
  Out out;
  print_head(out, form, r);
  print_body(out, form, r);
  return fmt::to_string(out);
}

Result<Receipt> parse_receipt(std::string_view text) {
  TG_TRY(check_length(text));
  LineReader lines(text);
  Receipt receipt;
  receipt.version = text.starts_with(kMagic1) ? 1 : 2;
  Form form = receipt.version == 1 ? Form::kVersion1 : Form::kVersion2;
  std::string_view magic = receipt.version == 1 ? kMagic1 : kMagic2;
  TG_ASSIGN(std::string_view rest, lines.line(magic));
  if (!rest.empty()) return lines.wrong(magic);
  TG_TRY(parse_body(lines, form, receipt));
  // One encoding only: leading zeros, extra fields or lines do not survive this comparison.
  if (!lines.at_end() || to_text(receipt) != text) return not_canonical();
  return receipt;
}

std::string to_text(const Draft& draft) {
  check_names(draft.receipt, Form::kDraft);
  Out out;
  print_head(out, Form::kDraft, draft.receipt);
  print_body(out, Form::kDraft, draft.receipt);
  print(out, "salt {}\n", to_hex(std::span<const u8>(draft.salt)));
  return fmt::to_string(out);
}

Result<Draft> parse_draft(std::string_view text) {
  TG_TRY(check_length(text));
  LineReader lines(text);
  Draft draft;
  Receipt& r = draft.receipt;
  TG_ASSIGN(std::string_view rest, lines.line(kDraftMagic));
  if (!rest.empty()) return lines.wrong(kDraftMagic);
  TG_TRY(parse_body(lines, Form::kDraft, r));
  TG_ASSIGN(FieldReader salt, FieldReader::next(lines, "salt"));
  TG_TRY(salt.bytes({}, draft.salt));
  if (!lines.at_end() || to_text(draft) != text) return not_canonical();
  return draft;
}

}  // namespace tg::meter
