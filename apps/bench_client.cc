#include "apps/bench_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>

#include "base/json_out.h"
#include "env/clock.h"

namespace tg::apps {

namespace {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using Failure = boost::system::error_code;

Error failed(const char* what, const Failure& failure) {
  return Error{Code::kIo, fmt::format("{}: {}", what, failure.message())};
}

struct Connection {
  boost::asio::io_context context;
  tcp::socket socket{context};
  boost::beast::flat_buffer buffer;

  Status open(const Target& target) {
    Failure failure;
    tcp::resolver resolver(context);
    tcp::resolver::results_type found =
        resolver.resolve(target.host, std::to_string(target.port), failure);
    if (!failure) boost::asio::connect(socket, found, failure);
    if (failure) return failed("connect", failure);
    socket.set_option(tcp::no_delay(true), failure);
    return {};
  }
};

http::request<http::string_body> request_of(const Target& target, http::verb verb,
                                            const std::string& path, std::string body) {
  http::request<http::string_body> request(verb, path, 11);
  request.set(http::field::host, target.host);
  request.set(http::field::connection, "close");
  if (!target.key.empty()) request.set(http::field::authorization, "Bearer " + target.key);
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = std::move(body);
  request.prepare_payload();
  return request;
}

std::string completion_body(const Target& target, const std::string& prompt, i64 max_tokens) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("model").string(target.model).key("prompt").string(prompt);
  json.key("max_tokens").number(max_tokens).key("temperature").number(0);
  json.key("stream").boolean(true).key("stream_options").begin_object();
  json.key("include_usage").boolean(true).end_object().end_object();
  return out;
}

// Takes one "data:" line of the stream.
void take_event(std::string_view data, i64 now_ns, StreamTimes& out) {
  nlohmann::json event = nlohmann::json::parse(data, nullptr, false);
  if (!event.is_object()) return;  // [DONE]
  nlohmann::json choices = event.value("choices", nlohmann::json::array());
  bool has_text = choices.is_array() && !choices.empty() && choices[0].contains("text") &&
                  choices[0]["text"].is_string() && !choices[0]["text"].get<std::string>().empty();
  if (has_text) out.event_ns.push_back(now_ns);
  if (!event.contains("usage") || !event["usage"].is_object()) return;
  const nlohmann::json& usage = event["usage"];
  out.prompt_tokens = usage.value("prompt_tokens", i64{0});
  out.output_tokens = usage.value("completion_tokens", i64{0});
  if (usage.contains("prompt_tokens_details") && usage["prompt_tokens_details"].is_object())
    out.cached_tokens = usage["prompt_tokens_details"].value("cached_tokens", i64{0});
}

// Reads the body piece by piece and its lines as they complete.
Status read_events(Connection& c, http::response_parser<http::buffer_body>& parser,
                   StreamTimes& out) {
  SystemClock clock;
  std::string pending;
  char piece[16'384];
  while (!parser.is_done()) {
    parser.get().body().data = piece;
    parser.get().body().size = sizeof(piece);
    Failure failure;
    http::read_some(c.socket, c.buffer, parser, failure);
    if (failure && failure != http::error::need_buffer) return failed("read", failure);
    i64 now_ns = clock.monotonic_ns();
    pending.append(piece, sizeof(piece) - parser.get().body().size);
    std::size_t end = 0;
    for (std::size_t at = 0; (end = pending.find('\n', at)) != std::string::npos; at = end + 1) {
      std::string_view line = std::string_view(pending).substr(at, end - at);
      if (line.starts_with("data:")) take_event(line.substr(5), now_ns, out);
    }
    end = pending.rfind('\n');
    if (end != std::string::npos) pending.erase(0, end + 1);
  }
  if (parser.get().result_int() == 200) return {};
  return Error{Code::kIo,
               fmt::format("the server says {}: {}", parser.get().result_int(), pending)};
}

}  // namespace

i64 StreamTimes::worst_gap_ns() const {
  i64 worst = 0;
  for (std::size_t i = 1; i < event_ns.size(); ++i)
    worst = std::max(worst, event_ns[i] - event_ns[i - 1]);
  return worst;
}

Result<Target> parse_url(const std::string& url) {
  std::string rest = url.starts_with("http://") ? url.substr(7) : url;
  if (rest.ends_with('/')) rest.pop_back();
  std::size_t colon = rest.rfind(':');
  int port = 0;
  bool is_number = colon != std::string::npos && colon + 1 < rest.size() &&
                   std::all_of(rest.begin() + static_cast<i64>(colon) + 1, rest.end(),
                               [](char c) { return c >= '0' && c <= '9'; });
  if (is_number && rest.size() - colon <= 6) port = std::stoi(rest.substr(colon + 1));
  if (port < 1 || port > 65'535)
    return Error{Code::kInvalid, "'" + url + "' is not http://HOST:PORT"};
  return Target{.host = rest.substr(0, colon), .port = static_cast<u16>(port)};
}

Result<StreamTimes> stream_completion(const Target& target, const std::string& prompt,
                                      i64 max_tokens) {
  SystemClock clock;
  StreamTimes out{.start_ns = clock.monotonic_ns()};
  Connection c;
  TG_TRY(c.open(target));
  Failure failure;
  http::write(c.socket,
              request_of(target, http::verb::post, "/v1/completions",
                         completion_body(target, prompt, max_tokens)),
              failure);
  if (failure) return failed("write", failure);
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  http::read_header(c.socket, c.buffer, parser, failure);
  if (failure) return failed("read", failure);
  TG_TRY(read_events(c, parser, out));
  return out;
}

Result<std::string> first_model(const Target& target) {
  Connection c;
  TG_TRY(c.open(target));
  Failure failure;
  http::write(c.socket, request_of(target, http::verb::get, "/v1/models", ""), failure);
  http::response<http::string_body> response;
  if (!failure) http::read(c.socket, c.buffer, response, failure);
  if (failure) return failed("list models", failure);
  nlohmann::json list = nlohmann::json::parse(response.body(), nullptr, false);
  if (!list.is_object() || !list.contains("data") || !list["data"].is_array() ||
      list["data"].empty() || !list["data"][0].contains("id"))
    return Error{Code::kIo, "the server lists no model: " + response.body()};
  return list["data"][0]["id"].get<std::string>();
}

}  // namespace tg::apps
