#include "gateway/cashier.h"

#include <fmt/format.h>
#include <poll.h>

#include "base/bytes.h"
#include "base/log.h"
#include "ledger/id.h"
#include "market/funding/plan.h"

namespace tg::gateway {

namespace {

constexpr int kPollMs = 100;

BillingReply failed(std::string message) {
  BillingReply reply;
  reply.status = BillingReply::Status::kFailed;
  reply.message = std::move(message);
  return reply;
}

BillingReply with_status(BillingReply::Status status) {
  BillingReply reply;
  reply.status = status;
  return reply;
}

}  // namespace

u128 run_id(const std::string& request_id, i64 choice) {
  return ledger::id_from_name(fmt::format("{}/{}", request_id, choice));
}

Cashier::Cashier(ledger::Service& ledger, Scribe& scribe, CashierOptions options, Clock& clock)
    : ledger_(ledger),
      scribe_(scribe),
      options_(std::move(options)),
      clock_(clock),
      inbox_(std::make_shared<Mailbox<BillingCommand>>(kBillingCommandsMax)),
      ledger_replies_(std::make_shared<Mailbox<ledger::Reply>>(kBillingCommandsMax)) {
  thread_ = std::thread([this] { run(); });
}

Cashier::~Cashier() {
  inbox_->close();
  thread_.join();
}

void Cashier::run() {
  std::vector<BillingCommand> commands;
  std::vector<ledger::Reply> replies;
  bool open = true;
  while (open || !waiting_.empty()) {
    pollfd watched[2] = {{inbox_->fd(), POLLIN, 0}, {ledger_replies_->fd(), POLLIN, 0}};
    ::poll(watched, 2, kPollMs);
    // Asked before draining, so that nothing pushed before the close is missed.
    open = !inbox_->closed();
    commands.clear();
    replies.clear();
    inbox_->drain(commands);
    ledger_replies_->drain(replies);
    for (BillingCommand& command : commands) obey(command);
    for (ledger::Reply& reply : replies) complete(reply);
  }
}

void Cashier::obey(BillingCommand& command) {
  // The command moves into what waits for the ledger, so its content is copied out first.
  if (const HoldOpen* what = std::get_if<HoldOpen>(&command.what)) {
    HoldOpen copy = *what;
    open(command, copy);
  } else if (const HoldClose* close_what = std::get_if<HoldClose>(&command.what)) {
    HoldClose copy = *close_what;
    close(command, copy);
  } else {
    ReceiptRead copy = std::get<ReceiptRead>(command.what);
    read_receipt(command, copy);
  }
}

void Cashier::open(BillingCommand& command, const HoldOpen& what) {
  std::map<std::string, market::Contract>::const_iterator found =
      options_.contracts.find(what.model);
  if (found == options_.contracts.end()) {
    return answer(command, failed("no contract for model " + what.model));
  }
  const market::Contract& contract = found->second;
  Result<market::Quote> quote =
      market::quote(*contract.cost, contract.tariff, what.prompt_tokens, what.output_tokens_max, 1);
  if (!quote.ok()) return answer(command, failed(quote.error().message));
  OpenHold open;
  open.hold.request = run_id(what.request_id, what.choice);
  open.hold.id = ledger::time_ordered_id(clock_.now(), random_);
  open.hold.parties = {.buyer = what.account, .seller = options_.seller};
  open.hold.amount = quote->held;
  open.contract = &contract;
  open.prompt_tokens = what.prompt_tokens;
  open.choice = what.choice;
  open.budgets = what.budgets;
  ledger::Request request = market::hold_request(open.hold);
  for (AccountRef budget : open.budgets) {
    ledger::Transfer repeated = request.transfers.front();
    repeated.id = ledger::time_ordered_id(clock_.now(), random_);
    repeated.debit_account = budget;
    repeated.credit_account = budget_sink_account();
    repeated.ledger = ledger::ledgers::kBudget;
    open.budget_holds.push_back(repeated.id);
    request.transfers.push_back(repeated);
  }
  market::link(request.transfers);
  submit(std::move(request), Opening{std::move(command), std::move(open)});
}

void Cashier::close(BillingCommand& command, const HoldClose& what) {
  std::map<u128, OpenHold>::iterator found = holds_.find(what.hold);
  if (found == holds_.end()) return answer(command, failed("no open hold " + to_hex(what.hold)));
  OpenHold open = found->second;
  holds_.erase(found);
  market::Contract contract = *open.contract;
  if (!what.device.empty()) contract.device = what.device;
  market::Closing closing;
  closing.outcome = what.outcome;
  closing.prompt_tokens = open.prompt_tokens;
  // Choices of one request share one prefill (standard-token.md §2): the first bears it, for the
  // others the contract recognises the whole prompt as cached.
  closing.cached_tokens = open.choice > 0 ? open.prompt_tokens : what.usage.cached_tokens;
  closing.delivered = {what.delivered_tokens};
  closing.usage = what.usage;
  closing.time = what.timing.ended;
  u128 post = ledger::time_ordered_id(clock_.now(), random_);
  meter::Salt salt;
  random_.fill(salt);
  Result<market::Settlement> settlement = market::settle(contract, open.hold, closing, post, salt);
  if (!settlement.ok()) return answer(command, failed(settlement.error().message));
  ledger::Request request = settlement->request;
  // Budgets count what is charged, to the same nano-ST.
  TG_ASSERT(request.transfers.size() == 1);
  for (u128 hold : open.budget_holds) {
    ledger::Transfer repeated = request.transfers.front();
    repeated.id = ledger::time_ordered_id(clock_.now(), random_);
    repeated.pending_id = hold;
    repeated.ledger = ledger::ledgers::kBudget;
    request.transfers.push_back(repeated);
  }
  market::link(request.transfers);
  submit(std::move(request), Closing{std::move(command), std::move(*settlement)});
}

void Cashier::read_receipt(BillingCommand& command, const ReceiptRead& what) {
  Result<u128> id = id_from_hex(what.receipt_id);
  if (!id.ok()) return answer(command, with_status(BillingReply::Status::kNotFound));
  ScribeQuestion question{.kind = ScribeQuestion::Kind::kReceipt,
                          .id = *id,
                          .account = what.account,
                          .tag = command.tag,
                          .reply_to = command.reply_to};
  if (!scribe_.submit(question)) answer(command, failed("the receipt log is busy or stopped"));
}

bool Cashier::submit(ledger::Request request, std::variant<Opening, Closing> waiting) {
  u64 tag = tag_next_++;
  request.tag = tag;
  waiting_.emplace(tag, std::move(waiting));
  if (ledger_.submit(request, ledger_replies_)) return true;
  ledger::Reply refused;
  refused.tag = tag;
  refused.error = Error{Code::kUnavailable, "the ledger's queue is full or stopped"};
  complete(refused);
  return false;
}

void Cashier::complete(ledger::Reply& reply) {
  std::unordered_map<u64, std::variant<Opening, Closing>>::iterator found =
      waiting_.find(reply.tag);
  TG_ASSERT(found != waiting_.end());
  std::variant<Opening, Closing> waiting = std::move(found->second);
  waiting_.erase(found);
  if (Opening* opening = std::get_if<Opening>(&waiting)) {
    complete_open(*opening, reply);
  } else {
    complete_close(std::get<Closing>(waiting), reply);
  }
}

void Cashier::complete_open(Opening& opening, const ledger::Reply& reply) {
  if (reply.succeeded()) {
    holds_.emplace(opening.open.hold.id, opening.open);
    BillingReply granted;
    granted.hold = opening.open.hold.id;
    return answer(opening.command, std::move(granted));
  }
  if (reply.error || reply.transfers.empty())
    return answer(opening.command, failed(reply.failure()));
  // Of a chain, what broke it; the others say only that it broke.
  std::size_t failed_at = 0;
  while (failed_at + 1 < reply.transfers.size() &&
         reply.transfers[failed_at] == ledger::TransferStatus::kLinkedEventFailed) {
    ++failed_at;
  }
  ledger::TransferStatus status = reply.transfers[failed_at];
  bool is_spent = status == ledger::TransferStatus::kExceedsCredits ||
                  status == ledger::TransferStatus::kDebitAccountClosed;
  if (failed_at > 0 && is_spent) {
    BillingReply refused = with_status(BillingReply::Status::kBudgetExceeded);
    refused.budget = opening.open.budgets[failed_at - 1];
    return answer(opening.command, std::move(refused));
  }
  if (failed_at > 0) return answer(opening.command, failed(reply.failure()));
  switch (status) {
    case ledger::TransferStatus::kExceedsCredits:
      return answer(opening.command, with_status(BillingReply::Status::kInsufficientFunds));
    case ledger::TransferStatus::kDebitAccountNotFound:
    case ledger::TransferStatus::kDebitAccountClosed:
      return answer(opening.command, with_status(BillingReply::Status::kNotFound));
    default: return answer(opening.command, failed(reply.failure()));
  }
}

void Cashier::complete_close(Closing& closing, const ledger::Reply& reply) {
  if (!reply.succeeded()) {
    log_error("cashier", "request {} could not be settled: {}",
              to_hex(closing.settlement.receipt.request), reply.failure());
    return answer(closing.command, failed(reply.failure()));
  }
  const meter::Receipt& receipt = closing.settlement.receipt;
  BillingReply settled;
  settled.settlement = {.nominal_nst = receipt.nominal_nst,
                        .receipt_id = to_hex(receipt.request),
                        .charged = receipt.billed};
  answer(closing.command, std::move(settled));
}

void Cashier::answer(const BillingCommand& command, BillingReply reply) {
  reply.tag = command.tag;
  if (!command.reply_to->try_push(reply))
    log_error("cashier", "a billing reply found its mailbox full or closed");
}

}  // namespace tg::gateway
