#include "ledger/lease.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "ledger/id.h"

namespace tg::ledger {

namespace {

constexpr i64 kNanosecondsPerMillisecond = 1'000'000;
// A round in doubt, one that asks late, one that was refused, the one that is meant.
constexpr int kRoundsMax = 6;
constexpr u32 kRoundNumberMax = u32{1} << 30;

// Which transfer broke a chain; its length if none did.
std::size_t first_failing(std::span<const TransferStatus> statuses) {
  std::size_t i = 0;
  while (i < statuses.size() &&
         (succeeded(statuses[i]) || statuses[i] == TransferStatus::kLinkedEventFailed))
    ++i;
  return i;
}

std::optional<LeaseBalances> balances_of(const std::optional<Account>& account,
                                         const std::optional<Account>& returned) {
  if (!account || !returned) return std::nullopt;
  return LeaseBalances{.granted = account->credits_posted - returned->credits_posted,
                       .spent = account->debits_posted - returned->credits_posted,
                       .held = account->debits_pending,
                       .free = available(*account)};
}

}  // namespace

LeaseKeeper::LeaseKeeper(Service& own, Service& shared, Clock& clock, Random& random,
                         LeaseOptions options)
    : own_(own), shared_(shared), clock_(clock), random_(random), options_(std::move(options)) {
  TG_ASSERT(!options_.gateway.empty() && options_.payee != 0);
  TG_ASSERT(options_.margin_ms < options_.timeout_ms);
}

// --- what callers ask ---------------------------------------------------------------------------

Result<LeaseReport> LeaseKeeper::give_back(u128 account) {
  TG_ASSIGN(std::vector<LeaseReport> reports, give_back({&account, 1}));
  return reports[0];
}

Result<std::vector<LeaseReport>> LeaseKeeper::give_back(std::span<const u128> accounts) {
  std::vector<LeaseAsk> asks;
  for (u128 account : accounts) {
    TG_ASSIGN(Book * book, book_of(account));
    // What a round in doubt may have leased is taken back once it is known.
    if (!book->is_in_doubt) TG_TRY(take_back_free(account));
    asks.push_back({.account = account});
  }
  return settle(asks);
}

Result<LeaseReport> LeaseKeeper::report(u128 account) {
  TG_ASSIGN(Book * book, book_of(account));
  TG_ASSIGN(LeaseBalances own, look(account));
  return report_of(*book, own);
}

Status LeaseKeeper::stop_overdue() {
  std::map<u128, End> overdue;
  {
    std::lock_guard lock(ends_mutex_);
    i64 now_ns = clock_.now().ns;
    std::erase_if(ends_, [&](const std::pair<const u128, End>& end) {
      return now_ns >= end.second.at_ns && overdue.insert(end).second;
    });
  }
  Status stopped;
  for (const auto& [account, end] : overdue) {
    stopped = take_back_free(account, end.ledger);
    if (!stopped.ok()) break;
  }
  // Next time again; what a round has said meanwhile stays.
  std::lock_guard lock(ends_mutex_);
  if (!stopped.ok()) ends_.merge(overdue);
  return stopped;
}

// Only rounds grant, and each says anew when to stop.
void LeaseKeeper::watch_end(u128 account, const Book& book) {
  std::lock_guard lock(ends_mutex_);
  ends_[account] = {.at_ns = book.open == 0 ? 0 : book.ends_ns, .ledger = ledgers_.at(account)};
}

LeaseReport LeaseKeeper::report_of(const Book& book, const LeaseBalances& own) {
  return {.leased = book.leased,
          .spent = own.spent,
          .settled = book.settled,
          .lost = book.lost,
          .free = own.free,
          .is_in_doubt = book.is_in_doubt,
          .ends = Timestamp{book.ends_ns}};
}

// --- names --------------------------------------------------------------------------------------

u128 LeaseKeeper::id_of(u128 account, u32 number, const char* what) const {
  return id_from_name("lease/" + options_.gateway + "/" + to_hex(account) + "/" +
                      std::to_string(number) + "/" + what);
}

u128 LeaseKeeper::own_account(u128 account, const char* what) {
  return id_from_name(std::string("lease/") + what + "/" + to_hex(account));
}

// A note is a transfer of one unit between accounts that are not money; what it says is in the
// fields that the ledger only carries. So a round's notes are one chain, durable all or none.
Transfer LeaseKeeper::note(u128 account, u32 number, const char* what, u128 value,
                           u64 reference) const {
  return Transfer{.id = id_of(account, number, what),
                  .debit_account = own_account(account, "source"),
                  .credit_account = own_account(account, "notes"),
                  .amount = 1,
                  .correlation = value,
                  .reference = reference,
                  .ledger = ledgers_.at(account),
                  .code = transfer_code::kLease,
                  .sequence = number};
}

// --- the own ledger -----------------------------------------------------------------------------

Status LeaseKeeper::execute_own(Request request) {
  Reply reply = own_.execute(std::move(request));
  if (reply.succeeded()) return {};
  return Error{reply.error ? reply.error->code : Code::kInvalid, "lease: " + reply.failure()};
}

// The account as it is in the shared ledger, and beside it the three that keep its books. Requests
// here pay to an account like the payee there.
Status LeaseKeeper::prepare_account(u128 account) {
  TG_ASSIGN(std::optional<Account> known, own_.find_account(account));
  Request request;
  if (!known) {
    TG_ASSIGN(known, shared_.find_account(account));
    if (!known) return Error{Code::kNotFound, "lease: no account " + to_hex(account)};
    TG_ASSIGN(std::optional<Account> payee, shared_.find_account(options_.payee));
    if (!payee) return Error{Code::kNotFound, "lease: no account " + to_hex(options_.payee)};
    request.accounts.push_back(
        {.id = payee->id, .ledger = payee->ledger, .code = payee->code, .flags = payee->flags});
  }
  ledgers_[account] = known->ledger;
  request.accounts.push_back({.id = account,
                              .owner = known->owner,
                              .expires_ns = known->expires_ns,
                              .ledger = known->ledger,
                              .product = known->product,
                              .code = known->code,
                              .flags = account_flag::kDebitsMustNotExceedCredits});
  for (const char* what : {"source", "returned", "notes"}) {
    request.accounts.push_back({.id = own_account(account, what),
                                .ledger = known->ledger,
                                .code = account_code::kLeaseBook});
  }
  return execute_own(std::move(request));
}

Result<LeaseBalances> LeaseKeeper::look(u128 account) {
  TG_ASSIGN(std::vector<std::optional<LeaseBalances>> found, balances({&account, 1}));
  if (!found[0]) return Error{Code::kNotFound, "lease: " + to_hex(account) + " is not leased here"};
  return *found[0];
}

Result<std::vector<std::optional<LeaseBalances>>> LeaseKeeper::balances(
    std::span<const u128> accounts) {
  std::vector<std::optional<LeaseBalances>> out;
  constexpr std::size_t kAccountsMax = kRequestEventsMax / 2;
  for (std::size_t from = 0; from < accounts.size(); from += kAccountsMax) {
    Request request;
    std::size_t count = std::min(kAccountsMax, accounts.size() - from);
    for (u128 account : accounts.subspan(from, count)) {
      request.lookups.push_back(account);
      request.lookups.push_back(own_account(account, "returned"));
    }
    Reply reply = own_.execute(std::move(request));
    if (reply.error) return *reply.error;
    for (std::size_t i = 0; i < reply.lookups.size(); i += 2)
      out.push_back(balances_of(reply.lookups[i], reply.lookups[i + 1]));
  }
  return out;
}

Status LeaseKeeper::take_back(u128 account, u32 ledger, u128 amount) {
  Request request;
  request.transfers.push_back({.id = time_ordered_id(clock_.now(), random_),
                               .debit_account = account,
                               .credit_account = own_account(account, "returned"),
                               .amount = amount,
                               .ledger = ledger,
                               .code = transfer_code::kLease});
  return execute_own(std::move(request));
}

// Requests take some of it meanwhile, so all of it may be too much; half of it soon leaves so
// little that they are refused.
Status LeaseKeeper::take_back_free(u128 account, u32 ledger) {
  constexpr int kTriesMax = 300;  // 128 halvings, and as many that came too late.
  Status taken;
  for (int i = 0; i < kTriesMax; ++i) {
    TG_ASSIGN(LeaseBalances own, look(account));
    if (own.free == 0) return {};
    taken = take_back(account, ledger, i % 2 == 0 ? own.free : own.free - own.free / 2);
  }
  return taken;
}

// --- books --------------------------------------------------------------------------------------

Result<LeaseKeeper::Book*> LeaseKeeper::book_of(u128 account) {
  std::map<u128, Book>::iterator found = books_.find(account);
  if (found != books_.end()) return &found->second;
  TG_TRY(prepare_account(account));
  TG_ASSIGN(Book book, read_book(account));
  watch_end(account, book);
  return &books_.emplace(account, book).first->second;
}

// kNotFound if there is no such note.
Result<u128> LeaseKeeper::read_note(u128 account, u32 number, const char* what) {
  TG_ASSIGN(std::optional<Transfer> found, own_.find_transfer(id_of(account, number, what)));
  if (!found) return Error{Code::kNotFound, std::string("lease: no note ") + what};
  return found->correlation;
}

Result<LeaseKeeper::Round> LeaseKeeper::read_round(u128 account, u32 number) {
  TG_ASSIGN(std::optional<Transfer> post, own_.find_transfer(id_of(account, number, "post")));
  if (!post) return Error{Code::kNotFound, "lease: no round " + std::to_string(number)};
  Round round{.number = number,
              .previous = static_cast<u32>(post->reference),
              .post = post->correlation,
              .noted_ns = post->timestamp_ns};
  TG_ASSIGN(round.amount, read_note(account, number, "amount"));
  TG_ASSIGN(round.spent, read_note(account, number, "spent"));
  TG_ASSIGN(round.lost, read_note(account, number, "lost"));
  return round;
}

// Rounds are numbered without gaps: doubling, then halving finds the last.
Result<u32> LeaseKeeper::last_round(u128 account) {
  auto is_there = [&](u32 number) -> Result<bool> {
    TG_ASSIGN(std::optional<Transfer> found, own_.find_transfer(id_of(account, number, "post")));
    return found.has_value();
  };
  u32 beyond = 1;
  for (; beyond < kRoundNumberMax; beyond *= 2) {
    TG_ASSIGN(bool is_known, is_there(beyond));
    if (!is_known) break;
  }
  u32 known = beyond / 2;
  while (beyond - known > 1) {
    u32 middle = known + (beyond - known) / 2;
    TG_ASSIGN(bool is_known, is_there(middle));
    (is_known ? known : beyond) = middle;
  }
  return known;
}

// As it was before the last round, and then that round: without an outcome it is in doubt.
Result<LeaseKeeper::Book> LeaseKeeper::read_book(u128 account) {
  Book book;
  TG_ASSIGN(book.number, last_round(account));
  if (book.number == 0) return book;
  TG_ASSIGN(Round round, read_round(account, book.number));
  book.settled = round.spent - round.post;
  book.lost = round.lost;
  if (round.previous != 0) {
    TG_ASSIGN(Round before, read_round(account, round.previous));
    book.open = before.number;
    book.leased = before.amount;
    book.ends_ns = end_of(before);
  }
  Result<u128> outcome = read_note(account, book.number, "outcome");
  if (outcome.ok()) {
    apply(book, round, static_cast<Outcome>(*outcome));
    return book;
  }
  if (outcome.error().code != Code::kNotFound) return outcome.error();
  book.is_in_doubt = true;
  book.doubtful = round;
  return book;
}

i64 LeaseKeeper::end_of(const Round& round) const {
  i64 lasts_ms = i64{options_.timeout_ms} - options_.margin_ms;
  return round.noted_ns + lasts_ms * kNanosecondsPerMillisecond;
}

bool LeaseKeeper::has_ended(const Round& round) const {
  return clock_.now().ns >= end_of(round);
}

void LeaseKeeper::apply(Book& book, const Round& round, Outcome outcome) const {
  book.is_in_doubt = false;
  // Refused: all stays as it was, and the lease before is still open.
  if (outcome == Outcome::kRefused) return;
  bool is_done = outcome == Outcome::kDone;
  book.open = is_done && round.amount > 0 ? round.number : 0;
  book.leased = is_done ? round.amount : 0;
  book.ends_ns = book.open == 0 ? 0 : end_of(round);
  if (outcome == Outcome::kEnded) return;
  book.settled = round.spent;
  if (outcome == Outcome::kWrittenOff) book.lost += round.post;
}

// --- rounds -------------------------------------------------------------------------------------

Result<LeaseReport> LeaseKeeper::settle(u128 account, LeaseWish wish) {
  LeaseAsk ask{.account = account, .wish = wish};
  TG_ASSIGN(std::vector<LeaseReport> reports, settle({&ask, 1}));
  return reports[0];
}

Result<std::vector<LeaseReport>> LeaseKeeper::settle(std::span<const LeaseAsk> asks) {
  TG_ASSERT(asks.size() <= kLeaseAsksMax);
  std::vector<Turn> turns;
  std::vector<u128> accounts;
  for (const LeaseAsk& ask : asks) {
    TG_ASSIGN(Book * book, book_of(ask.account));
    turns.push_back({.account = ask.account, .wish = ask.wish, .book = book});
    accounts.push_back(ask.account);
  }
  for (int i = 0; i < kRoundsMax && !turns.empty(); ++i) {
    TG_TRY(run_rounds(turns));
    std::erase_if(turns, [](const Turn& turn) { return turn.is_over; });
  }
  TG_ASSIGN(std::vector<std::optional<LeaseBalances>> own, balances(accounts));
  std::vector<LeaseReport> out;
  for (std::size_t i = 0; i < accounts.size(); ++i)
    out.push_back(report_of(books_.at(accounts[i]), own[i].value_or(LeaseBalances{})));
  return out;
}

Result<std::vector<LeaseBalances>> LeaseKeeper::look(std::span<Turn* const> turns) {
  std::vector<u128> accounts;
  for (const Turn* turn : turns) accounts.push_back(turn->account);
  TG_ASSIGN(std::vector<std::optional<LeaseBalances>> found, balances(accounts));
  std::vector<LeaseBalances> out;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!found[i])
      return Error{Code::kNotFound, "lease: " + to_hex(accounts[i]) + " is not leased here"};
    out.push_back(*found[i]);
  }
  return out;
}

