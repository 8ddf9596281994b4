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
    "ServiceCategory,ServiceName,SkuId,SkuPriceId,SubAccountId,x_Ledger,x_Position,x_TransferId\n";
constexpr i64 kMoneyDigits = 6;     // 1e-6 credit.
constexpr i64 kStandardDigits = 9;  // nano-ST.

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

// Exact, without trailing zeros: "-12.5".
std::string decimal(u128 amount, i64 digits, bool is_negative) {
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
  std::string cost = is_money ? decimal(t.amount, kMoneyDigits, charge.is_negative) : "0";
  bool is_usage = std::string_view(charge.category) == "Usage";
  std::string quantity = is_money ? "" : decimal(t.amount, kStandardDigits, charge.is_negative);
  std::string_view unit = is_money ? "" : t.ledger == ledgers::kStandard ? "ST" : "Units";
  std::string time = to_rfc3339(Timestamp{t.timestamp_ns});
  u128 payer = charge.is_credit_side ? t.credit_account : t.debit_account;
  u128 other = charge.is_credit_side ? t.debit_account : t.credit_account;
  return fmt::format(
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
      cost, to_hex(payer), "XTG", month_end(time), month_begin(time), charge.category, charge.klass,
      charge.description, charge.frequency, time, time, is_usage ? quantity : "",
      is_usage ? unit : "", cost, cost, "Tokengrid", cost, quantity, unit, "Tokengrid", "Tokengrid",
      to_hex(t.correlation), "AI and Machine Learning", "Inference", fmt::format("code-{}", t.code),
      fmt::format("tariff-{}", t.reference), to_hex(other), t.ledger, position, to_hex(t.id));
}

}  // namespace

Status export_focus(const StateMachine& machine, Timestamp from, Timestamp to,
                    const ExportSink& sink) {
  TG_TRY(sink(kHeader));
  for (u64 p = 1; p <= machine.journal_size(); ++p) {
    const JournalEntry& entry = machine.journal_entry(p);
    const Transfer& t = entry.transfer;
    bool moves =
        entry.kind == EntryKind::kTransfer && !is_pending(t) && !is_void(t) && t.amount > 0;
    if (!moves || t.timestamp_ns < from.ns || t.timestamp_ns >= to.ns) continue;
    TG_TRY(sink(row(p, entry)));
  }
  return {};
}

}  // namespace tg::ledger
