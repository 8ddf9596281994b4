#include "apps/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

namespace tg::apps {

namespace {
constexpr int kWidth = 30;
}

Progress::Progress(std::string what)
    : what_(std::move(what)), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (is_terminal_ && percent_shown_ >= 0) fmt::print(stderr, "\r\033[K");
}

void Progress::update(u64 done, u64 total) {
  if (!is_terminal_ || total == 0) return;
  int percent = static_cast<int>(static_cast<f64>(done) * 100.0 / static_cast<f64>(total));
  if (percent == percent_shown_) return;
  percent_shown_ = percent;
  std::string bar(static_cast<std::size_t>(percent * kWidth / 100), '#');
  fmt::print(stderr, "\r{} [{:<{}}] {:3}%", what_, bar, kWidth, percent);
}

}  // namespace tg::apps
