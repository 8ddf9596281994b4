// The upstream of the gateway benchmark: one thread, no work of its own. It speaks OpenAI's chat
// completions (whole and streamed) and vLLM's completions with token ids, as Tokengrid asks its
// suppliers. A reply's tokens are those of the middle of the prompt, over and over. Unpaced, a
// reply leaves in one write; paced, a token every --chunk-ms.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "bench/gateway/asio.h"

namespace tg::bench {
namespace {

constexpr i64 kBodyBytesMax = 8 << 20;
constexpr i64 kTokensDefault = 16;

struct Options {
  i64 port = 0;
  i64 chunk_ms = 0;       // 0: the whole reply at once
  i64 content_bytes = 0;  // of a whole chat reply
  std::string model = "mock";
};

// The number behind `"name":`; `otherwise` if there is none.
i64 number_of(std::string_view body, std::string_view name, i64 otherwise) {
  std::size_t at = body.find(fmt::format("\"{}\":", name));
  if (at == body.npos) return otherwise;
  at = body.find_first_of("0123456789", at + name.size() + 3);
  if (at == body.npos) return otherwise;
  i64 value = otherwise;
  std::from_chars(body.data() + at, body.data() + body.size(), value);
  return value;
}

bool asks_for_stream(std::string_view body) {
  return body.find("\"stream\":true") != body.npos || body.find("\"stream\": true") != body.npos;
}

// The ids of the prompt's middle half, as text; empty if the prompt has none.
std::vector<std::string_view> middle_ids(std::string_view body) {
  std::vector<std::string_view> ids;
  std::size_t at = body.find("\"prompt\":[");
  if (at == body.npos) return ids;
  std::size_t end = body.find(']', at);
  if (end == body.npos) return ids;
  for (at = body.find('[', at) + 1; at < end;) {
    std::size_t comma = std::min(body.find(',', at), end);
    ids.push_back(body.substr(at, comma - at));
    at = comma + 1;
  }
  std::size_t quarter = ids.size() / 4;
  return {ids.begin() + static_cast<std::ptrdiff_t>(quarter),
          ids.end() - static_cast<std::ptrdiff_t>(quarter)};
}

std::string whole(std::string_view type, std::string_view body) {
  return fmt::format("HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{}", type,
                     body.size(), body);
}

constexpr std::string_view kStreamHead =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    "transfer-encoding: chunked\r\n\r\n";

void append_chunk(std::string& out, std::string_view bytes) {
  fmt::format_to(std::back_inserter(out), "{:x}\r\n{}\r\n", bytes.size(), bytes);
}

// What is left to say of one streamed reply.
struct Stream {
  bool is_chat = false;
  i64 tokens = 0;
  i64 sent = 0;
  std::vector<std::string> ids;  // of a completion
  std::string model;
};

void append_event(std::string& out, const Stream& stream) {
  bool is_last = stream.sent + 1 == stream.tokens;
  std::string_view reason = is_last ? "\"length\"" : "null";
  std::string event;
  if (stream.is_chat) {
    event = fmt::format(
        "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\","
        "\"created\":1764500000,\"model\":\"{}\",\"choices\":[{{\"index\":0,\"delta\":{{"
        "\"content\":\" word\"}},\"logprobs\":null,\"finish_reason\":{}}}]}}\n\n",
        stream.model, reason);
  } else {
    std::string id =
        stream.ids.empty()
            ? "null"
            : "[" + stream.ids[static_cast<u64>(stream.sent) % stream.ids.size()] + "]";
    event = fmt::format(
        "data: {{\"id\":\"cmpl-0123456789abcdef\",\"object\":\"text_completion\","
        "\"created\":1764500000,\"model\":\"{}\",\"choices\":[{{\"index\":0,\"text\":\" word\","
        "\"logprobs\":null,\"finish_reason\":{},\"stop_reason\":null,\"token_ids\":{}}}],"
        "\"usage\":null}}\n\n",
        stream.model, reason, id);
  }
  append_chunk(out, event);
}

void append_end(std::string& out) {
  append_chunk(out, "data: [DONE]\n\n");
  out += "0\r\n\r\n";
}

// All of a completion's tokens in one event.
std::string completion_at_once(const Stream& stream) {
  std::string ids;
  std::string text;
  for (i64 i = 0; i < stream.tokens; ++i) {
    if (!stream.ids.empty()) {
      if (i > 0) ids += ',';
      ids += stream.ids[static_cast<u64>(i) % stream.ids.size()];
    }
    text += " word";
  }
  std::string event = fmt::format(
      "data: {{\"id\":\"cmpl-0123456789abcdef\",\"object\":\"text_completion\",\"created\":"
      "1764500000,\"model\":\"{}\",\"choices\":[{{\"index\":0,\"text\":\"{}\",\"logprobs\":null,"
      "\"finish_reason\":\"length\",\"stop_reason\":null,\"token_ids\":[{}]}}],\"usage\":null}}"
      "\n\n",
      stream.model, text, ids);
  std::string out(kStreamHead);
  append_chunk(out, event);
  append_end(out);
  return out;
}

std::string chat_at_once(const Stream& stream, i64 content_bytes) {
  std::string content;
  while (static_cast<i64>(content.size()) < content_bytes) content += " word";
  std::string body = fmt::format(
      "{{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":"
      "1764500000,"
      "\"model\":\"{}\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\","
      "\"content\":"
      "\"{}\",\"refusal\":null}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{"
      "\"prompt_tokens\":120,\"completion_tokens\":{},\"total_tokens\":320}}}}",
      stream.model, content, stream.tokens);
  return whole("application/json", body);
}

class Session;

// Streams by the millisecond of the interval at which their chunks are due.
class Pacer {
 public:
  Pacer(asio::io_context& io, i64 interval_ms)
      : timer_(io), slots_(static_cast<std::size_t>(std::max<i64>(1, interval_ms))) {}
  void start() {
    due_ = std::chrono::steady_clock::now();
    wait();
  }
  // The next chunk leaves one interval from now.
  void add(std::shared_ptr<Session> session) { slots_[slot_].push_back(std::move(session)); }

