#include "bench/gateway/process_use.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace tg::bench {
namespace {

// The scheduler's own count, in nanoseconds: ticks of 10 ms would be coarse for short windows.
i64 cpu_ns_of_threads(i64 pid) {
  i64 sum = 0;
  std::error_code error;
  std::filesystem::directory_iterator tasks("/proc/" + std::to_string(pid) + "/task", error);
  if (error) return 0;
  for (const std::filesystem::directory_entry& task : tasks) {
    std::ifstream file(task.path() / "schedstat");
    i64 ns = 0;
    if (file >> ns) sum += ns;
  }
  return sum;
}

i64 rss_pages(i64 pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  i64 total = 0;
  i64 resident = 0;
  file >> total >> resident;
  return resident;
}

}  // namespace

ProcessUse use_of(const std::vector<i64>& pids) {
  ProcessUse use;
  for (i64 pid : pids) {
    use.cpu_us += cpu_ns_of_threads(pid) / 1'000;
    use.rss_kib += rss_pages(pid) * (::sysconf(_SC_PAGESIZE) / 1'024);
  }
  return use;
}

}  // namespace tg::bench
