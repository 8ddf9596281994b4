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
std::size_t first_failing(const std::vector<TransferStatus>& statuses) {
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

Result<LeaseReport> LeaseKeeper::renew(u128 account, LeaseWish wish) {
  return settle(account, wish);
}

Result<LeaseReport> LeaseKeeper::give_back(u128 account) {
  TG_ASSIGN(Book * book, book_of(account));
  // What a round in doubt may have leased is taken back once it is known.
  if (!book->is_in_doubt) TG_TRY(take_back_free(account));
  return settle(account, {});
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
  TG_ASSIGN(Book * book, book_of(account));
  for (int i = 0; i < kRoundsMax; ++i) {
    TG_ASSIGN(bool is_over, run_round(account, *book, wish));
    if (is_over) break;
  }
  TG_ASSIGN(LeaseBalances own, look(account));
  return report_of(*book, own);
}

// True if it was the last: what is wanted is leased, as far as the account has it.
Result<bool> LeaseKeeper::run_round(u128 account, Book& book, LeaseWish wish) {
  if (book.is_in_doubt) {
    TG_TRY(send(account, book, book.doubtful));
    if (wish.wanted == 0) TG_TRY(take_back_free(account));
    return false;
  }
  if (book.open == 0) TG_TRY(take_back_free(account));
  TG_ASSIGN(Round round, plan(account, book, wish));
  if (round.previous == 0 && round.post == 0 && round.amount == 0) return true;
  TG_ASSERT(round.number == book.number + 1);
  round.noted_ns = clock_.now().ns;
  TG_TRY(note_round(account, round));
  book.number = round.number;
  book.is_in_doubt = true;
  book.doubtful = round;
  TG_TRY(send(account, book, round));
  return book.open == round.number || (round.previous != 0 && round.amount == 0);
}

// What the lease must back: all that is granted here and not settled there. The own balances are
// read once; what is spent after that stays within what is granted.
Result<LeaseKeeper::Round> LeaseKeeper::plan(u128 account, const Book& book, LeaseWish wish) {
  TG_ASSIGN(std::optional<Account> there, shared_.find_account(account));
  if (!there) return Error{Code::kNotFound, "lease: no account " + to_hex(account)};
  // A closed account takes no new lease: what is left here ends with the one it has.
  bool is_closed = (there->flags & account_flag::kClosed) != 0;
  if (is_closed) TG_TRY(take_back_free(account));
  TG_ASSIGN(LeaseBalances own, look(account));
  TG_ASSERT(own.spent >= book.settled && own.granted >= own.spent);
  Round round{.number = book.number + 1,
              .previous = book.open,
              .post = own.spent - book.settled,
              .spent = own.spent,
              .lost = book.lost};
  if (is_closed && own.held > 0) return Round{};
  bool asks_late = book.open == 0 && round.post > 0;
  if (asks_late) return round;
  u128 backed = own.granted - own.spent;
  u128 free = available(*there);
  // Nothing backs these holds, and nothing is left that could.
  if (book.open == 0 && backed > free) return round;
  if (book.open == 0) free -= backed;
  // Half of what is free, so that others get theirs; but nobody who asks is refused for that.
  u128 missing = wish.wanted > own.free ? wish.wanted - own.free : 0;
  u128 needed = wish.least > own.free ? wish.least - own.free : 0;
  u128 growth = std::max(std::min(missing, free - free / 2), std::min(needed, free));
  round.amount = backed + (is_closed ? 0 : growth);
  return round;
}

Status LeaseKeeper::note_round(u128 account, const Round& round) {
  Request request;
  request.transfers = {note(account, round.number, "post", round.post, round.previous),
                       note(account, round.number, "amount", round.amount, 0),
                       note(account, round.number, "spent", round.spent, 0),
                       note(account, round.number, "lost", round.lost, 0)};
  for (int i = 0; i < 3; ++i) request.transfers[i].flags = transfer_flag::kLinked;
  return execute_own(std::move(request));
}

// Posts the lease before and holds the next, or asks late.
static void add_post(const Transfer& base, u128 hold, u128 amount, Request& request) {
  Transfer post = base;
  post.amount = amount;
  post.code = transfer_code::kPostSlice;
  if (hold != 0) {
    post.pending_id = hold;
    post.flags = transfer_flag::kPostPending;
  }
  request.transfers.push_back(post);
}

Status LeaseKeeper::send(u128 account, Book& book, const Round& round) {
  Transfer base{.debit_account = account,
                .credit_account = options_.payee,
                .ledger = ledgers_.at(account),
                .sequence = round.number};
  Request request;
  base.id = id_of(account, round.number, "post");
  u128 hold = round.previous == 0 ? 0 : id_of(account, round.previous, "amount");
  if (hold != 0 || round.post > 0) add_post(base, hold, round.post, request);
  bool has_post = !request.transfers.empty();
  if (round.amount > 0) {
    if (has_post) request.transfers[0].flags |= transfer_flag::kLinked;
    Transfer lease = base;
    lease.id = id_of(account, round.number, "amount");
    lease.amount = round.amount;
    lease.timeout_ms = options_.timeout_ms;
    lease.code = transfer_code::kLease;
    lease.flags = transfer_flag::kPending;
    request.transfers.push_back(lease);
  }
  Reply reply = shared_.execute(std::move(request));
  // Nobody knows what became of it: it stays in doubt.
  if (reply.error) return *reply.error;
  if (reply.succeeded()) return finish(account, book, round, Outcome::kDone);
  bool post_failed = has_post && first_failing(reply.transfers) == 0;
  Outcome outcome = !post_failed          ? Outcome::kRefused
                    : round.previous == 0 ? Outcome::kWrittenOff
                                          : Outcome::kEnded;
  log_warn("ledger", "lease of account {}, round {}: {}", to_hex(account), round.number,
           reply.failure());
  return finish(account, book, round, outcome);
}

Status LeaseKeeper::finish(u128 account, Book& book, const Round& round, Outcome outcome) {
  if (outcome == Outcome::kDone) TG_TRY(top_up(account, round));
  Request request;
  request.transfers.push_back(
      note(account, round.number, "outcome", static_cast<u128>(outcome), 0));
  TG_TRY(execute_own(std::move(request)));
  apply(book, round, outcome);
  watch_end(account, book);
  // What a lost lease granted is backed by nothing.
  return book.open == 0 ? take_back_free(account) : Status{};
}

// Up to what the lease backs. Only this thread grants and takes back, so after a crash in between
// nothing is missing.
Status LeaseKeeper::top_up(u128 account, const Round& round) {
  TG_ASSIGN(LeaseBalances own, look(account));
  u128 backed = round.spent + round.amount;
  TG_ASSERT(own.granted <= backed || round.amount == 0);
  if (own.granted >= backed) return {};
  Request request;
  request.transfers.push_back({.id = time_ordered_id(clock_.now(), random_),
                               .debit_account = own_account(account, "source"),
                               .credit_account = account,
                               .amount = backed - own.granted,
                               .ledger = ledgers_.at(account),
                               .code = transfer_code::kLease});
  return execute_own(std::move(request));
}

}  // namespace tg::ledger
