#include "ledger/service.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "ledger/id.h"

namespace tg::ledger {

namespace {

constexpr i64 kReplyWaitNs = 1'000'000'000;

template <typename S>
bool all_succeeded(const std::vector<S>& statuses) {
  return std::all_of(statuses.begin(), statuses.end(), [](S s) { return succeeded(s); });
}

// The rule for documents: everything else in the request is in the ledger.
bool stores_documents(const Reply& reply) {
  return !reply.error.has_value() && all_succeeded(reply.accounts) &&
         all_succeeded(reply.closures) && all_succeeded(reply.transfers);
}

template <typename S>
std::string first_failure(const char* what, const std::vector<S>& statuses) {
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    if (!succeeded(statuses[i]))
      return std::string(what) + " " + std::to_string(i) + ": " + name(statuses[i]);
  }
  return "";
}

// The status that broke a chain says more than that its neighbours fell with it.
std::string first_failure(const std::vector<TransferStatus>& statuses) {
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    if (!succeeded(statuses[i]) && statuses[i] != TransferStatus::kLinkedEventFailed)
      return "transfer " + std::to_string(i) + ": " + name(statuses[i]);
  }
  return "";
}

std::optional<Error> check_size(const char* what, std::size_t size) {
  if (size <= static_cast<std::size_t>(kRequestEventsMax)) return std::nullopt;
  return Error{Code::kLimit, "ledger: request has " + std::to_string(size) + " " + what +
                                 ", the limit is " + std::to_string(kRequestEventsMax)};
}

std::optional<Error> check_document(const Document& document) {
  if (document.id == 0) return Error{Code::kInvalid, "ledger: a document's id is 0"};
  if (document.bytes.size() <= kDocumentBytesMax) return std::nullopt;
  return Error{Code::kLimit, "ledger: document " + to_hex(document.id) + " has " +
                                 std::to_string(document.bytes.size()) + " bytes, the limit is " +
                                 std::to_string(kDocumentBytesMax)};
}

// What a crash undoes anyway.
bool only_holds(const Request& request) {
  if (!request.accounts.empty() || !request.closures.empty() || !request.documents.empty())
    return false;
  return std::all_of(request.transfers.begin(), request.transfers.end(), [](const Transfer& t) {
    return t.code == transfer_code::kHold && (t.flags & transfer_flag::kPending) != 0;
  });
}

std::optional<Error> check_limits(const Request& request) {
  if (request.is_provisional && !only_holds(request))
    return Error{Code::kInvalid, "ledger: a provisional request does more than hold"};
  std::pair<const char*, std::size_t> sizes[] = {{"accounts", request.accounts.size()},
                                                 {"closures", request.closures.size()},
                                                 {"transfers", request.transfers.size()},
                                                 {"documents", request.documents.size()},
                                                 {"lookups", request.lookups.size()}};
  for (const std::pair<const char*, std::size_t>& size : sizes) {
    std::optional<Error> error = check_size(size.first, size.second);
    if (error.has_value()) return error;
  }
  for (const Document& document : request.documents) {
    std::optional<Error> error = check_document(document);
    if (error.has_value()) return error;
  }
  return std::nullopt;
}

}  // namespace

bool Reply::succeeded() const {
  return stores_documents(*this) && all_succeeded(documents);
}

std::string Reply::failure() const {
  if (error.has_value()) return error->message;
  std::string text = first_failure("account", accounts);
  if (text.empty()) text = first_failure("closure", closures);
  if (text.empty()) text = first_failure(transfers);
  if (text.empty()) text = first_failure("document", documents);
  return text;
}

// --- opening and closing ------------------------------------------------------------------------

Result<std::unique_ptr<Service>> Service::open(std::unique_ptr<Store> store, Clock& clock,
                                               ServiceOptions options) {
  std::unique_ptr<Service> service(new Service(std::move(store), clock, options));
  TG_TRY(service->load());
  service->writer_ = std::thread([&writer = *service] { writer.run(); });
  return service;
}

