#include "meter/receipt_text.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/checked.h"
#include "meter/receipt.h"

namespace tg::meter {

namespace {

// Which lines and fields are there.
struct Form {
  i64 version = 3;
  bool is_draft = false;
  std::string_view kind() const { return is_draft ? "draft" : "receipt"; }
  std::string magic() const { return fmt::format("tokengrid-{}/{}", kind(), version); }
  bool has_page() const { return version > 1 && !is_draft; }
};

Result<Form> form_of(std::string_view text, bool is_draft) {
  for (i64 version = 3; version >= (is_draft ? 2 : 1); --version) {
    Form form{.version = version, .is_draft = is_draft};
    if (text.starts_with(form.magic() + "\n")) return form;
  }
  return Error{Code::kInvalid, "receipt: line 1 names no form that is known here"};
}

}  // namespace

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

std::optional<Timestamp> parse_time(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd.dddZ";
  if (text.size() != kForm.size()) return std::nullopt;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == 'd' ? !digit : text[i] != kForm[i]) return std::nullopt;
  }
  auto number = [&](std::size_t from, std::size_t count) {
    i64 value = 0;
    for (std::size_t i = from; i < from + count; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  i64 seconds = days_from_civil(number(0, 4), number(5, 2), number(8, 2)) * 86'400 +
                number(11, 2) * 3'600 + number(14, 2) * 60 + number(17, 2);
  if (seconds < 0) return std::nullopt;
  // Nanoseconds of the year 2262 are the last that 63 bits hold.
  std::optional<i64> ns = checked_mul<i64>(seconds, 1'000'000'000);
  if (ns) ns = checked_add<i64>(*ns, number(20, 3) * 1'000'000);
  if (!ns) return std::nullopt;
  Timestamp time{*ns};
  if (to_rfc3339(time) != text) return std::nullopt;
  return time;
}

constexpr std::string_view kGeneration = "generation";
constexpr std::string_view kEmbedding = "embedding";
constexpr std::string_view kInMoney = "ucredit";
constexpr std::string_view kInStandard = "nano_st";

Status parse_parties(LineReader& lines, Form form, Receipt& r) {
  TG_ASSIGN(FieldReader log, FieldReader::next(lines, "log"));
  if (!form.is_draft) {
    TG_ASSIGN(r.log, log.name());
  }
  if (form.version > 1) {
    TG_ASSIGN(std::string_view suite, log.text("suite="));
    std::optional<tlog::Suite> known = tlog::suite_by_name(suite);
    if (!known) return log.wrong();
    r.suite = *known;
  }
  TG_ASSIGN(FieldReader meter, FieldReader::next(lines, "meter"));
  if (!form.is_draft) {
    TG_ASSIGN(r.meter, meter.name());
  }
  TG_ASSIGN(r.device, meter.name("device="));
  if (form.has_page()) {
    TG_ASSIGN(i64 page, meter.number("page="));
    r.page = static_cast<u64>(page);
    TG_TRY(meter.bytes("nonce=", r.nonce));
  }
  TG_ASSIGN(FieldReader request, FieldReader::next(lines, "request"));
  TG_ASSIGN(r.request, request.id());
  TG_ASSIGN(r.buyer, request.id("buyer="));
  TG_ASSIGN(r.seller, request.id("seller="));
  if (form.version < 3) return {};
  TG_ASSIGN(r.choice, request.number("choice="));
  TG_ASSIGN(std::string_view kind, request.text("kind="));
  r.is_embedding = kind == kEmbedding;
  return r.is_embedding || kind == kGeneration ? Status{} : Status{request.wrong()};
}

// "from=O,R" and the classes that cost something, in their order.
Status parse_price(LineReader& lines, PriceSegment& out) {
  TG_ASSIGN(FieldReader fields, FieldReader::next(lines, "price"));
  TG_ASSIGN(std::string_view from, fields.text("from="));
  std::size_t comma = from.find(',');
  if (comma == std::string_view::npos) return fields.wrong();
  TG_ASSIGN(out.output_from, fields.parse_number(from.substr(0, comma)));
  TG_ASSIGN(out.reasoning_from, fields.parse_number(from.substr(comma + 1)));
  while (!fields.at_end()) {
    TG_ASSIGN(std::string_view field, fields.text());
    std::size_t equals = field.find('=');
    std::size_t i = 0;
    while (i < kRatedClasses && name(static_cast<RatedClass>(i)) != field.substr(0, equals)) ++i;
    if (equals == std::string_view::npos || i == kRatedClasses) return fields.wrong();
    TG_ASSIGN(out.prices.values[i], fields.parse_number(field.substr(equals + 1)));
  }
  return check(out.prices).ok() ? Status{} : Status{fields.wrong()};
}

// Each segment begins where the one before it ends, and not all at once.
bool follows(const PriceSegment& before, const PriceSegment& after) {
  return after.output_from >= before.output_from && after.reasoning_from >= before.reasoning_from;
}

Status parse_pricing(LineReader& lines, FieldReader& tables, Pricing& out) {
  TG_ASSIGN(out.card, tables.name("card="));
  TG_ASSIGN(i64 version, tables.number("version="));
  out.version = static_cast<u64>(version);
  TG_ASSIGN(std::string_view unit, tables.text("unit="));
  out.in_money = unit == kInMoney;
  if (!out.in_money && unit != kInStandard) return tables.wrong();
  TG_TRY(tables.bytes("sha256:", out.digest));
  do {
    PriceSegment segment;
    TG_TRY(parse_price(lines, segment));
    const PriceSegment& before = out.segments.empty() ? PriceSegment{} : out.segments.back();
    bool starts_at_zero = segment.output_from == 0 && segment.reasoning_from == 0;
    bool is_full = static_cast<i64>(out.segments.size()) == kPriceSegmentsMax;
    if (is_full || !follows(before, segment) || (out.segments.empty() && !starts_at_zero))
      return lines.wrong("price");
    out.segments.push_back(segment);
  } while (lines.next_is("price"));
  return {};
}

Status parse_product(LineReader& lines, Form form, Receipt& r) {
  TG_ASSIGN(FieldReader model, FieldReader::next(lines, "model"));
  TG_ASSIGN(r.model, model.name());
  TG_TRY(model.bytes("program=sha256:", r.program));
  TG_ASSIGN(FieldReader tables, FieldReader::next(lines, "tables"));
  TG_ASSIGN(i64 revision, tables.number("st="));
  if (revision != unit::kRevision) return tables.wrong();
  if (form.version < 3) {
    TG_ASSIGN(r.tariff, tables.name("tariff="));
    TG_ASSIGN(i64 factor, tables.number("ppm="));
    r.factor_ppm = static_cast<u64>(factor);
  } else {
    TG_TRY(parse_pricing(lines, tables, r.pricing));
  }
  TG_ASSIGN(std::string_view time, lines.line("time"));
  std::optional<Timestamp> when = parse_time(time);
  if (!when) return lines.wrong("time");
  r.time = *when;
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

Status parse_flag(FieldReader& fields, std::string_view prefix, bool& out) {
  TG_ASSIGN(i64 value, fields.number(prefix));
  out = value == 1;
  return value <= 1 ? Status{} : Status{fields.wrong()};
}

Status parse_reading(LineReader& lines, Form form, Receipt& r) {
  TG_ASSIGN(FieldReader reading, FieldReader::next(lines, "reading"));
  TG_ASSIGN(r.prompt_tokens, reading.number("in="));
  TG_ASSIGN(r.cached_tokens, reading.number("cached="));
  if (form.version < 3) return parse_outputs(reading, r.output_tokens);
  TG_ASSIGN(r.written_tokens, reading.number("written="));
  TG_ASSIGN(i64 output, reading.number("out="));
  r.output_tokens.push_back(output);
  TG_ASSIGN(r.reasoning_tokens, reading.number("reasoning="));
  TG_TRY(parse_flag(reading, "estimated=", r.is_estimated));
  TG_ASSIGN(i64 flags, reading.number("flags="));
  r.usage_flags = static_cast<u32>(flags);
  bool is_possible = flags <= UINT32_MAX && r.reasoning_tokens <= output &&
                     r.cached_tokens <= r.prompt_tokens &&
                     r.written_tokens <= r.prompt_tokens - r.cached_tokens;
  return is_possible ? Status{} : Status{reading.wrong()};
}

Status parse_readings(LineReader& lines, Form form, Receipt& r) {
  TG_TRY(parse_reading(lines, form, r));
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

Status parse_payments(LineReader& lines, Receipt& r) {
  TG_ASSIGN(FieldReader hold, FieldReader::next(lines, "hold"));
  TG_ASSIGN(r.hold, hold.id());
  TG_ASSIGN(r.mode, hold.name("mode="));
  TG_ASSIGN(r.max_cost, hold.number("max_cost="));
  TG_ASSIGN(r.held, hold.number("authorised="));
  TG_ASSIGN(r.slices, hold.number("slices="));
  TG_ASSIGN(FieldReader billed, FieldReader::next(lines, "billed"));
  TG_ASSIGN(r.billed, billed.number());
  while (lines.next_is("paid")) {
    if (static_cast<i64>(r.paid.size()) == kPaymentsMax) return lines.wrong("paid");
    TG_ASSIGN(FieldReader paid, FieldReader::next(lines, "paid"));
    Payment payment;
    TG_ASSIGN(payment.account, paid.id());
    TG_ASSIGN(payment.amount, paid.number("amount="));
    r.paid.push_back(payment);
  }
  return {};
}

Status parse_timing_and_posts(LineReader& lines, Form form, Receipt& r) {
  TG_ASSIGN(FieldReader timing, FieldReader::next(lines, "timing"));
  TG_ASSIGN(r.steps, timing.number("steps="));
  TG_ASSIGN(r.device_us, timing.number("device_us="));
  TG_ASSIGN(r.queue_us, timing.number("queue_us="));
  TG_ASSIGN(r.first_token_us, timing.number("ttft_us="));
  TG_ASSIGN(r.total_us, timing.number("total_us="));
  if (form.version == 3) return parse_payments(lines, r);
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
  out.emplace();
  return fields.parse_bytes(text.substr(kind.size()), *out);
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
  TG_TRY(parse_product(lines, form, r));
  if (form.has_page()) {
    TG_TRY(parse_registers(lines, "begin", r.begin));
    TG_TRY(parse_registers(lines, "end", r.end));
  }
  TG_TRY(parse_readings(lines, form, r));
  TG_TRY(parse_timing_and_posts(lines, form, r));
  if (form.version > 1) TG_TRY(parse_binding(lines, r));
  return {};
}

// --- printing -----------------------------------------------------------------------------------

using Out = fmt::memory_buffer;

// Every charge is printed, and printed again wherever it is read: formats are worked out when this
// is compiled.
template <typename Format, typename... T>
void print(Out& out, const Format& format, const T&... values) {
  fmt::format_to(fmt::appender(out), format, values...);
}

void print_hex(Out& out, std::span<const u8> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::size_t at = out.size();
  out.resize(at + 2 * bytes.size());
  for (u8 byte : bytes) {
    out[at++] = kDigits[byte >> 4];
    out[at++] = kDigits[byte & 15];
  }
}

void print_id(Out& out, u128 id) {
  std::array<u8, 16> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(id >> (120 - 8 * i));
  print_hex(out, bytes);
}

void print_text(Out& out, std::string_view text) {
  out.append(text.data(), text.data() + text.size());
}

void print_registers(Out& out, std::string_view key, const Registers& r) {
  print(out, FMT_COMPILE("{} nominal_nst={} billed={} in={} cached={} out={}\n"), key,
        to_string(r.nominal_nst), to_string(r.billed), to_string(r.prompt_tokens),
        to_string(r.cached_tokens), to_string(r.output_tokens));
}

void print_bound(Out& out, tlog::Suite suite, const std::optional<tlog::Hash>& hash) {
  if (!hash) return print_text(out, "-");
  print(out, FMT_COMPILE("hmac-{}:"), tlog::hash_name(suite));
  print_hex(out, *hash);
}

void print_head(Out& out, Form form, const Receipt& r) {
  print(out, FMT_COMPILE("tokengrid-{}/{}\nlog "), form.kind(), form.version);
  if (!form.is_draft) print_text(out, r.log);
  if (form.version > 1)
    print(out, FMT_COMPILE("{}suite={}"), form.is_draft ? "" : " ", tlog::name(r.suite));
  print_text(out, "\nmeter ");
  if (!form.is_draft) print(out, FMT_COMPILE("{} "), r.meter);
  print(out, FMT_COMPILE("device={}"), r.device);
  if (form.has_page()) {
    print(out, FMT_COMPILE(" page={} nonce="), r.page);
    print_hex(out, r.nonce);
  }
  print_text(out, "\nrequest ");
  print_id(out, r.request);
  print_text(out, " buyer=");
  print_id(out, r.buyer);
  print_text(out, " seller=");
  print_id(out, r.seller);
  if (form.version == 3)
    print(out, FMT_COMPILE(" choice={} kind={}"), r.choice,
          r.is_embedding ? kEmbedding : kGeneration);
  print(out, FMT_COMPILE("\nmodel {} program=sha256:"), r.model);
  print_hex(out, r.program);
  print_text(out, "\n");
}

void print_pricing(Out& out, const Pricing& pricing) {
  print(out, FMT_COMPILE("tables st={} card={} version={} unit={} sha256:"), unit::kRevision,
        pricing.card, pricing.version, pricing.in_money ? kInMoney : kInStandard);
  print_hex(out, pricing.digest);
  print_text(out, "\n");
  for (const PriceSegment& segment : pricing.segments) {
    print(out, FMT_COMPILE("price from={},{}"), segment.output_from, segment.reasoning_from);
    for (std::size_t i = 0; i < kRatedClasses; ++i) {
      i64 value = segment.prices.values[i];
      if (value != 0) print(out, FMT_COMPILE(" {}={}"), name(static_cast<RatedClass>(i)), value);
    }
    print(out, FMT_COMPILE("\n"));
  }
}

void print_tables(Out& out, Form form, const Receipt& r) {
  if (form.version == 3) {
    print_pricing(out, r.pricing);
  } else {
    print(out, FMT_COMPILE("tables st={} tariff={} ppm={}\n"), unit::kRevision, r.tariff,
          r.factor_ppm);
  }
  print(out, FMT_COMPILE("time {}\n"), to_rfc3339(r.time));
}

void print_readings(Out& out, Form form, const Receipt& r) {
  if (form.has_page()) {
    print_registers(out, "begin", r.begin);
    print_registers(out, "end", r.end);
  }
  print(out, FMT_COMPILE("reading in={} cached={}"), r.prompt_tokens, r.cached_tokens);
  if (form.version == 3) print(out, FMT_COMPILE(" written={}"), r.written_tokens);
  print(out, FMT_COMPILE(" out={}"), fmt::join(r.output_tokens, ","));
  if (form.version == 3)
    print(out, FMT_COMPILE(" reasoning={} estimated={} flags={}"), r.reasoning_tokens,
          r.is_estimated ? 1 : 0, r.usage_flags);
  print(out, FMT_COMPILE("\noutcome {}\n"), name(r.outcome));
}

void print_payments(Out& out, Form form, const Receipt& r) {
  if (form.version < 3) {
    print_text(out, "hold ");
    print_id(out, r.hold);
    print(out, FMT_COMPILE(" amount={}\nbilled {} post="), r.held, r.billed);
    print_id(out, r.post);
    print_text(out, "\n");
    return;
  }
  print_text(out, "hold ");
  print_id(out, r.hold);
  print(out, FMT_COMPILE(" mode={} max_cost={} authorised={} slices={}\nbilled {}\n"), r.mode,
        r.max_cost, r.held, r.slices, r.billed);
  for (const Payment& payment : r.paid) {
    print_text(out, "paid ");
    print_id(out, payment.account);
    print(out, FMT_COMPILE(" amount={}\n"), payment.amount);
  }
}

void print_all(Out& out, Form form, const Receipt& r) {
  print_head(out, form, r);
  print_tables(out, form, r);
  print_readings(out, form, r);
  print(
      out,
      FMT_COMPILE("work nominal_nst={} input_nst={} output_nst={} billable_nst={} actual_nst={}\n"),
      r.nominal_nst, r.input_nst, r.output_nst, r.billable_nst, r.actual_nst);
  print(out, FMT_COMPILE("timing steps={} device_us={} queue_us={} ttft_us={} total_us={}\n"),
        r.steps, r.device_us, r.queue_us, r.first_token_us, r.total_us);
  print_payments(out, form, r);
  if (form.version == 1) return;
  print_text(out, "bind in=");
  print_bound(out, r.suite, r.binding.input);
  print(out, FMT_COMPILE(" bytes={} out="), r.binding.input_bytes);
  print_bound(out, r.suite, r.binding.output);
  print(out, FMT_COMPILE(" bytes={}\n"), r.binding.output_bytes);
}

void check_names(const Receipt& r, Form form) {
  TG_ASSERT(is_name(r.device) && is_name(r.model));
  TG_ASSERT(form.version == 3 ? is_name(r.pricing.card) && is_name(r.mode) : is_name(r.tariff));
  if (!form.is_draft) TG_ASSERT(is_name(r.log) && is_name(r.meter));
  TG_ASSERT(!r.output_tokens.empty() && static_cast<i64>(r.output_tokens.size()) <= kChoicesMax);
  TG_ASSERT(form.version < 3 || !r.pricing.segments.empty());
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
  TG_ASSERT(r.version >= 1 && r.version <= 3);
  Form form{.version = r.version};
  check_names(r, form);
  Out out;
  print_all(out, form, r);
  return fmt::to_string(out);
}

Result<Receipt> parse_receipt(std::string_view text) {
  TG_TRY(check_length(text));
  TG_ASSIGN(Form form, form_of(text, false));
  LineReader lines(text);
  TG_ASSIGN([[maybe_unused]] std::string_view rest, lines.line(form.magic()));
  Receipt receipt;
  receipt.version = form.version;
  TG_TRY(parse_body(lines, form, receipt));
  // One encoding only: leading zeros, extra fields or lines do not survive this comparison.
  if (!lines.at_end() || to_text(receipt) != text) return not_canonical();
  return receipt;
}

std::string to_text(const Draft& draft) {
  Form form{.version = draft.receipt.version, .is_draft = true};
  TG_ASSERT(form.version >= 2);
  check_names(draft.receipt, form);
  TG_ASSERT(is_name(draft.key) && is_name(draft.project));
  Out out;
  print_all(out, form, draft.receipt);
  print_text(out, "salt ");
  print_hex(out, draft.salt);
  print_text(out, "\n");
  if (form.version == 3)
    print(out, FMT_COMPILE("for key={} project={}\n"), draft.key, draft.project);
  return fmt::to_string(out);
}

Result<Draft> parse_draft(std::string_view text, Canon canon) {
  TG_TRY(check_length(text));
  TG_ASSIGN(Form form, form_of(text, true));
  LineReader lines(text);
  TG_ASSIGN([[maybe_unused]] std::string_view rest, lines.line(form.magic()));
  Draft draft;
  draft.receipt.version = form.version;
  TG_TRY(parse_body(lines, form, draft.receipt));
  TG_ASSIGN(FieldReader salt, FieldReader::next(lines, "salt"));
  TG_TRY(salt.bytes({}, draft.salt));
  if (form.version == 3) {
    TG_ASSIGN(FieldReader whose, FieldReader::next(lines, "for"));
    TG_ASSIGN(draft.key, whose.name("key="));
    TG_ASSIGN(draft.project, whose.name("project="));
  }
  if (!lines.at_end()) return not_canonical();
  if (canon == Canon::kChecked && to_text(draft) != text) return not_canonical();
  return draft;
}

}  // namespace tg::meter
