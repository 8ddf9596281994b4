// A till with a ledger state machine behind it, answering at once: scenes of money without threads.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "env/random.h"
#include "gateway/till.h"
#include "ledger/checks.h"
#include "ledger/state_machine.h"

namespace tg::gateway {

// The ledger that several tills may share.
struct DeskLedger {
  static constexpr u128 kWash = 1;
  static constexpr u128 kSeller = 3;
  static constexpr u128 kBuyer = 100;
  static constexpr u128 kBudget = 200;
  static constexpr u128 kBudgetWash = 4;

  ledger::StateMachine machine;
  std::map<u128, std::string> documents;
  Timestamp now{1'767'225'600'000'000'000};
  u128 next = 1'000'000;

  DeskLedger() {
    using namespace ledger;
    add(kWash, account_code::kWash, ledgers::kStandard, false);
    add(kSeller, account_code::kSellerPending, ledgers::kStandard, true);
    add(kBuyer, account_code::kBuyerBundle, ledgers::kStandard, true);
    add(kBudgetWash, account_code::kBudgetPool, ledgers::kBudget, false);
    add(budget_sink_account(), account_code::kBudgetPool, ledgers::kBudget, false);
    add(kBudget, account_code::kBudget, ledgers::kBudget, true);
  }
  void add(u128 id, u16 code, u32 ledger, bool is_limited) {
    u16 flags = is_limited ? ledger::account_flag::kDebitsMustNotExceedCredits : u16{0};
    ledger::Account account{.id = id, .ledger = ledger, .code = code, .flags = flags};
    EXPECT_EQ(machine.create_account(account, now), ledger::AccountStatus::kOk);
  }
  void grant(u128 to, u128 amount) {
    bool is_budget = to == kBudget;
    ledger::Transfer t{.id = ++next,
                       .debit_account = is_budget ? kBudgetWash : kWash,
                       .credit_account = to,
                       .amount = amount,
                       .ledger = is_budget ? ledger::ledgers::kBudget : ledger::ledgers::kStandard,
                       .code = ledger::transfer_code::kTopUp};
    std::vector<ledger::TransferStatus> statuses;
    machine.apply({&t, 1}, now, statuses);
    EXPECT_EQ(statuses[0], ledger::TransferStatus::kOk);
  }
  const ledger::Account& account(u128 id) const { return *machine.find_account(id); }

  ledger::Reply apply(const ledger::Request& request) {
    ledger::Reply reply;
    reply.tag = request.tag;
    machine.expire(now);
    machine.apply(request.transfers, now, reply.transfers);
    bool is_in = true;
    for (ledger::TransferStatus status : reply.transfers) is_in = is_in && succeeded(status);
    for (const ledger::Document& document : request.documents) {
      if (is_in) documents.try_emplace(document.id, document.bytes);
      reply.documents.push_back(is_in ? ledger::DocumentStatus::kOk
                                      : ledger::DocumentStatus::kNotStored);
    }
    for (u128 id : request.lookups) {
      const ledger::Account* found = machine.find_account(id);
      reply.lookups.push_back(found == nullptr ? std::nullopt
                                               : std::optional<ledger::Account>(*found));
    }
    return reply;
  }
};

// 2 a prompt token, cached or not, and 10 one of output.
inline market::RateRule desk_rule() {
  market::RateRule rule;
  rule.prices[market::RatedClass::kUncachedInput] = 2'000'000;
  rule.prices[market::RatedClass::kCachedInput] = 2'000'000;
  rule.prices[market::RatedClass::kCacheWrite] = 2'000'000;
  rule.prices[market::RatedClass::kOutput] = 10'000'000;
  rule.prices[market::RatedClass::kReasoning] = 10'000'000;
  return rule;
}

inline TillOptions desk_options(std::vector<market::RateRule> rules = {desk_rule()}) {
  TillOptions options;
  options.seller = DeskLedger::kSeller;
  options.contracts["m"] = {.device = "d", .model = "m"};
  market::RateCard card{.name = "r",
                        .version = 1,
                        .unit = market::RateUnit::kNanoStandard,
                        .valid_from_s = 0,
                        .rules = std::move(rules)};
  options.rates = market::RateBook::make({card}).value();
  return options;
}

class TillDesk {
 public:
  TillDesk(DeskLedger& ledger, TillOptions options, u64 seed = 1)
      : ledger_(ledger), random_(seed), till_(std::move(options), random_) {
    for (const ledger::Account& account : ledger.machine.accounts()) till_.learn(account);
  }

