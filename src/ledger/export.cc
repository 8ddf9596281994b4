#include "ledger/export.h"

#include <fmt/format.h>

#include <string>

#include "base/bytes.h"
#include "base/checked.h"
#include "env/clock.h"
#include "ledger/account_statement.h"
#include "ledger/checks.h"
#include "ledger/focus.h"

namespace tg::ledger {

namespace {

constexpr std::string_view kCsvHeader =
    "position,time,kind,status,id,pending_id,debit_account,credit_account,ledger,amount,code,"
    "flags,hold_state,timeout_ms,correlation,reference,sequence\n";

const char* name_of(EntryKind kind) {
  switch (kind) {
    case EntryKind::kTransfer: return "transfer";
    case EntryKind::kFailedId: return "failed_id";
    case EntryKind::kRelease: return "release";
  }
  return "unknown";
}

std::string id_text(u128 id) {
  return id == 0 ? "" : to_hex(id);
}

std::string csv_line(u64 position, const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", position,
                     to_rfc3339(Timestamp{t.timestamp_ns}), name_of(entry.kind), name(entry.status),
                     id_text(t.id), id_text(t.pending_id), id_text(t.debit_account),
                     id_text(t.credit_account), t.ledger, to_string(t.amount), t.code, t.flags,
                     name(entry.state), t.timeout_ms, id_text(t.correlation), t.reference,
                     t.sequence);
}

// Amounts and references are strings: they pass what a JSON number keeps exactly.
std::string json_line(u64 position, const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  return fmt::format(
      "{{\"position\":{},\"time\":\"{}\",\"kind\":\"{}\",\"status\":\"{}\",\"id\":\"{}\","
      "\"pending_id\":\"{}\",\"debit_account\":\"{}\",\"credit_account\":\"{}\",\"ledger\":{},"
      "\"amount\":\"{}\",\"code\":{},\"flags\":{},\"hold_state\":\"{}\",\"timeout_ms\":{},"
      "\"correlation\":\"{}\",\"reference\":\"{}\",\"sequence\":{}}}\n",
      position, to_rfc3339(Timestamp{t.timestamp_ns}), name_of(entry.kind), name(entry.status),
      id_text(t.id), id_text(t.pending_id), id_text(t.debit_account), id_text(t.credit_account),
      t.ledger, to_string(t.amount), t.code, t.flags, name(entry.state), t.timeout_ms,
      id_text(t.correlation), t.reference, t.sequence);
}

// --- hledger ------------------------------------------------------------------------------------

std::string date_of(i64 timestamp_ns) {
  return to_rfc3339(Timestamp{timestamp_ns}).substr(0, 10);
}

std::string account_name(const Account& account) {
  return fmt::format("ledger{}:{}:{}", account.ledger, account.code, to_hex(account.id));
}

// Two postings that move `amount` of a commodity from debit to credit, or back.
std::string postings(const std::string& debit, const std::string& credit, u128 amount, char kind,
                     u32 ledger, bool is_back) {
  const std::string& from = is_back ? credit : debit;
  const std::string& to = is_back ? debit : credit;
  std::string text = to_string(amount);
  return fmt::format("    {}  -{} \"{}{}\"\n    {}  {} \"{}{}\"\n", from, text, kind, ledger, to,
                     text, kind, ledger);
}

std::string hledger_entry(const StateMachine& machine, u64 position) {
  const JournalEntry& entry = machine.journal_entry(position);
  const Transfer& t = entry.transfer;
  if (entry.kind == EntryKind::kFailedId) return "";
  std::string debit = account_name(*machine.find_account(t.debit_account));
  std::string credit = account_name(*machine.find_account(t.credit_account));
  std::string out = fmt::format("{} {} {} code {}\n", date_of(t.timestamp_ns), name_of(entry.kind),
                                t.id == 0 ? to_hex(t.pending_id) : to_hex(t.id), t.code);
  if (is_pending(t)) return out + postings(debit, credit, t.amount, 'P', t.ledger, false) + "\n";
  if (is_resolution(t)) {
    u128 held = machine.journal_entry(entry.pending_position).transfer.amount;
    out += postings(debit, credit, held, 'P', t.ledger, true);
  }
  if (!is_void(t)) out += postings(debit, credit, t.amount, 'L', t.ledger, false);
  return out + "\n";
}

// What hledger must find after all of them.
Status assert_balances(const StateMachine& machine, const ExportSink& sink) {
  if (machine.journal_size() == 0) return {};
  i64 last_ns = machine.journal_entry(machine.journal_size()).transfer.timestamp_ns;
  TG_TRY(sink(date_of(last_ns) + " balances\n"));
  for (const Account& a : machine.accounts()) {
    std::string who = account_name(a);
    TG_TRY(sink(fmt::format("    {}  0 \"L{}\" = {} \"L{}\"\n    {}  0 \"P{}\" = {} \"P{}\"\n", who,
                            a.ledger, net_text(a.credits_posted, a.debits_posted), a.ledger, who,
                            a.ledger, net_text(a.credits_pending, a.debits_pending), a.ledger)));
  }
  return {};
}

}  // namespace

std::optional<ExportFormat> export_format_by_name(std::string_view text) {
  if (text == "csv") return ExportFormat::kCsv;
  if (text == "jsonl") return ExportFormat::kJsonLines;
  if (text == "hledger") return ExportFormat::kHledger;
  if (text == "focus") return ExportFormat::kFocus;
  return std::nullopt;
}

Status export_journal(const StateMachine& machine, ExportFormat format, const ExportSink& sink) {
  if (format == ExportFormat::kFocus)
    return export_focus(machine, Timestamp{0}, Timestamp{INT64_MAX}, sink);
  if (format == ExportFormat::kCsv) TG_TRY(sink(kCsvHeader));
  for (u64 p = 1; p <= machine.journal_size(); ++p) {
    const JournalEntry& entry = machine.journal_entry(p);
    std::string text = format == ExportFormat::kCsv         ? csv_line(p, entry)
                       : format == ExportFormat::kJsonLines ? json_line(p, entry)
                                                            : hledger_entry(machine, p);
    if (!text.empty()) TG_TRY(sink(text));
  }
  if (format == ExportFormat::kHledger) TG_TRY(assert_balances(machine, sink));
  return {};
}

}  // namespace tg::ledger
