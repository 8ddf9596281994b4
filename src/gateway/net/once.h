// Requests that carry an idempotency key: the same one again waits for the first, gets its reply,
// and is not charged (once/reply_book.h keeps them).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "gateway/net/completions.h"
#include "gateway/once/reply_book.h"

namespace tg::gateway {

// What is known of such a request while it runs. The loop's.
struct Once {
  explicit Once(asio::io_context& io) : signal(io) {}

  Digest name{};              // Of the key, within its project and account.
  Digest request{};           // What was asked.
  asio::steady_timer signal;  // Cancelled when it has ended, for those who wait.
  i64 waiting = 0;
  bool has_ended = false;
  bool is_charging = false;  // The book knows that it may be charged.
  bool is_settled = true;    // False if a settlement failed: nobody knows what was charged.
  i64 charged = 0;           // In whatever unit: whether it cost anything.
  std::optional<HttpResponse> unsent;  // A whole reply whose client has gone.
  // Of a stream: its events, if they are not too many to keep.
  std::string stream;
  std::string stream_type;
  bool is_stream_kept = true;
  bool is_stream_whole = false;
};

// Tells the book, durably, that the request may be charged from now on. An error says that it must
// not be.
awaitable<std::optional<ApiError>> begin_charging(GatewayState* state, std::shared_ptr<Once> once);
// More of its stream, that is about to be sent.
void note_stream(Once& once, std::string_view events);

// serve_completion(), if that has not been done under `name` already, a key of the server's own; or
// under the request's idempotency key.
awaitable<Served> serve_named(GatewayState* state, std::shared_ptr<Connection> connection,
                              HttpRequest request, Api api, KeyInfo key, std::string name);
awaitable<Served> serve_once(GatewayState* state, std::shared_ptr<Connection> connection,
                             HttpRequest request, Api api, KeyInfo key);

}  // namespace tg::gateway