Service::Service(std::unique_ptr<Store> store, Clock& clock, ServiceOptions options)
    : store_(std::move(store)),
      clock_(clock),
      options_(options),
      mailbox_(options.queue_requests_max) {
  TG_ASSERT(store_ != nullptr);
  TG_ASSERT(options.group_transfers_max > 0);
  TG_ASSERT(options.tick_ns > 0);
}

Status Service::load() {
  Result<AuditReport> loaded = store_->load(state_);
  is_away_ = !loaded.ok() && loaded.error().code == Code::kUnavailable && options_.may_be_away;
  if (is_away_) {
    TG_ASSERT(store_->is_shared());
    log_warn("ledger", "opened without its server: {}", loaded.error().message);
    fail(loaded.error());
    return {};
  }
  TG_ASSIGN(opened_with_, std::move(loaded));
  TG_TRY(store_->begin(state_));
  holds_released_ = release_own_holds();
  Effects effects;
  state_.take_effects(effects, store_->keeps_balances());
  // A shared store waits for its lock back.
  if (effects.empty() && !store_->is_shared()) return {};
  return store_->commit(effects, {});
}

// Who held is gone, and what it did not post charges nobody. Others' holds are none of ours.
i64 Service::release_own_holds() {
  return state_.release_open(transfer_code::kHold, clock_.now(),
                             [&](u64 position) { return store_->is_own(position); });
}

Service::~Service() {
  stop();
}

void Service::stop() {
  mailbox_.close();
  if (writer_.joinable()) writer_.join();
}

// --- asking, from any thread --------------------------------------------------------------------

bool Service::submit(Request& request, std::shared_ptr<Mailbox<Reply>> reply_to) {
  TG_ASSERT(reply_to != nullptr);
  Command command = Write{std::move(request), std::move(reply_to)};
  if (mailbox_.try_push(command)) return true;
  request = std::move(std::get<Write>(command).request);
  return false;
}

std::size_t Service::submit_all(std::span<Request> requests,
                                const std::shared_ptr<Mailbox<Reply>>& reply_to) {
  TG_ASSERT(reply_to != nullptr);
  std::vector<Command> commands;
  commands.reserve(requests.size());
  for (Request& request : requests) commands.emplace_back(Write{std::move(request), reply_to});
  std::size_t taken = mailbox_.try_push_all(commands);
  for (std::size_t i = taken; i < requests.size(); ++i)
    requests[i] = std::move(std::get<Write>(commands[i]).request);
  return taken;
}

Reply Service::execute(Request request) {
  u64 tag = request.tag;
  std::shared_ptr<Mailbox<Reply>> reply_to = std::make_shared<Mailbox<Reply>>(1);
  if (!mailbox_.push(Write{std::move(request), reply_to}))
    return Reply{.tag = tag, .error = Error{Code::kUnavailable, "ledger: stopped"}};
  std::vector<Reply> replies;
  // What was queued is answered, even by a writer that is stopping.
  while (replies.empty()) reply_to->wait(replies, kReplyWaitNs);
  return std::move(replies.front());
}

template <typename T, typename F>
Result<T> Service::read(F function) {
  std::optional<Result<T>> result;
  std::shared_ptr<Read> job = std::make_shared<Read>();
  job->answer = [&](const Error* failure) {
    if (failure == nullptr) {
      result.emplace(function());
      std::optional<Error> unread = state_.take_read_failure();
      if (unread.has_value()) result.emplace(std::move(*unread));
    } else {
      result.emplace(*failure);
    }
  };
  if (!mailbox_.push(job)) return Error{Code::kUnavailable, "ledger: stopped"};
  job->done.wait();
  return std::move(*result);
}

Result<std::optional<Account>> Service::find_account(u128 id) {
  using Found = std::optional<Account>;
  return read<Found>([&]() -> Result<Found> {
    const Account* account = state_.find_account(id);
    return account == nullptr ? Found() : Found(*account);
  });
}

