// `tokengrid ledger {audit,export}`: the ledger on disk, read by itself and not through a server.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/locate.h"
#include "base/checked.h"
#include "ledger/export.h"
#include "ledger/open_store.h"

namespace tg::apps {

namespace {

struct LedgerOptions {
  std::string data = default_data_directory();
  bool json = false;
  std::string format = "csv";
  std::string output;
};

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
    return Error{Code::kInvalid, "export format " + o.format + " is not csv, jsonl or hledger"};
  ledger::StateMachine machine;
  TG_ASSIGN([[maybe_unused]] ledger::AuditReport report, ledger::read_ledger(o.data, machine));
  TG_TRY(ledger::export_journal(machine, *format, [&](std::string_view text) -> Status {
    if (std::fwrite(text.data(), 1, text.size(), out) == text.size()) return {};
    return Error{Code::kIo, "cannot write the export"};
  }));
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

}  // namespace

void add_ledger(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("ledger", "The ledger on disk: audit and export");
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
  auto exported = add("export", "the journal as text: csv, jsonl or hledger", export_journal);
  exported.first->add_option("--format", exported.second->format, "csv, jsonl or hledger")
      ->capture_default_str();
  exported.first->add_option("--output", exported.second->output, "file instead of stdout");
}

}  // namespace tg::apps
