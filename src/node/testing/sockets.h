// Plain blocking sockets for tests: a TCP proxy whose connections can be cut, and an HTTP server
// whose answers are written down.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "base/types.h"

namespace tg::node {

inline int listen_on_loopback(u16& port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return -1;
  ::listen(fd, 64);
  socklen_t size = sizeof(address);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  port = ntohs(address.sin_port);
  return fd;
}

inline int connect_to_loopback(u16 port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

inline bool wait_readable(int fd, int ms) {
  pollfd watched{fd, POLLIN, 0};
  return ::poll(&watched, 1, ms) > 0;
}

class CuttableProxy {
 public:
  explicit CuttableProxy(u16 to) : to_(to), listener_(listen_on_loopback(port_)) {
    thread_ = std::thread([this] { accept(); });
  }
  ~CuttableProxy() {
    is_stopping_ = true;
    cut();
    thread_.join();
    for (std::thread& pump : pumps_) pump.join();
    ::close(listener_);
  }
  u16 port() const { return port_; }
  void set_target(u16 to) { to_ = to; }
  // All connections break; new ones are accepted.
  void cut() { ++cuts_; }
  void refuse(bool is_refusing) { is_refusing_ = is_refusing; }

 private:
  void accept() {
    while (!is_stopping_) {
      if (!wait_readable(listener_, 10)) continue;
      int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      int server = is_refusing_ ? -1 : connect_to_loopback(to_);
      if (server < 0) {
        ::close(client);
        continue;
      }
      pumps_.emplace_back(
          [this, client, server, born = cuts_.load()] { pump(client, server, born); });
    }
  }
  void pump(int client, int server, i64 born) {
    char bytes[16'384];
    while (cuts_ == born && !is_stopping_) {
      pollfd watched[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (::poll(watched, 2, 5) <= 0) continue;
      bool is_open = true;
      for (int i = 0; i < 2 && is_open; ++i) {
        if (watched[i].revents == 0) continue;
        ssize_t count = ::recv(watched[i].fd, bytes, sizeof(bytes), 0);
        is_open = count > 0 && ::send(watched[1 - i].fd, bytes, static_cast<std::size_t>(count),
                                      MSG_NOSIGNAL) == count;
      }
      if (!is_open) break;
    }
    ::close(client);
    ::close(server);
  }

  std::atomic<u16> to_;
  u16 port_ = 0;
  int listener_;
  std::atomic<i64> cuts_ = 0;
  std::atomic<bool> is_refusing_ = false;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
  std::list<std::thread> pumps_;
};

// Answers each whole request with the bytes that `answer` makes of its head and body, then closes.
// `answer` runs on a thread of the connection. A connection that ends early is no request: a probe
// cut off as a test ends must not reach an answer whose test is over.
class WrittenServer {
 public:
  using Answer = std::function<std::string(const std::string& request)>;
  explicit WrittenServer(Answer answer)
      : answer_(std::move(answer)), listener_(listen_on_loopback(port_)) {
    thread_ = std::thread([this] { accept(); });
  }
  ~WrittenServer() {
    is_stopping_ = true;
    thread_.join();
    for (std::thread& one : serving_) one.join();
    ::close(listener_);
  }
  u16 port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // Pause between pieces of an answer, which are told apart by this byte.
  static constexpr char kPause = '\x01';

 private:
  void accept() {
    while (!is_stopping_) {
      if (!wait_readable(listener_, 10)) continue;
      int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      serving_.emplace_back([this, client] { serve(client); });
    }
  }
  void serve(int client) {
    std::string request;
    while (!is_whole(request) && !is_stopping_) {
      if (!wait_readable(client, 10)) continue;
      char bytes[16'384];
      ssize_t count = ::recv(client, bytes, sizeof(bytes), 0);
      if (count <= 0) break;
      request.append(bytes, static_cast<std::size_t>(count));
    }
    std::string answer = is_whole(request) ? answer_(request) : "";
    std::size_t at = 0;
    while (at < answer.size() && !is_stopping_) {
      std::size_t end = answer.find(kPause, at);
      if (end == answer.npos) end = answer.size();
      if (::send(client, answer.data() + at, end - at, MSG_NOSIGNAL) < 0) break;
      at = end + 1;
      if (end < answer.size()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ::close(client);
  }
  static bool is_whole(const std::string& request) {
    std::size_t head = request.find("\r\n\r\n");
    if (head == request.npos) return false;
    std::size_t length = request.find("content-length: ");
    if (length == request.npos || length > head) return true;
    return request.size() >= head + 4 + std::stoul(request.substr(length + 16));
  }

  Answer answer_;
  u16 port_ = 0;
  int listener_;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
  std::list<std::thread> serving_;
};

}  // namespace tg::node
