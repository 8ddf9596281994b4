// What processes have used, from /proc.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace tg::bench {

struct ProcessUse {
  i64 cpu_us = 0;   // of all threads, user and system
  i64 rss_kib = 0;  // resident now
};

// Of all of them together; one that has ended adds nothing.
ProcessUse use_of(const std::vector<i64>& pids);

}  // namespace tg::bench