// A round in doubt is sent again; whoever has none begins one, unless there is nothing to do.
Status LeaseKeeper::run_rounds(std::span<Turn> turns) {
  std::vector<Turn*> doubtful;
  std::vector<Turn*> sent;
  for (Turn& turn : turns) (turn.book->is_in_doubt ? doubtful : sent).push_back(&turn);
  TG_TRY(plan(sent));
  std::erase_if(sent, [](const Turn* turn) { return turn->is_over; });
  TG_TRY(note_rounds(sent));
  for (Turn* turn : doubtful) turn->round = turn->book->doubtful;
  std::size_t begun = sent.size();
  sent.insert(sent.end(), doubtful.begin(), doubtful.end());
  TG_TRY(send(sent));
  TG_TRY(finish(sent));
  for (std::size_t i = 0; i < begun; ++i) {
    const Round& round = sent[i]->round;
    bool is_leased = sent[i]->book->open == round.number && !has_ended(round);
    sent[i]->is_over = is_leased || (round.previous != 0 && round.amount == 0);
  }
  for (Turn* turn : doubtful) {
    if (turn->wish.wanted == 0) TG_TRY(take_back_free(turn->account));
  }
  return {};
}

Status LeaseKeeper::plan(std::span<Turn* const> turns) {
  if (turns.empty()) return {};
  Request request;
  for (const Turn* turn : turns) {
    if (turn->book->open == 0) TG_TRY(take_back_free(turn->account));
    request.lookups.push_back(turn->account);
  }
  Reply there = shared_.execute(std::move(request));
  if (there.error) return *there.error;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    u128 account = turns[i]->account;
    if (!there.lookups[i]) return Error{Code::kNotFound, "lease: no account " + to_hex(account)};
    bool is_closed = (there.lookups[i]->flags & account_flag::kClosed) != 0;
    // It takes no new lease: what is left here ends with the one it has.
    if (is_closed) TG_TRY(take_back_free(account));
  }
  TG_ASSIGN(std::vector<LeaseBalances> own, look(turns));
  for (std::size_t i = 0; i < turns.size(); ++i) {
    Round round = plan(*turns[i], *there.lookups[i], own[i]);
    turns[i]->is_over = round.previous == 0 && round.post == 0 && round.amount == 0;
    TG_ASSERT(turns[i]->is_over || round.number == turns[i]->book->number + 1);
    turns[i]->round = round;
  }
  return {};
}

