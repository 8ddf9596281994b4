#include "node/net/http_call.h"

#include <array>
#include <utility>

namespace tg::node {
namespace {

constexpr u32 kHeadBytesMax = 64 * 1024;

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

// `count` bytes are in `first`, and perhaps more behind them.
bool take_read(HttpExchange& exchange, std::size_t count) {
  bool is_http = take_bytes(exchange, std::string_view(exchange.first.get(), count));
  if (!is_http || count < HttpExchange::kFirstBytes || exchange.parser.is_done()) return is_http;
  thread_local std::array<char, 64 * 1'024> more;
  ReadNow now = try_read(*exchange.link, asio::buffer(more));
  if (now.count == 0) return true;
  return take_bytes(exchange, std::string_view(more.data(), now.count));
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
    asio::mutable_buffer first(exchange->first.get(), HttpExchange::kFirstBytes);
    std::size_t count = co_await read_some(link, first);
    if (!take_read(*exchange, count)) co_return nullptr;
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
    asio::mutable_buffer first(exchange->first.get(), HttpExchange::kFirstBytes);
    std::size_t count = co_await read_some(exchange->link, first);
    if (!take_read(*exchange, count)) co_return std::string();
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
