// The whole of a request's money under virtual time: the till that serves, the ledger's state
// machine, suppliers and clients that do as they please, and faults: answers of the ledger that are
// lost, late or wrongly negative, a ledger that is away for a minute, reports that are lost,
// doubled or out of order, a clock that jumps, a process that dies between any two messages. A
// failure names its seed; TG_SEED (`./dev sim SEED`) begins there, TG_SIM_SEEDS says how many.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>

#include "base/bytes.h"
#include "base/log.h"
#include "env/seed_testing.h"
#include "gateway/till.h"
#include "ledger/checks.h"
#include "ledger/id.h"
#include "ledger/state_machine.h"

namespace tg::gateway {
namespace {

constexpr u64 kSeeds = 10'000;
constexpr u128 kWash = 1;
constexpr u128 kBreakage = 2;
constexpr u128 kSeller = 3;
constexpr u128 kBudgetWash = 4;
constexpr u128 kOwnerFirst = 100;
constexpr u128 kBudgetFirst = 200;
constexpr i64 kSecond = 1'000'000'000;
constexpr i64 kQuarter = 900 * kSecond;
constexpr i64 kDay = 86'400 * kSecond;

unit::CostMatrix small_matrix() {
  unit::CostMatrix m;
  m.per_token[unit::kMmF16] = 900'000;
  m.per_token[unit::kKvWr] = 4'096;
  m.per_pass[unit::kWBytes] = 900'000;
  m.head_bytes = 100'000;
  m.windows = {unit::WindowCost{0, 8'192, 0, 2'048}};
  return m;
}

struct Counts {
  i64 runs = 0;
  i64 crashes = 0;
  i64 tails = 0;  // Holds that were answered and lost with the process.
  i64 budget_ends = 0;
  i64 slices = 0;
  i64 recovered = 0;
  i64 refused = 0;
  i64 lost = 0;
  i64 receipts = 0;
  i64 expired = 0;
  i64 outages = 0;
  i64 told_to_come_again = 0;
  i64 settled_late = 0;  // Closes that an outage began or ended under.
};

class World {
 public:
  World(u64 seed, Counts& counts)
      : random_(seed), till_random_(seed ^ 0x5EED), matrix_(small_matrix()), counts_(counts) {
    make_accounts();
    make_options();
    start();
    u64 runs = 1 + below(8);
    for (u64 i = 0; i < runs; ++i) add_run(i);
    counts_.runs += static_cast<i64>(runs);
  }

  void run() {
    has_crash_ = below(3) == 0;
    for (u64 i = 0; i < 6'000 && !is_done(); ++i) {
      step();
      if (::testing::Test::HasFatalFailure()) return;
      if (has_crash_ && below(150) == 0) crash();
    }
    drain();
    recover();
    check_end();
  }

 private:
  // One choice of one client's request.
  struct Client {
    HoldOpen open;
    u128 id = 0;
    u128 hold = 0;
    i64 edge = 0;
    i64 wanted = 0;  // Tokens until the model would end by itself.
    i64 produced = 0;
    i64 delivered = 0;
    i64 reasoning = 0;
    bool is_final = false;
    bool is_asked = false;
    bool is_open = false;
    bool is_closing = false;
    bool is_over = false;
    bool is_lost = false;
    bool is_late = false;  // The ledger was away when it closed.
    Outcome outcome = Outcome::kRejected;
    Outcome said = Outcome::kRejected;  // With the close.
    HoldProgress stale;
  };

  u64 below(u64 bound) { return random_.below(bound); }
  bool one_in(u64 n) { return below(n) == 0; }

  // --- making ------------------------------------------------------------------------------------

  void add_account(u128 id, u16 code, u32 ledger, bool is_limited, u128 owner = 0) {
    u16 flags = is_limited ? ledger::account_flag::kDebitsMustNotExceedCredits : u16{0};
    ledger::Account account{
        .id = id, .owner = owner, .ledger = ledger, .code = code, .flags = flags};
    ASSERT_EQ(machine_.create_account(account, now_), ledger::AccountStatus::kOk);
  }

  void grant(u128 from, u128 to, u32 ledger, u128 amount) {
    if (amount == 0) return;
    ledger::Transfer t{.id = ++grant_next_,
                       .debit_account = from,
                       .credit_account = to,
                       .amount = amount,
                       .ledger = ledger,
                       .code = ledger::transfer_code::kTopUp};
    std::vector<ledger::TransferStatus> statuses;
    machine_.apply({&t, 1}, now_, statuses);
    ASSERT_EQ(statuses[0], ledger::TransferStatus::kOk);
  }