Result<std::vector<Account>> Service::all_accounts() {
  using Accounts = std::vector<Account>;
  return read<Accounts>([&]() -> Result<Accounts> {
    return Accounts(state_.accounts().begin(), state_.accounts().end());
  });
}

Result<std::optional<Transfer>> Service::find_transfer(u128 id) {
  using Found = std::optional<Transfer>;
  return read<Found>([&]() -> Result<Found> { return state_.find_transfer(id); });
}

Result<PendingState> Service::pending_state(u128 id) {
  return read<PendingState>([&]() -> Result<PendingState> { return state_.pending_state(id); });
}

Result<std::vector<Transfer>> Service::pending_transfers() {
  using Transfers = std::vector<Transfer>;
  return read<Transfers>([&]() -> Result<Transfers> { return state_.pending_transfers(); });
}

Result<Statement> Service::statement(const StatementQuery& query) {
  return read<Statement>([&]() -> Result<Statement> { return state_.statement(query); });
}

Result<std::string> Service::read_document(u128 id) {
  return read<std::string>([&] { return store_->read_document(id); });
}

Result<std::vector<StoredDocument>> Service::documents_after(u64 sequence, i64 limit) {
  return read<std::vector<StoredDocument>>(
      [&] { return store_->documents_after(sequence, limit); });
}

Result<AuditReport> Service::audit() {
  return read<AuditReport>([&]() -> Result<AuditReport> {
    // Of a shared store, nobody may add to what is compared.
    TG_TRY(store_->begin(state_));
    Result<AuditReport> report = store_->audit(&state_);
    TG_TRY(store_->commit({}, {}));
    return report;
  });
}

// --- the writer thread --------------------------------------------------------------------------

void Service::Group::clear() {
  commands.clear();
  replies.clear();
  documents.clear();
  transfers = 0;
  provisional = 0;
  commands_looked_at = replies_looked_at = 0;
  has_reads = false;
  is_staged = false;
}

void Service::run() {
  std::vector<Command> commands;
  while (true) {
    // Asked before waiting: nothing comes after a close, so an empty wait then is the end.
    bool is_closed = mailbox_.closed();
    commands.clear();
    mailbox_.wait(commands, options_.tick_ns);
    if (commands.empty() && open_->commands.empty() && is_closed) break;
    process(commands, is_closed);
  }
  await_commit();
}

void Service::process(std::vector<Command>& commands, bool is_closed) {
  std::erase_if(commands, [](const Command& command) {
    return std::holds_alternative<CommitEnded>(command);
  });
  // Nothing asked and nothing due: a shared store is not locked for nothing.
  if (commands.empty() && open_->commands.empty() && !state_.has_due(clock_.now()) &&
      !failure_.has_value())
    return;
  std::span<Command> rest = commands;
  bool is_tick = commands.empty();
  do {
    rest = rest.subspan(fill_group(rest));
    answer_provisional();
    // While the disk is busy, or nobody waits for it, more may join.
    bool may_gather = !is_closed && !open_->commands.empty() && !is_full() && !open_->has_reads &&
                      (commits_under_way_ > 0 || (!is_tick && may_wait()));
    if (may_gather) return;
    commit_open();
  } while (!rest.empty());
}

// Everybody in the open group has been answered, and not for long.
bool Service::may_wait() const {
  return !failure_.has_value() && !store_->is_shared() &&
         open_->provisional == static_cast<i64>(open_->commands.size()) &&
         clock_.monotonic_ns() - open_->begun_ns < options_.tick_ns;
}

// Of a store that is loaded once, nobody shall wait for another answer.
static Error final_error(Error error) {
  if (error.code == Code::kUnavailable) error.code = Code::kIo;
  return error;
}

void Service::fail(const Error& error) {
  if (!failure_.has_value()) failure_ = error;
  if (!store_->is_shared()) failure_ = final_error(*failure_);
  is_healthy_ = false;
}

