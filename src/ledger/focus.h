// What was posted, as rows with the columns of FOCUS (FinOps Open Cost and Usage
// Specification 1.0), for the tools that read cloud bills: usage, purchases of prepaid units,
// credits and adjustments. A ledger of money gives costs, one of units gives quantities, whose cost
// is the purchase's.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "env/clock.h"
#include "ledger/export.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

// One charge of one period; whoever writes such rows writes them with this. Times as
// to_rfc3339 writes them.
struct FocusRow {
  std::string cost = "0";  // In credits, by focus_decimal().
  std::string payer;
  std::string_view category = "Adjustment";
  std::string_view klass = "";  // "Correction" or nothing.
  std::string description;
  std::string_view frequency = "One-Time";
  std::string begin;
  std::string end;
  std::string consumed;  // Of `unit`; "" unless it is usage.
  std::string quantity;  // Priced, of `unit`.
  std::string_view unit = "";
  std::string resource;
  std::string sku;
  std::string sku_price;
  std::string sub_account;
  std::string extra;  // The writer's own columns, as cells.
};
// `extra`: the names of the writer's own columns, "x_A,x_B".
std::string focus_header(std::string_view extra);
std::string focus_text(const FocusRow& row);
// A cell of CSV (RFC 4180), in quotes if the text needs them.
std::string csv_cell(std::string_view text);
// Exact, without trailing zeros: 10^-digits units as "-12.5".
std::string focus_decimal(u128 amount, i64 digits, bool is_negative = false);
inline constexpr i64 kCreditDigits = 6;    // 10^-6 credit.
inline constexpr i64 kStandardDigits = 9;  // nano-ST.

// CSV: a header, then a row for each applied transfer that moved something and has
// from <= time < to.
Status export_focus(const StateMachine& machine, Timestamp from, Timestamp to,
                    const ExportSink& sink);

}  // namespace tg::ledger
