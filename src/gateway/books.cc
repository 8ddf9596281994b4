#include "gateway/books.h"

#include <charconv>
#include <vector>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/json_out.h"
#include "ledger/id.h"
#include "meter/receipt_file.h"
#include "tlog/note.h"

namespace tg::gateway {

namespace {

constexpr i64 kReceiptsPage = 500;

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    std::size_t space = line.find(' ');
    std::string_view word = line.substr(0, space);
    if (!word.empty()) out.push_back(word);
    line = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
  }
  return out;
}

}  // namespace

Result<u64> parse_count(std::string_view text) {
  u64 value = 0;
  std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) {
    return Error{Code::kInvalid, "'" + std::string(text) + "' is not a whole number"};
  }
  return value;
}

namespace {

ledger::Account standard_account(u128 id, u16 code, u16 flags) {
  ledger::Account account;
  account.id = id;
  account.ledger = ledger::ledgers::kStandard;
  account.code = code;
  account.flags = flags;
  return account;
}

// nano-ST fit 63 bits by the cap on top-ups; JSON numbers here are read by people and scripts.
i64 nano(u128 amount) {
  TG_ASSERT(amount <= static_cast<u128>(INT64_MAX));
  return static_cast<i64>(amount);
}

void append_receipt(JsonWriter& json, const ledger::StoredDocument& document) {
  Result<meter::Receipt> receipt = meter::parse_stored(document.bytes);
  if (!receipt.ok()) return;
  json.begin_object()
      .key("id")
      .string(to_hex(document.id))
      .key("time")
      .string(to_rfc3339(receipt->time));
  json.key("model").string(receipt->model).key("outcome").string(meter::name(receipt->outcome));
  json.key("prompt_tokens")
      .number(receipt->prompt_tokens)
      .key("cached_tokens")
      .number(receipt->cached_tokens);
  i64 output = 0;
  for (i64 tokens : receipt->output_tokens) output += tokens;
  json.key("output_tokens").number(output).key("nominal_nst").number(receipt->nominal_nst);
  json.key("actual_nst")
      .number(receipt->actual_nst)
      .key("billed")
      .number(receipt->billed)
      .end_object();
}

}  // namespace

u128 wash_account() {
  return ledger::id_from_name("wash/st");
}
u128 seller_account() {
  return ledger::id_from_name("seller/local");
}
u128 money_wash_account() {
  return ledger::id_from_name("wash/credit");
}
u128 money_seller_account() {
  return ledger::id_from_name("seller/local/credit");
}
u128 breakage_account() {
  return ledger::id_from_name("breakage/st");
}
u128 money_account(u128 owner) {
  return ledger::id_from_name("credit/" + to_hex(owner));
}
market::FundingBooks standard_books() {
  return {
      .ledger = ledger::ledgers::kStandard, .wash = wash_account(), .breakage = breakage_account()};
}

Status Books::prepare() {
  ledger::Request request;
  request.accounts.push_back(standard_account(wash_account(), ledger::account_code::kWash, 0));
  request.accounts.push_back(standard_account(seller_account(),
                                              ledger::account_code::kSellerPending,
                                              ledger::account_flag::kDebitsMustNotExceedCredits));
  request.accounts.push_back(
      standard_account(breakage_account(), ledger::account_code::kBreakage, 0));
  ledger::Account wash = standard_account(money_wash_account(), ledger::account_code::kWash, 0);
  ledger::Account seller =
      standard_account(money_seller_account(), ledger::account_code::kSellerPending,
                       ledger::account_flag::kDebitsMustNotExceedCredits);
  wash.ledger = seller.ledger = ledger::ledgers::kMoney;
  request.accounts.push_back(wash);
  request.accounts.push_back(seller);
  ledger::Reply reply = ledger_.execute(std::move(request));
  if (reply.succeeded()) return {};
  return Error{reply.error ? reply.error->code : Code::kIo, "ledger: " + reply.failure()};
}

std::string Books::answer(std::string_view line) {
  Result<std::string> out = dispatch(line);
  if (out.ok()) return std::move(*out);
  std::string error;
  JsonWriter(error).begin_object().key("error").string(out.error().message).end_object();
  return error;
}