// A store on the far side of a network may be gone for a while: what is there now is loaded again.
// Of what was in doubt the asker was told that it failed; a retry with its ids finds out.
void Service::begin() {
  if (failure_.has_value() && store_->is_shared()) {
    StateMachine fresh;
    Result<AuditReport> loaded = store_->load(fresh);
    if (!loaded.ok()) {
      failure_ = loaded.error();
      return;
    }
    state_ = std::move(fresh);
    failure_.reset();
    is_healthy_ = true;
  }
  if (failure_.has_value()) return;
  Status begun = store_->begin(state_);
  if (!begun.ok()) return fail(begun.error());
  if (!std::exchange(is_away_, false)) return;
  i64 released = release_own_holds();
  log_info("ledger", "the server is there; released {} holds that a crash left open", released);
}

// Requests too are bounded: while the disk stands still the mailbox must fill and say so.
bool Service::is_full() const {
  return open_->transfers >= options_.group_transfers_max ||
         static_cast<i64>(open_->commands.size()) >= options_.queue_requests_max;
}

// Moves commands to the open group until it is full, and decides them; how many.
std::size_t Service::fill_group(std::span<Command> commands) {
  // The group of a shared store is committed at once, so each call begins one.
  begin();
  Timestamp now = clock_.now();
  if (!failure_.has_value()) state_.expire(now);
  std::size_t count = 0;
  if (open_->commands.empty()) open_->begun_ns = clock_.monotonic_ns();
  for (; count < commands.size() && !is_full(); ++count) {
    open_->commands.push_back(std::move(commands[count]));
    Command& command = open_->commands.back();
    if (Write* write = std::get_if<Write>(&command)) {
      apply(write->request, now);
    } else {
      open_->has_reads = true;
    }
  }
  return count;
}

void Service::apply(const Request& request, Timestamp now) {
  open_->transfers += static_cast<i64>(request.transfers.size());
  open_->provisional += request.is_provisional ? 1 : 0;
  Reply reply = apply_request(request, now);
  // Part of what was decided rests on what was not read.
  std::optional<Error> unread = state_.take_read_failure();
  if (unread.has_value()) {
    fail(*unread);
    reply = Reply{.tag = request.tag, .error = failure_};
  }
  open_->replies.push_back(std::move(reply));
  if (!stores_documents(open_->replies.back())) return;
  // Where they lie stays when the command moves.
  static_assert(std::is_nothrow_move_constructible_v<Command>);
  for (const Document& document : request.documents)
    open_->documents.push_back({.document = &document});
}

Reply Service::apply_request(const Request& request, Timestamp now) {
  Reply reply{.tag = request.tag, .error = failure_};
  if (!reply.error.has_value()) reply.error = check_limits(request);
  if (reply.error.has_value()) return reply;
  for (const Account& account : request.accounts)
    reply.accounts.push_back(state_.create_account(account, now));
  for (u128 id : request.closures) reply.closures.push_back(state_.close_account(id, now));
  state_.apply(request.transfers, now, reply.transfers);
  reply.documents.assign(request.documents.size(), DocumentStatus::kNotStored);
  for (u128 id : request.lookups) {
    const Account* account = state_.find_account(id);
    reply.lookups.push_back(account == nullptr ? std::nullopt : std::optional<Account>(*account));
  }
  return reply;
}

// --- committing ---------------------------------------------------------------------------------

// Reads and snapshots want the state and the disk to agree; a shared store lets nobody run ahead.
bool Service::overlaps() const {
  return open_->is_staged && open_->transfers >= options_.overlap_transfers_min &&
         !open_->has_reads && !store_->is_shared() && !store_->wants_snapshot(state_);
}

// Groups before may still be on their way to the disk, so even a group that changes nothing is
// answered after them: what it found there must be durable first.
void Service::commit_open() {
  stage();
  if (overlaps()) return commit_beside();
  await_commit();
  commit_here();
}

void Service::stage() {
  if (failure_.has_value()) return;
  state_.take_effects(open_->effects, store_->keeps_balances());
  // A shared store waits for its lock back.
  bool is_empty = open_->effects.empty() && open_->documents.empty() && !store_->is_shared();
  if (is_empty) return;
  store_->stage(open_->effects, open_->documents);
  open_->is_staged = true;
}

