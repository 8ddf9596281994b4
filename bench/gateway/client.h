// One connection of the load generator: a request at a time, its reply read to the end.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "base/types.h"
#include "bench/gateway/asio.h"

namespace tg::bench {

using Instant = std::chrono::steady_clock::time_point;

struct Outcome {
  i32 status = 0;  // 0: the connection failed
  bool has_retry_after = false;
  i64 body_bytes = 0;
  Instant due;
  Instant done;
};

class Client;

// Who is told of what clients read.
class Audience {
 public:
  virtual ~Audience() = default;
  virtual void on_events(Client& client, i64 count, Instant now) = 0;
  virtual void on_done(Client& client, const Outcome& outcome) = 0;
};

class Client {
 public:
  // All outlive the client.
  Client(asio::io_context& io, const tcp::endpoint& endpoint, const std::string& request,
         Audience& audience);
  // Sends the request, connecting first where need be. `due` is when it should have been sent.
  // REQUIRES: the last request has been answered.
  void ask(Instant due);
  void close();

  Instant last_event;  // for the audience
  bool has_events = false;

 private:
  void connect();
  void write();
  void read();
  void on_read(error_code error, std::size_t count);
  void count_events(Instant now);
  void finish(i32 status, Instant now);

  tcp::socket socket_;
  const tcp::endpoint& endpoint_;
  const std::string& request_;
  Audience& audience_;
  std::unique_ptr<http::response_parser<http::string_body>> parser_;
  std::array<char, 16'384> bytes_ = {};
  std::string input_;
  Outcome outcome_;
  bool is_connected_ = false;
  bool is_closed_ = false;
};

}  // namespace tg::bench