Result<std::string> Books::dispatch(std::string_view line) {
  std::vector<std::string_view> all = words(line);
  if (all.empty()) return Error{Code::kInvalid, "empty command"};
  std::string_view command = all[0];
  if (command == "audit" && all.size() == 1) return audit();
  if (command == "audit-receipts" && all.size() == 1) return audit_receipts();
  if (command == "log" && all.size() == 2) return log_resource(all[1]);
  if (command == "receipts" && all.size() == 2) return receipts(all[1]);
  if (command == "usage" && (all.size() == 2 || all.size() == 3))
    return usage(all[1], all.size() == 3 ? all[2] : std::string_view{});
  if (all.size() < 2)
    return Error{Code::kInvalid, "unknown command '" + std::string(command) + "'"};
  TG_ASSIGN(u128 id, id_from_hex(all[1]));
  if (command == "ensure" && all.size() == 2) {
    TG_TRY(ensure(id));
    return std::string("{}");
  }
  if (command == "show" && all.size() == 2) return show(id);
  if (command == "topup" && all.size() == 3) return top_up(id, all[2]);
  if (command == "topup-money" && all.size() == 3) return top_up_money(id, all[2]);
  if (command == "accounts" && all.size() == 2) return accounts(id);
  if (command == "sell" && all.size() == 4) return sell(id, all[2], all[3]);
  if (command == "refund" && all.size() == 3) return pay_back(id, all[2], false);
  if (command == "correct" && all.size() == 3) return pay_back(id, all[2], true);
  if (command == "paid" && all.size() == 2) return paid(id);
  if (command == "statement" && all.size() == 3) return statement(id, all[2]);
  if (command == "transfer" && all.size() == 2) return transfer(id);
  if (command == "receipt" && all.size() == 2) return receipt(id);
  return Error{Code::kInvalid, "unknown command '" + std::string(command) + "'"};
}

Status Books::ensure(u128 account) {
  ledger::Request request;
  request.accounts.push_back(standard_account(account, ledger::account_code::kBuyerBundle,
                                              ledger::account_flag::kDebitsMustNotExceedCredits));
  ledger::Reply reply = ledger_.execute(std::move(request));
  if (!reply.succeeded()) return Error{Code::kIo, "ledger: " + reply.failure()};
  return announce(account);
}

Result<std::string> Books::show(u128 id) {
  TG_ASSIGN(std::optional<ledger::Account> account, ledger_.find_account(id));
  if (!account) return Error{Code::kNotFound, "no ledger account " + to_hex(id)};
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("account").string(to_hex(id));
  json.key("balance_nst").number(nano(ledger::available(*account)));
  json.key("held_nst").number(nano(account->debits_pending));
  json.key("spent_nst").number(nano(account->debits_posted));
  json.key("granted_nst").number(nano(account->credits_posted));
  if (is_leased()) {
    std::map<u128, Leased> leases;
    TG_ASSIGN(leases, leased());
    Leased mine = leases[id];
    json.key("leased_nst").number(nano(mine.amount)).key("settled_at");
    if (mine.amount == 0) {
      json.null();
    } else {
      json.string(to_rfc3339(mine.since));
    }
  }
  json.end_object();
  return out;
}

// Every round is a hold of its own, so the hold's time is when its gateway last settled.
Result<std::map<u128, Books::Leased>> Books::leased() {
  TG_ASSIGN(std::vector<ledger::Transfer> holds, ledger_.pending_transfers());
  std::map<u128, Leased> out;
  for (const ledger::Transfer& hold : holds) {
    if (hold.code != ledger::transfer_code::kLease) continue;
    Leased& leased = out[hold.debit_account];
    bool is_first = leased.amount == 0 || hold.timestamp_ns < leased.since.ns;
    if (is_first) leased.since = Timestamp{hold.timestamp_ns};
    leased.amount += hold.amount;
  }
  return out;
}

