// The ledger as a running thing: one writer thread owns the state machine and the store, takes
// requests from a bounded mailbox, applies what has gathered, commits once, and only then answers
// (group commit). While large groups wait for the disk on a thread of its own, the writer decides
// the next. What is answered is durable, and all that it was decided on.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "env/mailbox.h"
#include "ledger/commit_thread.h"
#include "ledger/state_machine.h"
#include "ledger/store.h"
#include "ledger/types.h"

namespace tg::ledger {

inline constexpr i64 kRequestEventsMax = 8190;           // Accounts, transfers, documents: each.
inline constexpr u64 kDocumentBytesMax = 64 * 1024 - 1;  // A transparency log's leaf.

// Done in this order: accounts created, accounts closed, transfers applied, documents stored iff
// every status so far is `ok` or `exists`, lookups read. All-or-nothing for the transfers if they
// are one linked chain; accounts stay created even if the transfers fail.
struct Request {
  u64 tag = 0;
  std::vector<Account> accounts;
  std::vector<u128> closures;
  std::vector<Transfer> transfers;
  std::vector<Document> documents;
  std::vector<u128> lookups;  // Accounts to report as they are after this request.
  // Answered as soon as it is decided, durable or not, unless others write the store too: it may
  // only hold (code kHold), and of a hold that nothing was posted on a crash leaves nothing anyway.
  // What follows it is durable after it.
  bool is_provisional = false;
};

struct Reply {
  u64 tag = 0;
  // Nothing else is set, and nothing of the request is durable; but of kUnavailable that is not
  // known: the same request may be sent again, and its ids find out.
  std::optional<Error> error;
  std::vector<AccountStatus> accounts;
  std::vector<AccountStatus> closures;
  std::vector<TransferStatus> transfers;
  std::vector<DocumentStatus> documents;
  std::vector<std::optional<Account>> lookups;

  // True if there is no error and every status is `ok` or `exists`.
  bool succeeded() const;
  // "" if succeeded; else the error, or the first failing status, in one line. Of a chain, the
  // status that broke it rather than linked_event_failed.
  std::string failure() const;
};

struct ServiceOptions {
  i64 queue_requests_max = 8192;
  i64 group_transfers_max = 8192;  // Transfers in one commit, unless one request has more.
  // A group of this many is committed beside the deciding of the next; a smaller one is decided
  // sooner than another thread has woken.
  i64 overlap_transfers_min = 512;
  i64 tick_ns = 50'000'000;  // How often holds are checked for expiry when idle.
  // A shared store whose server is away is opened all the same: everything is refused until it is
  // there and could be loaded.
  bool may_be_away = false;
};

class Service {
 public:
  // Loads and checks the store, voids the holds (code kHold) that a crash left open (of a shared
  // store only its own), starts the writer. The clock must outlive the service and
  // be safe to read from the writer thread.
  static Result<std::unique_ptr<Service>> open(std::unique_ptr<Store> store, Clock& clock,
                                               ServiceOptions options = {});
  // stop().
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Queues a request; the reply with its tag is pushed to `reply_to` once durable (shared, because
  // the asker may be gone by then). False if the queue is full or stopped; the request is then
  // untouched. `reply_to` must have room for every outstanding request: a reply that finds it
  // full is dropped and logged.
  bool submit(Request& request, std::shared_ptr<Mailbox<Reply>> reply_to);

  // The same for many, with one signal to the writer: it takes as many as there is room for, from
  // the first on; how many.
  std::size_t submit_all(std::span<Request> requests,
                         const std::shared_ptr<Mailbox<Reply>>& reply_to);

  // Queues (waiting for room) and waits for the reply. Not for event loops.
  Reply execute(Request request);

  // Thread-safe reads of durable state, answered by the writer thread; they wait behind what is
  // queued. An error if the service has failed or stopped.
  Result<std::optional<Account>> find_account(u128 id);
  Result<std::vector<Account>> all_accounts();
  Result<std::optional<Transfer>> find_transfer(u128 id);
  Result<PendingState> pending_state(u128 id);
  Result<std::vector<Transfer>> pending_transfers();
  Result<Statement> statement(const StatementQuery& query);
  Result<std::string> read_document(u128 id);
  Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit);
  // Re-derives every balance from the journal on disk and compares it with the live state.
  Result<AuditReport> audit();

