#include "node/net/http_call.h"

namespace tg::node {
namespace {

constexpr u32 kHeadBytesMax = 64 * 1024;

std::string request_text(const HttpPeer& peer, const HttpCall& call) {
  bool is_v6 = peer.url.host.find(':') != std::string::npos;
  std::string host = is_v6 ? "[" + peer.url.host + "]" : peer.url.host;
  std::string text = call.method + " " + peer.url.path + call.path + " HTTP/1.1\r\nhost: " + host +
                     ":" + peer.url.port + "\r\nuser-agent: tokengrid\r\n";
  if (!peer.authorization.empty()) text += "authorization: " + peer.authorization + "\r\n";
  if (!call.body.empty()) {
    text +=
        "content-type: application/json\r\ncontent-length: " + std::to_string(call.body.size()) +
        "\r\n";
  }
  return text + "\r\n" + call.body;
}

// Feeds what was read to the parser; false if it is no HTTP.
bool parse(HttpExchange& exchange) {
  constexpr std::size_t kBytesKept = 512;
  while (!exchange.unparsed.empty() && !exchange.parser.is_done()) {
    error_code error;
    std::size_t used = exchange.parser.put(
        asio::const_buffer(exchange.unparsed.data(), exchange.unparsed.size()), error);
    exchange.unparsed.erase(0, used);
    // An open stream holds on to little between its events.
    if (exchange.unparsed.empty() && exchange.unparsed.capacity() > kBytesKept)
      exchange.unparsed.shrink_to_fit();
    if (error == http::error::need_more) return true;
    if (error) return false;
    if (used == 0) return true;
  }
  return true;
}

// One read into the parser; false if the link ended where the reply does not.
awaitable<bool> read_more(std::shared_ptr<HttpExchange> exchange) {
  std::size_t count = co_await read_some(exchange->link, asio::buffer(exchange->first));
  if (count == 0) {
    error_code error;
    if (!exchange->parser.is_header_done()) co_return false;
    exchange->parser.put_eof(error);
    co_return !error;
  }
  exchange->unparsed.append(exchange->first.data(), count);
  if (count == exchange->first.size()) {
    thread_local std::array<char, 64 * 1'024> more;
    count = read_now(*exchange->link, asio::buffer(more));
    exchange->unparsed.append(more.data(), count);
  }
  bool is_http = parse(*exchange);
  co_return is_http;
}

awaitable<bool> read_head(std::shared_ptr<HttpExchange> exchange) {
  while (!exchange->parser.is_header_done()) {
    bool goes_on = co_await read_more(exchange);
    if (!goes_on) co_return false;
  }
  co_return true;
}

std::shared_ptr<HttpExchange> new_exchange(std::shared_ptr<Link> link) {
  std::shared_ptr<HttpExchange> exchange = std::make_shared<HttpExchange>();
  exchange->link = std::move(link);
  exchange->parser.eager(true);
  exchange->parser.header_limit(kHeadBytesMax);
  exchange->parser.body_limit(boost::none);
  return exchange;
}

// Null if the link failed.
awaitable<std::shared_ptr<HttpExchange>> call_on(std::shared_ptr<Link> link, std::string text,
                                                 i64 ms) {
  std::shared_ptr<HttpExchange> exchange = new_exchange(link);
  link->expire_after_ms(ms);
  bool is_sent = co_await write_all(link, text);
  if (!is_sent) co_return nullptr;
  bool has_head = co_await read_head(exchange);
  if (!has_head) co_return nullptr;
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

awaitable<std::string> read_piece(std::shared_ptr<HttpExchange> exchange, i64 ms) {
  std::string& body = exchange->parser.get().body();
  while (body.empty() && !exchange->parser.is_done()) {
    exchange->link->expire_after_ms(ms);
    bool goes_on = co_await read_more(exchange);
    if (!goes_on) co_return std::string();
  }
  exchange->is_over = exchange->parser.is_done();
  std::string piece = std::move(body);
  body.clear();
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
