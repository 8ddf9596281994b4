// A gateway's share of the accounts of a ledger that several gateways share. What is leased is held
// there and granted here, in the gateway's own ledger, where requests then hold and post without
// asking anyone; from time to time what was spent is settled. A lease to a gateway is what a slice
// is to a request.
//
//   shared ledger        account --hold, code LEASE--> payee
//   the gateway's own    source --grant--> account --holds, posts--> ...; what is not used goes to
//                        `returned`
//
// Rounds. A round posts the lease before for what was spent and holds the next one, both or
// neither, under ids made of its number. What a round says is durable here before it is sent, so
// that after a crash or a lost answer it is sent again, word for word. So nothing is charged twice,
// and what a lease backs here was never more than what is held there: the shared budget holds
// whatever happens between.
//
// Cut off, a gateway goes on with what it has leased until shortly before the lease ends, then
// stops granting. What it spent of a lease that ended all the same is asked for late, by a plain
// transfer; what the account no longer covers then is the gateway's loss, never the buyer's.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "env/random.h"
#include "ledger/service.h"

namespace tg::ledger {

struct LeaseOptions {
  std::string gateway;       // Unique among those who lease from the shared ledger.
  u128 payee = 0;            // The account there that gets what is spent here.
  u128 amount = 0;           // What to have at hand after a renewal, if the account has it.
  u32 timeout_ms = 600'000;  // Of a lease. Renew several times within it.
  u32 margin_ms = 60'000;    // How long before its end to stop; above what clocks differ by.
};

// How an account's lease stands.
struct LeaseReport {
  u128 leased = 0;           // Held for us in the shared ledger.
  u128 spent = 0;            // Here, in all.
  u128 settled = 0;          // Of that, posted there or written off.
  u128 lost = 0;             // Written off.
  u128 free = 0;             // Granted here and not held.
  bool is_in_doubt = false;  // A round was sent and not answered.
  Timestamp ends;            // When to stop granting; 0 if nothing is leased.
};

// What the own ledger has of a leased account.
struct LeaseBalances {
  u128 granted = 0;  // Less what was returned.
  u128 spent = 0;
  u128 held = 0;
  u128 free = 0;
};

// How much to have at hand: `wanted`, as far as half of what is free there allows; `least` of it
// whatever that leaves to others.
struct LeaseWish {
  u128 wanted = 0;
  u128 least = 0;
};

struct LeaseAsk {
  u128 account = 0;
  LeaseWish wish;
};
// Of one call.
inline constexpr std::size_t kLeaseAsksMax = 1'000;

// One thread owns it, not an event loop: it waits for both ledgers.
class LeaseKeeper {
 public:
  // The services, clock and random source must outlive this. Of `own` nobody else may use the
  // leased accounts' source, `returned` and notes.
  LeaseKeeper(Service& own, Service& shared, Clock& clock, Random& random, LeaseOptions options);

  // Settles, renews and refills, also for the first time. An error if the shared ledger cannot be
  // reached or refuses: what was leased before can still be spent until it ends.
  Result<LeaseReport> renew(u128 account) { return settle(account, {.wanted = options_.amount}); }
  // The same for many, in as many commits as for one; the reports are in their order. After an
  // error any of them may be in doubt. REQUIRES: at most kLeaseAsksMax, no account twice.
  Result<std::vector<LeaseReport>> renew(std::span<const LeaseAsk> asks) { return settle(asks); }
  // Stops granting from leases that are about to end. Needs nothing but the own ledger; call it at
  // least every quarter of margin_ms. Any thread may: the owner may be waiting for a network.
  Status stop_overdue();
  // Settles and returns all but what open holds here need.
  Result<LeaseReport> give_back(u128 account);
  Result<std::vector<LeaseReport>> give_back(std::span<const u128> accounts);
  // The account becomes known here, if it is not; nothing is leased.
  Result<LeaseReport> report(u128 account);
  // Of many accounts at once; nothing for those that were never leased here.
  Result<std::vector<std::optional<LeaseBalances>>> balances(std::span<const u128> accounts);
  // The account that an account with a keeper has beside it.
  static u128 notes_account(u128 account) { return own_account(account, "notes"); }

 private:
  // What a round asks of the shared ledger. With `previous` 0 there is no lease to post, and what
  // was spent since is asked for by a plain transfer, alone.
  struct Round {
    u32 number = 0;
    u32 previous = 0;  // The round whose lease is open.
    u128 post = 0;     // Spent since the last settlement.
    u128 amount = 0;   // Of the next lease; 0: none.
    u128 spent = 0;    // In all, with `post`.
    u128 lost = 0;     // In all, before it.
    i64 noted_ns = 0;
  };
  enum class Outcome : u8 { kDone, kRefused, kEnded, kWrittenOff };
  struct Book;
  // An account's part in a call.
  struct Turn {
    u128 account = 0;
    LeaseWish wish;
    Book* book = nullptr;
    Round round;
    Outcome outcome = Outcome::kDone;
    bool is_over = false;  // What is wanted is leased, as far as the account has it.
  };
  // As of the last round that was answered, and one that was not.
  struct Book {
    u32 number = 0;  // Of the last round.
    u32 open = 0;    // The round whose lease is open; 0: none.
    u128 leased = 0;
    u128 settled = 0;
    u128 lost = 0;
    i64 ends_ns = 0;
    bool is_in_doubt = false;
    Round doubtful;
  };
  // For stop_overdue().
  struct End {
    i64 at_ns = 0;
    u32 ledger = 0;
  };

  Result<Book*> book_of(u128 account);
  Status prepare_account(u128 account);
  Result<Book> read_book(u128 account);
  Result<Round> read_round(u128 account, u32 number);
  Result<u32> last_round(u128 account);
  Result<u128> read_note(u128 account, u32 number, const char* what);
  Result<LeaseBalances> look(u128 account);
  Status take_back(u128 account, u32 ledger, u128 amount);
  Status take_back_free(u128 account) { return take_back_free(account, ledgers_.at(account)); }
  Status take_back_free(u128 account, u32 ledger);
  Result<LeaseReport> settle(u128 account, LeaseWish wish);
  Result<std::vector<LeaseReport>> settle(std::span<const LeaseAsk> asks);
  Result<std::vector<LeaseBalances>> look(std::span<Turn* const> turns);
  Status run_rounds(std::span<Turn> turns);
  Status plan(std::span<Turn* const> turns);
  static Round plan(const Turn& turn, const Account& there, const LeaseBalances& own);
  Status note_rounds(std::span<Turn* const> turns);
  Status send(std::span<Turn* const> turns);
  std::size_t add_round(const Turn& turn, Request& request) const;
  Status finish(std::span<Turn* const> turns);
  Transfer top_up(u128 account, u128 amount);
  void apply(Book& book, const Round& round, Outcome outcome) const;
  i64 end_of(const Round& round) const;
  bool has_ended(const Round& round) const;
  Status execute_own(Request request);
  Transfer note(u128 account, u32 number, const char* what, u128 value, u64 reference) const;
  u128 id_of(u128 account, u32 number, const char* what) const;
  void watch_end(u128 account, const Book& book);
  static u128 own_account(u128 account, const char* what);
  static LeaseReport report_of(const Book& book, const LeaseBalances& own);

  Service& own_;
  Service& shared_;
  Clock& clock_;
  Random& random_;
  const LeaseOptions options_;
  std::map<u128, Book> books_;
  std::map<u128, u32> ledgers_;  // Of the accounts we know.

  std::mutex ends_mutex_;
  std::map<u128, End> ends_;  // Of leases, and of what may still be granted without one.
};

}  // namespace tg::ledger
