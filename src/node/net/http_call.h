// HTTP/1.1 as a client: one call at a time on a link, its reply read in pieces as they come.
#pragma once

#include <memory>
#include <string>

#include "node/engines/dialect.h"
#include "node/net/link.h"

namespace tg::node {

// A server that is asked, and the links to it that idle.
struct HttpPeer {
  asio::io_context* io = nullptr;
  Url url;
  asio::ssl::context* tls = nullptr;  // null: plain; outlives the peer
  std::string authorization;          // the header's value; "" for none
  std::vector<std::shared_ptr<Link>> idle = {};
  Deadlines* deadlines = nullptr;  // of its links; null: timers
};

// One call under way.
struct HttpExchange {
  std::shared_ptr<Link> link;
  http::response_parser<http::string_body> parser;
  std::string unparsed;  // bytes read past what the parser took
  bool is_over = false;  // the whole reply has been read
};

inline constexpr i64 kHttpConnectMs = 3'000;
inline constexpr std::size_t kHttpIdleMax = 64;

// Sends the call and reads the reply's head. A link that idled and turns out to be dead is replaced
// once. kUnavailable if nothing can be reached or it does not answer within `ms`.
awaitable<Result<std::shared_ptr<HttpExchange>>> start_call(HttpPeer* peer, HttpCall call, i64 ms);
// A piece of the body that has come, "" at its end; false if it must be read.
bool take_piece(HttpExchange& exchange, std::string& piece);
// For whoever reads itself: what came, "" at the link's end. False if it ended where the reply does
// not.
bool take_bytes(HttpExchange& exchange, std::string_view bytes);
// The next piece of the body; "" at its end (then is_over) or when the link failed.
awaitable<std::string> read_piece(std::shared_ptr<HttpExchange> exchange, i64 ms);
// Gives the link back for other calls if its reply was read to the end.
void finish_call(HttpPeer& peer, const std::shared_ptr<HttpExchange>& exchange);

struct HttpAnswer {
  i32 status = 0;
  std::string body;
};
// A whole call. kLimit if the body is longer than `bytes_max`.
awaitable<Result<HttpAnswer>> ask(HttpPeer* peer, HttpCall call, i64 ms, std::size_t bytes_max);

}  // namespace tg::node
