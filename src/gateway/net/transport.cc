#include "gateway/net/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <utility>

#include "env/clock.h"

namespace tg::gateway {

constexpr i64 kGoodbyeMs = 2'000;
constexpr i64 kLingerBytesMax = i64{4} << 20;

namespace {

// For as long as an operation lasts.
class Operation final : public Deadlines::Entry {
 public:
  explicit Operation(Transport* transport) : transport_(transport) {
    transport->deadlines.enter(*this, transport->deadline_ns);
  }

 private:
  void expire() override {
    error_code ignored;
    transport_->socket().close(ignored);
  }
  Transport* transport_;
};

}  // namespace

Transport::Transport(tcp::socket socket, asio::ssl::context* context, Deadlines& all)
    : deadlines(all) {
  if (context != nullptr) {
    tls.emplace(std::move(socket), *context);
  } else {
    plain.emplace(std::move(socket));
  }
}

void Transport::expire_after_ms(i64 ms) {
  constexpr i64 kNsPerMs = 1'000'000;
  deadline_ns = SystemClock().monotonic_ns() + ms * kNsPerMs;
}

void close_late(Deadlines& deadlines) {
  deadlines.sweep(SystemClock().monotonic_ns());
}

awaitable<bool> handshake(Transport* transport) {
  if (!transport->tls) co_return true;
  Operation operation(transport);
  error_code error;
  co_await transport->tls->async_handshake(asio::ssl::stream_base::server,
                                           asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

awaitable<ReadBytes> read_some(Transport* transport, asio::mutable_buffer buffer) {
  Operation operation(transport);
  error_code error;
  std::size_t count = 0;
  if (transport->tls) {
    count = co_await transport->tls->async_read_some(
        buffer, asio::redirect_error(asio::use_awaitable, error));
  } else {
    count = co_await transport->socket().async_read_some(
        buffer, asio::redirect_error(asio::use_awaitable, error));
  }
  ReadBytes result;
  result.count = error ? 0 : static_cast<i64>(count);
  co_return result;
}

Written write_now(Transport& transport, std::string_view data) {
  if (transport.tls) return {};
  tcp::socket& socket = transport.socket();
  error_code error;
  // Only now: reads and writes that wait do not need it.
  if (!socket.non_blocking()) socket.non_blocking(true, error);
  std::size_t count = socket.write_some(asio::const_buffer(data.data(), data.size()), error);
  bool is_full = error == asio::error::would_block || error == asio::error::try_again;
  return {.count = error ? 0 : count, .is_broken = error && !is_full};
}

awaitable<bool> write_all(Transport* transport, std::string_view data) {
  Written now = write_now(*transport, data);
  if (now.is_broken) co_return false;
  data.remove_prefix(now.count);
  if (data.empty()) co_return true;
  Operation operation(transport);
  error_code error;
  asio::const_buffer buffer(data.data(), data.size());
  if (transport->tls) {
    co_await asio::async_write(*transport->tls, buffer,
                               asio::redirect_error(asio::use_awaitable, error));
  } else {
    co_await asio::async_write(transport->socket(), buffer,
                               asio::redirect_error(asio::use_awaitable, error));
  }
  co_return !error;
}

static awaitable<void> discard_input(Transport* transport) {
  std::array<char, 4096> scratch;
  asio::mutable_buffer buffer(scratch.data(), scratch.size());
  for (i64 total = 0; total < kLingerBytesMax;) {
    ReadBytes read = co_await read_some(transport, buffer);
    if (read.count == 0) co_return;
    total += read.count;
  }
}

awaitable<void> finish(Transport* transport, bool linger) {
  error_code error;
  transport->expire_after_ms(kGoodbyeMs);
  if (transport->tls) {
    Operation operation(transport);
    co_await transport->tls->async_shutdown(asio::redirect_error(asio::use_awaitable, error));
  }
  transport->socket().shutdown(tcp::socket::shutdown_send, error);
  // Closing with unread input resets the connection and can destroy the reply on its way.
  if (linger && !transport->tls) co_await discard_input(transport);
  transport->socket().close(error);
}

bool is_peer_gone(tcp::socket& socket) {
  if (!socket.is_open()) return true;
  tcp_info info = {};
  socklen_t size = sizeof(info);
  i32 failed = ::getsockopt(socket.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size);
  return failed != 0 || info.tcpi_state != TCP_ESTABLISHED;
}

}  // namespace tg::gateway
