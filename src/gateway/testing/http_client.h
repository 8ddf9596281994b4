// A small blocking HTTP client for tests: raw bytes out, parsed responses in, with a time limit on
// every read so that a wrong server fails a test rather than hanging it.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace tg::gateway {

struct Reply {
  i32 status = 0;  // 0: the connection ended before a whole response.
  std::map<std::string, std::string> headers;
  std::string body;  // Dechunked.

  // "" if it is not there.
  std::string header(const std::string& name) const {
    auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }

  // The data of the server-sent events, in order.
  std::vector<std::string> events() const {
    std::vector<std::string> out;
    std::string_view rest = body;
    while (!rest.empty()) {
      std::size_t end = rest.find("\n\n");
      if (end == rest.npos) break;
      if (rest.starts_with("data: ")) out.emplace_back(rest.substr(6, end - 6));
      rest.remove_prefix(end + 2);
    }
    return out;
  }
};

class HttpClient {
 public:
  explicit HttpClient(u16 port, i32 receive_buffer = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool is_connected() const { return is_connected_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // Reads until `text` has been seen in what is unread; false if the connection ended first.
  bool read_until(std::string_view text) {
    while (unread_.find(text) == unread_.npos) {
      if (!fill()) return false;
    }
    return true;
  }
  // Reads until `text` has been seen that often.
  bool read_until_count(std::string_view text, i64 wanted) {
    for (;;) {
      i64 count = 0;
      for (std::size_t at = unread_.find(text); at != unread_.npos;
           at = unread_.find(text, at + 1)) {
        ++count;
      }
      if (count >= wanted) return true;
      if (!fill()) return false;
    }
  }
  const std::string& unread() const { return unread_; }
  void skip_unread() { unread_.clear(); }
  // Nothing more will be sent; what comes can still be read.
  void shut_sending() { ::shutdown(fd_, SHUT_WR); }
  bool is_at_end() { return unread_.empty() && !fill(); }

  Reply read_reply(bool is_head = false) {
    Reply reply;
    if (!read_until("\r\n\r\n")) return reply;
    std::size_t end = unread_.find("\r\n\r\n");
    parse_head(unread_.substr(0, end + 2), reply);
    unread_.erase(0, end + 4);
    if (is_head || reply.status == 204) return reply;
    bool is_whole = reply.headers.contains("transfer-encoding") ? read_chunks(reply)
                    : reply.headers.contains("content-length")  ? read_sized(reply)
                                                                : read_to_end(reply);
    if (!is_whole) reply.status = 0;
    return reply;
  }
  Reply ask(std::string_view bytes, bool is_head = false) {
    send(bytes);
    return read_reply(is_head);
  }

 private:
  bool fill() {
    char buffer[16384];
    ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (n <= 0) return false;
    unread_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }
  static void parse_head(std::string_view head, Reply& reply) {
    reply.status = std::stoi(std::string(head.substr(9, 3)));
    head.remove_prefix(head.find("\r\n") + 2);
    while (!head.empty()) {
      std::size_t end = head.find("\r\n");
      std::string_view line = head.substr(0, end);
      std::size_t colon = line.find(": ");
      reply.headers.emplace(line.substr(0, colon), line.substr(colon + 2));
      head.remove_prefix(end + 2);
    }
  }
  bool read_sized(Reply& reply) {
    std::size_t size = std::stoul(reply.headers["content-length"]);
    while (unread_.size() < size) {
      if (!fill()) return false;
    }
    reply.body = unread_.substr(0, size);
    unread_.erase(0, size);
    return true;
  }
  bool read_to_end(Reply& reply) {
    while (fill()) {
    }
    reply.body = std::move(unread_);
    unread_.clear();
    return true;
  }
  bool read_chunks(Reply& reply) {
    for (;;) {
      if (!read_until("\r\n")) return false;
      std::size_t line = unread_.find("\r\n");
      std::size_t size = std::stoul(unread_.substr(0, line), nullptr, 16);
      while (unread_.size() < line + 2 + size + 2) {
        if (!fill()) return false;
      }
      reply.body += unread_.substr(line + 2, size);
      unread_.erase(0, line + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  i32 fd_ = -1;
  bool is_connected_ = false;
  std::string unread_;
};

}  // namespace tg::gateway
