#include "gateway/quote.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "meter/receipt_text.h"

namespace tg::gateway {

namespace {

constexpr std::string_view kMagic = "tokengrid-quote/1";
constexpr std::size_t kTokenBytesMax = 16'384;
constexpr i64 kNsPerMs = 1'000'000;

Error refused(std::string why) {
  return Error{Code::kInvalid, "quote: " + std::move(why)};
}

Status parse_price(meter::FieldReader& fields, meter::PriceVector& out) {
  while (!fields.at_end()) {
    TG_ASSIGN(std::string_view field, fields.text());
    std::size_t equals = field.find('=');
    std::size_t i = 0;
    while (i < meter::kRatedClasses &&
           meter::name(static_cast<meter::RatedClass>(i)) != field.substr(0, equals))
      ++i;
    if (equals == std::string_view::npos || i == meter::kRatedClasses) return fields.wrong();
    TG_ASSIGN(out.values[i], fields.parse_number(field.substr(equals + 1)));
  }
  return meter::check(out);
}

Status parse_head(meter::LineReader& lines, Quote& q) {
  TG_ASSIGN(meter::FieldReader whose, meter::FieldReader::next(lines, "for"));
  TG_ASSIGN(q.account, whose.id());
  TG_ASSIGN(std::string_view kind, whose.text("kind="));
  q.is_embedding = kind == "embedding";
  TG_ASSIGN(q.service, whose.name("class="));
  TG_ASSIGN(meter::FieldReader model, meter::FieldReader::next(lines, "model"));
  TG_ASSIGN(q.model, model.name());
  TG_TRY(model.bytes("program=sha256:", q.program));
  TG_ASSIGN(meter::FieldReader tokens, meter::FieldReader::next(lines, "tokens"));
  TG_ASSIGN(q.prompt_tokens, tokens.number("in="));
  TG_ASSIGN(q.output_tokens_max, tokens.number("out_max="));
  return {};
}

Status parse_body(meter::LineReader& lines, Quote& q) {
  TG_ASSIGN(meter::FieldReader tables, meter::FieldReader::next(lines, "tables"));
  TG_ASSIGN(q.pricing.card, tables.name("card="));
  TG_ASSIGN(i64 version, tables.number("version="));
  q.pricing.version = static_cast<u64>(version);
  TG_ASSIGN(std::string_view unit, tables.text("unit="));
  q.pricing.in_money = unit == "ucredit";
  TG_TRY(tables.bytes("sha256:", q.pricing.digest));
  TG_ASSIGN(meter::FieldReader price, meter::FieldReader::next(lines, "price"));
  q.pricing.segments.resize(1);
  TG_TRY(parse_price(price, q.pricing.segments[0].prices));
  TG_ASSIGN(meter::FieldReader cost, meter::FieldReader::next(lines, "cost"));
  TG_ASSIGN(q.input, cost.number("input="));
  TG_ASSIGN(q.expected, cost.number("expected="));
  TG_ASSIGN(q.maximum, cost.number("maximum="));
  TG_ASSIGN(q.first_hold, cost.number("hold="));
  TG_ASSIGN(meter::FieldReader expires, meter::FieldReader::next(lines, "expires_ms"));
  TG_ASSIGN(i64 ms, expires.number());
  if (ms > INT64_MAX / kNsPerMs) return expires.wrong();
  q.expires = Timestamp{ms * kNsPerMs};
  return {};
}

}  // namespace

std::string to_text(const Quote& q) {
  TG_ASSERT(q.pricing.segments.size() == 1 && q.expires.ns % kNsPerMs == 0);
  std::string out = fmt::format(
      "{}\nfor {} kind={} class={}\nmodel {} program=sha256:{}\ntokens in={} out_max={}\n", kMagic,
      to_hex(q.account), q.is_embedding ? "embedding" : "generation", q.service, q.model,
      to_hex(q.program), q.prompt_tokens, q.output_tokens_max);
  out += fmt::format("tables card={} version={} unit={} sha256:{}\nprice", q.pricing.card,
                     q.pricing.version, q.pricing.in_money ? "ucredit" : "nano_st",
                     to_hex(q.pricing.digest));
  for (std::size_t i = 0; i < meter::kRatedClasses; ++i) {
    i64 value = q.pricing.segments[0].prices.values[i];
    if (value != 0)
      out += fmt::format(" {}={}", meter::name(static_cast<meter::RatedClass>(i)), value);
  }
  out += fmt::format("\ncost input={} expected={} maximum={} hold={}\nexpires_ms {}\n", q.input,
                     q.expected, q.maximum, q.first_hold, q.expires.ns / kNsPerMs);
  return out;
}

Result<Quote> parse_quote(std::string_view text) {
  meter::LineReader lines(text);
  Quote out;
  TG_ASSIGN([[maybe_unused]] std::string_view rest, lines.line(kMagic));
  TG_TRY(parse_head(lines, out));
  TG_TRY(parse_body(lines, out));
  // One encoding only.
  if (!lines.at_end() || to_text(out) != text) return refused("not in canonical form");
  return out;
}

std::string sign(const Quote& quote, const tlog::NoteSigner& signer) {
  std::string text = to_text(quote);
  std::string note = tlog::to_text(tlog::Note{.text = text, .signatures = {signer.sign(text)}});
  return tlog::to_base64(as_bytes(note));
}

Result<Quote> open_quote(std::string_view token, const tlog::VerifierKey& key, Timestamp now) {
  if (token.size() > kTokenBytesMax) return refused("too long");
  TG_ASSIGN(std::vector<u8> bytes, tlog::from_base64(token));
  TG_ASSIGN(tlog::Note note, tlog::parse_note(as_text(bytes)));
  if (tlog::check_note(note, key) != tlog::NoteCheck::kSigned)
    return refused("not signed by this server's meter");
  TG_ASSIGN(Quote quote, parse_quote(note.text));
  if (now.ns > quote.expires.ns) return refused("it has expired");
  return quote;
}

}  // namespace tg::gateway
