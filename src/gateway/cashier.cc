#include "gateway/cashier.h"

#include <poll.h>

#include <utility>

#include "base/bytes.h"
#include "base/log.h"

namespace tg::gateway {

namespace {

constexpr int kPollMs = 100;
constexpr i64 kAccountsMax = 1'024;

// One meter signs for all models.
tlog::Suite suite_of(const TillOptions& options) {
  return options.contracts.empty() ? tlog::Suite::kEd25519Sha256
                                   : options.contracts.begin()->second.suite;
}

}  // namespace

Result<std::unique_ptr<Cashier>> Cashier::start(ledger::Service& ledger, Scribe& scribe,
                                                TillOptions options, Clock& clock,
                                                Bookkeeper* bookkeeper,
                                                ledger::LeaseService* leases) {
  TG_ASSERT(options.is_leased == (leases != nullptr));
  TG_ASSIGN(std::vector<ledger::Account> accounts, ledger.all_accounts());
  std::unique_ptr<Cashier> cashier(new Cashier(ledger, scribe, std::move(options), clock));
  cashier->bookkeeper_ = bookkeeper;
  cashier->leases_ = leases;
  for (const ledger::Account& account : accounts) cashier->till_.learn(account);
  cashier->thread_ = std::thread([&c = *cashier] { c.run(); });
  return cashier;
}

Cashier::Cashier(ledger::Service& ledger, Scribe& scribe, TillOptions options, Clock& clock)
    : ledger_(ledger),
      scribe_(scribe),
      clock_(clock),
      suite_(suite_of(options)),
      till_(std::move(options), random_),
      inbox_(std::make_shared<Mailbox<BillingCommand>>(kBillingCommandsMax)),
      // Commands may each have one question out at the ledger, and as many progress reports again.
      ledger_replies_(std::make_shared<Mailbox<ledger::Reply>>(4 * kBillingCommandsMax)),
      accounts_(std::make_shared<Mailbox<ledger::Account>>(kAccountsMax)) {}

Cashier::~Cashier() {
  inbox_->close();
  accounts_->close();
  if (thread_.joinable()) thread_.join();
}

void Cashier::run() {
  std::vector<BillingCommand> commands;
  std::vector<ledger::Reply> replies;
  std::vector<ledger::Account> accounts;
  Till::Output out;
  bool open = true;
  while (open || till_.waiting() > 0) {
    pollfd watched[2] = {{inbox_->fd(), POLLIN, 0}, {ledger_replies_->fd(), POLLIN, 0}};
    ::poll(watched, 2, kPollMs);
    // Asked before draining, so that nothing pushed before the close is missed.
    bool was_open = std::exchange(open, !inbox_->closed());
    if (was_open && !open) till_.stop(clock_.now());
    commands.clear();
    replies.clear();
    accounts.clear();
    accounts_->drain(accounts);
    inbox_->drain(commands);
    ledger_replies_->drain(replies);
    for (const ledger::Account& account : accounts) till_.learn(account);
    for (BillingCommand& command : commands) obey(command, out);
    for (const ledger::Reply& reply : replies) till_.complete(reply, clock_.now(), out);
    till_.tick(clock_.now(), out);
    carry_out(out);
  }
}

void Cashier::obey(BillingCommand& command, Till::Output& out) {
  if (ReceiptRead* read = std::get_if<ReceiptRead>(&command.what)) {
    ReceiptRead what = std::move(*read);
    return read_receipt(command, what);
  }
  if (UsageRead* usage = std::get_if<UsageRead>(&command.what)) {
    UsageRead what = std::move(*usage);
    return read_usage(command, what);
  }
  if (const MeterRead* meter = std::get_if<MeterRead>(&command.what)) {
    BillingReply reply;
    reply.tag = command.tag;
    reply.receipt = till_.meters(meter->account);
    return answer(command.reply_to, reply);
  }
  till_.obey(std::move(command), clock_.now(), out);
}

void Cashier::read_usage(BillingCommand& command, const UsageRead& what) {
  BillingReply refused;
  refused.tag = command.tag;
  Result<UsageQuery> query = parse_usage_query(what.query);
  if (!query.ok()) {
    refused.status = BillingReply::Status::kInvalid;
    refused.message = query.error().message;
    return answer(command.reply_to, refused);
  }
  UsageQuestion question{
      .query = std::move(*query), .tag = command.tag, .reply_to = command.reply_to};
  question.query.account = what.account;
  if (bookkeeper_ != nullptr && bookkeeper_->submit(question)) return;
  refused.status = BillingReply::Status::kFailed;
  refused.message = "no reports of usage are made here";
  answer(command.reply_to, refused);
}

void Cashier::read_receipt(BillingCommand& command, const ReceiptRead& what) {
  BillingReply refused;
  refused.tag = command.tag;
  Result<u128> id = id_from_hex(what.receipt_id);
  if (!id.ok()) {
    refused.status = BillingReply::Status::kNotFound;
    return answer(command.reply_to, refused);
  }
  ScribeQuestion question{.kind = ScribeQuestion::Kind::kReceipt,
                          .id = *id,
                          .account = what.account,
                          .tag = command.tag,
                          .reply_to = command.reply_to};
  if (scribe_.submit(question)) return;
  refused.status = BillingReply::Status::kFailed;
  refused.message = "the receipt log is busy or stopped";
  answer(command.reply_to, refused);
}

// Whatever moves is decided here; what an account has may be asked of those who lease it.
bool Cashier::submit(ledger::Request& request) {
  bool is_lookup = request.transfers.empty() && request.documents.empty();
  if (leases_ == nullptr || !is_lookup) return ledger_.submit(request, ledger_replies_);
  return leases_->submit(request, till_.wanted(request.tag), ledger_replies_);
}

// A refused request is answered with an error, which the till tries again later.
void Cashier::carry_out(Till::Output& out) {
  std::vector<ledger::Request> requests = std::move(out.requests);
  out.requests.clear();
  for (ledger::Request& request : requests) {
    if (submit(request)) continue;
    ledger::Reply refused;
    refused.tag = request.tag;
    refused.error = Error{Code::kUnavailable, "the ledger's queue is full or stopped"};
    till_.complete(refused, clock_.now(), out);
  }
  TG_ASSERT(out.requests.empty());
  for (Till::Answer& given : out.answers) answer(given.to, given.reply);
  out.answers.clear();
}

void Cashier::answer(std::shared_ptr<Mailbox<BillingReply>>& to, BillingReply& reply) {
  if (!to->try_push(reply))
    log_error("cashier", "a billing reply found its mailbox full or closed");
}

}  // namespace tg::gateway