  // Holds voided at open because a crash left them; none while the store is away.
  i64 holds_released_at_open() const { return holds_released_; }
  // Whether others write this ledger too.
  bool is_shared() const { return store_->is_shared(); }
  // What load() found at open.
  const AuditReport& opened_with() const { return opened_with_; }

  // False once a commit has failed: everything is refused from then on, with a shared store until
  // it could be loaded again.
  bool is_healthy() const { return is_healthy_.load(); }

  // Finishes what is queued, then ends the writer. Later calls are answered with an error.
  void stop();

 private:
  struct Write {
    Request request;
    std::shared_ptr<Mailbox<Reply>> reply_to;
    bool is_answered = false;
  };
  // Work for the writer thread on behalf of a waiting reader; runs after the group's commit.
  struct Read {
    // Called once, with nullptr or why nothing can be read.
    std::function<void(const Error*)> answer;
    std::latch done{1};
  };
  struct CommitEnded {};  // To a writer that waits for the disk to be free.
  using Command = std::variant<Write, std::shared_ptr<Read>, CommitEnded>;
  // What is committed together.
  struct Group {
    std::vector<Command> commands;
    i64 transfers = 0;
    i64 provisional = 0;                                        // Requests that wait for no disk,
    std::size_t commands_looked_at = 0, replies_looked_at = 0;  // and how far they are answered.
    i64 begun_ns = 0;                                           // Monotonic.
    bool has_reads = false;
    std::vector<Reply> replies;  // To the writes, in their order.
    std::vector<DocumentWrite> documents;
    Effects effects;
    bool is_staged = false;  // False: nothing to make durable.
    void clear();
  };

  Service(std::unique_ptr<Store> store, Clock& clock, ServiceOptions options);
  Status load();
  void run();
  void process(std::vector<Command>& commands, bool is_closed);
  std::size_t fill_group(std::span<Command> commands);
  void begin();
  i64 release_own_holds();
  void fail(const Error& error);
  void apply(const Request& request, Timestamp now);
  Reply apply_request(const Request& request, Timestamp now);
  bool is_full() const;
  bool may_wait() const;
  void answer_provisional();
  bool overlaps() const;
  void stage();
  void commit_open();
  void commit_here();
  void commit_beside();
  void commit_in_turn(Group& group);
  void await_commit();
  void send_replies(Group& group, const Error* failure);
  void answer_reads(const Group& group);
  template <typename T, typename F>
  Result<T> read(F function);

  std::unique_ptr<Store> store_;
  Clock& clock_;
  const ServiceOptions options_;
  StateMachine state_;
  AuditReport opened_with_;
  i64 holds_released_ = 0;
  bool is_away_ = false;  // It was never loaded.

  // Writer thread only.
  std::optional<Error> failure_;
  static constexpr u64 kGroups = 2 * CommitThread::kJobsMax + 1;
  static_assert(kGroups <= Store::kStagedMax);
  std::array<Group, kGroups> groups_;
  u64 groups_begun_ = 0;
  Group* open_ = &groups_[0];  // Being decided.

  // The other groups are the two threads', in turn, until they are committed.
  Status committed_;  // The first failure.
  std::atomic<u64> commits_under_way_{0};

  std::atomic<bool> is_healthy_{true};
  Mailbox<Command> mailbox_;
  CommitThread commit_thread_;
  CommitThread sealing_thread_;  // Hands over to it.
  std::thread writer_;
};

}  // namespace tg::ledger
