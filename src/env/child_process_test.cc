#include "env/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <thread>

namespace tg {
namespace {

bool wait_until(const std::function<bool()>& condition) {
  for (int i = 0; i < 1'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::unique_ptr<ChildProcess> shell(const std::string& script) {
  return ChildProcess::start({"sh", "-c", script}).value();
}

TEST(ChildProcess, LinesAndTheEnd) {
  std::unique_ptr<ChildProcess> child = shell("echo one; printf 'two\\nthr'; echo ee; exit 3");
  std::vector<std::string> lines;
  ASSERT_TRUE(wait_until([&] {
    for (std::string& line : child->read_lines()) lines.push_back(std::move(line));
    return lines.size() == 3;
  }));
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
  ASSERT_TRUE(wait_until([&] { return child->ended().has_value(); }));
  EXPECT_EQ(*child->ended(), "exit 3");
  // Its id may be another's by now.
  child->signal(SIGKILL);
}

TEST(ChildProcess, ALineWithoutEndTakesNoMoreThanItMay) {
  std::unique_ptr<ChildProcess> child = shell("yes x | head -c 100000 | tr -d '\\n'");
  std::size_t bytes = 0;
  wait_until([&] {
    for (const std::string& line : child->read_lines()) {
      EXPECT_LE(line.size(), 2 * ChildProcess::kLineBytesMax);
      bytes += line.size();
    }
    return child->ended().has_value();
  });
  EXPECT_GT(bytes, 40'000u);
}

TEST(ChildProcess, SignalsReachWhatItStarted) {
  std::unique_ptr<ChildProcess> child = shell("sleep 100 & echo $!; wait");
  std::vector<std::string> lines;
  ASSERT_TRUE(wait_until([&] { return !(lines = child->read_lines()).empty(); }));
  pid_t grandchild = std::stoi(lines[0]);
  child->signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return child->ended().has_value(); }));
  EXPECT_EQ(*child->ended(), "signal 15");
  EXPECT_TRUE(wait_until([&] { return ::kill(grandchild, 0) != 0; }));
}

TEST(ChildProcess, IsKilledWithItsOwner) {
  pid_t id = 0;
  {
    std::unique_ptr<ChildProcess> child = shell("trap '' TERM; sleep 100");
    id = static_cast<pid_t>(child->id());
    EXPECT_EQ(::kill(id, 0), 0);
  }
  EXPECT_NE(::kill(id, 0), 0);
}

TEST(ChildProcess, SaysWhatCannotBeStarted) {
  Result<std::unique_ptr<ChildProcess>> none = ChildProcess::start({"/no/such/program"});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("/no/such/program"), std::string::npos);
}

TEST(ChildProcess, DoesNotInheritWhatWeBlock) {
  sigset_t all;
  sigset_t before;
  sigemptyset(&all);
  sigaddset(&all, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  std::unique_ptr<ChildProcess> child = shell("sleep 100");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  child->signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return child->ended().has_value(); }));
  EXPECT_EQ(*child->ended(), "signal 15");
}

}  // namespace
}  // namespace tg