 private:
  void wait();
  void tick();

  asio::steady_timer timer_;
  std::chrono::steady_clock::time_point due_;
  std::vector<std::vector<std::shared_ptr<Session>>> slots_;
  std::size_t slot_ = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const Options& options, Pacer& pacer)
      : socket_(std::move(socket)), options_(options), pacer_(pacer) {}

  void read() {
    if (!parser_) expect_request();
    socket_.async_read_some(asio::buffer(bytes_),
                            [self = shared_from_this()](error_code error, std::size_t count) {
                              self->on_read(error, count);
                            });
  }

  // Sends one more token; false if that was the last, or the client has left.
  bool send_next() {
    if (is_closed_) return false;
    std::string out;
    append_event(out, stream_);
    ++stream_.sent;
    bool is_over = stream_.sent >= stream_.tokens;
    if (is_over) append_end(out);
    send(out);
    return !is_over;
  }

 private:
  void expect_request() {
    parser_ = std::make_unique<http::request_parser<http::string_body>>();
    parser_->eager(true);
    parser_->body_limit(kBodyBytesMax);
  }

  void on_read(error_code error, std::size_t count) {
    if (error) {
      is_closed_ = true;
      return;
    }
    input_.append(bytes_.data(), count);
    while (!input_.empty()) {
      error_code failed;
      std::size_t used = parser_->put(asio::buffer(input_), failed);
      input_.erase(0, used);
      if (parser_->is_done()) {
        answer(parser_->get());
        expect_request();
        continue;
      }
      if (failed && failed != http::error::need_more) {
        is_closed_ = true;
        error_code ignored;
        socket_.close(ignored);
        return;
      }
      if (used == 0) break;
    }
    read();
  }

  void answer(const http::request<http::string_body>& request) {
    std::string_view target(request.target().data(), request.target().size());
    if (target.ends_with("/completions")) return complete(target, request.body());
    if (target == "/version") return send(whole("application/json", "{\"version\":\"0.11.0\"}"));
    if (target == "/metrics") return send(whole("text/plain", metrics()));
    send(whole("application/json",
               fmt::format("{{\"object\":\"list\",\"data\":[{{\"id\":\"{}\",\"object\":\"model\","
                           "\"owned_by\":\"mock\",\"max_model_len\":8192}}]}}",
                           options_.model)));
  }

