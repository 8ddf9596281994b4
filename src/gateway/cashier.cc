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
  std::unique_ptr<Cashier> cashier(new Cashier(ledger, scribe, std::move(options), clock));
  cashier->bookkeeper_ = bookkeeper;
  cashier->leases_ = leases;
  Status learned = cashier->learn_all();
  bool is_away = !learned.ok() && learned.error().code == Code::kUnavailable && ledger.is_shared();
  if (!is_away) TG_TRY(learned);
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
  give_back();
  if (thread_.joinable()) thread_.join();
}

// --- whose thread -------------------------------------------------------------------------------

std::vector<int> Cashier::borrow(NearReader*) {
  std::lock_guard lock(lent_mutex_);
  if (is_lent_ || inbox_->closed()) return {};
  is_lent_ = true;
  return {inbox_->fd(), ledger_replies_->fd()};
}

void Cashier::give_back() {
  {
    std::lock_guard lock(lent_mutex_);
    is_lent_ = false;
  }
  lent_changed_.notify_all();
}

void Cashier::wait_while_lent() {
  std::unique_lock lock(lent_mutex_);
  lent_changed_.wait(lock, [&] { return !is_lent_; });
}

bool Cashier::is_over() {
  std::lock_guard turning(turn_mutex_);
  return !is_open_ && till_.waiting() == 0;
}

Status Cashier::learn_all() {
  TG_ASSIGN(std::vector<ledger::Account> accounts, ledger_.all_accounts());
  std::lock_guard turning(turn_mutex_);
  for (const ledger::Account& account : accounts) till_.learn(account);
  has_learned_ = true;
  return {};
}

void Cashier::run() {
  while (!is_over()) {
    wait_while_lent();
    // It is asked again until it is there.
    if (!has_learned_) {
      [[maybe_unused]] Status learned = learn_all();
    }
    pollfd watched[2] = {{inbox_->fd(), POLLIN, 0}, {ledger_replies_->fd(), POLLIN, 0}};
    ::poll(watched, 2, kPollMs);
    turn(kAllReadable);
  }
}

void Cashier::turn(u32 readable) {
  std::lock_guard turning(turn_mutex_);
  // Asked before draining, so that nothing pushed before the close is missed.
  bool was_open = std::exchange(is_open_, !inbox_->closed());
  if (was_open && !is_open_) till_.stop(clock_.now());
  commands_.clear();
  replies_.clear();
  if (accounts_->has_values()) {
    std::vector<ledger::Account> accounts;
    accounts_->drain(accounts);
    for (const ledger::Account& account : accounts) till_.learn(account);
  }
  // What is not readable has nothing that was pushed by others, or will be at once.
  if ((readable & 1u) != 0 || inbox_->has_values()) inbox_->drain(commands_);
  if ((readable & 2u) != 0) ledger_replies_->drain(replies_);
  Timestamp now = clock_.now();
  for (BillingCommand& command : commands_) obey(command, out_);
  for (const ledger::Reply& reply : replies_) till_.complete(reply, now, out_);
  till_.tick(now, out_);
  carry_out(out_);
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

// Whatever moves is decided here; what an account has may be asked of those who lease it. Takes
// such questions out; the tags of those that are refused.
std::vector<u64> Cashier::ask_leases(std::vector<ledger::Request>& requests) {
  std::vector<u64> refused;
  if (leases_ == nullptr) return refused;
  std::vector<ledger::Request> others;
  for (ledger::Request& request : requests) {
    bool is_lookup = request.transfers.empty() && request.documents.empty();
    u64 tag = request.tag;
    if (!is_lookup) {
      others.push_back(std::move(request));
    } else if (!leases_->submit(request, till_.wanted(tag), ledger_replies_)) {
      refused.push_back(tag);
    }
  }
  requests = std::move(others);
  return refused;
}

// A refused request is answered with an error, which the till tries again later.
void Cashier::carry_out(Till::Output& out) {
  std::vector<ledger::Request> requests = std::move(out.requests);
  out.requests.clear();
  std::vector<u64> refused = ask_leases(requests);
  std::size_t taken = requests.empty() ? 0 : ledger_.submit_all(requests, ledger_replies_);
  for (std::size_t i = taken; i < requests.size(); ++i) refused.push_back(requests[i].tag);
  for (u64 tag : refused) {
    ledger::Reply reply;
    reply.tag = tag;
    reply.error = Error{Code::kUnavailable, "the ledger's queue is full or stopped"};
    till_.complete(reply, clock_.now(), out);
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
