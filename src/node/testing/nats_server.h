// A NATS server of a test's own: on loopback, in a scratch folder, killed and started again at
// will.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "node/testing/sockets.h"

namespace tg::node {

class NatsServer {
 public:
  // False if it is not installed.
  static bool is_installed() {
    for (const char* path : {"/usr/sbin/nats-server", "/usr/bin/nats-server"}) {
      if (std::filesystem::exists(path)) return true;
    }
    return false;
  }
  NatsServer() {
    int fd = listen_on_loopback(port_);
    ::close(fd);
    folder_ = std::filesystem::temp_directory_path() /
              ("tokengrid-nats-" + std::to_string(::getpid()) + "-" + std::to_string(port_));
    std::filesystem::create_directories(folder_);
    start();
  }
  ~NatsServer() {
    kill();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    process_ = ::fork();
    if (process_ == 0) {
      std::string port = std::to_string(port_);
      std::string folder = folder_.string();
      int quiet = ::open("/dev/null", 1);
      ::dup2(quiet, 1);
      ::dup2(quiet, 2);
      // Debian puts it where only root's path looks.
      for (const char* path : {"/usr/sbin/nats-server", "/usr/bin/nats-server"}) {
        ::execl(path, "nats-server", "-a", "127.0.0.1", "-p", port.c_str(), "-js", "-sd",
                folder.c_str(), static_cast<char*>(nullptr));
      }
      ::_exit(127);
    }
    for (int i = 0; i < 500; ++i) {
      int fd = connect_to_loopback(port_);
      if (fd >= 0) {
        ::close(fd);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  void kill() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

 private:
  u16 port_ = 0;
  std::filesystem::path folder_;
  pid_t process_ = 0;
};

}  // namespace tg::node
