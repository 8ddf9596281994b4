// Structured one-line logging over spdlog: `log_info("engine", "loaded {} in {} ms", path, ms)`.
// An error is logged or returned, never both; secrets and prompts are never logged.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/types.h"

namespace tg {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// Lines go to standard error; the level is process-wide and set once by the command line.
void set_log_level(LogLevel level);
void log_line(LogLevel level, std::string_view area, std::string_view text);

// Lines for people, or one JSON object each ("time", "level", "area", "message" and what an event
// adds). Process-wide, may change at any time.
enum class LogFormat { kText, kJson };
void set_log_format(LogFormat format);

// A line whose parts programs read: a message and named values. Names must not be those above.
struct LogField {
  std::string_view name;
  std::variant<std::string_view, i64, f64> value;
};
void log_event(LogLevel level, std::string_view area, std::string_view message,
               std::span<const LogField> fields);

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
