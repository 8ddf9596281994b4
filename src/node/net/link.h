// One byte stream to another machine, plain or TLS, with a deadline on every operation.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "env/deadlines.h"
#include "node/net/asio.h"
#include "node/url.h"

namespace tg::node {

using TlsStream = beast::ssl_stream<beast::tcp_stream>;

struct Link {
  // `tls` null: plain. It must outlive the link.
  Link(tcp::socket socket, asio::ssl::context* tls);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // REQUIRES: not plain with deadlines.
  beast::tcp_stream& tcp_stream() { return tls ? tls->next_layer() : *plain; }
  tcp::socket& socket() { return bare ? *bare : tcp_stream().socket(); }
  // Operations under way end with an error, and so do later ones.
  void close();
  void expire_after_ms(i64 ms);
  void expire_never();
  // From now on its operations are late when these say so, which the loop sweeps.
  void use(Deadlines& swept);

  std::optional<beast::tcp_stream> plain;
  std::optional<tcp::socket>
      bare;  // in place of `plain` once it has deadlines: no timers around it
  std::optional<TlsStream> tls;
  bool is_closed = false;
  Deadlines* deadlines = nullptr;  // null: each operation has a timer
  i64 deadline_ns = INT64_MAX;     // monotonic
};

// For as long as an operation lasts whose link has deadlines: it ends when it is late.
class LinkOperation final : public Deadlines::Entry {
 public:
  explicit LinkOperation(Link* link) : link_(link) {
    if (link->deadlines != nullptr) link->deadlines->enter(*this, link->deadline_ns);
  }

 private:
  void expire() override;
  Link* link_;
};

// To be called every Deadlines::kSweepEveryNs by the loop of the links that use them.
void sweep(Deadlines& deadlines);

// Resolves, connects and shakes hands within `ms`; an error says at which step it failed.
awaitable<Result<std::shared_ptr<Link>>> connect_link(asio::io_context* io, Url url,
                                                      asio::ssl::context* tls, i64 ms);
// Bytes read; 0 at the end or on failure.
awaitable<std::size_t> read_some(std::shared_ptr<Link> link, asio::mutable_buffer buffer);
// What is there already; never waits. Of a plain link only, else nothing.
struct ReadNow {
  std::size_t count = 0;
  bool is_empty = false;  // nothing was there; else a count of 0 is the end or a failure
};
ReadNow try_read(Link& link, asio::mutable_buffer buffer);
// What of `data` a plain link takes at once; 0 of another, or if something is wrong, which shows
// when the rest is written.
std::size_t write_now(Link& link, std::string_view data);
// `data` must stay in place.
awaitable<bool> write_all(std::shared_ptr<Link> link, std::string_view data);

}  // namespace tg::node
