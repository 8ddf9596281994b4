// `tokengrid receipt {verify,list,show}`. Verification says which of its levels passed and what
// they do not prove.
#include "meter/receipt.h"

#include <fmt/format.h>

#include <memory>

#include "apps/ask.h"
#include "apps/commands.h"
#include "apps/locate.h"
#include "base/bytes.h"
#include "base/json_out.h"
#include "env/disk.h"
#include "meter/signer.h"

namespace tg::apps {

namespace {

struct ReceiptOptions {
  std::string data = default_data_directory();
  std::string file;
  std::string key;
  std::string program;
  bool json = false;
};

// "ok", or why not; "not checked: ..." leaves the exit status alone only if nothing failed.
struct Levels {
  std::string signature;
  std::string arithmetic;
  std::string ledger;
};

std::string outcome_of(const Status& status) {
  return status.ok() ? "ok" : status.error().message;
}

Status check_signature(const ReceiptOptions& o, const DataDirectory* data,
                       const meter::Note& note) {
  meter::VerifierKey key;
  if (!o.key.empty()) {
    TG_ASSIGN(key, meter::parse_verifier_key(o.key));
  } else {
    if (data == nullptr) return Error{Code::kNotFound, "no key: give --key or --data"};
    TG_ASSIGN(key, load_verifier_key(*data));
  }
  if (key.name != note.signer) {
    return Error{Code::kInvalid, "signed by " + note.signer + ", the key is of " + key.name};
  }
  if (!meter::verify_note(note, key.key))
    return Error{Code::kInvalid, "the signature does not match"};
  return {};
}

constexpr u64 kProgramBytesMax = 16 * 1024 * 1024;

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

Status check_arithmetic(const ReceiptOptions& o, const DataDirectory* data,
                        const meter::Receipt& receipt) {
  TG_ASSIGN(isa::VerifiedProgram program, program_of(o, data, receipt));
  return meter::check_arithmetic(receipt, program.cost());
}

Status expect(const nlohmann::json& transfer, const char* field, const nlohmann::json& want) {
  if (transfer[field] == want) return {};
  return Error{Code::kCorrupt, fmt::format("ledger: {} is {}, the receipt says {}", field,
                                           transfer[field].dump(), want.dump())};
}

// The hold and the post are in the journal, with these parties and amounts.
Status check_ledger(const DataDirectory* data, const meter::Receipt& r) {
  if (data == nullptr) return Error{Code::kNotFound, "no ledger: give --data"};
  TG_ASSIGN(nlohmann::json hold, ask(*data, "transfer " + to_hex(r.hold)));
  TG_TRY(expect(hold, "amount", r.held));
  TG_TRY(expect(hold, "debit", to_hex(r.buyer)));
  TG_TRY(expect(hold, "credit", to_hex(r.seller)));
  TG_TRY(expect(hold, "correlation", to_hex(r.request)));
  TG_TRY(expect(hold, "state", r.billed > 0 ? "posted" : "voided"));
  if (r.billed == 0) return {};
  TG_ASSIGN(nlohmann::json post, ask(*data, "transfer " + to_hex(r.post)));
  TG_TRY(expect(post, "amount", r.billed));
  return expect(post, "hold", to_hex(r.hold));
}

void print_levels(const ReceiptOptions& o, const meter::Receipt& r, const Levels& levels) {
  if (o.json) {
    std::string out;
    JsonWriter json(out);
    json.begin_object()
        .key("signature")
        .string(levels.signature)
        .key("arithmetic")
        .string(levels.arithmetic);
    json.key("ledger").string(levels.ledger).key("request").string(to_hex(r.request));
    json.key("outcome").string(meter::name(r.outcome)).key("nominal_nst").number(r.nominal_nst);
    json.key("billed").number(r.billed).end_object();
    fmt::print("{}\n", out);
    return;
  }
  fmt::print("request    {}  {}\n", to_hex(r.request), meter::name(r.outcome));
  fmt::print("nominal    {} ST, billed {} ST\n", unit::to_decimal(unit::NanoSt(r.nominal_nst)),
             unit::to_decimal(unit::NanoSt(r.billed)));
  fmt::print("signature  {}\narithmetic {}\nledger     {}\n", levels.signature, levels.arithmetic,
             levels.ledger);
  fmt::print(
      "These levels show who signed, that the bill follows from readings and program, and that the "
      "ledger posted "
      "it.\nThey do not show that the meter read honestly.\n");
}

Status verify(const ReceiptOptions& o) {
  TG_ASSIGN(std::string text, read_file(o.file, static_cast<u64>(meter::kNoteBytesMax)));
  TG_ASSIGN(meter::Note note, meter::parse_note(text));
  TG_ASSIGN(meter::Receipt receipt, meter::parse_receipt(note.text));
  Result<DataDirectory> found = existing_data_directory(o.data);
  const DataDirectory* data = found.ok() ? &*found : nullptr;
  Levels levels{.signature = outcome_of(check_signature(o, data, note)),
                .arithmetic = outcome_of(check_arithmetic(o, data, receipt)),
                .ledger = data == nullptr ? "not checked: no data directory"
                                          : outcome_of(check_ledger(data, receipt))};
  print_levels(o, receipt, levels);
  bool ledger_passed = levels.ledger == "ok" || data == nullptr;
  if (levels.signature == "ok" && levels.arithmetic == "ok" && ledger_passed) return {};
  return Error{Code::kInvalid, "the receipt does not verify"};
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
    fmt::print("{}\n", nlohmann::json{{"receipts", all}}.dump());
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

}  // namespace

void add_receipt(CLI::App& root, int& exit_status) {
  CLI::App* group = root.add_subcommand("receipt", "Receipts: verify, list, show");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, Status (*action)(const ReceiptOptions&)) {
    std::shared_ptr<ReceiptOptions> o = std::make_shared<ReceiptOptions>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("--data", o->data, "data directory")->capture_default_str();
    command->callback([o, action, &exit_status] { exit_status = report(action(*o)); });
    return std::pair(command, o);
  };
  auto verified = add("verify", "signature, arithmetic and ledger post of a receipt", verify);
  verified.first->add_option("file", verified.second->file, "receipt as the server gave it")
      ->required();
  verified.first->add_option("--key", verified.second->key,
                             "the meter's verifier key (default: DATA/meter.pub)");
  verified.first->add_option("--program", verified.second->program,
                             "program file (default: DATA/programs)");
  verified.first->add_flag("--json", verified.second->json, "machine-readable output");
  auto listed = add("list", "receipts in order of issue", list);
  listed.first->add_flag("--json", listed.second->json, "machine-readable output");
  auto shown = add("show", "a receipt, verbatim", show);
  shown.first->add_option("id", shown.second->file, "receipt id")->required();
}

}  // namespace tg::apps
