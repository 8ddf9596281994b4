// What the connections of one server share. One thread, the loop's, touches it; it owns the Asio
// loop and dies after every coroutine on it.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "gateway/access/budget_keeper.h"
#include "gateway/access/directory_feed.h"
#include "gateway/access/limit_book.h"
#include "gateway/batch/batch_book.h"
#include "gateway/metrics.h"
#include "gateway/net/asio.h"
#include "gateway/net/transport.h"
#include "gateway/net/turns.h"
#include "gateway/once/reply_book.h"
#include "gateway/response_store.h"
#include "gateway/server.h"

namespace tg::gateway {

struct Exchange;
struct GatewayState;
struct Once;
struct BatchRun;

// What a draining server may do with a connection: close it, close it once the time is up, or wait.
enum class Phase { kReading, kIdle, kServing };

// What a request's log line says: never what was asked or answered.
struct RequestLog {
  i64 began_ns = 0;  // Monotonic.
  std::string method = {};
  std::string path = {};
  i32 status = 0;  // 0: nothing was sent.
  std::string key = {};
  std::string model = {};
  std::string_view outcome = "";  // Of the first choice.
  i64 input_tokens = 0;
  i64 output_tokens = 0;
  i64 nominal_nst = 0;
};

struct Connection : std::enable_shared_from_this<Connection> {
  Connection(tcp::socket socket, asio::ssl::context* tls, Deadlines& deadlines)
      : transport(std::move(socket), tls, deadlines) {}

  Transport transport;
  beast::flat_buffer buffer;  // Input that is not consumed yet: pipelined requests stay here.
  std::string request_id;     // Of the request being served.
  std::string extra_headers;  // For its reply: whole lines.
  RequestLog log;
  Phase phase = Phase::kReading;
  bool is_detached = false;  // Nobody is at its other end: the line of a batch.
};

// Where billing's answers to a group of questions gather.
struct BillingWait {
  explicit BillingWait(asio::io_context& io) : signal(io) {}
  std::vector<BillingReply> replies;
  asio::steady_timer signal;
};

// The account of a budget's current period, once the ledger has it.
struct OpenBudget {
  AccountRef account = 0;
  i64 period = 0;
  i64 generation = 0;
  i64 amount_nst = 0;
};

// The server's own loop, or its part in a shared one.
struct ServerLoop {
  explicit ServerLoop(SharedLoop* with) : shared(with) {
    if (shared == nullptr) own.emplace(1);
  }
  ~ServerLoop() {
    if (shared != nullptr) shared->end();
  }
  ServerLoop(const ServerLoop&) = delete;
  ServerLoop& operator=(const ServerLoop&) = delete;
  asio::io_context& context() { return shared != nullptr ? shared->context() : *own; }

  SharedLoop* shared;
  std::optional<asio::io_context> own;
};

// Work that the loop does for others (tending.h).
struct Tended final : NearReader {
  Tended(GatewayState& owner, LentWork* lent) : state(owner), work(lent) {}
  void look_soon() override;

  GatewayState& state;
  LentWork* work;
  bool is_borrowed = false;
  bool is_due = false;  // A turn of it is queued.
};

// Events of suppliers whose connections are on the loop itself, and that no pool stands before.
struct SupplierNews final : NearReader {
  explicit SupplierNews(GatewayState& owner) : state(owner) {}
  void look_soon() override;

  GatewayState& state;
  bool is_due = false;
};

struct GatewayState {
  GatewayState(ServerOptions server_options, ServerParts parts);

  ServerOptions options;
  std::vector<ServedModel> models;
  std::vector<ModelMetrics> model_metrics;  // Parallel to models.
  std::unique_ptr<DirectoryFeed> feed;      // Set before the loop runs.
  std::shared_ptr<const Directory> directory;
  u64 directory_version = 0;
  LimitBook limits;
  std::vector<std::unique_ptr<Turns>> turns;                 // Parallel to models.
  BudgetKeeper* budgets = nullptr;                           // Null: there are none.
  const ledger::LeaseService* leases = nullptr;              // Null: nothing is leased.
  std::unordered_map<std::string, OpenBudget> open_budgets;  // By budget id.
  std::unique_ptr<AdminApi> admin;                           // Null: none. The admin pool's.
  std::unique_ptr<ReplyBook> replies;  // Null: none are kept. The store pool's.
  std::unique_ptr<BatchBook> batches;  // Null: none are run. The store pool's.
  Billing billing;
  Clock& clock;
  Random& random;
  GatewayMetrics metrics;
  ResponseStore responses;  // Kept for clients that asked for it.

  std::shared_ptr<Mailbox<fleet::SupplierEvent>> supplier_events;
  std::shared_ptr<Mailbox<BillingReply>> billing_replies;
  SupplierNews supplier_news{*this};
  // Of work that is done here: emptied after every turn of it, and watched by nobody.
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> near_events;
  std::shared_ptr<Mailbox<BillingReply>> near_replies;
  std::vector<std::unique_ptr<Tended>> tended;
  Tended* tended_billing = nullptr;       // Null: billing lends nothing.
  std::vector<Tended*> tended_suppliers;  // Parallel to models.
  u64 id_next = 1;                        // Supplier request ids and billing tags.

  // Borrowed: owned by the coroutines that entered them.
  std::unordered_map<u64, Exchange*> exchange_by_run;
  std::unordered_set<Exchange*> exchanges;
  std::deque<std::weak_ptr<Exchange>> unwatched;  // Those whose client is not watched yet, by age.
  std::unordered_map<u64, BillingWait*> billing_waits;
  // Room for events and output, lent to the exchanges that have some: an open stream holds on to
  // none between its pieces.
  std::vector<std::vector<fleet::SupplierEvent>> spare_events;
  std::string spare_output;
  std::unordered_set<Connection*> connections;
  std::unordered_map<std::string, i64> open_by_key;
  // Requests with an idempotency key that are being served, by the hex of its name.
  std::unordered_map<std::string, std::shared_ptr<Once>> once_open;
  std::unordered_map<std::string, std::shared_ptr<BatchRun>> batch_runs;  // By id.
  i64 uploads_open = 0;
  Deadlines deadlines;         // Of connections' reads and writes.
  bool is_leaving = false;     // Health says so.
  bool is_draining = false;    // No new requests.
  bool is_cancelling = false;  // Nor any more time for the open ones.

  std::optional<asio::ssl::context> tls;
  asio::thread_pool pool{1};        // Tokenizes large prompts, which would hold up the loop.
  asio::thread_pool slow_pool{1};   // Waits for the ledger to open budgets.
  asio::thread_pool store_pool{1};  // Writes what is kept for clients.
  asio::thread_pool admin_pool{1};  // The admin API's one thread.
  // Compiles grammars: a hostile one takes seconds, which only others like it wait for.
  asio::thread_pool grammar_pool{1};
  // Last, so that it ends first: coroutines use all of the above.
  ServerLoop loop;
  asio::io_context& io;
};

// "req_" and 32 random hex digits.
std::string new_id(GatewayState& state, std::string_view prefix);

}  // namespace tg::gateway
