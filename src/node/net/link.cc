#include "node/net/link.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <chrono>

#include "env/clock.h"

namespace tg::node {
namespace {

// A plain link's socket, which then never makes its caller wait.
tcp::socket& waitless(Link& link) {
  tcp::socket& socket = link.socket();
  error_code ignored;
  if (!socket.non_blocking()) socket.non_blocking(true, ignored);
  return socket;
}

}  // namespace

void LinkOperation::expire() {
  error_code ignored;
  link_->socket().close(ignored);
}

void sweep(Deadlines& deadlines) {
  deadlines.sweep(SystemClock().monotonic_ns());
}

void Link::expire_after_ms(i64 ms) {
  constexpr i64 kNsPerMs = 1'000'000;
  if (deadlines != nullptr) {
    deadline_ns = SystemClock().monotonic_ns() + ms * kNsPerMs;
  } else {
    tcp_stream().expires_after(std::chrono::milliseconds(ms));
  }
}

void Link::expire_never() {
  deadline_ns = INT64_MAX;
  if (!bare) tcp_stream().expires_never();
}

void Link::use(Deadlines& swept) {
  expire_never();
  deadlines = &swept;
  if (!plain) return;
  bare.emplace(plain->release_socket());
  plain.reset();
}

Link::Link(tcp::socket socket, asio::ssl::context* context) {
  if (context == nullptr) {
    plain.emplace(std::move(socket));
  } else {
    tls.emplace(beast::tcp_stream(std::move(socket)), *context);
  }
}

void Link::close() {
  is_closed = true;
  error_code ignored;
  socket().close(ignored);
}

static Error failed(const Url& url, const char* step, const error_code& error) {
  return Error{Code::kUnavailable,
               url.host + ":" + url.port + ": " + step + ": " + error.message()};
}

awaitable<Result<std::shared_ptr<Link>>> connect_link(asio::io_context* io, Url url,
                                                      asio::ssl::context* tls, i64 ms) {
  error_code error;
  tcp::resolver resolver(*io);
  tcp::resolver::results_type found = co_await resolver.async_resolve(
      url.host, url.port, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failed(url, "name not found", error);
  std::shared_ptr<Link> link = std::make_shared<Link>(tcp::socket(*io), tls);
  link->expire_after_ms(ms);
  co_await link->tcp_stream().async_connect(found,
                                            asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failed(url, "no connection", error);
  link->tcp_stream().socket().set_option(tcp::no_delay(true), error);
  if (link->tls) {
    SSL_set_tlsext_host_name(link->tls->native_handle(), url.host.c_str());
    if (url.checks_name)
      link->tls->set_verify_callback(asio::ssl::host_name_verification(url.host), error);
    co_await link->tls->async_handshake(asio::ssl::stream_base::client,
                                        asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return failed(url, "no TLS", error);
  }
  co_return link;
}

awaitable<std::size_t> read_some(std::shared_ptr<Link> link, asio::mutable_buffer buffer) {
  if (link->is_closed) co_return 0;
  LinkOperation operation(link.get());
  error_code error;
  std::size_t count = 0;
  if (link->tls) {
    count = co_await link->tls->async_read_some(buffer,
                                                asio::redirect_error(asio::use_awaitable, error));
  } else if (link->bare) {
    count = co_await link->bare->async_read_some(buffer,
                                                 asio::redirect_error(asio::use_awaitable, error));
  } else {
    count = co_await link->plain->async_read_some(buffer,
                                                  asio::redirect_error(asio::use_awaitable, error));
  }
  co_return error ? 0 : count;
}

ReadNow try_read(Link& link, asio::mutable_buffer buffer) {
  if (link.tls) return {.is_empty = true};
  if (link.is_closed) return {};
  error_code error;
  std::size_t count = waitless(link).read_some(buffer, error);
  bool is_empty = error == asio::error::would_block || error == asio::error::try_again;
  return {.count = error ? 0 : count, .is_empty = is_empty};
}

std::size_t write_now(Link& link, std::string_view data) {
  if (link.is_closed || link.tls) return 0;
  error_code error;
  std::size_t count = waitless(link).write_some(asio::buffer(data.data(), data.size()), error);
  return error ? 0 : count;
}

awaitable<bool> write_all(std::shared_ptr<Link> link, std::string_view data) {
  if (link->is_closed) co_return false;
  error_code error;
  data.remove_prefix(write_now(*link, data));
  if (data.empty()) co_return true;
  LinkOperation operation(link.get());
  asio::const_buffer bytes(data.data(), data.size());
  if (link->tls) {
    co_await asio::async_write(*link->tls, bytes, asio::redirect_error(asio::use_awaitable, error));
  } else if (link->bare) {
    co_await asio::async_write(*link->bare, bytes,
                               asio::redirect_error(asio::use_awaitable, error));
  } else {
    co_await asio::async_write(*link->plain, bytes,
                               asio::redirect_error(asio::use_awaitable, error));
  }
  co_return !error;
}

}  // namespace tg::node
