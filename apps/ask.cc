#include "apps/ask.h"

#include <memory>

#include "apps/ledgers.h"
#include "apps/price_files.h"
#include "base/bytes.h"
#include "env/clock.h"
#include "gateway/control.h"
#include "gateway/keys.h"

namespace tg::apps {

namespace {

bool concerns_receipt_log(std::string_view command) {
  return command.starts_with("receipt ") || command.starts_with("log ") ||
         command == "audit-receipts";
}

Result<std::string> ask_ledger(const DataDirectory& data, const std::string& command) {
  SystemClock clock;
  OsRandom random;
  TG_ASSIGN(Ledgers ledgers, open_ledgers(data, clock));
  // The log is opened only for who asks for it: it takes what the ledger has when it is.
  std::unique_ptr<gateway::Archive> archive;
  std::unique_ptr<gateway::Scribe> scribe;
  if (concerns_receipt_log(command)) {
    TG_ASSIGN(tlog::NoteSigner signer, load_or_make_signer(data, random));
    TG_ASSIGN(meter::ReceiptLog log,
              meter::ReceiptLog::open(data.file("receipts"), "tokengrid.local", std::move(signer)));
    if (ledgers.own != nullptr) archive = open_archive(data, ledgers, clock);
    scribe = std::make_unique<gateway::Scribe>(ledgers.served(), std::move(log), archive.get());
  }
  gateway::Books books(*ledgers.accounts, clock, random, scribe.get());
  if (ledgers.own != nullptr) books.serve_from(*ledgers.own, nullptr);
  TG_ASSIGN(std::vector<market::Plan> plans, load_plans(data));
  books.offer(std::move(plans));
  TG_TRY(books.prepare());
  return books.answer(command);
}

}  // namespace

Result<nlohmann::json> ask(const DataDirectory& data, const std::string& command) {
  Result<std::string> answer = gateway::ask_control(data.file("control.sock"), command);
  if (!answer.ok() && answer.error().code == Code::kUnavailable) answer = ask_ledger(data, command);
  if (!answer.ok()) return answer.error();
  nlohmann::json json = nlohmann::json::parse(*answer, nullptr, false);
  if (!json.is_object()) return Error{Code::kCorrupt, "the books gave no JSON object"};
  if (json.contains("error")) return Error{Code::kInvalid, json["error"].get<std::string>()};
  return json;
}

Result<u128> account_by_name(const DataDirectory& data, const std::string& name, bool make) {
  OsRandom random;
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> keys, gateway::KeyStore::open(data.path, random));
  if (!make) {
    TG_ASSIGN(std::vector<gateway::AccountName> accounts, keys->accounts());
    for (const gateway::AccountName& account : accounts) {
      if (account.name == name) return account.id;
    }
    return Error{Code::kNotFound, "no account named '" + name + "'"};
  }
  TG_ASSIGN(gateway::AccountName account, keys->ensure_account(name));
  TG_ASSIGN([[maybe_unused]] nlohmann::json made, ask(data, "ensure " + to_hex(account.id)));
  return account.id;
}

}  // namespace tg::apps
