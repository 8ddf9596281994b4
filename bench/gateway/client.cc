#include "bench/gateway/client.h"

#include <string_view>

namespace tg::bench {

Client::Client(asio::io_context& io, const tcp::endpoint& endpoint, const std::string& request,
               Audience& audience)
    : socket_(io), endpoint_(endpoint), request_(request), audience_(audience) {}

void Client::ask(Instant due) {
  outcome_ = Outcome{.due = due, .done = {}};
  has_events = false;
  input_.clear();
  parser_ = std::make_unique<http::response_parser<http::string_body>>();
  parser_->eager(true);
  parser_->body_limit(boost::none);
  if (is_connected_) return write();
  connect();
}

void Client::close() {
  is_closed_ = true;
  error_code ignored;
  socket_.close(ignored);
}

void Client::connect() {
  error_code ignored;
  socket_.close(ignored);
  socket_.async_connect(endpoint_, [this](error_code error) {
    if (is_closed_) return;
    if (error) return finish(0, std::chrono::steady_clock::now());
    error_code refused;
    socket_.set_option(tcp::no_delay(true), refused);
    is_connected_ = true;
    write();
  });
}

void Client::write() {
  asio::async_write(socket_, asio::buffer(request_), [this](error_code error, std::size_t) {
    if (is_closed_) return;
    if (error) return finish(0, std::chrono::steady_clock::now());
    read();
  });
}

void Client::read() {
  socket_.async_read_some(asio::buffer(bytes_),
                          [this](error_code error, std::size_t count) { on_read(error, count); });
}

void Client::on_read(error_code error, std::size_t count) {
  if (is_closed_) return;
  Instant now = std::chrono::steady_clock::now();
  if (error) return finish(0, now);
  input_.append(bytes_.data(), count);
  while (!input_.empty() && !parser_->is_done()) {
    error_code failed;
    std::size_t used = parser_->put(asio::buffer(input_), failed);
    input_.erase(0, used);
    if (failed && failed != http::error::need_more) return finish(0, now);
    if (used == 0) break;
  }
  count_events(now);
  if (parser_->is_done()) return finish(static_cast<i32>(parser_->get().result_int()), now);
  read();
}

// Server-sent events that have come whole; what is counted is dropped.
void Client::count_events(Instant now) {
  std::string& body = parser_->get().body();
  if (!parser_->chunked()) return;
  i64 count = 0;
  std::size_t from = 0;
  for (std::size_t at = body.find("\n\n"); at != body.npos; at = body.find("\n\n", from)) {
    bool is_event = std::string_view(body).substr(from).starts_with("data:");
    count += is_event ? 1 : 0;
    from = at + 2;
  }
  outcome_.body_bytes += static_cast<i64>(from);
  body.erase(0, from);
  if (count > 0) audience_.on_events(*this, count, now);
}

void Client::finish(i32 status, Instant now) {
  outcome_.status = status;
  outcome_.done = now;
  if (status != 0) {
    outcome_.body_bytes += static_cast<i64>(parser_->get().body().size());
    outcome_.has_retry_after =
        parser_->get().find(http::field::retry_after) != parser_->get().end();
  }
  if (status == 0 || !parser_->get().keep_alive()) {
    is_connected_ = false;
    error_code ignored;
    socket_.close(ignored);
  }
  audience_.on_done(*this, outcome_);
}

}  // namespace tg::bench