// What the lease must back: all that is granted here and not settled there. The own balances are
// read once; what is spent after that stays within what is granted.
LeaseKeeper::Round LeaseKeeper::plan(const Turn& turn, const Account& there,
                                     const LeaseBalances& own) {
  const Book& book = *turn.book;
  TG_ASSERT(own.spent >= book.settled && own.granted >= own.spent);
  bool is_closed = (there.flags & account_flag::kClosed) != 0;
  Round round{.number = book.number + 1,
              .previous = book.open,
              .post = own.spent - book.settled,
              .spent = own.spent,
              .lost = book.lost};
  if (is_closed && own.held > 0) return Round{};
  bool asks_late = book.open == 0 && round.post > 0;
  if (asks_late) return round;
  u128 backed = own.granted - own.spent;
  u128 free = available(there);
  // Nothing backs these holds, and nothing is left that could.
  if (book.open == 0 && backed > free) return round;
  if (book.open == 0) free -= backed;
  // Half of what is free, so that others get theirs; but nobody who asks is refused for that.
  u128 missing = turn.wish.wanted > own.free ? turn.wish.wanted - own.free : 0;
  u128 needed = turn.wish.least > own.free ? turn.wish.least - own.free : 0;
  u128 growth = std::max(std::min(missing, free - free / 2), std::min(needed, free));
  round.amount = backed + (is_closed ? 0 : growth);
  return round;
}

