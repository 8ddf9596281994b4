#include "ledger/focus.h"

#include <fmt/format.h>

#include <string>

#include "base/bytes.h"
#include "base/checked.h"
#include "ledger/checks.h"

namespace tg::ledger {

namespace {

constexpr std::string_view kHeader =
    "BilledCost,BillingAccountId,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,"
    "ChargeCategory,ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,"
    "ChargePeriodStart,ConsumedQuantity,ConsumedUnit,ContractedCost,EffectiveCost,"
    "InvoiceIssuerName,ListCost,PricingQuantity,PricingUnit,ProviderName,PublisherName,ResourceId,"
    "ServiceCategory,ServiceName,SkuId,SkuPriceId,SubAccountId,";
constexpr std::string_view kJournalColumns = "x_Ledger,x_Position,x_TransferId";

// What a transfer is to a bill.
struct Charge {
  const char* category = "Adjustment";
  const char* klass = "";  // "Correction" or nothing.
  const char* description = "transfer";
  const char* frequency = "One-Time";
  bool is_credit_side = false;  // Whose bill: the account that is credited.
  bool is_negative = false;     // Lowers it.
};

Charge charge_of(u16 code) {
  switch (code) {
    case transfer_code::kTopUp: return {"Purchase", "", "top-up", "One-Time", true, false};
    case transfer_code::kGrant: return {"Credit", "", "grant", "One-Time", true, true};
    case transfer_code::kExpire: return {"Adjustment", "", "expiry of prepaid units"};
    case transfer_code::kHold:
    case transfer_code::kPostSlice: return {"Usage", "", "inference", "Usage-Based"};
    case transfer_code::kFee: return {"Usage", "", "fee", "Usage-Based"};
    case transfer_code::kRefund: return {"Credit", "", "refund", "One-Time", true, true};
    case transfer_code::kCorrect:
      return {"Usage", "Correction", "correction", "One-Time", true, true};
    default: return {};
  }
}

// The calendar month of a time, UTC, as "2026-11-01T00:00:00.000Z".
std::string month_begin(const std::string& time) {
  return time.substr(0, 8) + "01T00:00:00.000Z";
}
std::string month_end(const std::string& time) {
  int year = std::stoi(time.substr(0, 4));
  int month = std::stoi(time.substr(5, 2));
  year += month == 12 ? 1 : 0;
  month = month == 12 ? 1 : month + 1;
  return fmt::format("{:04}-{:02}-01T00:00:00.000Z", year, month);
}

std::string row(u64 position, const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  Charge charge = charge_of(t.code);
  bool is_money = t.ledger == ledgers::kMoney;
  bool is_usage = std::string_view(charge.category) == "Usage";
  FocusRow out{.category = charge.category,
               .klass = charge.klass,
               .description = charge.description,
               .frequency = charge.frequency};
  if (is_money) {
    out.cost = focus_decimal(t.amount, kCreditDigits, charge.is_negative);
  } else {
    out.quantity = focus_decimal(t.amount, kStandardDigits, charge.is_negative);
    out.unit = t.ledger == ledgers::kStandard ? "ST" : "Units";
  }
  if (is_usage) out.consumed = out.quantity;
  out.begin = out.end = to_rfc3339(Timestamp{t.timestamp_ns});
  out.payer = to_hex(charge.is_credit_side ? t.credit_account : t.debit_account);
  out.sub_account = to_hex(charge.is_credit_side ? t.debit_account : t.credit_account);
  out.resource = to_hex(t.correlation);
  out.sku = fmt::format("code-{}", t.code);
  out.sku_price = fmt::format("tariff-{}", t.reference);
  out.extra = fmt::format("{},{},{}", t.ledger, position, to_hex(t.id));
  return focus_text(out);
}

}  // namespace

std::string focus_decimal(u128 amount, i64 digits, bool is_negative) {
  std::string text = to_string(amount);
  if (text.size() <= static_cast<std::size_t>(digits))
    text.insert(0, static_cast<std::size_t>(digits) + 1 - text.size(), '0');
  std::size_t point = text.size() - static_cast<std::size_t>(digits);
  std::string fraction = text.substr(point);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  std::string out = is_negative && amount != 0 ? "-" : "";
  out += text.substr(0, point);
  return fraction.empty() ? out : out + "." + fraction;
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
  std::string out = "\"";
  for (char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string focus_header(std::string_view extra) {
  return fmt::format("{}{}\n", kHeader, extra);
}

std::string focus_text(const FocusRow& r) {
  std::string_view consumed_unit = r.consumed.empty() ? std::string_view() : r.unit;
  return fmt::format(
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
      r.cost, r.payer, "XTG", month_end(r.begin), month_begin(r.begin), r.category, r.klass,
      csv_cell(r.description), r.frequency, r.end, r.begin, r.consumed, consumed_unit, r.cost,
      r.cost, "Tokengrid", r.cost, r.quantity, r.unit, "Tokengrid", "Tokengrid",
      csv_cell(r.resource), "AI and Machine Learning", "Inference", csv_cell(r.sku),
      csv_cell(r.sku_price), csv_cell(r.sub_account), r.extra);
}

Status export_focus(const StateMachine& machine, Timestamp from, Timestamp to,
                    const ExportSink& sink) {
  TG_TRY(sink(focus_header(kJournalColumns)));
  for (u64 p = 1; p <= machine.journal_size(); ++p) {
    const JournalEntry& entry = machine.journal_entry(p);
    const Transfer& t = entry.transfer;
    // What a lease grants, takes back and notes is no charge; what requests pay from it is.
    bool moves = entry.kind == EntryKind::kTransfer && !is_pending(t) && !is_void(t) &&
                 t.amount > 0 && t.code != transfer_code::kLease;
    if (!moves || t.timestamp_ns < from.ns || t.timestamp_ns >= to.ns) continue;
    TG_TRY(sink(row(p, entry)));
  }
  return {};
}

}  // namespace tg::ledger