  void make_accounts() {
    using namespace ledger;
    add_account(kWash, account_code::kWash, ledgers::kStandard, false);
    add_account(kBreakage, account_code::kBreakage, ledgers::kStandard, false);
    add_account(kSeller, account_code::kSellerPending, ledgers::kStandard, true);
    add_account(kBudgetWash, account_code::kBudgetPool, ledgers::kBudget, false);
    add_account(budget_sink_account(), account_code::kBudgetPool, ledgers::kBudget, false);
    for (u128 owner = kOwnerFirst; owner < kOwnerFirst + 2; ++owner) {
      add_account(owner, account_code::kBuyerBundle, ledgers::kStandard, true);
      grant(kWash, owner, ledgers::kStandard, below(12'000));
    }
    for (u128 budget = kBudgetFirst; budget < kBudgetFirst + 2; ++budget) {
      add_account(budget, account_code::kBudget, ledgers::kBudget, true);
      grant(kBudgetWash, budget, ledgers::kBudget, 1 + below(20'000));
    }
  }

  void make_options() {
    options_.seller = kSeller;
    options_.tariff.factor_ppm = 1'000;
    options_.contracts["m"] = {
        .device = "cpu", .model = "m", .program = sha256("p"), .cost = &matrix_};
    options_.books = {.wash = kWash, .breakage = kBreakage};
    options_.plans = {{.name = "short", .amount = 4'000, .days = 1, .priority = 5},
                      {.name = "chat",
                       .amount = 3'000,
                       .priority = 9,
                       .allowed = {.models = {"other*"}, .services = {}}},
                      {.name = "monthly",
                       .kind = market::SourceKind::kSubscription,
                       .amount = 2'500,
                       .rollover_max = 100,
                       .days = 1,
                       .priority = 1}};
    if (one_in(3)) options_.rates = random_rates();
    for (u64 i = below(5); i > 0; --i) sell();
  }

  // Prices for a token that compare with what accounts have; dearer in odd quarters.
  std::optional<market::RateBook> random_rates() {
    market::RateCard card{.name = "r", .version = 1, .unit = market::RateUnit::kNanoStandard};
    for (bool is_odd : {false, true}) {
      market::RateRule rule;
      for (std::size_t i = 0; i < market::kTokenClasses; ++i)
        if (!one_in(4)) rule.prices.values[i] = static_cast<i64>(below(30'000'000));
      if (one_in(2)) rule.prices[market::RatedClass::kWork] = 700'000'000'000;
      if (!is_odd) {
        rule.from_minute = 0;
        rule.to_minute = 12 * 60 + 15;
      }
      card.rules.push_back(rule);
    }
    return market::RateBook::make({card}).value();
  }

  void sell() {
    const market::Plan& plan = options_.plans[below(options_.plans.size())];
    market::Sale sale{.owner = kOwnerFirst + below(2), .purchase = ++grant_next_, .at = now_};
    ledger::Request request = market::sale_request(options_.books, plan, sale);
    ASSERT_TRUE(succeeded(machine_.create_account(request.accounts[0], now_)));
    std::vector<ledger::TransferStatus> statuses;
    machine_.apply(request.transfers, now_, statuses);
    if (till_) till_->learn(*machine_.find_account(request.accounts[0].id));
  }

  void add_run(u64 number) {
    Client client;
    HoldOpen& open = client.open;
    open.account = kOwnerFirst + below(2);
    open.model = "m";
    open.prompt_tokens = 1 + static_cast<i64>(below(300));
    open.output_tokens_max = 1 + static_cast<i64>(below(400));
    open.request_id = "req_" + std::to_string(number);
    open.choice = static_cast<i64>(below(2));
    open.run = number;
    open.is_embedding = one_in(12);
    if (open.is_embedding) open.output_tokens_max = 0;
    open.funds.mode = static_cast<market::HoldMode>(below(3));
    open.is_whole = one_in(2);
    if (one_in(2)) open.funds.max_cost = MaxCost{.nano = static_cast<i64>(below(9'000))};
    for (u128 budget = kBudgetFirst; budget < kBudgetFirst + 2; ++budget)
      if (one_in(3)) open.budgets.push_back(budget);
    client.id = run_id(open.request_id, open.choice);
    client.wanted = static_cast<i64>(below(static_cast<u64>(open.output_tokens_max) + 2));
    clients_.push_back(client);
  }

  void start() {
    till_ = std::make_unique<Till>(options_, till_random_);
    for (const ledger::Account& account : machine_.accounts()) till_->learn(account);
  }

  // --- moving ------------------------------------------------------------------------------------

  bool is_done() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const Client& c) { return c.is_over; });
  }

  void step() {
    u64 dice = below(1'000);
    if (dice < 5) now_.ns += static_cast<i64>(below(70)) * kSecond;
    if (dice == 5) now_.ns += kQuarter;
    if (dice == 6) now_.ns += kDay;
    if (dice == 7) sell();
    if (dice == 9) go_away();
    if (dice == 8) grant(kWash, kOwnerFirst + below(2), ledger::ledgers::kStandard, below(4'000));
    if (dice > 500) now_.ns += static_cast<i64>(below(300'000'000));
    switch (below(4)) {
      case 0: return serve_ledger(false);
      case 1: return deliver_reply();
      case 2: return act(clients_[below(clients_.size())]);
      default: return tick();
    }
  }

  // For a minute at most; what was on its way may be done all the same.
  void go_away() {
    ++counts_.outages;
    away_until_ns_ = now_.ns + static_cast<i64>(below(60)) * kSecond;
    for (u64 arrived = below(inbox_.size() + 1); arrived > 0; --arrived) {
      serve_ledger(true);
      ledger::Reply unsaid{.tag = replies_.back().tag};
      unsaid.error = Error{Code::kUnavailable, "done, but the connection is gone"};
      replies_.back() = unsaid;
    }
  }
  bool is_away() const { return now_.ns < away_until_ns_; }

  void tick() {
    Till::Output out;
    till_->tick(now_, out);
    carry(out);
  }

  void carry(Till::Output& out) {
    for (ledger::Request& request : out.requests) inbox_.push_back(std::move(request));
    std::vector<Till::Answer> answers = std::move(out.answers);
    for (Till::Answer& answer : answers) hear(answer.reply);
  }

  // The ledger takes one request; what it says may be lost (`is_calm`: not), or said to have failed
  // although it was done.
  void serve_ledger(bool is_calm) {
    if (inbox_.empty()) return;
    ledger::Request request = std::move(inbox_.front());
    inbox_.pop_front();
    ledger::Reply reply;
    reply.tag = request.tag;
    u64 dice = is_calm ? 99 : is_away() ? 0 : below(40);
    if (dice == 0) {
      reply.error = Error{Code::kUnavailable, "not done"};
    } else {
      apply(request, reply);
      if (dice == 1) {
        ledger::Reply lost;
        lost.tag = reply.tag;
        lost.error = Error{Code::kUnavailable, "done, but who knows"};
        reply = lost;
      }
    }
    replies_.push_back(std::move(reply));
  }

  void apply(const ledger::Request& request, ledger::Reply& reply) {
    bool goes_on = request.is_provisional && tail_end_ == machine_.journal_size();
    if (!goes_on) tail_begin_ = machine_.journal_size();
    machine_.expire(now_);
    machine_.apply(request.transfers, now_, reply.transfers);
    bool is_in = std::all_of(reply.transfers.begin(), reply.transfers.end(),
                             [](ledger::TransferStatus s) { return ledger::succeeded(s); });
    for (const ledger::Document& document : request.documents) {
      if (!is_in) {
        reply.documents.push_back(ledger::DocumentStatus::kNotStored);
        continue;
      }
      auto [known, is_new] = documents_.try_emplace(document.id, document.bytes);
      if (is_new) order_.push_back(document.id);
      bool is_same = known->second == document.bytes;
      reply.documents.push_back(is_new    ? ledger::DocumentStatus::kOk
                                : is_same ? ledger::DocumentStatus::kExists
                                          : ledger::DocumentStatus::kExistsWithDifferentBytes);
    }
    for (u128 id : request.lookups) {
      const ledger::Account* account = machine_.find_account(id);
      reply.lookups.push_back(account == nullptr ? std::nullopt
                                                 : std::optional<ledger::Account>(*account));
    }
    tail_end_ = machine_.journal_size();
    if (!request.is_provisional) tail_begin_ = tail_end_;
  }

  // What was answered before it was durable, and nothing after it is.
  void lose_tail() {
    if (tail_end_ != machine_.journal_size() || tail_begin_ == tail_end_ || one_in(2)) return;
    ++counts_.tails;
    ledger::StateMachine kept;
    for (ledger::Account account : machine_.accounts()) {
      account.debits_pending = account.debits_posted = 0;
      account.credits_pending = account.credits_posted = 0;
      ASSERT_TRUE(kept.restore_account(account).ok());
    }
    for (u64 p = 1; p <= tail_begin_; ++p)
      ASSERT_TRUE(kept.restore_entry(machine_.journal_entry(p)).ok());
    machine_ = std::move(kept);
  }

  void deliver_reply() {
    if (replies_.empty()) return;
    ledger::Reply reply = std::move(replies_.front());
    replies_.pop_front();
    Till::Output out;
    till_->complete(reply, now_, out);
    carry(out);
  }

  void send(decltype(BillingCommand::what) what, u64 tag) {
    BillingCommand command;
    command.tag = tag;
    command.what = std::move(what);
    Till::Output out;
    till_->obey(std::move(command), now_, out);
    carry(out);
  }

  // Tags: 2 i + 1 opens client i, 2 i + 2 closes it.
  void hear(const BillingReply& reply) {
    if (reply.is_notice) {
      Client& client = clients_[reply.notice.run];
      if (!client.is_open) return;
      client.edge = std::max(client.edge, reply.notice.edge);
      client.is_final = reply.notice.is_final;
      client.is_lost = client.is_lost || reply.notice.is_lost;
      counts_.lost += reply.notice.is_lost ? 1 : 0;
      return;
    }
    Client& client = clients_[(reply.tag - 1) / 2];
    if (reply.tag % 2 == 0) {
      ASSERT_TRUE(client.is_closing);
      client.is_over = true;
      // However long the ledger was away.
      ASSERT_EQ(reply.status, BillingReply::Status::kOk) << reply.message;
      client.outcome = reply.settlement.outcome;
      counts_.settled_late += client.is_late ? 1 : 0;
      return;
    }
    if (reply.status == BillingReply::Status::kFailed) return come_again(client);
    if (reply.status != BillingReply::Status::kOk) {
      client.is_over = true;
      ++counts_.refused;
      return;
    }
    client.is_open = true;
    client.hold = reply.hold;
    client.edge = reply.notice.edge;
    client.is_final = reply.notice.is_final;
    ASSERT_TRUE(client.open.is_embedding || client.edge >= 1)
        << name(client.open.funds.mode) << " edge " << client.edge << " of "
        << client.open.output_tokens_max << ", closing " << client.is_closing;
  }

  // Refused for a ledger that is away: another request. What the first may hold must be let go.
  void come_again(Client& client) {
    ++counts_.told_to_come_again;
    client.open.request_id += "'";
    client.id = run_id(client.open.request_id, client.open.choice);
    client.is_asked = false;
  }

  void act(Client& client) {
    if (client.is_over || client.is_closing) return;
    u64 index = static_cast<u64>(&client - clients_.data());
    if (!client.is_asked) {
      client.is_asked = true;
      return send(client.open, 2 * index + 1);
    }
    if (!client.is_open) return;
    u64 dice = below(100);
    if (client.is_lost || dice < 2) return finish(client, index);
    bool has_all = client.produced >= client.wanted || client.open.is_embedding;
    bool is_stuck = client.is_final && client.produced >= client.edge;
    if (has_all || is_stuck) {
      client.delivered = client.open.is_embedding ? 1 : client.produced;
      if (one_in(3)) finish(client, index);
      return;
    }
    if (dice < 60) {
      i64 room = std::min(client.edge, client.wanted) - client.produced;
      if (room > 0) client.produced += 1 + static_cast<i64>(below(static_cast<u64>(room)));
    } else if (dice < 80) {
      client.delivered +=
          static_cast<i64>(below(static_cast<u64>(client.produced - client.delivered) + 1));
    }
    report(client);
  }

  // Lost, doubled, or an old one once more.
  void report(Client& client) {
    HoldProgress now{.hold = client.hold,
                     .produced_tokens = client.produced,
                     .delivered_tokens = client.delivered};
    if (one_in(4)) return;
    if (one_in(5)) send(client.stale.hold == 0 ? now : client.stale, 0);
    send(now, 0);
    if (one_in(10)) send(now, 0);
    if (one_in(3)) client.stale = now;
  }

  void finish(Client& client, u64 index) {
    HoldClose close{.hold = client.hold};
    bool has_all = client.produced >= client.wanted && !client.open.is_embedding;
    constexpr Outcome kEnds[] = {Outcome::kBuyerAbort, Outcome::kSellerFault, Outcome::kPreempted,
                                 Outcome::kExpired, Outcome::kRejected};
    close.outcome = kEnds[below(5)];
    if (has_all || client.open.is_embedding) close.outcome = Outcome::kCompleted;
    bool is_stuck = client.is_final && client.produced >= client.edge && !has_all;
    if (is_stuck && !client.open.is_embedding) close.outcome = Outcome::kBudget;
    bool is_early = close.outcome == Outcome::kExpired || close.outcome == Outcome::kRejected;
    if (is_early && client.produced + client.delivered > 0) close.outcome = Outcome::kBuyerAbort;
    client.reasoning = static_cast<i64>(below(static_cast<u64>(client.delivered) + 1));
    if (client.open.is_embedding) client.reasoning = 0;
    close.usage.cached_tokens = static_cast<i64>(below(400));
    close.written_tokens = static_cast<i64>(below(100));
    close.delivered_tokens = client.delivered;
    close.reasoning_tokens = client.reasoning;
    close.timing.ended = now_;
    client.is_closing = true;
    client.is_late = is_away();
    client.said = close.outcome;
    send(close, 2 * index + 2);
    // Who closes twice is told so, and nothing changes.
    if (!one_in(8)) return;
    BillingCommand again;
    again.tag = 1'000'000;
    again.what = close;
    Till::Output out;
    till_->obey(std::move(again), now_, out);
    for (const Till::Answer& answer : out.answers) {
      bool is_ours = answer.reply.tag == 1'000'000;
      ASSERT_TRUE(!is_ours || answer.reply.status == BillingReply::Status::kFailed);
    }
    std::erase_if(out.answers, [](const Till::Answer& a) { return a.reply.tag == 1'000'000; });
    carry(out);
  }

  // The process dies: some of what was on its way to the ledger arrived. Clients and holds are
  // gone; the ledger voids at the next start.
  void crash() {
    ++counts_.crashes;
    for (u64 arrived = below(inbox_.size() + 1); arrived > 0; --arrived) serve_ledger(true);
    inbox_.clear();
    replies_.clear();
    lose_tail();
    machine_.release_open(ledger::transfer_code::kHold, now_);
    ASSERT_EQ(machine_.pending_count(), 0);
    for (Client& client : clients_) {
      bool is_gone = client.is_asked && !client.is_over;
      client.is_over = client.is_over || is_gone;
      client.is_lost = client.is_lost || is_gone;
    }
    start();
    recover();
  }

  // What a start does with slices whose requests never ended (bookkeeper.h).
  void recover() {
    std::vector<u128> ids = order_;
    std::map<u128, meter::Draft> last;
    for (u128 id : ids) {
      Result<meter::Draft> slice = market::parse_slice_document(documents_.at(id));
      if (slice.ok()) last[slice->receipt.request] = *slice;
    }
    for (const auto& [request, draft] : last) {
      bool is_open = std::any_of(clients_.begin(), clients_.end(), [&](const Client& c) {
        return c.id == request && c.is_asked && !c.is_over;
      });
      if (is_open || documents_.count(request) != 0) continue;
      documents_.emplace(request, meter::to_text(draft));
      order_.push_back(request);
      ++counts_.recovered;
    }
  }

  // Everybody comes to an end, and the world is kind from now on.
  void drain() {
    for (int i = 0; i < 10'000 && (!is_done() || till_->waiting() > 0); ++i) {
      for (Client& client : clients_) {
        u64 index = static_cast<u64>(&client - clients_.data());
        bool may_close = client.is_open && !client.is_closing && !client.is_over;
        if (!client.is_asked) client.is_over = true;
        if (may_close) finish(client, index);
      }
      while (!inbox_.empty()) serve_ledger(true);
      while (!replies_.empty()) deliver_reply();
      now_.ns += kSecond / 5;
      tick();
    }
    ASSERT_TRUE(is_done());
    ASSERT_EQ(till_->open_runs(), 0);
    // Nothing was given up: nothing has to lapse.
    ASSERT_EQ(machine_.pending_count(), 0);
  }

  // --- checking ----------------------------------------------------------------------------------

  u128 posted(u128 request, u32 ledger_number) const {
    u128 out = 0;
    for (u64 p = 1; p <= machine_.journal_size(); ++p) {
      const ledger::JournalEntry& entry = machine_.journal_entry(p);
      const ledger::Transfer& t = entry.transfer;
      bool is_post = entry.kind == ledger::EntryKind::kTransfer && ledger::is_post(t);
      if (is_post && t.correlation == request && t.ledger == ledger_number) out += t.amount;
    }
    return out;
  }

  void check_end() {
    meter::Registers registers;
    u128 all = 0;
    for (const Client& client : clients_) {
      check_client(client);
      if (::testing::Test::HasFatalFailure()) return;
      all += posted(client.id, ledger::ledgers::kStandard);
    }
    // I-20, I-21: the pages in the ledger's order, each request once, add up to what was posted.
    for (u128 id : order_) {
      Result<meter::Draft> draft = meter::parse_draft(documents_.at(id));
      if (!draft.ok()) continue;
      ASSERT_EQ(draft->receipt.request, id);
      registers = meter::advance(registers, draft->receipt).value();
    }
    ASSERT_EQ(registers.billed, all);
    ASSERT_EQ(machine_.find_account(kSeller)->credits_posted, all);
    check_sums();
  }

  void check_client(const Client& client) {
    SCOPED_TRACE(client.open.request_id + "/" + std::to_string(client.open.choice));
    u128 charged = posted(client.id, ledger::ledgers::kStandard);
    for (AccountRef budget : client.open.budgets) budget_charged_[budget] += charged;
    auto document = documents_.find(client.id);
    if (document == documents_.end()) {
      ASSERT_EQ(charged, 0u) << "I-22: posted without a receipt";
      ASSERT_TRUE(!client.is_open || client.is_lost) << "settled without a receipt";
      return;
    }
    Result<meter::Draft> draft = meter::parse_draft(document->second);
    ASSERT_TRUE(draft.ok()) << draft.error().message;
    const meter::Receipt& r = draft->receipt;
    ++counts_.receipts;
    counts_.slices += r.slices;
    counts_.budget_ends += r.outcome == Outcome::kBudget ? 1 : 0;
    ASSERT_EQ(static_cast<u128>(r.billed), charged) << "I-20";
    // I-12, I-14, I-16: the bill is the closed form of readings, prices and outcome, whatever
    // slices it came in; the payments are the bill; I-13: within authorised, within max_cost.
    Status sums = meter::check_arithmetic(r, matrix_);
    ASSERT_TRUE(sums.ok()) << sums.error().message;
    ASSERT_TRUE(!client.open.funds.max_cost || r.held <= client.open.funds.max_cost->nano);
    ASSERT_LE(r.output_tokens[0], client.delivered) << "I-15";
    ASSERT_TRUE(client.delivered > 0 || charged == 0) << "I-19";
    if (client.is_lost) return;
    ASSERT_EQ(r.outcome, client.outcome);
    ASSERT_EQ(r.output_tokens[0], client.delivered);
    ASSERT_EQ(r.reasoning_tokens, client.reasoning);
    // A hold that lapsed under the close: the seller bears what it did not post.
    bool has_lapsed = r.outcome == Outcome::kSellerFault && r.held == r.billed;
    if (has_lapsed || client.said != r.outcome) return;
    // Best effort runs ahead of its holds; and what had been produced, but not reported, when a
    // price rose is paid as far as it was held.
    bool runs_ahead =
        client.open.funds.mode == market::HoldMode::kBestEffort || r.pricing.segments.size() > 1;
    ASSERT_TRUE(runs_ahead || r.billed == meter::charge_of(r, matrix_).value())
        << "generation was within the edge\n"
        << document->second;
    refund(r);
  }

  // I-18: no more than was paid, last burned first, each time to the account that paid.
  void refund(const meter::Receipt& r) {
    if (r.billed == 0 || !one_in(4)) return;
    market::Charged charged{.request = r.request, .seller = r.seller};
    for (const meter::Payment& p : r.paid)
      charged.draws.push_back({p.account, static_cast<u128>(p.amount)});
    u128 amount = 1 + below(static_cast<u64>(r.billed));
    ASSERT_FALSE(market::refund_chain(charged, static_cast<u128>(r.billed) + 1, 0).ok());
    market::Chain chain = market::refund_chain(charged, amount, 0).value();
    ASSERT_EQ(chain.front().credit_account, r.paid.back().account);
    std::vector<ledger::TransferStatus> statuses;
    machine_.apply(chain, now_, statuses);
    for (ledger::TransferStatus status : statuses) ASSERT_TRUE(ledger::succeeded(status));
    refunded_ += amount;
  }

  // I-1 and I-17: nothing is lost or invented; what was granted was spent, expired or is left; a
  // budget saw every charge that counts against it.
  void check_sums() {
    for (const ledger::LedgerTotals& totals : machine_.totals()) {
      ASSERT_EQ(totals.debits_posted, totals.credits_posted);
      ASSERT_EQ(totals.debits_pending, 0u);
    }
    u128 out_of_wash = machine_.find_account(kWash)->debits_posted;
    u128 spent = machine_.find_account(kSeller)->credits_posted - refunded_;
    u128 broken = machine_.find_account(kBreakage)->credits_posted;
    counts_.expired += broken > 0 ? 1 : 0;
    u128 left = 0;
    for (const ledger::Account& account : machine_.accounts()) {
      if (account.code == ledger::account_code::kBuyerBundle)
        left += account.credits_posted - account.debits_posted;
    }
    ASSERT_EQ(out_of_wash, spent + broken + left);
    for (u128 budget = kBudgetFirst; budget < kBudgetFirst + 2; ++budget)
      ASSERT_EQ(machine_.find_account(budget)->debits_posted, budget_charged_[budget]);
  }

  SeededRandom random_;
  SeededRandom till_random_;
  unit::CostMatrix matrix_;
  Counts& counts_;
  ledger::StateMachine machine_;
  Timestamp now_{1'767'225'600'000'000'000};
  u128 grant_next_ = 1'000'000;
  TillOptions options_;
  std::unique_ptr<Till> till_;
  std::vector<Client> clients_;
  std::deque<ledger::Request> inbox_;
  std::deque<ledger::Reply> replies_;
  std::map<u128, std::string> documents_;
  std::vector<u128> order_;
  std::map<u128, u128> budget_charged_;
  u128 refunded_ = 0;
  i64 away_until_ns_ = 0;
  bool has_crash_ = false;
  u64 tail_begin_ = 0, tail_end_ = 0;  // The journal's entries that need not be durable yet.
};

u64 seeds() {
  return seed_count(kSeeds);
}

std::string told(const Counts& c) {
  return fmt::format(
      "{} runs of {} seeds: {} receipts, {} slices, {} ends of funds, {} refused, {} crashes, {} "
      "receipts recovered, {} holds lost, {} seeds with expiry, {} outages, {} closes under one, "
      "{} told to come again",
      c.runs, seeds(), c.receipts, c.slices, c.budget_ends, c.refused, c.crashes, c.recovered,
      c.lost, c.expired, c.outages, c.settled_late, c.told_to_come_again);
}

TEST(TillSimulation, I12ToI22AnyInterleavingWithFaults) {
  set_log_level(LogLevel::kOff);  // What is given up is told, and here it is given up often.
  Counts counts;
  for (u64 seed = first_seed(); seed < first_seed() + seeds(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed, counts);
    world.run();
    if (HasFatalFailure()) return;
  }
  set_log_level(LogLevel::kWarn);
  std::printf("%s\n", told(counts).c_str());
  if (seeds() < kSeeds) return;
  // The runs reached what they are for.
  EXPECT_GT(counts.crashes, 1'000);
  EXPECT_GT(counts.tails, 100);
  EXPECT_GT(counts.budget_ends, 500);
  EXPECT_GT(counts.slices, 2'000);
  EXPECT_GT(counts.recovered, 50);
  EXPECT_GT(counts.refused, 500);
  EXPECT_GT(counts.lost, 10);
  EXPECT_GT(counts.receipts, 10'000);
  EXPECT_GT(counts.expired, 50);
  EXPECT_GT(counts.outages, 1'000);
  EXPECT_GT(counts.settled_late, 500);
  EXPECT_GT(counts.told_to_come_again, 5'000);
}

}  // namespace
}  // namespace tg::gateway
