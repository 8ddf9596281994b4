// How the command line reaches the server that owns a data directory: a Unix socket in it, mode
// 0600, so that whoever may write the directory may ask. One line of command, one line of JSON
// (books.h), then the connection ends.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/result.h"
#include "gateway/books.h"

namespace tg::gateway {

class ControlServer {
 public:
  // Listens on `path`, replacing a socket left by a crash. `books` must outlive the server.
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, Books& books);
  // Ends the thread and removes the socket.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  ControlServer(std::string path, int listener, Books& books);
  void run();
  void serve(int connection);

  const std::string path_;
  const int listener_;
  Books& books_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

// Sends one command and returns the answer; kUnavailable if no server listens there.
Result<std::string> ask_control(const std::string& path, std::string_view line);

}  // namespace tg::gateway
