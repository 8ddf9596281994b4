// A node's bookkeeping of gateways and their requests; nothing here waits.
#include "base/log.h"
#include "node/net/node_state.h"

namespace tg::node {
namespace {

using fleet::FinishReason;
using State = NodeServer::State;

void push_event(State& state, NodeSession& session, u64 id, NodeStream& stream,
                fleet::SupplierEvent event) {
  event.request = id;
  wire::Event frame;
  frame.number = stream.next++;
  bool is_last = event.kind == fleet::SupplierEvent::Kind::kFinished;
  if (is_last) {
    stream.is_finished = true;
    UsageStatement statement{.node = state.options.name,
                             .session = session.id,
                             .request = id,
                             .usage = event.usage,
                             .tokens = stream.digest.finish()};
    frame.statement = statement_text(statement);
    frame.signature = sign_statement(frame.statement, state.signer);
  } else {
    stream.digest.add(event.tokens);
  }
  frame.event = std::move(event);
  stream.kept.push_back(std::move(frame));
  if (session.link != nullptr && stream.is_live) send(*session.link, stream.kept.back());
}

void refuse(State& state, NodeSession& session, u64 id, NodeStream& stream, const Error& error) {
  fleet::SupplierEvent event;
  event.kind = fleet::SupplierEvent::Kind::kFinished;
  event.reason = FinishReason::kError;
  event.error = error.message;
  event.fault = error.code == Code::kUnavailable ? fleet::Fault::kBusy : fleet::Fault::kInvalid;
  push_event(state, session, id, stream, std::move(event));
}

void submit(State& state, NodeSession& session, fleet::SupplyRequest request) {
  u64 id = request.id;
  auto [entry, is_new] = session.streams.try_emplace(id, request.prompt);
  // A gateway that says the same again after a reconnect has it already.
  if (!is_new) return;
  state.open.fetch_add(1);
  NodeStream& stream = entry->second;
  stream.local = state.local_next++;
  if (state.is_draining) {
    return refuse(state, session, id, stream, Error{Code::kUnavailable, "the node is draining"});
  }
  if (state.open.load() > state.options.requests_max) {
    return refuse(state, session, id, stream,
                  Error{Code::kUnavailable, "the node has too many requests open"});
  }
  request.id = stream.local;
  request.events = state.events;
  state.locals[stream.local] = {state.sessions.at(session.id), id};
  Status accepted = state.supplier.submit(std::move(request));
  if (accepted.ok()) return;
  state.locals.erase(stream.local);
  refuse(state, session, id, stream, accepted.error());
}

void take_ack(State& state, NodeSession& session, u64 id, u32 events) {
  std::unordered_map<u64, NodeStream>::iterator found = session.streams.find(id);
  if (found == session.streams.end()) return;
  NodeStream& stream = found->second;
  while (!stream.kept.empty() && stream.kept.front().number < events) stream.kept.pop_front();
  if (!stream.is_finished || !stream.kept.empty()) return;
  session.streams.erase(found);
  state.open.fetch_sub(1);
}

void resume(NodeSession& session, u64 id, u32 events) {
  std::unordered_map<u64, NodeStream>::iterator found = session.streams.find(id);
  bool is_known = found != session.streams.end() && events <= found->second.next &&
                  (found->second.kept.empty() || found->second.kept.front().number <= events);
  if (!is_known) return send(*session.link, wire::Gone{id});
  found->second.is_live = true;
  for (const wire::Event& event : found->second.kept) {
    if (event.number >= events) send(*session.link, event);
  }
}

NodeStream* find(NodeSession& session, u64 id) {
  std::unordered_map<u64, NodeStream>::iterator found = session.streams.find(id);
  bool is_running = found != session.streams.end() && !found->second.is_finished;
  return is_running ? &found->second : nullptr;
}

}  // namespace

void obey(State& state, NodeSession& session, wire::Frame frame) {
  if (wire::Submit* what = std::get_if<wire::Submit>(&frame)) {
    submit(state, session, std::move(what->request));
  } else if (const wire::Cancel* cancel = std::get_if<wire::Cancel>(&frame)) {
    if (NodeStream* stream = find(session, cancel->id)) state.supplier.cancel(stream->local);
  } else if (const wire::Extend* extend = std::get_if<wire::Extend>(&frame)) {
    NodeStream* stream = find(session, extend->id);
    if (stream == nullptr) return;
    Status extended = state.supplier.extend(stream->local, extend->funded_tokens, extend->is_final);
    if (!extended.ok()) log_info("node", "not extended: {}", extended.error().message);
  } else if (const wire::Ack* ack = std::get_if<wire::Ack>(&frame)) {
    take_ack(state, session, ack->id, ack->events);
  } else if (const wire::Resume* again = std::get_if<wire::Resume>(&frame)) {
    resume(session, again->id, again->events);
  } else if (const wire::Ping* ping = std::get_if<wire::Ping>(&frame)) {
    send(*session.link, wire::Pong{ping->stamp});
  } else {
    log_warn("node", "gateway {} sent a frame that is not a gateway's", session.name);
    close(*session.link);
  }
}

void deliver(State& state, fleet::SupplierEvent event) {
  std::unordered_map<u64, State::Local>::iterator found = state.locals.find(event.request);
  if (found == state.locals.end()) return;
  State::Local local = found->second;
  bool is_last = event.kind == fleet::SupplierEvent::Kind::kFinished;
  if (is_last) state.locals.erase(found);
  std::shared_ptr<NodeSession> session = local.session.lock();
  if (session == nullptr) return;
  std::unordered_map<u64, NodeStream>::iterator stream = session->streams.find(local.id);
  if (stream == session->streams.end()) return;
  push_event(state, *session, local.id, stream->second, std::move(event));
}

void drop_session(State& state, NodeSession& session) {
  for (auto& [id, stream] : session.streams) {
    state.open.fetch_sub(1);
    if (stream.is_finished) continue;
    state.locals.erase(stream.local);
    state.supplier.cancel(stream.local);
  }
  session.streams.clear();
}

}  // namespace tg::node
