#include "gateway/net/mail.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/log.h"
#include "gateway/net/exchange.h"
#include "gateway/net/tending.h"

namespace tg::gateway {
namespace {

constexpr std::chrono::milliseconds kRetryAfter(10);

template <typename T>
awaitable<void> pump(GatewayState* state, std::shared_ptr<Mailbox<T>> mailbox,
                     void (*deliver)(GatewayState&, T)) {
  // The descriptor closes what it owns, and the mailbox keeps its own.
  asio::posix::stream_descriptor watched(state->io, ::dup(mailbox->fd()));
  std::vector<T> values;
  for (;;) {
    error_code error;
    co_await watched.async_wait(asio::posix::stream_descriptor::wait_read,
                                asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    values.clear();
    mailbox->drain(values);
    for (T& value : values) deliver(*state, std::move(value));
  }
}

void deliver_supplier_event(GatewayState& state, fleet::SupplierEvent event) {
  std::unordered_map<u64, Exchange*>::iterator found = state.exchange_by_run.find(event.request);
  // A supplier that answers after its cancel was given up.
  if (found == state.exchange_by_run.end()) return;
  found->second->deliver(std::move(event), state.options.limits.events_pending_max);
}

void close_orphan(GatewayState& state, u128 hold) {
  BillingCommand command;
  command.tag = state.id_next++;
  HoldClose close;
  close.hold = hold;
  close.outcome = Outcome::kRejected;
  command.what = close;
  if (!submit_to_billing(state, command)) log_error("gateway", "a late hold could not be closed");
}

void deliver_notice(GatewayState& state, const EdgeNotice& notice) {
  std::unordered_map<u64, Exchange*>::iterator found = state.exchange_by_run.find(notice.run);
  // The request may have ended while the notice was on its way.
  if (found != state.exchange_by_run.end()) found->second->note_edge(notice);
}

void deliver_billing_reply(GatewayState& state, BillingReply reply) {
  if (reply.is_notice) return deliver_notice(state, reply.notice);
  std::unordered_map<u64, BillingWait*>::iterator found = state.billing_waits.find(reply.tag);
  if (found == state.billing_waits.end()) {
    bool is_granted = reply.status == BillingReply::Status::kOk && reply.hold != 0;
    if (is_granted) close_orphan(state, reply.hold);
    return;
  }
  BillingWait* wait = found->second;
  state.billing_waits.erase(found);
  wait->replies.push_back(std::move(reply));
  wait->signal.cancel();
}

BillingReply unanswered(u64 tag, std::string message) {
  BillingReply reply;
  reply.tag = tag;
  reply.status = BillingReply::Status::kFailed;
  reply.message = std::move(message);
  return reply;
}

// Of a close, which is worth waiting for room.
awaitable<void> send_when_there_is_room(GatewayState* state, BillingCommand* command) {
  asio::steady_timer timer(state->io);
  do {
    error_code ignored;
    timer.expires_after(kRetryAfter);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  } while (!submit_to_billing(*state, *command));
}

// Takes the waiting entries away if the coroutine is destroyed while it waits.
struct WaitEntries {
  explicit WaitEntries(GatewayState& owner) : state(owner) {}
  WaitEntries(const WaitEntries&) = delete;
  WaitEntries& operator=(const WaitEntries&) = delete;
  ~WaitEntries() {
    for (u64 tag : tags) state.billing_waits.erase(tag);
  }
  GatewayState& state;
  std::vector<u64> tags;
};

std::vector<BillingReply> in_order(BillingWait& wait, const std::vector<u64>& tags) {
  std::vector<BillingReply> ordered;
  for (u64 tag : tags) ordered.push_back(unanswered(tag, "billing does not answer"));
  for (BillingReply& reply : wait.replies) {
    TG_ASSERT(reply.tag >= tags.front() && reply.tag <= tags.back());
    ordered[reply.tag - tags.front()] = std::move(reply);
  }
  return ordered;
}

// Reports and receipts are read by other threads.
bool is_answered_near(const BillingQuestion& question) {
  return !std::holds_alternative<ReceiptRead>(question) &&
         !std::holds_alternative<UsageRead>(question);
}

}  // namespace

bool submit_to_billing(GatewayState& state, BillingCommand& command) {
  bool is_near = state.tended_billing != nullptr && state.tended_billing->is_borrowed;
  if (!is_near) {
    command.reply_to = state.billing_replies;
    return state.billing.submit(command);
  }
  command.reply_to = is_answered_near(command.what) ? state.near_replies : state.billing_replies;
  if (!state.billing.submit_quietly(command)) return false;
  turn_soon(state, state.tended_billing);
  return true;
}

void deliver_near(GatewayState& state) {
  thread_local std::vector<BillingReply> replies;
  thread_local std::vector<fleet::SupplierEvent> events;
  replies.clear();
  events.clear();
  state.near_replies->drain(replies);
  state.near_events->drain(events);
  for (BillingReply& reply : replies) deliver_billing_reply(state, std::move(reply));
  for (fleet::SupplierEvent& event : events) deliver_supplier_event(state, std::move(event));
}

static void drain_supplier_events(GatewayState& state) {
  thread_local std::vector<fleet::SupplierEvent> events;
  events.clear();
  state.supplier_events->drain(events);
  for (fleet::SupplierEvent& event : events) deliver_supplier_event(state, std::move(event));
}

void SupplierNews::look_soon() {
  if (std::exchange(is_due, true)) return;
  asio::post(state.io, [this] {
    is_due = false;
    drain_supplier_events(state);
  });
}

awaitable<void> pump_supplier_events(GatewayState* state) {
  // Here, where it runs on the loop's thread.
  state->supplier_events->set_near(&state->supplier_news);
  awaitable<void> pumping = pump(state, state->supplier_events, deliver_supplier_event);
  co_await std::move(pumping);
}

awaitable<void> pump_billing_replies(GatewayState* state) {
  return pump(state, state->billing_replies, deliver_billing_reply);
}

awaitable<std::vector<BillingReply>> ask_billing(GatewayState* state,
                                                 std::vector<BillingQuestion> questions,
                                                 Patience patience) {
  TG_ASSERT(!questions.empty());
  BillingWait wait(state->io);
  WaitEntries entries(*state);
  // All tags first and in a row: sending may wait, and meanwhile others take tags.
  for (std::size_t i = 0; i < questions.size(); ++i) entries.tags.push_back(state->id_next++);
  for (u64 tag : entries.tags) state->billing_waits.emplace(tag, &wait);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    bool is_close = std::holds_alternative<HoldClose>(questions[i]);
    BillingCommand command;
    command.tag = entries.tags[i];
    command.what = std::move(questions[i]);
    bool is_sent = submit_to_billing(*state, command);
    if (!is_sent && is_close) co_await send_when_there_is_room(state, &command);
    if (is_sent || is_close) continue;
    state->billing_waits.erase(entries.tags[i]);
    wait.replies.push_back(unanswered(entries.tags[i], "billing is busy"));
  }
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  if (patience == Patience::kLimited)
    deadline = std::chrono::steady_clock::now() +
               std::chrono::milliseconds(state->options.limits.billing_ms);
  while (wait.replies.size() < entries.tags.size() && std::chrono::steady_clock::now() < deadline) {
    error_code ignored;
    wait.signal.expires_at(deadline);
    co_await wait.signal.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return in_order(wait, entries.tags);
}

}  // namespace tg::gateway
