// `tokengrid ledger {audit,export,statement}`: the ledger on disk, read by itself and not through a
// server.
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <memory>

#include "apps/ask.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "ledger/account_statement.h"
#include "ledger/export.h"
#include "ledger/focus.h"
#include "ledger/open_store.h"

namespace tg::apps {

namespace {

struct LedgerOptions {
  std::string data = default_data_directory();
  bool json = false;
  std::string format = "csv";
  std::string output;
  std::string account;
  std::string from;
  std::string to;
};

struct Span {
  Timestamp from;
  Timestamp to{INT64_MAX};
};

// "2026-11-30" or "2026-11-30T02:17:44Z", UTC; `otherwise` if there is none.
Result<Timestamp> parse_time(const std::string& text, Timestamp otherwise) {
  if (text.empty()) return otherwise;
  constexpr i64 kNanosecondsPerSecond = 1'000'000'000;
  for (const char* format : {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"}) {
    std::tm parts{};
    const char* end = strptime(text.c_str(), format, &parts);
    if (end == nullptr || *end != '\0' || parts.tm_year < 70 || parts.tm_year > 300) continue;
    return Timestamp{i64{timegm(&parts)} * kNanosecondsPerSecond};
  }
  return Error{Code::kInvalid,
               "time '" + text + "' is not YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ from 1970 on"};
}

Result<Span> span_of(const LedgerOptions& o) {
  TG_ASSIGN(Timestamp from, parse_time(o.from, Timestamp{0}));
  TG_ASSIGN(Timestamp to, parse_time(o.to, Timestamp{INT64_MAX}));
  if (from >= to) return Error{Code::kInvalid, "--from " + o.from + " is not before --to " + o.to};
  return Span{from, to};
}

void print_json(const ledger::AuditReport& report, const ledger::StateMachine& machine) {
  fmt::print(
      "{{\"accounts\":{},\"journal_entries\":{},\"holds_open\":{},\"commits\":{},"
      "\"ledgers\":[",
      report.accounts, report.journal_entries, report.holds_open, report.commits);
  const char* separator = "";
  for (const ledger::LedgerTotals& totals : machine.totals()) {
    fmt::print("{}{{\"ledger\":{},\"posted\":\"{}\",\"pending\":\"{}\"}}", separator, totals.ledger,
               to_string(totals.debits_posted), to_string(totals.debits_pending));
    separator = ",";
  }
  fmt::print("]}}\n");
}

Status audit(const LedgerOptions& o) {
  ledger::StateMachine machine;
  TG_ASSIGN(ledger::AuditReport report, ledger::read_ledger(o.data, machine));
  if (o.json) {
    print_json(report, machine);
    return {};
  }
  fmt::print(
      "every balance re-derived: {} accounts, {} journal entries in {} commits, {} open "
      "holds; digests agree, debits equal credits\n",
      report.accounts, report.journal_entries, report.commits, report.holds_open);
  for (const ledger::LedgerTotals& totals : machine.totals())
    fmt::print("  ledger {:<6} posted {:>39}  pending {:>39}\n", totals.ledger,
               to_string(totals.debits_posted), to_string(totals.debits_pending));
  return {};
}

Status export_to(const LedgerOptions& o, std::FILE* out) {
  std::optional<ledger::ExportFormat> format = ledger::export_format_by_name(o.format);
  if (!format.has_value())
    return Error{Code::kInvalid,
                 "export format " + o.format + " is not csv, jsonl, focus or hledger"};
  bool is_bill = *format == ledger::ExportFormat::kFocus;
  TG_ASSIGN(Span span, span_of(o));
  if (!is_bill && !(o.from.empty() && o.to.empty()))
    return Error{Code::kInvalid, "--from and --to are for --format focus: a journal is whole"};
  ledger::StateMachine machine;
  TG_ASSIGN([[maybe_unused]] ledger::AuditReport report, ledger::read_ledger(o.data, machine));
  ledger::ExportSink sink = [&](std::string_view text) -> Status {
    if (std::fwrite(text.data(), 1, text.size(), out) == text.size()) return {};
    return Error{Code::kIo, "cannot write the export"};
  };
  if (is_bill) {
    TG_TRY(ledger::export_focus(machine, span.from, span.to, sink));
  } else {
    TG_TRY(ledger::export_journal(machine, *format, sink));
  }
  if (std::fflush(out) != 0) return Error{Code::kIo, "cannot write the export"};
  return {};
}

Status export_journal(const LedgerOptions& o) {
  if (o.output.empty()) return export_to(o, stdout);
  std::FILE* file = std::fopen(o.output.c_str(), "wb");
  if (file == nullptr) return Error{Code::kIo, "cannot write " + o.output};
  Status written = export_to(o, file);
  bool is_closed = std::fclose(file) == 0;
  TG_TRY(written);
  if (!is_closed) return Error{Code::kIo, "cannot write " + o.output};
  return {};
}

// By name as the keys have it, or by the ledger's own id.
Result<u128> find_account(const LedgerOptions& o) {
  Result<u128> id = id_from_hex(o.account);
  if (id.ok()) return id;
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  return account_by_name(data, o.account, false);
}

// Negative where the account owes.
std::string posted(const ledger::Balances& b) {
  return ledger::net_text(b.credits_posted, b.debits_posted);
}
std::string pending(const ledger::Balances& b) {
  return ledger::net_text(b.credits_pending, b.debits_pending);
}

void print_row(const LedgerOptions& o, const ledger::AccountStatementRow& row, u128 account) {
  const ledger::Transfer& t = row.entry.transfer;
  const char* side = t.debit_account == account ? "debit" : "credit";
  const char* format =
      o.json ? "{{\"position\":{},\"time\":\"{}\",\"id\":\"{}\",\"code\":{},\"side\":\"{}\","
               "\"amount\":\"{}\",\"hold\":\"{}\",\"correlation\":\"{}\",\"posted\":\"{}\","
               "\"pending\":\"{}\"}}\n"
             : "{:>10}  {}  {}  code {:<3} {:<6} {:>20}  hold {:<8} for {}  balance {:>20}  "
               "pending {:>20}\n";
  const char* hold = row.entry.pending_position != 0 ? "resolved" : name(row.entry.state);
  fmt::print(fmt::runtime(format), row.position, to_rfc3339(Timestamp{t.timestamp_ns}),
             to_hex(t.id == 0 ? t.pending_id : t.id), t.code, side, to_string(t.amount), hold,
             to_hex(t.correlation), posted(row.after), pending(row.after));
}

Status statement(const LedgerOptions& o) {
  TG_ASSIGN(Span span, span_of(o));
  TG_ASSIGN(u128 account, find_account(o));
  ledger::StateMachine machine;
  TG_ASSIGN([[maybe_unused]] ledger::AuditReport report, ledger::read_ledger(o.data, machine));
  TG_ASSIGN(ledger::AccountStatement made,
            ledger::make_statement(machine, account, span.from, span.to));
  auto print_balance = [&](const char* what, const ledger::Balances& b) {
    fmt::print(fmt::runtime(o.json ? "{{\"{}\":\"{}\",\"pending\":\"{}\"}}\n"
                                   : "{:<8} balance {} pending {}\n"),
               what, posted(b), pending(b));
  };
  print_balance("opening", made.opening);
  for (const ledger::AccountStatementRow& row : made.rows) print_row(o, row, account);
  print_balance("closing", made.closing);
  return {};
}

}  // namespace

void add_ledger(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("ledger", "The ledger on disk: audit, export, statements");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const LedgerOptions&)) {
    std::shared_ptr<LedgerOptions> o = std::make_shared<LedgerOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("--data", o->data, "data directory")->capture_default_str();
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto audited = add("audit", "re-derive every balance from the journal", audit);
  audited.first->add_flag("--json", audited.second->json, "machine-readable output");
  auto add_span = [](CLI::App* command, LedgerOptions& o) {
    command->add_option("--from", o.from, "YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ, inclusive");
    command->add_option("--to", o.to, "the same, exclusive");
  };
  auto exported =
      add("export", "the journal as text: csv, jsonl, hledger; its bill: focus", export_journal);
  exported.first->add_option("--format", exported.second->format, "csv, jsonl, focus or hledger")
      ->capture_default_str();
  add_span(exported.first, *exported.second);
  exported.first->add_option("--output", exported.second->output, "file instead of stdout");
  auto stated = add("statement", "an account's entries with the balances after each", statement);
  stated.first->add_option("account", stated.second->account, "name, or the ledger's id in hex")
      ->required();
  add_span(stated.first, *stated.second);
  stated.first->add_flag("--json", stated.second->json, "JSON Lines");
}

}  // namespace tg::apps
