// What is sold and paid back: the books' commands that move plans, credits and refunds.
#include "base/bytes.h"
#include "base/checked.h"
#include "base/json_out.h"
#include "gateway/archive.h"
#include "gateway/bookkeeper.h"
#include "gateway/books.h"
#include "gateway/cashier.h"
#include "ledger/checks.h"
#include "ledger/id.h"
#include "meter/receipt_file.h"

namespace tg::gateway {

namespace {

constexpr i64 kStatementLines = 100;
constexpr i64 kWalkLines = 10'000;
// What prints as a JSON integer and leaves room for sums.
constexpr u64 kAmountMax = 1'000'000'000'000'000'000;

std::string_view name(market::SourceKind kind) {
  switch (kind) {
    case market::SourceKind::kBundle: return "bundle";
    case market::SourceKind::kSubscription: return "subscription";
    case market::SourceKind::kCreditLine: return "credit";
  }
  return "unknown";
}

Status succeeded(const ledger::Reply& reply) {
  if (reply.succeeded()) return {};
  return Error{Code::kIo, "ledger: " + reply.failure()};
}

bool is_payback(const ledger::Transfer& t) {
  return t.code == ledger::transfer_code::kRefund || t.code == ledger::transfer_code::kCorrect;
}

// Every transfer of an account, newest first.
template <typename F>
Status walk(ledger::Service& ledger, u128 account, const F& visit) {
  u64 before = 0;
  do {
    TG_ASSIGN(ledger::Statement page,
              ledger.statement({.account = account, .before = before, .limit = kWalkLines}));
    for (const ledger::StatementLine& line : page.lines) {
      if (line.entry.kind == ledger::EntryKind::kTransfer) visit(line.entry.transfer);
    }
    before = page.next_before;
  } while (before != 0);
  return {};
}

void write_account(JsonWriter& json, const ledger::Account& account, const market::Plan* plan) {
  json.key("account").string(to_hex(account.id));
  json.key("unit").string(account.ledger == ledger::ledgers::kMoney ? "ucredit" : "nano_st");
  json.key("kind").string(plan == nullptr ? "balance" : name(plan->kind));
  json.key("plan");
  if (account.product == 0) {
    json.null();
  } else {
    json.string(plan == nullptr ? "withdrawn" : plan->name);
  }
  json.key("available").raw(to_string(ledger::available(account)));
  json.key("held").raw(to_string(account.debits_pending));
  json.key("spent").raw(to_string(account.debits_posted));
  json.key("granted").raw(to_string(account.credits_posted));
  json.key("expires");
  if (account.expires_ns == 0) {
    json.null();
  } else {
    json.string(to_rfc3339(Timestamp{account.expires_ns}));
  }
}

}  // namespace

// Whoever serves requests must know the account before one may be paid from it, as the ledger has
// it that requests are paid from.
Status Books::announce(u128 id) {
  if (cashier_ == nullptr) return {};
  TG_ASSIGN(std::optional<ledger::Account> account, ledger_.find_account(id));
  if (sweeper_ != nullptr && account) sweeper_->learn(*account);
  if (leases_ != nullptr) {
    TG_ASSIGN(account, leases_->ask(id, ledger::LeaseUse::kKnow));
  }
  if (account) cashier_->learn(*account);
  return {};
}

Result<std::string> Books::top_up_money(u128 owner, std::string_view amount_text) {
  TG_ASSIGN(u64 amount, parse_count(amount_text));
  if (amount == 0 || amount > kAmountMax)
    return Error{Code::kInvalid, "a top-up of " + std::to_string(amount) + " is out of range"};
  ledger::Account account{.id = money_account(owner),
                          .owner = owner,
                          .ledger = ledger::ledgers::kMoney,
                          .code = ledger::account_code::kBuyerMoney,
                          .flags = ledger::account_flag::kDebitsMustNotExceedCredits};
  ledger::Request request;
  request.accounts.push_back(account);
  request.transfers.push_back({.id = ledger::time_ordered_id(clock_.now(), random_),
                               .debit_account = money_wash_account(),
                               .credit_account = account.id,
                               .amount = amount,
                               .ledger = ledger::ledgers::kMoney,
                               .code = ledger::transfer_code::kTopUp});
  TG_TRY(succeeded(ledger_.execute(std::move(request))));
  TG_TRY(announce(account.id));
  return accounts(owner);
}

Result<std::string> Books::accounts(u128 owner) {
  TG_ASSIGN(std::vector<ledger::Account> all, ledger_.all_accounts());
  std::map<u128, Leased> leases;
  if (is_leased()) {
    TG_ASSIGN(leases, leased());
  }
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("owner").string(to_hex(owner)).key("accounts").begin_array();
  for (const ledger::Account& account : all) {
    bool is_own = account.id == owner || account.owner == owner;
    if (!is_own) continue;
    json.begin_object();
    write_account(json, account, market::find_plan(plans_, account.product));
    if (is_leased()) json.key("leased").raw(to_string(leases[account.id].amount));
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

Result<std::string> Books::sell(u128 owner, std::string_view plan_name,
                                std::string_view purchase_text) {
  TG_ASSIGN(u128 purchase, id_from_hex(purchase_text));
  const market::Plan* plan = nullptr;
  for (const market::Plan& candidate : plans_) {
    if (candidate.name == plan_name) plan = &candidate;
  }
  if (plan == nullptr)
    return Error{Code::kNotFound, "no plan named '" + std::string(plan_name) + "' is offered"};
  TG_TRY(ensure(owner));
  market::Sale sale{.owner = owner, .purchase = purchase, .at = clock_.now()};
  u128 id = market::account_of(*plan, sale);
  TG_ASSIGN(std::optional<ledger::Account> known, ledger_.find_account(id));
  // The first sale of a purchase set the account's expiry; asking again asks for the same.
  if (known) sale.at = Timestamp{known->timestamp_ns};
  ledger::Request request = market::sale_request(standard_books(), *plan, sale);
  if (known) request.accounts.clear();
  request.lookups.push_back(id);
  ledger::Reply reply = ledger_.execute(std::move(request));
  TG_TRY(succeeded(reply));
  TG_TRY(announce(id));
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  write_account(json, *reply.lookups.at(0), plan);
  json.end_object();
  return out;
}

Result<Books::Issued> Books::receipt_of(u128 request) {
  Result<std::string> document = served_->read_document(request);
  if (document.ok()) {
    TG_ASSIGN(meter::Receipt receipt, meter::parse_stored(*document));
    return Issued{.receipt = std::move(receipt), .is_ours = true};
  }
  bool is_elsewhere = is_leased() && document.error().code == Code::kNotFound;
  if (!is_elsewhere) return document.error();
  TG_ASSIGN(std::string text, archived_receipt(ledger_, request));
  TG_ASSIGN(meter::ReceiptFile file, meter::parse_receipt_file(text));
  return Issued{.receipt = std::move(file.receipt)};
}

// By the receipt, and by the journal of the accounts that it names. What another gateway posted for
// a request is in its own ledger; the receipt says it.
Result<Books::Paid> Books::paid_of(u128 request) {
  TG_ASSIGN(Issued issued, receipt_of(request));
  const meter::Receipt& receipt = issued.receipt;
  Paid out;
  out.charged.request = request;
  out.charged.seller = receipt.seller;
  out.charged.ledger =
      receipt.pricing.in_money ? ledger::ledgers::kMoney : ledger::ledgers::kStandard;
  std::vector<meter::Payment> payments = receipt.paid;
  if (receipt.version < 3 && receipt.billed > 0)
    payments = {{.account = receipt.buyer, .amount = receipt.billed}};
  for (const meter::Payment& payment : payments) {
    out.charged.draws.push_back({payment.account, static_cast<u128>(payment.amount)});
    if (!issued.is_ours) out.posted += static_cast<u128>(payment.amount);
    if (issued.is_ours) {
      TG_TRY(walk(*served_, payment.account, [&](const ledger::Transfer& t) {
        if (t.correlation == request && ledger::is_post(t)) out.posted += t.amount;
      }));
    }
    TG_TRY(walk(ledger_, payment.account, [&](const ledger::Transfer& t) {
      if (t.correlation != request || !is_payback(t)) return;
      out.charged.refunded += t.amount;
      out.paybacks = std::max(out.paybacks, t.sequence + 1);
    }));
  }
  return out;
}

Status Books::settle(u128 account) {
  Result<std::optional<ledger::Account>> settled = leases_->ask(account, ledger::LeaseUse::kSettle);
  if (settled.ok()) return {};
  return settled.error();
}

Result<std::string> Books::pay_back(u128 request, std::string_view amount_text,
                                    bool is_correction) {
  TG_ASSIGN(u64 amount, parse_count(amount_text));
  TG_ASSIGN(Paid known, paid_of(request));
  // What comes back must have come in.
  for (const market::Draw& draw : known.charged.draws) {
    if (leases_ != nullptr) TG_TRY(settle(draw.account));
  }
  TG_ASSIGN(market::Chain chain,
            is_correction ? market::correction_chain(known.charged, amount, known.paybacks)
                          : market::refund_chain(known.charged, amount, known.paybacks));
  ledger::Request change;
  change.transfers = std::move(chain);
  TG_TRY(succeeded(ledger_.execute(std::move(change))));
  return paid(request);
}

Result<std::string> Books::paid(u128 request) {
  TG_ASSIGN(Paid known, paid_of(request));
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("request").string(to_hex(request));
  json.key("posted").raw(to_string(known.posted));
  json.key("paid_back").raw(to_string(known.charged.refunded));
  json.key("seller").string(to_hex(known.charged.seller));
  json.key("draws").begin_array();
  for (const market::Draw& draw : known.charged.draws) {
    json.begin_object().key("account").string(to_hex(draw.account));
    json.key("amount").raw(to_string(draw.amount)).end_object();
  }
  json.end_array().end_object();
  return out;
}

Result<std::string> Books::statement(u128 account, std::string_view before_text) {
  TG_ASSIGN(u64 before, parse_count(before_text));
  TG_ASSIGN(ledger::Statement page,
            ledger_.statement({.account = account, .before = before, .limit = kStatementLines}));
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("account").string(to_hex(account)).key("lines").begin_array();
  for (const ledger::StatementLine& line : page.lines) {
    const ledger::Transfer& t = line.entry.transfer;
    if (line.entry.kind == ledger::EntryKind::kFailedId) continue;
    json.begin_object().key("position").number_u64(line.position);
    json.key("time").string(to_rfc3339(Timestamp{t.timestamp_ns}));
    json.key("code").number(t.code).key("is_debit").boolean(t.debit_account == account);
    json.key("amount").raw(to_string(t.amount));
    json.key("is_hold").boolean(ledger::is_pending(t));
    json.key("state").string(ledger::name(line.entry.state));
    json.key("request").string(to_hex(t.correlation)).end_object();
  }
  json.end_array().key("next").number_u64(page.next_before).end_object();
  return out;
}

Result<std::string> Books::usage(std::string_view account, std::string_view query_text) {
  if (bookkeeper_ == nullptr)
    return Error{Code::kUnavailable, "no reports of usage are made here: start the server"};
  TG_ASSIGN(UsageQuery query, parse_usage_query(query_text));
  if (account != "all") {
    TG_ASSIGN(u128 id, id_from_hex(account));
    query.account = id;
  }
  TG_ASSIGN(std::string report, bookkeeper_->ask(std::move(query)));
  std::string out;
  JsonWriter(out).begin_object().key("report").string(report).end_object();
  return out;
}

}  // namespace tg::gateway
