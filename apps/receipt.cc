// `tokengrid receipt {verify,list,show,log,audit}`. Verification says which of its levels passed
// and what they do not prove.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "apps/ask.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "apps/recount.h"
#include "base/bytes.h"
#include "base/json_out.h"
#include "env/disk.h"
#include "meter/receipt_file.h"

namespace tg::apps {

namespace {

struct ReceiptOptions {
  std::string data = default_data_directory();
  std::string file;
  std::string key;
  std::vector<std::string> witnesses;
  std::string program;
  std::string earlier;
  std::string sent;
  std::string received;
  std::string model;
  std::string api = "chat";
  bool json = false;
};

constexpr u64 kProgramBytesMax = 16 * 1024 * 1024;
constexpr u64 kContentBytesMax = 1024 * 1024 * 1024;

Result<meter::ReceiptFile> load_receipt(const std::string& path) {
  TG_ASSIGN(std::string text, read_file(path, meter::kReceiptFileMax));
  return meter::parse_receipt_file(text);
}

Result<tlog::VerifierKey> load_key(const ReceiptOptions& o, const DataDirectory* data) {
  if (!o.key.empty()) return tlog::parse_verifier_key(o.key);
  if (data == nullptr) return Error{Code::kNotFound, "no key: give --key or --data"};
  return load_verifier_key(*data);
}

Result<isa::VerifiedProgram> program_of(const ReceiptOptions& o, const DataDirectory* data,
                                        const meter::Receipt& receipt) {
  if (o.program.empty()) {
    if (data == nullptr) return Error{Code::kNotFound, "no program: give --program or --data"};
    return load_program(*data, receipt.program);
  }
  TG_ASSIGN(std::string bytes, read_file(o.program, kProgramBytesMax));
  TG_ASSIGN(isa::VerifiedProgram program, isa::load(as_bytes(bytes)));
  if (program.id() != receipt.program)
    return Error{Code::kInvalid, o.program + " is not the receipt's program"};
  return program;
}

Status expect(const nlohmann::json& transfer, const char* field, const nlohmann::json& want) {
  if (transfer[field] == want) return {};
  return Error{Code::kCorrupt, fmt::format("ledger: {} is {}, the receipt says {}", field,
                                           transfer[field].dump(), want.dump())};
}

// Version 3: what the journal has posted for the request is the bill, from the accounts it names.
Status check_postings(const DataDirectory& data, const meter::Receipt& r) {
  TG_ASSIGN(nlohmann::json paid, ask(data, "paid " + to_hex(r.request)));
  TG_TRY(expect(paid, "posted", r.billed));
  if (r.hold == 0) return {};
  TG_ASSIGN(nlohmann::json hold, ask(data, "transfer " + to_hex(r.hold)));
  TG_TRY(expect(hold, "credit", to_hex(r.seller)));
  return expect(hold, "correlation", to_hex(r.request));
}

// The hold and the post are in the journal, with these parties and amounts.
Status check_ledger(const DataDirectory& data, const meter::Receipt& r) {
  if (r.version == 3) return check_postings(data, r);
  TG_ASSIGN(nlohmann::json hold, ask(data, "transfer " + to_hex(r.hold)));
  TG_TRY(expect(hold, "amount", r.held));
  TG_TRY(expect(hold, "debit", to_hex(r.buyer)));
  TG_TRY(expect(hold, "credit", to_hex(r.seller)));
  TG_TRY(expect(hold, "correlation", to_hex(r.request)));
  TG_TRY(expect(hold, "state", r.billed > 0 ? "posted" : "voided"));
  if (r.billed == 0) return {};
  TG_ASSIGN(nlohmann::json post, ask(data, "transfer " + to_hex(r.post)));
  TG_TRY(expect(post, "amount", r.billed));
  return expect(post, "hold", to_hex(r.hold));
}

// What each level came to, in the order of the levels.
struct Line {
  const char* level;
  const char* name;
  meter::Check check;
};

std::string shown(const meter::Check& check) {
  if (check.passed()) return "ok";
  return (check.failed() ? "" : "not checked: ") + check.detail;
}

void print_json(const meter::ReceiptFile& file, const std::vector<Line>& lines) {
  const meter::Receipt& r = file.receipt;
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("version").number(r.version);
  for (const Line& line : lines) json.key(line.name).string(shown(line.check));
  json.key("request").string(to_hex(r.request)).key("outcome").string(meter::name(r.outcome));
  json.key("page").number_u64(r.page).key("nominal_nst").number(r.nominal_nst);
  json.key("billed").number(r.billed).end_object();
  fmt::print("{}\n", out);
}

void print_text(const meter::ReceiptFile& file, const std::vector<Line>& lines) {
  const meter::Receipt& r = file.receipt;
  fmt::print("request        {}  {}\n", to_hex(r.request), meter::name(r.outcome));
  if (r.version > 1) fmt::print("page           {} of {}/{}\n", r.page, r.log, r.meter);
  std::string billed = r.pricing.in_money ? fmt::format("{}.{:06} credit", r.billed / 1'000'000,
                                                        r.billed % 1'000'000)
                                          : unit::to_decimal(unit::NanoSt(r.billed)) + " ST";
  fmt::print("nominal        {} ST, billed {}\n", unit::to_decimal(unit::NanoSt(r.nominal_nst)),
             billed);
  if (r.version == 3)
    fmt::print("priced by      {}/{}, {} slices, {} accounts paid\n", r.pricing.card,
               r.pricing.version, r.slices, r.paid.size());
  for (const Line& line : lines)
    fmt::print("{} {:<11} {}\n", line.level, line.name, shown(line.check));
  fmt::print(
      "L0 shows who signed; L1 that it is a page of a log that cannot change unseen, with "
      "registers "
      "that\nadd up; L2 that the bill follows from the readings, and that the ledger posted it; L3 "
      "which bytes it is\nof, and how many tokens you sent. L0 to L2 do not show that the meter "
      "read honestly: count the tokens "
      "of "
      "your own bytes. Without a\nwitness's key nothing shows that others see the same log.\n");
}

// The file and what the options name as evidence, kept alive for the checks.
struct Case {
  meter::ReceiptFile file;
  std::optional<meter::ReceiptFile> earlier;
  std::optional<isa::VerifiedProgram> program;
  std::string sent;
  std::string received;
  meter::Evidence evidence;
};

Status load_case(const ReceiptOptions& o, Case& c) {
  TG_ASSIGN(c.file, load_receipt(o.file));
  for (const std::string& witness : o.witnesses) {
    TG_ASSIGN(tlog::VerifierKey key, tlog::parse_verifier_key(witness));
    c.evidence.witnesses.push_back(std::move(key));
  }
  if (!o.earlier.empty()) {
    TG_ASSIGN(c.earlier, load_receipt(o.earlier));
    c.evidence.earlier = &*c.earlier;
  }
  if (!o.sent.empty()) {
    TG_ASSIGN(c.sent, read_file(o.sent, kContentBytesMax));
    c.evidence.sent = c.sent;
  }
  if (!o.received.empty()) {
    TG_ASSIGN(c.received, read_file(o.received, kContentBytesMax));
    c.evidence.received = c.received;
  }
  return {};
}

// Key and program may be missing: then their level is what says so.
std::vector<Line> check_levels(const ReceiptOptions& o, const DataDirectory* data, Case& c) {
  Result<tlog::VerifierKey> key = load_key(o, data);
  if (key.ok()) c.evidence.key = *key;
  Result<isa::VerifiedProgram> program = program_of(o, data, c.file.receipt);
  if (program.ok()) {
    c.program = std::move(*program);
    c.evidence.cost = &c.program->cost();
  }
  meter::Verification v = meter::verify(c.file, c.evidence);
  if (!key.ok()) v.signature = meter::check_of(key.error());
  if (!c.program) v.arithmetic = meter::check_of(program.error());
  meter::Check ledger = data == nullptr ? meter::not_made("no data directory")
                                        : meter::check_of(check_ledger(*data, c.file.receipt));
  meter::Check recounted = o.model.empty() || o.sent.empty()
                               ? meter::not_made("no --model and --sent given")
                               : recount(o.model, o.api, c.sent, c.file.receipt);
  return {{"L0", "signature", v.signature},   {"L1", "inclusion", v.inclusion},
          {"L1", "continuity", v.continuity}, {"L1", "witnesses", v.witnesses},
          {"L2", "arithmetic", v.arithmetic}, {"L2", "ledger", ledger},
          {"L3", "binding", v.binding},       {"L3", "recount", recounted}};
}

Status verify(const ReceiptOptions& o) {
  Result<DataDirectory> found = existing_data_directory(o.data);
  const DataDirectory* data = found.ok() ? &*found : nullptr;
  Case c;
  TG_TRY(load_case(o, c));
  std::vector<Line> lines = check_levels(o, data, c);
  if (o.json) {
    print_json(c.file, lines);
  } else {
    print_text(c.file, lines);
  }
  for (const Line& line : lines) {
    if (line.check.failed())
      return Error{Code::kInvalid, std::string("the receipt is not verified: ") + line.name + ": " +
                                       line.check.detail};
  }
  return {};
}

Status list(const ReceiptOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  nlohmann::json all = nlohmann::json::array();
  u64 after = 0;
  for (bool more = true; more;) {
    TG_ASSIGN(nlohmann::json page, ask(data, fmt::format("receipts {}", after)));
    for (nlohmann::json& receipt : page["receipts"]) all.push_back(std::move(receipt));
    after = page["last"].get<u64>();
    more = page["more"].get<bool>();
  }
  if (o.json) {
    fmt::print("{}\n", nlohmann::json::object({{"receipts", all}}).dump());
    return {};
  }
  for (const nlohmann::json& r : all) {
    fmt::print("{}  {}  {:<12} {:>6} in {:>5} out {:>18} ST  {}\n", r["id"].get<std::string>(),
               r["time"].get<std::string>(), r["outcome"].get<std::string>(),
               r["prompt_tokens"].get<i64>(), r["output_tokens"].get<i64>(),
               unit::to_decimal(unit::NanoSt(r["billed"].get<i64>())),
               r["model"].get<std::string>());
  }
  return {};
}

Status show(const ReceiptOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_TRY(id_from_hex(o.file));
  TG_ASSIGN(nlohmann::json answer, ask(data, "receipt " + o.file));
  fmt::print("{}", answer["receipt"].get<std::string>());
  return {};
}

// A resource of the log, as its bytes.
Status log_resource(const ReceiptOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(nlohmann::json answer, ask(data, "log " + o.file));
  TG_ASSIGN(std::vector<u8> bytes, tlog::from_base64(answer["base64"].get<std::string>()));
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  return {};
}

Status audit(const ReceiptOptions& o) {
  TG_ASSIGN(DataDirectory data, existing_data_directory(o.data));
  TG_ASSIGN(nlohmann::json answer, ask(data, "audit-receipts"));
  if (o.json) {
    fmt::print("{}\n", answer.dump());
    return {};
  }
  fmt::print("{} documents of the ledger are the {} entries of {}, {} of them pages\n{}",
             answer["entries"].get<u64>(), answer["entries"].get<u64>(),
             answer["log"].get<std::string>(), answer["pages"].get<u64>(),
             answer["checkpoint"].get<std::string>());
  return {};
}

}  // namespace

void add_receipt(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("receipt", "Receipts: verify, list, show, log, audit");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const ReceiptOptions&)) {
    std::shared_ptr<ReceiptOptions> o = std::make_shared<ReceiptOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("--data", o->data, "data directory")->capture_default_str();
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto verified =
      add("verify", "who signed a receipt, where it is logged, and whether it adds up", verify);
  verified.first->add_option("file", verified.second->file, "receipt as the server gave it")
      ->required();
  verified.first->add_option("--key", verified.second->key,
                             "the meter's verifier key (default: DATA/meter.pub)");
  verified.first->add_option("--program", verified.second->program,
                             "program file (default: DATA/programs)");
  verified.first->add_option("--witness", verified.second->witnesses,
                             "a witness's key; it must have cosigned (repeatable)");
  verified.first->add_option("--earlier", verified.second->earlier,
                             "an earlier receipt of the same meter, to be continued");
  verified.first->add_option("--sent", verified.second->sent, "the bytes you sent");
  verified.first->add_option("--model", verified.second->model,
                             "the model's file or directory, to recount what you sent");
  verified.first->add_option("--api", verified.second->api, "which API the bytes were sent to")
      ->capture_default_str();
  verified.first->add_option("--received", verified.second->received, "the bytes you received");
  verified.first->add_flag("--json", verified.second->json, "machine-readable output");
  auto listed = add("list", "receipts in order of issue", list);
  listed.first->add_flag("--json", listed.second->json, "machine-readable output");
  auto one = add("show", "a receipt with its proof, verbatim", show);
  one.first->add_option("id", one.second->file, "receipt id")->required();
  auto logged =
      add("log", "a resource of the receipt log: checkpoint, tile/0/000, ...", log_resource);
  logged.first->add_option("path", logged.second->file, "path as in C2SP tlog-tiles")->required();
  auto audited =
      add("audit", "compare every receipt with its page and every page with the log", audit);
  audited.first->add_flag("--json", audited.second->json, "machine-readable output");
}

}  // namespace tg::apps
