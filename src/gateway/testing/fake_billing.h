// Billing for tests: a balance in memory, every hold and close remembered, and a price that is easy
// to check: 10 nano-ST per prompt token, 100 per delivered one.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gateway/billing.h"

namespace tg::gateway {

class FakeBilling {
 public:
  FakeBilling() : worker_([this] { run(); }) {}
  ~FakeBilling() {
    inbox_->close();
    worker_.join();
  }

  Billing billing() const { return Billing(inbox_); }
  void set_balance(i64 balance) {
    std::lock_guard lock(mutex_);
    balance_ = balance;
  }
  std::vector<HoldOpen> opened() {
    std::lock_guard lock(mutex_);
    return opened_;
  }
  std::vector<HoldClose> closed() {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  // All that has ended, and what it cost.
  void forget() {
    std::lock_guard lock(mutex_);
    opened_.clear();
    closed_.clear();
    receipts_.clear();
    balance_ = kBalance;
  }
  // Holds granted and not closed.
  i64 open_count() {
    std::lock_guard lock(mutex_);
    return static_cast<i64>(open_.size());
  }
  // A hold was closed twice, or one never granted was.
  bool has_violation() {
    std::lock_guard lock(mutex_);
    return has_violation_;
  }

 private:
  struct Held {
    HoldOpen open;
    i64 amount = 0;
  };
  struct Issued {
    AccountRef account = 0;
    std::string text;
  };

  static constexpr i64 kBalance = i64{1} << 50;
  static i64 price(i64 prompt, i64 output) { return 10 * prompt + 100 * output; }

  void run() {
    std::vector<BillingCommand> commands;
    while (!inbox_->closed()) {
      commands.clear();
      inbox_->wait(commands, 50'000'000);
      for (BillingCommand& command : commands) obey(command);
    }
  }

  void obey(BillingCommand& command) {
    std::lock_guard lock(mutex_);
    BillingReply reply;
    reply.tag = command.tag;
    if (const HoldOpen* open = std::get_if<HoldOpen>(&command.what)) grant(*open, reply);
    if (const HoldClose* close = std::get_if<HoldClose>(&command.what)) settle(*close, reply);
    if (const ReceiptRead* read = std::get_if<ReceiptRead>(&command.what)) find(*read, reply);
    bool is_report = std::holds_alternative<QuoteRead>(command.what) ||
                     std::holds_alternative<UsageRead>(command.what);
    if (is_report) reply.status = BillingReply::Status::kFailed;
    if (std::holds_alternative<MeterRead>(command.what)) reply.receipt = "{}";
    // Progress is not answered.
    if (!std::holds_alternative<HoldProgress>(command.what)) command.reply_to->try_push(reply);
  }

  void grant(const HoldOpen& open, BillingReply& reply) {
    opened_.push_back(open);
    i64 amount = price(open.prompt_tokens, open.output_tokens_max);
    if (amount > balance_) {
      reply.status = BillingReply::Status::kInsufficientFunds;
      return;
    }
    balance_ -= amount;
    reply.hold = ++hold_next_;
    reply.notice = {.run = open.run, .edge = open.output_tokens_max, .is_final = true};
    open_.emplace(reply.hold, Held{open, amount});
  }

  void settle(const HoldClose& close, BillingReply& reply) {
    closed_.push_back(close);
    std::map<u128, Held>::iterator found = open_.find(close.hold);
    if (found == open_.end()) {
      has_violation_ = true;
      reply.status = BillingReply::Status::kFailed;
      return;
    }
    bool is_free = close.outcome == Outcome::kRejected || close.delivered_tokens == 0;
    const HoldOpen& open = found->second.open;
    // A vector is no token.
    i64 output = open.is_embedding ? 0 : close.delivered_tokens;
    i64 charged = is_free ? 0 : price(open.prompt_tokens, output);
    balance_ += found->second.amount - charged;
    reply.settlement.nominal_nst = charged;
    reply.settlement.charged = charged;
    reply.settlement.outcome = close.outcome;
    reply.settlement.receipt_id = "receipt-" + std::to_string(static_cast<u64>(close.hold));
    receipts_[reply.settlement.receipt_id] = {found->second.open.account,
                                              "charged " + std::to_string(charged) + "\n"};
    open_.erase(found);
  }

  void find(const ReceiptRead& read, BillingReply& reply) {
    std::map<std::string, Issued>::iterator found = receipts_.find(read.receipt_id);
    if (found == receipts_.end() || found->second.account != read.account) {
      reply.status = BillingReply::Status::kNotFound;
      return;
    }
    reply.receipt = found->second.text;
  }

  std::mutex mutex_;
  i64 balance_ = kBalance;
  u128 hold_next_ = 0;
  std::map<u128, Held> open_;
  std::vector<HoldOpen> opened_;
  std::vector<HoldClose> closed_;
  std::map<std::string, Issued> receipts_;
  bool has_violation_ = false;
  std::shared_ptr<Mailbox<BillingCommand>> inbox_ =
      std::make_shared<Mailbox<BillingCommand>>(kBillingCommandsMax);
  std::thread worker_;
};

}  // namespace tg::gateway
