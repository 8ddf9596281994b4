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
#include <string>

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
  bool is_in_doubt = false;  // A round was sent and not answered.
  Timestamp ends;            // When to stop granting; 0 if nothing is leased.
};

// One thread owns it, not an event loop: it waits for both ledgers.
class LeaseKeeper {
 public:
  // The services, clock and random source must outlive this. Of `own` nobody else may use the
  // leased accounts' source, `returned` and notes.
  LeaseKeeper(Service& own, Service& shared, Clock& clock, Random& random, LeaseOptions options);

  // Settles, renews and refills, also for the first time. An error if the shared ledger cannot be
  // reached or refuses: what was leased before can still be spent until it ends.
  Result<LeaseReport> renew(u128 account);
  // Stops granting from leases that are about to end. Needs nothing but the own ledger; call it at
  // least every quarter of margin_ms.
  Status stop_overdue();
  // Settles and returns all but what open holds here need.
  Result<LeaseReport> give_back(u128 account);
  Result<LeaseReport> report(u128 account);

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
  // Balances of the own ledger.
  struct Own {
    u128 granted = 0;  // Less what was returned.
    u128 spent = 0;
    u128 held = 0;
    u128 free = 0;
  };

  Result<Book*> book_of(u128 account);
  Status prepare_account(u128 account);
  Result<Book> read_book(u128 account);
  Result<Round> read_round(u128 account, u32 number);
  Result<u32> last_round(u128 account);
  Result<u128> read_note(u128 account, u32 number, const char* what);
  Result<Own> look(u128 account);
  Status take_back(u128 account, u128 amount);
  Status take_back_free(u128 account);
  Result<LeaseReport> settle(u128 account, u128 wanted);
  Result<bool> run_round(u128 account, Book& book, u128 wanted);
  Result<Round> plan(u128 account, const Book& book, u128 wanted);
  Status note_round(u128 account, const Round& round);
  Status send(u128 account, Book& book, const Round& round);
  Status finish(u128 account, Book& book, const Round& round, Outcome outcome);
  Status top_up(u128 account, const Round& round);
  void apply(Book& book, const Round& round, Outcome outcome) const;
  i64 end_of(const Round& round) const;
  Status execute_own(Request request);
  Transfer note(u128 account, u32 number, const char* what, u128 value, u64 reference) const;
  u128 id_of(u128 account, u32 number, const char* what) const;
  u128 own_account(u128 account, const char* what) const;
  static LeaseReport report_of(const Book& book, const Own& own);

  Service& own_;
  Service& shared_;
  Clock& clock_;
  Random& random_;
  const LeaseOptions options_;
  std::map<u128, Book> books_;
  std::map<u128, u32> ledgers_;  // Of the accounts we know.
};

}  // namespace tg::ledger
