#include "env/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/assert.h"

extern char** environ;

namespace tg {

namespace {

struct Pipe {
  int read = -1;
  int write = -1;
  ~Pipe() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
};

Error failed(const std::string& what, int number) {
  return Error{Code::kIo, what + ": " + std::strerror(number)};
}

Status open_pipe(Pipe& pipe) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed("pipe", errno);
  pipe.read = ends[0];
  pipe.write = ends[1];
  return {};
}

// What a new program starts with: nothing blocked or ignored that we block or ignore.
struct Attributes {
  posix_spawnattr_t value;
  Attributes() {
    posix_spawnattr_init(&value);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&value, &none);
    sigset_t usual;
    sigemptyset(&usual);
    for (int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP}) sigaddset(&usual, number);
    posix_spawnattr_setsigdefault(&value, &usual);
    posix_spawnattr_setpgroup(&value, 0);
    posix_spawnattr_setflags(
        &value,
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  }
  ~Attributes() { posix_spawnattr_destroy(&value); }
};

struct FileActions {
  posix_spawn_file_actions_t value;
  FileActions() { posix_spawn_file_actions_init(&value); }
  ~FileActions() { posix_spawn_file_actions_destroy(&value); }
};

std::string text_of(int status) {
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(const std::vector<std::string>& argv) {
  TG_ASSERT(!argv.empty());
  Pipe input;
  Pipe output;
  TG_TRY(open_pipe(input));
  TG_TRY(open_pipe(output));
  FileActions files;
  posix_spawn_file_actions_adddup2(&files.value, input.read, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files.value, output.write, STDOUT_FILENO);
  Attributes attributes;
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t id = 0;
  int error = ::posix_spawnp(&id, argv[0].c_str(), &files.value, &attributes.value,
                             arguments.data(), environ);
  if (error != 0) return failed("cannot start " + argv[0], error);
  ::fcntl(output.read, F_SETFL, O_NONBLOCK);
  std::unique_ptr<ChildProcess> child(new ChildProcess(id, input.write, output.read));
  input.write = -1;
  output.read = -1;
  return child;
}

ChildProcess::~ChildProcess() {
  if (!ended()) {
    signal(SIGKILL);
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  ::close(input_);
  ::close(output_);
}

std::vector<std::string> ChildProcess::read_lines() {
  std::vector<std::string> lines;
  std::array<char, kLineBytesMax> piece{};
  ssize_t got = 0;
  while ((got = ::read(output_, piece.data(), piece.size())) > 0) {
    unread_.append(piece.data(), static_cast<std::size_t>(got));
    std::size_t end = 0;
    while ((end = unread_.find('\n')) != std::string::npos) {
      lines.push_back(unread_.substr(0, end));
      unread_.erase(0, end + 1);
    }
    if (unread_.size() >= kLineBytesMax) lines.push_back(std::exchange(unread_, {}));
  }
  return lines;
}

std::optional<std::string> ChildProcess::ended() {
  if (end_) return end_;
  siginfo_t info{};
  bool has_ended =
      ::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
      info.si_pid == id_;
  if (!has_ended) return std::nullopt;
  // What it left behind in its group goes too; the group's number is nobody else's until we reap.
  ::kill(-id_, SIGKILL);
  int status = 0;
  ::waitpid(id_, &status, 0);
  end_ = text_of(status);
  return end_;
}

void ChildProcess::signal(int number) {
  if (!end_) ::kill(-id_, number);
}

Result<std::string> own_program() {
  std::error_code error;
  std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Error{Code::kIo, "/proc/self/exe: " + error.message()};
  return path.string();
}

}  // namespace tg