  HoldOpen question(i64 prompt, i64 output_max) {
    HoldOpen open;
    open.account = DeskLedger::kBuyer;
    open.model = "m";
    open.prompt_tokens = prompt;
    open.output_tokens_max = output_max;
    open.request_id = "req_" + std::to_string(++number_) + "/" + std::to_string(random_.next());
    open.run = number_;
    return open;
  }

  // Sends without letting the ledger answer; the tag of its answer.
  u64 send(decltype(BillingCommand::what) what) {
    BillingCommand command;
    command.tag = ++tag_;
    command.what = std::move(what);
    Till::Output out;
    till_.obey(std::move(command), ledger_.now, out);
    carry(out);
    return tag_;
  }
  // The ledger answers the oldest question; false if there is none.
  bool step() {
    if (inbox_.empty()) return false;
    ledger::Request request = std::move(inbox_.front());
    inbox_.pop_front();
    ++requests;
    ledger::Reply reply;
    reply.tag = request.tag;
    std::optional<Code> failed = error;
    bool is_lookup = request.transfers.empty() && request.documents.empty();
    if (is_lookup && leases) failed = leases(till_.wanted(request.tag));
    if (failed) {
      reply.error = Error{*failed, "away"};
      if (std::exchange(does_all_the_same, false)) (void)ledger_.apply(request);
    } else {
      reply = ledger_.apply(request);
    }
    Till::Output out;
    till_.complete(reply, ledger_.now, out);
    carry(out);
    return true;
  }
  void settle() {
    while (step()) {
    }
  }
  // Time passes, as a cashier's loop sees it.
  void pass(i64 ns) {
    constexpr i64 kStepNs = 100'000'000;
    for (i64 passed = 0; passed < ns; passed += kStepNs) {
      ledger_.now.ns += kStepNs;
      tick();
    }
  }
  bool is_answered(u64 tag) const { return answers_.count(tag) != 0; }
  void tick() {
    Till::Output out;
    till_.tick(ledger_.now, out);
    carry(out);
    settle();
  }
  BillingReply ask(decltype(BillingCommand::what) what) {
    u64 tag = send(std::move(what));
    settle();
    return answer(tag);
  }
  BillingReply answer(u64 tag) {
    EXPECT_EQ(answers_.count(tag), 1u);
    return answers_[tag];
  }
  BillingReply close(u128 hold, Outcome outcome, i64 delivered, i64 cached = 0) {
    HoldClose what{.hold = hold, .outcome = outcome, .delivered_tokens = delivered};
    what.usage.cached_tokens = cached;
    what.timing.ended = ledger_.now;
    return ask(what);
  }
  // The run's edge after so much was produced and delivered.
  EdgeNotice report(u128 hold, i64 tokens) {
    send(HoldProgress{.hold = hold, .produced_tokens = tokens, .delivered_tokens = tokens});
    settle();
    return notices_[hold];
  }
  meter::Receipt receipt(u128 hold) {
    return meter::parse_draft(ledger_.documents.at(hold)).value().receipt;
  }
  Till& till() { return till_; }

  i64 requests = 0;                // That the ledger answered.
  std::optional<Code> error;       // What it answers to everything, if something;
  bool does_all_the_same = false;  // doing the next one, though.
  // Who is asked, with what is wanted, before accounts are looked up; an error, or none.
  std::function<std::optional<Code>(u128)> leases;

 private:
  void carry(Till::Output& out) {
    for (ledger::Request& request : out.requests) inbox_.push_back(std::move(request));
    for (Till::Answer& given : out.answers) {
      if (given.reply.is_notice) {
        notices_[given.reply.hold] = given.reply.notice;
      } else {
        if (given.reply.hold != 0) notices_[given.reply.hold] = given.reply.notice;
        answers_[given.reply.tag] = given.reply;
      }
    }
  }

  DeskLedger& ledger_;
  SeededRandom random_;
  Till till_;
  std::deque<ledger::Request> inbox_;
  std::map<u64, BillingReply> answers_;
  std::map<u128, EdgeNotice> notices_;
  u64 tag_ = 0;
  u64 number_ = 0;
};

}  // namespace tg::gateway
