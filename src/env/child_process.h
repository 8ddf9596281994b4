// A program started as a child: its standard output is read here, its standard input stays open for
// as long as we live, so that one that waits for its end notices ours, however we end. It is in a
// process group of its own: what it starts is ended with it, and a terminal's Ctrl-C is ours alone.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg {

class ChildProcess {
 public:
  // argv[0] is the program's path, or a name that PATH leads to. Standard error is ours. An error
  // if it cannot be started at all.
  static Result<std::unique_ptr<ChildProcess>> start(const std::vector<std::string>& argv);
  // Kills it if it runs, and waits for that.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  i64 id() const { return id_; }
  // The lines it has written since the last call; a longer one than kLineBytesMax comes in pieces.
  // Does not wait.
  std::vector<std::string> read_lines();
  // How it ended, once it has: "exit 1", "signal 9". Does not wait.
  std::optional<std::string> ended();
  // To it and what it started; nothing if it has ended.
  void signal(int number);

  static constexpr std::size_t kLineBytesMax = 4'096;

 private:
  ChildProcess(pid_t id, int input, int output) : id_(id), input_(input), output_(output) {}

  const pid_t id_;
  const int input_;   // ours to hold
  const int output_;  // ours to read
  std::string unread_;
  std::optional<std::string> end_;
};

// The path of the program that runs now.
Result<std::string> own_program();

}  // namespace tg