Status LeaseKeeper::note_rounds(std::span<Turn* const> turns) {
  if (turns.empty()) return {};
  Request request;
  for (Turn* turn : turns) {
    Round& round = turn->round;
    round.noted_ns = clock_.now().ns;
    Transfer notes[] = {note(turn->account, round.number, "post", round.post, round.previous),
                        note(turn->account, round.number, "amount", round.amount, 0),
                        note(turn->account, round.number, "spent", round.spent, 0),
                        note(turn->account, round.number, "lost", round.lost, 0)};
    for (int i = 0; i < 3; ++i) notes[i].flags = transfer_flag::kLinked;
    request.transfers.insert(request.transfers.end(), std::begin(notes), std::end(notes));
  }
  TG_TRY(execute_own(std::move(request)));
  for (Turn* turn : turns) {
    turn->book->number = turn->round.number;
    turn->book->is_in_doubt = true;
    turn->book->doubtful = turn->round;
  }
  return {};
}

// Posts the lease before and holds the next, or asks late; how many transfers.
std::size_t LeaseKeeper::add_round(const Turn& turn, Request& request) const {
  const Round& round = turn.round;
  Transfer base{.debit_account = turn.account,
                .credit_account = options_.payee,
                .ledger = ledgers_.at(turn.account),
                .sequence = round.number};
  bool has_post = round.previous != 0 || round.post > 0;
  if (has_post) {
    Transfer post = base;
    post.id = id_of(turn.account, round.number, "post");
    post.amount = round.post;
    post.code = transfer_code::kPostSlice;
    if (round.previous != 0) {
      post.pending_id = id_of(turn.account, round.previous, "amount");
      post.flags = transfer_flag::kPostPending;
    }
    if (round.amount > 0) post.flags |= transfer_flag::kLinked;
    request.transfers.push_back(post);
  }
  if (round.amount == 0) return has_post ? 1 : 0;
  Transfer lease = base;
  lease.id = id_of(turn.account, round.number, "amount");
  lease.amount = round.amount;
  lease.timeout_ms = options_.timeout_ms;
  lease.code = transfer_code::kLease;
  lease.flags = transfer_flag::kPending;
  request.transfers.push_back(lease);
  return has_post ? 2 : 1;
}

