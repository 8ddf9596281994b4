// The journal as text for other programs: CSV and JSON Lines, one line for each entry, and a
// journal for hledger (plain-text accounting), which adds everything up again by itself and
// compares it with the balances asserted at the end. focus.h has the rows of a bill.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

enum class ExportFormat : u8 { kCsv, kJsonLines, kHledger, kFocus };
std::optional<ExportFormat> export_format_by_name(
    std::string_view name);  // csv, jsonl, hledger, focus

// Takes a piece of the text; an error ends the export.
using ExportSink = std::function<Status(std::string_view text)>;

// Every entry in order of the journal. In hledger, ledger N is the commodity "LN" and what is
// reserved on it "PN"; accounts are named ledgerN:CODE:ID.
Status export_journal(const StateMachine& machine, ExportFormat format, const ExportSink& sink);

}  // namespace tg::ledger
