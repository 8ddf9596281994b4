#include "bench/gateway/free_billing.h"

#include <variant>
#include <vector>

namespace tg::bench {

using gateway::BillingCommand;
using gateway::BillingReply;

FreeBilling::FreeBilling()
    : inbox_(std::make_shared<Mailbox<BillingCommand>>(gateway::kBillingCommandsMax)),
      thread_([this] { run(); }) {}

FreeBilling::~FreeBilling() {
  inbox_->close();
  thread_.join();
}

void FreeBilling::run() {
  constexpr i64 kWaitNs = 100'000'000;
  std::vector<BillingCommand> commands;
  while (!inbox_->closed()) {
    commands.clear();
    inbox_->wait(commands, kWaitNs);
    for (BillingCommand& command : commands) obey(command);
  }
}

void FreeBilling::obey(BillingCommand& command) {
  BillingReply reply;
  reply.tag = command.tag;
  if (const gateway::HoldOpen* open = std::get_if<gateway::HoldOpen>(&command.what)) {
    reply.hold = ++hold_next_;
    reply.notice = {.run = open->run, .edge = open->output_tokens_max, .is_final = true};
  } else if (const gateway::HoldClose* close = std::get_if<gateway::HoldClose>(&command.what)) {
    reply.settlement.outcome = close->outcome;
  } else if (std::holds_alternative<gateway::HoldProgress>(command.what)) {
    return;
  } else {
    reply.status = BillingReply::Status::kFailed;
  }
  command.reply_to->try_push(reply);
}

}  // namespace tg::bench
