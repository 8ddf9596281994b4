#include "env/clock.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace tg {

std::string to_rfc3339(Timestamp t) {
  constexpr i64 kSecond = 1'000'000'000;
  i64 seconds = t.ns / kSecond;
  i64 milliseconds = t.ns % kSecond / 1'000'000;
  std::time_t when = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&when, &parts);
  return fmt::format(FMT_COMPILE("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z"),
                     parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                     parts.tm_min, parts.tm_sec, milliseconds);
}

Timestamp SystemClock::now() {
  auto since = std::chrono::system_clock::now().time_since_epoch();
  return Timestamp{std::chrono::duration_cast<std::chrono::nanoseconds>(since).count()};
}

i64 SystemClock::monotonic_ns() {
  auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace tg
