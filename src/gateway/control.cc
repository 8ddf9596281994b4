#include "gateway/control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace tg::gateway {

namespace {

constexpr int kPollMs = 200;
constexpr i64 kTimeoutSeconds = 10;
constexpr i64 kAnswerBytesMax = 64 * 1024 * 1024;

Error os_error(const std::string& action, const std::string& path) {
  return Error{Code::kIo, "cannot " + action + " " + path + ": " + std::strerror(errno)};
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Error{Code::kLimit, "the data directory's path is too long for a socket: " + path};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

void set_timeouts(int fd) {
  timeval limit{kTimeoutSeconds, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// Up to a newline, which is left out; false if none came within the limits.
bool receive_line(int fd, i64 bytes_max, std::string& line) {
  char buffer[4096];
  while (static_cast<i64>(line.size()) < bytes_max) {
    ssize_t n = ::recv(fd, buffer, sizeof(buffer), 0);
    if (n <= 0) return false;
    line.append(buffer, static_cast<std::size_t>(n));
    std::size_t end = line.find('\n');
    if (end == std::string::npos) continue;
    line.resize(end);
    return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path, Books& books) {
  TG_ASSIGN(sockaddr_un address, address_of(path));
  int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return os_error("make a socket at", path);
  // The ledger's lock says that no other server owns this directory, so a socket here is a
  // leftover.
  ::unlink(path.c_str());
  mode_t before = ::umask(0177);
  int bound = ::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  ::umask(before);
  if (bound != 0 || ::listen(listener, 16) != 0) {
    Error error = os_error("listen at", path);
    ::close(listener);
    return error;
  }
  return std::unique_ptr<ControlServer>(new ControlServer(path, listener, books));
}

ControlServer::ControlServer(std::string path, int listener, Books& books)
    : path_(std::move(path)), listener_(listener), books_(books) {
  thread_ = std::thread([this] { run(); });
}

ControlServer::~ControlServer() {
  stopping_ = true;
  thread_.join();
  ::close(listener_);
  ::unlink(path_.c_str());
}

void ControlServer::run() {
  while (!stopping_) {
    pollfd watched{listener_, POLLIN, 0};
    if (::poll(&watched, 1, kPollMs) <= 0) continue;
    int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    serve(connection);
    ::close(connection);
  }
}

void ControlServer::serve(int connection) {
  set_timeouts(connection);
  std::string line;
  if (!receive_line(connection, kBooksLineBytesMax, line)) return;
  if (!send_all(connection, books_.answer(line) + "\n"))
    log_warn("control", "a client did not read its answer");
}

Result<std::string> ask_control(const std::string& path, std::string_view line) {
  TG_ASSIGN(sockaddr_un address, address_of(path));
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return os_error("make a socket for", path);
  set_timeouts(fd);
  std::string answer;
  bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  bool answered = connected && send_all(fd, std::string(line) + "\n") &&
                  receive_line(fd, kAnswerBytesMax, answer);
  ::close(fd);
  if (!connected) return Error{Code::kUnavailable, "no server answers at " + path};
  if (!answered) return Error{Code::kIo, "the server at " + path + " did not answer"};
  return answer;
}

}  // namespace tg::gateway
