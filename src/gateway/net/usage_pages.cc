#include "gateway/net/usage_pages.h"

#include <chrono>
#include <utility>
#include <vector>

#include "gateway/http.h"
#include "gateway/net/mail.h"

namespace tg::gateway {

namespace {

constexpr std::chrono::seconds kEvery(1);
// A client that wants more asks again.
constexpr i64 kReadingsMax = 3'600;

std::string_view query_of(std::string_view target) {
  std::size_t mark = target.find('?');
  if (mark == std::string_view::npos) return {};
  target.remove_prefix(mark + 1);
  return target.substr(0, target.find('#'));
}

Served refusal(ApiError error) {
  Served served;
  served.error = std::move(error);
  return served;
}

std::string_view content_type_of(std::string_view query) {
  bool is_table =
      query.find("format=csv") != query.npos || query.find("format=focus") != query.npos;
  return is_table ? "text/csv; charset=utf-8" : "application/json";
}

awaitable<BillingReply> ask_one(GatewayState* state, BillingQuestion question) {
  std::vector<BillingQuestion> questions;
  questions.push_back(std::move(question));
  std::vector<BillingReply> replies = co_await ask_billing(state, std::move(questions));
  co_return std::move(replies[0]);
}

}  // namespace

awaitable<Served> serve_usage(GatewayState* state, std::string target, KeyInfo key) {
  std::string query(query_of(target));
  UsageRead question;
  question.account = key.account;
  question.query = query;
  BillingReply reply = co_await ask_one(state, question);
  if (reply.status == BillingReply::Status::kInvalid) {
    ApiError error;
    error.message = reply.message;
    error.code = "invalid_value";
    co_return refusal(error);
  }
  if (reply.status != BillingReply::Status::kOk)
    co_return refusal(overloaded("usage is not available"));
  Served served;
  HttpResponse response;
  response.content_type = content_type_of(query);
  response.body = std::move(reply.receipt);
  served.response = std::move(response);
  co_return served;
}

awaitable<Served> stream_meters(GatewayState* state, std::shared_ptr<Connection> connection,
                                bool is_chunked, KeyInfo key) {
  Transport* transport = &connection->transport;
  std::string head = stream_head_text(connection->request_id, "text/event-stream; charset=utf-8",
                                      is_chunked, is_chunked);
  ++state->metrics.responses[200];
  transport->expire_after_ms(state->options.limits.write_ms);
  bool is_open = co_await write_all(transport, head);
  asio::steady_timer timer(state->io);
  for (i64 i = 0; i < kReadingsMax && is_open && !state->is_draining; ++i) {
    MeterRead question;
    question.account = key.account;
    BillingReply reply = co_await ask_one(state, question);
    if (reply.status != BillingReply::Status::kOk) break;
    std::string event = "data: " + reply.receipt + "\n\n";
    std::string bytes = is_chunked ? chunk_text(event) : event;
    transport->expire_after_ms(state->options.limits.write_ms);
    is_open = co_await write_all(transport, bytes);
    error_code ignored;
    timer.expires_after(kEvery);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  Served served;
  if (is_open && is_chunked) is_open = co_await write_all(transport, std::string(kLastChunk));
  served.keep_alive = is_open && is_chunked;
  co_return served;
}

}  // namespace tg::gateway