void Service::await_commit() {
  sealing_thread_.wait();
  commit_thread_.wait();
  // The disk is behind the memory from here on: neither may be believed again.
  if (!committed_.ok()) fail(committed_.error());
}

void Service::commit_here() {
  if (open_->is_staged && !failure_.has_value()) {
    Status committed = store_->sync();
    if (!committed.ok()) fail(committed.error());
  }
  send_replies(*open_, failure_.has_value() ? &*failure_ : nullptr);
  answer_reads(*open_);
  if (!failure_.has_value()) store_->offer_snapshot(state_);
  open_->clear();
}

void Service::commit_beside() {
  Group& group = *open_;
  ++commits_under_way_;
  sealing_thread_.start([this, &group] {
    store_->seal();
    commit_thread_.start([this, &group] { commit_in_turn(group); });
  });
  // As many as may be under way are behind the one that begins: this one is free.
  open_ = &groups_[++groups_begun_ % groups_.size()];
}

// On the commit thread. What was decided on a failed commit fails with it.
void Service::commit_in_turn(Group& group) {
  if (committed_.ok()) {
    Status synced = store_->sync();
    if (!synced.ok()) {
      committed_ = final_error(synced.error());
      is_healthy_ = false;
    }
  }
  send_replies(group, committed_.ok() ? nullptr : &committed_.error());
  group.clear();
  --commits_under_way_;
  // A writer that does not hear it, for the mailbox is full, is not waiting.
  Command ended = CommitEnded();
  [[maybe_unused]] bool is_told = mailbox_.try_push(ended);
}

// Replies to one asker go with one signal.
static void push_replies(std::vector<Reply>& replies, Mailbox<Reply>* to) {
  if (to == nullptr) return;
  std::size_t taken = to->try_push_all(replies);
  for (std::size_t i = taken; i < replies.size() && !to->closed(); ++i)
    log_error("ledger", "reply {} dropped: its mailbox is full", replies[i].tag);
  replies.clear();
}

void Service::answer_provisional() {
  if (store_->is_shared()) return;
  std::vector<Reply> ready;
  Mailbox<Reply>* to = nullptr;
  while (open_->commands_looked_at < open_->commands.size()) {
    Write* write = std::get_if<Write>(&open_->commands[open_->commands_looked_at++]);
    if (write == nullptr) continue;
    Reply& reply = open_->replies[open_->replies_looked_at++];
    if (!write->request.is_provisional) continue;
    write->is_answered = true;
    if (write->reply_to.get() != to) push_replies(ready, std::exchange(to, write->reply_to.get()));
    ready.push_back(std::move(reply));
  }
  push_replies(ready, to);
}

void Service::send_replies(Group& group, const Error* failure) {
  std::size_t next = 0;
  std::vector<Reply> ready;
  Mailbox<Reply>* to = nullptr;
  std::span<const DocumentWrite> documents = group.documents;
  for (Command& command : group.commands) {
    Write* write = std::get_if<Write>(&command);
    if (write == nullptr) continue;
    Reply& reply = group.replies[next++];
    if (write->is_answered) continue;
    if (failure != nullptr) {
      reply = Reply{.tag = reply.tag, .error = *failure};
    } else if (stores_documents(reply)) {
      for (DocumentStatus& status : reply.documents) {
        status = documents.front().status;
        documents = documents.subspan(1);
      }
    }
    if (write->reply_to.get() != to) push_replies(ready, std::exchange(to, write->reply_to.get()));
    ready.push_back(std::move(reply));
  }
  push_replies(ready, to);
}

void Service::answer_reads(const Group& group) {
  const Error* failure = failure_.has_value() ? &*failure_ : nullptr;
  for (const Command& command : group.commands) {
    const std::shared_ptr<Read>* job = std::get_if<std::shared_ptr<Read>>(&command);
    if (job == nullptr) continue;
    (*job)->answer(failure);
    (*job)->done.count_down();
  }
}

}  // namespace tg::ledger
