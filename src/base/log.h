// Structured one-line logging over spdlog: `log_info("engine", "loaded {} in {} ms", path, ms)`.
// An error is logged or returned, never both; secrets and prompts are never logged.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace tg {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// Lines go to standard error; the level is process-wide and set once by the command line.
void set_log_level(LogLevel level);
void log_line(LogLevel level, std::string_view area, std::string_view text);

template <typename... Args>
void log_info(std::string_view area, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kInfo, area, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warn(std::string_view area, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kWarn, area, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(std::string_view area, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kError, area, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tg
