#include "node/net/http_call.h"

#include <array>
#include <utility>

namespace tg::node {
namespace {

constexpr u32 kHeadBytesMax = 64 * 1024;
constexpr std::size_t kWaitingBytes = 2'048;  // that a call holds on to while it waits

std::string request_text(const HttpPeer& peer, const HttpCall& call) {
  bool is_v6 = peer.url.host.find(':') != std::string::npos;
  std::string host = is_v6 ? "[" + peer.url.host + "]" : peer.url.host;
  constexpr std::size_t kHeadBytes = 512;
  std::string text;
  text.reserve(kHeadBytes + call.body.size());
  text.append(call.method).append(" ").append(peer.url.path).append(call.path);
  text.append(" HTTP/1.1\r\nhost: ").append(host).append(":").append(peer.url.port);
  text.append("\r\nuser-agent: tokengrid\r\n");
  if (!peer.authorization.empty())
    text.append("authorization: ").append(peer.authorization).append("\r\n");
  if (!call.body.empty()) {
    text.append("content-type: application/json\r\ncontent-length: ");
    text.append(std::to_string(call.body.size())).append("\r\n");
  }
  text.append("\r\n").append(call.body);
  return text;
}

// Feeds what was read to the parser, which leaves what it cannot read yet; false if it is no HTTP.
bool parse(HttpExchange& exchange, std::string_view& bytes) {
  while (!bytes.empty() && !exchange.parser.is_done()) {
    error_code error;
    std::size_t used = exchange.parser.put(asio::const_buffer(bytes.data(), bytes.size()), error);
    bytes.remove_prefix(used);
    if (error == http::error::need_more) return true;
    if (error) return false;
    if (used == 0) return true;
  }
  return true;
}

std::shared_ptr<HttpExchange> new_exchange(std::shared_ptr<Link> link) {
  std::shared_ptr<HttpExchange> exchange = std::make_shared<HttpExchange>();
  exchange->link = std::move(link);
  exchange->parser.eager(true);
  exchange->parser.header_limit(kHeadBytesMax);
  exchange->parser.body_limit(boost::none);
  return exchange;
}

constexpr std::size_t kRoomBytes = 64 * 1'024;

// Waits for what comes next, and takes it; false if the link ended where the reply does not. A
// plain link is read when there is something, into room that all share: many calls may be waiting.
awaitable<bool> read_more(HttpExchange* exchange) {
  std::shared_ptr<Link> link = exchange->link;
  if (!link->bare || link->is_closed) {
    std::unique_ptr<char[]> room = std::make_unique_for_overwrite<char[]>(kWaitingBytes);
    std::size_t count = co_await read_some(link, asio::mutable_buffer(room.get(), kWaitingBytes));
    co_return take_bytes(*exchange, std::string_view(room.get(), count));
  }
  for (;;) {
    LinkOperation operation(link.get());
    error_code error;
    co_await link->bare->async_wait(tcp::socket::wait_read,
                                    asio::redirect_error(asio::use_awaitable, error));
    thread_local std::array<char, kRoomBytes> room;
    ReadNow now;
    if (!error) now = try_read(*link, asio::buffer(room));
    if (!now.is_empty) co_return take_bytes(*exchange, std::string_view(room.data(), now.count));
  }
}

// Null if the link failed.
awaitable<std::shared_ptr<HttpExchange>> call_on(std::shared_ptr<Link> link, std::string text,
                                                 i64 ms) {
  std::shared_ptr<HttpExchange> exchange = new_exchange(link);
  link->expire_after_ms(ms);
  std::string_view rest = std::string_view(text).substr(write_now(*link, text));
  if (!rest.empty()) {
    bool is_sent = co_await write_all(link, rest);
    if (!is_sent) co_return nullptr;
  }
  while (!exchange->parser.is_header_done()) {
    bool is_taken = co_await read_more(exchange.get());
    if (!is_taken) co_return nullptr;
  }
  co_return exchange;
}

std::shared_ptr<Link> take_idle(HttpPeer& peer) {
  if (peer.idle.empty()) return nullptr;
  std::shared_ptr<Link> link = std::move(peer.idle.back());
  peer.idle.pop_back();
  return link;
}

}  // namespace

awaitable<Result<std::shared_ptr<HttpExchange>>> start_call(HttpPeer* peer, HttpCall call, i64 ms) {
  std::string text = request_text(*peer, call);
  std::shared_ptr<Link> idle = take_idle(*peer);
  if (idle != nullptr) {
    std::shared_ptr<HttpExchange> exchange = co_await call_on(idle, text, ms);
    if (exchange != nullptr) co_return exchange;
    // It may have been closed at any time; but a call that it had begun to answer is not repeated.
    idle->close();
  }
  Result<std::shared_ptr<Link>> link =
      co_await connect_link(peer->io, peer->url, peer->tls, kHttpConnectMs);
  if (!link.ok()) co_return link.error();
  if (peer->deadlines != nullptr) (*link)->use(*peer->deadlines);
  std::shared_ptr<HttpExchange> exchange = co_await call_on(*link, text, ms);
  if (exchange != nullptr) co_return exchange;
  (*link)->close();
  co_return Error{Code::kUnavailable, peer->url.host + ":" + peer->url.port + " does not answer"};
}

bool take_bytes(HttpExchange& exchange, std::string_view bytes) {
  if (bytes.empty()) {
    error_code error;
    if (!exchange.parser.is_header_done()) return false;
    exchange.parser.put_eof(error);
    return !error;
  }
  // Hardly ever: an event comes whole.
  bool had_rest = !exchange.unparsed.empty();
  if (had_rest) bytes = exchange.unparsed.append(bytes);
  bool is_http = parse(exchange, bytes);
  std::string rest(bytes);
  exchange.unparsed.swap(rest);
  return is_http;
}

bool take_piece(HttpExchange& exchange, std::string& piece) {
  std::string& body = exchange.parser.get().body();
  if (body.empty() && !exchange.parser.is_done()) return false;
  exchange.is_over = exchange.parser.is_done();
  piece = std::exchange(body, {});
  return true;
}

awaitable<std::string> read_piece(std::shared_ptr<HttpExchange> exchange, i64 ms) {
  std::string piece;
  while (!take_piece(*exchange, piece)) {
    exchange->link->expire_after_ms(ms);
    bool is_taken = co_await read_more(exchange.get());
    if (!is_taken) co_return std::string();
  }
  co_return piece;
}

void finish_call(HttpPeer& peer, const std::shared_ptr<HttpExchange>& exchange) {
  bool is_reusable = exchange->parser.is_done() && exchange->parser.get().keep_alive() &&
                     exchange->unparsed.empty() && !exchange->link->is_closed &&
                     peer.idle.size() < kHttpIdleMax;
  if (is_reusable) {
    exchange->link->expire_never();
    peer.idle.push_back(exchange->link);
  } else {
    exchange->link->close();
  }
}

awaitable<Result<HttpAnswer>> ask(HttpPeer* peer, HttpCall call, i64 ms, std::size_t bytes_max) {
  Result<std::shared_ptr<HttpExchange>> started = co_await start_call(peer, std::move(call), ms);
  if (!started.ok()) co_return started.error();
  std::shared_ptr<HttpExchange> exchange = *started;
  HttpAnswer answer;
  answer.status = static_cast<i32>(exchange->parser.get().result_int());
  while (!exchange->is_over) {
    std::string piece = co_await read_piece(exchange, ms);
    answer.body += piece;
    bool is_broken = piece.empty() && !exchange->is_over;
    if (is_broken || answer.body.size() > bytes_max) {
      exchange->link->close();
      if (is_broken) co_return Error{Code::kUnavailable, peer->url.host + ": the reply broke off"};
      co_return Error{Code::kLimit, peer->url.host + ": the reply is too long"};
    }
  }
  finish_call(*peer, exchange);
  co_return answer;
}

}  // namespace tg::node