  void complete(std::string_view target, const std::string& body) {
    stream_ = Stream{.is_chat = target.find("/chat/") != target.npos,
                     .tokens = number_of(body, "max_tokens", kTokensDefault),
                     .sent = 0,
                     .ids = {},
                     .model = options_.model};
    for (std::string_view id : middle_ids(body)) stream_.ids.emplace_back(id);
    bool is_stream = asks_for_stream(body);
    if (stream_.is_chat && !is_stream) return send(chat_at_once(stream_, options_.content_bytes));
    if (options_.chunk_ms == 0 && !stream_.is_chat) return send(completion_at_once(stream_));
    send(std::string(kStreamHead));
    bool goes_on = send_next();
    while (goes_on && options_.chunk_ms == 0) goes_on = send_next();
    if (goes_on) pacer_.add(shared_from_this());
  }

  static std::string metrics() {
    return "vllm:num_requests_running{engine=\"0\"} 0.0\nvllm:num_requests_waiting{engine=\"0\"} "
           "0.0\nvllm:kv_cache_usage_perc 0.0\n";
  }

  // At once as far as the socket takes it; the rest when it takes more.
  void send(const std::string& text) {
    std::size_t written = 0;
    if (writing_.empty()) {
      error_code error;
      written = socket_.write_some(asio::buffer(text), error);
      if (error) written = 0;
    }
    unsent_.append(text, written);
    if (writing_.empty() && !unsent_.empty()) write();
  }

  void write() {
    writing_.swap(unsent_);
    asio::async_write(socket_, asio::buffer(writing_),
                      [self = shared_from_this()](error_code error, std::size_t) {
                        self->writing_.clear();
                        self->is_closed_ = self->is_closed_ || error;
                        if (!self->is_closed_ && !self->unsent_.empty()) self->write();
                      });
  }

  tcp::socket socket_;
  const Options& options_;
  Pacer& pacer_;
  std::unique_ptr<http::request_parser<http::string_body>> parser_;
  std::array<char, 16'384> bytes_ = {};
  std::string input_;
  std::string unsent_;
  std::string writing_;  // non-empty while a write is under way
  Stream stream_;
  bool is_closed_ = false;
};

void Pacer::wait() {
  due_ += std::chrono::milliseconds(1);
  timer_.expires_at(due_);
  timer_.async_wait([this](error_code error) {
    if (!error) tick();
  });
}

void Pacer::tick() {
  slot_ = (slot_ + 1) % slots_.size();
  std::vector<std::shared_ptr<Session>> due;
  due.swap(slots_[slot_]);
  for (std::shared_ptr<Session>& session : due) {
    if (session->send_next()) slots_[slot_].push_back(std::move(session));
  }
  wait();
}

class Acceptor {
 public:
  Acceptor(asio::io_context& io, const Options& options)
      : options_(options),
        pacer_(io, options.chunk_ms),
        acceptor_(io, {asio::ip::make_address("127.0.0.1"), static_cast<u16>(options.port)}) {
    acceptor_.listen(4096);
    if (options.chunk_ms > 0) pacer_.start();
    std::printf("listening on http://127.0.0.1:%d\n", acceptor_.local_endpoint().port());
    std::fflush(stdout);
    accept();
  }

 private:
  void accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (!error) {
        error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        socket.non_blocking(true, ignored);
        std::make_shared<Session>(std::move(socket), options_, pacer_)->read();
      }
      accept();
    });
  }

  const Options& options_;
  Pacer pacer_;
  tcp::acceptor acceptor_;
};

}  // namespace
}  // namespace tg::bench

int main(int argc, char** argv) {
  tg::bench::Options options;
  CLI::App app("Mock upstream of the gateway benchmark");
  app.add_option("--port", options.port);
  app.add_option("--chunk-ms", options.chunk_ms, "between the tokens of a stream; 0: all at once");
  app.add_option("--content-bytes", options.content_bytes, "text of a whole chat reply");
  app.add_option("--model", options.model);
  CLI11_PARSE(app, argc, argv);
  tg::bench::asio::io_context io(1);
  tg::bench::Acceptor acceptor(io, options);
  io.run();
  return 0;
}