Status LeaseKeeper::send(std::span<Turn* const> turns) {
  if (turns.empty()) return {};
  Request request;
  std::vector<std::size_t> counts;
  for (const Turn* turn : turns) counts.push_back(add_round(*turn, request));
  Reply reply = shared_.execute(std::move(request));
  // Nobody knows what became of it: all stay in doubt.
  if (reply.error) return *reply.error;
  std::span<const TransferStatus> statuses = reply.transfers;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    std::span<const TransferStatus> of = statuses.first(counts[i]);
    statuses = statuses.subspan(counts[i]);
    const Round& round = turns[i]->round;
    std::size_t failing = first_failing(of);
    bool has_post = round.previous != 0 || round.post > 0;
    turns[i]->outcome = failing == of.size()       ? Outcome::kDone
                        : !has_post || failing > 0 ? Outcome::kRefused
                        : round.previous == 0      ? Outcome::kWrittenOff
                                                   : Outcome::kEnded;
    if (turns[i]->outcome != Outcome::kDone)
      log_warn("ledger", "lease of account {}, round {}: {}", to_hex(turns[i]->account),
               round.number, name(of[failing]));
  }
  return {};
}

// Grants up to what the lease backs, and notes what became of the round. One that was sent so long
// ago that it is time to stop grants nothing: a hold on it could outlive what backs it.
Status LeaseKeeper::finish(std::span<Turn* const> turns) {
  if (turns.empty()) return {};
  TG_ASSIGN(std::vector<LeaseBalances> own, look(turns));
  Request request;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const Turn& turn = *turns[i];
    u128 backed = turn.round.spent + turn.round.amount;
    bool is_done = turn.outcome == Outcome::kDone;
    TG_ASSERT(!is_done || own[i].granted <= backed || turn.round.amount == 0);
    if (is_done && own[i].granted < backed && !has_ended(turn.round))
      request.transfers.push_back(top_up(turn.account, backed - own[i].granted));
    request.transfers.push_back(
        note(turn.account, turn.round.number, "outcome", static_cast<u128>(turn.outcome), 0));
  }
  TG_TRY(execute_own(std::move(request)));
  for (const Turn* turn : turns) {
    apply(*turn->book, turn->round, turn->outcome);
    watch_end(turn->account, *turn->book);
    // What a lost lease granted is backed by nothing, what one at its end has not for long.
    if (turn->book->open == 0 || has_ended(turn->round)) TG_TRY(take_back_free(turn->account));
  }
  return {};
}

// With the note behind it, both or neither.
Transfer LeaseKeeper::top_up(u128 account, u128 amount) {
  return Transfer{.id = time_ordered_id(clock_.now(), random_),
                  .debit_account = own_account(account, "source"),
                  .credit_account = account,
                  .amount = amount,
                  .ledger = ledgers_.at(account),
                  .code = transfer_code::kLease,
                  .flags = transfer_flag::kLinked};
}

}  // namespace tg::ledger
