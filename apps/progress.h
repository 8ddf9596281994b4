// A progress bar on a terminal; nothing when standard error is a file or a pipe.
#pragma once

#include <string>

#include "base/types.h"

namespace tg::apps {

class Progress {
 public:
  explicit Progress(std::string what);
  // Clears the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(u64 done, u64 total);

 private:
  const std::string what_;
  const bool is_terminal_;
  int percent_shown_ = -1;
};

}  // namespace tg::apps