Result<std::string> Books::top_up(u128 account, std::string_view amount_text) {
  TG_ASSIGN(u64 amount, parse_count(amount_text));
  // A bundle's lifetime total must print as a JSON integer.
  constexpr u64 kTopUpMax = 1'000'000'000'000'000'000;
  if (amount == 0 || amount > kTopUpMax) {
    return Error{Code::kInvalid,
                 "a top-up of " + std::to_string(amount) + " nano-ST is out of range"};
  }
  TG_TRY(ensure(account));
  TG_ASSIGN(std::optional<ledger::Account> before, ledger_.find_account(account));
  if (before && before->credits_posted + amount > static_cast<u128>(INT64_MAX)) {
    return Error{Code::kLimit, "the account would hold more than 2^63 nano-ST"};
  }
  ledger::Transfer transfer;
  transfer.id = ledger::time_ordered_id(clock_.now(), random_);
  transfer.debit_account = wash_account();
  transfer.credit_account = account;
  transfer.amount = amount;
  transfer.ledger = ledger::ledgers::kStandard;
  transfer.code = ledger::transfer_code::kTopUp;
  ledger::Request request;
  request.transfers.push_back(transfer);
  ledger::Reply reply = ledger_.execute(std::move(request));
  if (!reply.succeeded()) return Error{Code::kIo, "ledger: " + reply.failure()};
  return show(account);
}

Result<std::string> Books::transfer(u128 id) {
  ledger::Service* found = served_;
  TG_ASSIGN(std::optional<ledger::Transfer> transfer, found->find_transfer(id));
  if (!transfer && is_leased()) {
    found = &ledger_;
    TG_ASSIGN(transfer, found->find_transfer(id));
  }
  if (!transfer) return Error{Code::kNotFound, "no ledger transfer " + to_hex(id)};
  TG_ASSIGN(ledger::PendingState state, found->pending_state(id));
  std::string out;
  JsonWriter json(out);
  json.begin_object()
      .key("id")
      .string(to_hex(id))
      .key("debit")
      .string(to_hex(transfer->debit_account));
  json.key("credit")
      .string(to_hex(transfer->credit_account))
      .key("amount")
      .number(nano(transfer->amount));
  json.key("code").number(transfer->code).key("hold").string(to_hex(transfer->pending_id));
  json.key("correlation").string(to_hex(transfer->correlation));
  json.key("state").string(ledger::name(state)).end_object();
  return out;
}

Result<std::string> Books::ask_scribe(ScribeQuestion question) {
  if (scribe_ == nullptr) return Error{Code::kUnavailable, "the receipt log is not open here"};
  return scribe_->ask(std::move(question));
}

Result<std::string> Books::receipt(u128 id) {
  TG_ASSIGN(std::string file, ask_scribe({.kind = ScribeQuestion::Kind::kReceipt, .id = id}));
  std::string out;
  JsonWriter(out).begin_object().key("receipt").string(file).end_object();
  return out;
}

Result<std::string> Books::log_resource(std::string_view path) {
  TG_ASSIGN(std::string bytes,
            ask_scribe({.kind = ScribeQuestion::Kind::kResource, .path = std::string(path)}));
  std::string out;
  JsonWriter(out)
      .begin_object()
      .key("base64")
      .string(tlog::to_base64(as_bytes(bytes)))
      .end_object();
  return out;
}

Result<std::string> Books::audit_receipts() {
  return ask_scribe({.kind = ScribeQuestion::Kind::kAudit});
}

Result<std::string> Books::receipts(std::string_view after_text) {
  TG_ASSIGN(u64 after, parse_count(after_text));
  TG_ASSIGN(std::vector<ledger::StoredDocument> documents,
            served_->documents_after(after, kReceiptsPage));
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("receipts").begin_array();
  for (const ledger::StoredDocument& document : documents) append_receipt(json, document);
  json.end_array().key("last").number_u64(documents.empty() ? after : documents.back().sequence);
  json.key("more").boolean(static_cast<i64>(documents.size()) == kReceiptsPage).end_object();
  return out;
}

Result<std::string> Books::audit() {
  if (is_leased()) {
    TG_ASSIGN([[maybe_unused]] ledger::AuditReport own, served_->audit());
  }
  TG_ASSIGN(ledger::AuditReport report, ledger_.audit());
  TG_ASSIGN(std::vector<ledger::Account> accounts, ledger_.all_accounts());
  i128 sum = 0;
  for (const ledger::Account& a : accounts) {
    if (a.ledger == ledger::ledgers::kStandard)
      sum += static_cast<i128>(a.credits_posted) - static_cast<i128>(a.debits_posted);
  }
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("sum_nst").raw(to_string(sum)).key("accounts").number(report.accounts);
  json.key("journal_entries")
      .number_u64(report.journal_entries)
      .key("holds_open")
      .number(report.holds_open);
  json.end_object();
  return out;
}

}  // namespace tg::gateway
