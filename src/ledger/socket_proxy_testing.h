// A unix socket in front of a server's, which a test can cut: the network between two machines.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tg::ledger {

class SocketProxy {
 public:
  explicit SocketProxy(std::string target) : target_(std::move(target)) {
    folder_ = testing::TempDir() + "tg_proxy_XXXXXX";
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = named(folder_ + "/.s.PGSQL.5432");
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~SocketProxy() {
    is_over_ = true;
    acceptor_.join();
    ::close(listener_);
    for (std::thread& pump : pumps_) pump.join();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  SocketProxy(const SocketProxy&) = delete;
  SocketProxy& operator=(const SocketProxy&) = delete;

  const std::string& folder() const { return folder_; }
  // Ends every connection in the middle of what it carries, and refuses new ones until join().
  void part() { is_parted_ = true; }
  void join() { is_parted_ = false; }
  // Connections stay, and are made, but carry nothing until speak(): a server that stands still.
  void hush() { is_hushed_ = true; }
  void speak() { is_hushed_ = false; }
  int parted_connections() const { return parted_; }

 private:
  static sockaddr_un named(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    return address;
  }
  static bool is_readable(int fd) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, 5) > 0;
  }
  void accept_all() {
    while (!is_over_) {
      if (!is_readable(listener_)) continue;
      int client = ::accept(listener_, nullptr, nullptr);
      if (is_parted_) {
        ::close(client);
        continue;
      }
      int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address = named(target_);
      EXPECT_EQ(::connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
      pumps_.emplace_back([this, client, server] { pump(client, server); });
    }
  }
  // Both ways until one side ends or the network parts.
  void pump(int client, int server) {
    bool is_open = true;
    while (is_open && !is_over_ && !is_parted_) {
      if (is_hushed_) {
        ::usleep(1'000);
        continue;
      }
      pollfd ready[2] = {{.fd = client, .events = POLLIN, .revents = 0},
                         {.fd = server, .events = POLLIN, .revents = 0}};
      if (::poll(ready, 2, 5) <= 0) continue;
      if (ready[0].revents != 0) is_open = carry(client, server);
      if (is_open && ready[1].revents != 0) is_open = carry(server, client);
    }
    if (is_open && is_parted_) ++parted_;
    ::close(client);
    ::close(server);
  }
  static bool carry(int from, int to) {
    char bytes[16384];
    ssize_t count = ::read(from, bytes, sizeof(bytes));
    if (count <= 0) return false;
    return ::send(to, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL) == count;
  }

  std::string target_;
  std::string folder_;
  int listener_ = -1;
  std::atomic<bool> is_over_{false};
  std::atomic<bool> is_parted_{false};
  std::atomic<bool> is_hushed_{false};
  std::atomic<int> parted_{0};
  std::thread acceptor_;
  std::vector<std::thread> pumps_;
};

}  // namespace tg::ledger
