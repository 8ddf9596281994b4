// One client's byte stream, plain or TLS, with a deadline on every operation. The two are told
// apart here and nowhere else.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/types.h"
#include "env/deadlines.h"
#include "gateway/net/asio.h"

namespace tg::gateway {

using TlsStream = beast::ssl_stream<tcp::socket>;

struct Transport {
  // `tls` may be null: plain. It must outlive the transport, and so must `deadlines`, which the
  // loop sweeps.
  Transport(tcp::socket socket, asio::ssl::context* tls, Deadlines& deadlines);

  tcp::socket& socket() { return tls ? tls->next_layer() : *plain; }
  // Reads and writes from now on fail, and the connection closes, once this time has passed.
  void expire_after_ms(i64 ms);

  Deadlines& deadlines;
  i64 deadline_ns = INT64_MAX;  // Monotonic.
  std::optional<tcp::socket> plain;
  std::optional<TlsStream> tls;
};

// To be called every Deadlines::kSweepEveryNs.
void close_late(Deadlines& deadlines);

struct ReadBytes {
  i64 count = 0;  // 0: closed or failed.
};

// `transport` must live until the coroutine ends; its holder awaits it.
awaitable<bool> handshake(Transport* transport);
awaitable<ReadBytes> read_some(Transport* transport, asio::mutable_buffer buffer);
// What of `data` the socket takes at once; nothing may be left to wait for. An error if it is
// broken.
struct Written {
  std::size_t count = 0;
  bool is_broken = false;
};
Written write_now(Transport& transport, std::string_view data);
// True if all of `data`, which must stay in place, was handed to the socket.
awaitable<bool> write_all(Transport* transport, std::string_view data);
// Says goodbye; `linger` first waits a little for a peer that still sends, lest it miss our reply.
awaitable<void> finish(Transport* transport, bool linger);

// True if the peer has closed its end or the connection is broken, whatever is still unread.
bool is_peer_gone(tcp::socket& socket);

}  // namespace tg::gateway
