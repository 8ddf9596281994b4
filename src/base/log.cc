#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "base/json_out.h"

namespace tg {

constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%e%z %L %v";
// What follows is the inside of an object.
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})";

static std::atomic<bool> is_json = false;

static spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    std::shared_ptr<spdlog::logger> made = spdlog::stderr_logger_mt("tokengrid");
    made->set_pattern(kTextPattern);
    return made;
  }();
  return *instance;
}

static spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
    case LogLevel::kOff: return spdlog::level::off;
  }
  return spdlog::level::info;
}

void set_log_level(LogLevel level) {
  logger().set_level(to_spdlog(level));
}

void set_log_format(LogFormat format) {
  is_json = format == LogFormat::kJson;
  logger().set_pattern(is_json ? kJsonPattern : kTextPattern);
}

static void append_json(std::string& out, const LogField& field) {
  append_json_string(out, field.name);
  out += ':';
  if (const std::string_view* text = std::get_if<std::string_view>(&field.value)) {
    append_json_string(out, *text);
  } else if (const i64* number = std::get_if<i64>(&field.value)) {
    out += std::to_string(*number);
  } else {
    JsonWriter(out).real(std::get<f64>(field.value));
  }
}

static void append_text(std::string& out, const LogField& field) {
  out.append(" ").append(field.name).append("=");
  std::visit([&](const auto& value) { out += fmt::format("{}", value); }, field.value);
}

void log_event(LogLevel level, std::string_view area, std::string_view message,
               std::span<const LogField> fields) {
  std::string line;
  if (is_json) {
    append_json(line, {"area", area});
    append_json(line.append(","), {"message", message});
    for (const LogField& field : fields) append_json(line.append(","), field);
  } else {
    line.append(area).append(": ").append(message);
    for (const LogField& field : fields) append_text(line, field);
  }
  logger().log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void log_line(LogLevel level, std::string_view area, std::string_view text) {
  log_event(level, area, text, {});
}

}  // namespace tg
