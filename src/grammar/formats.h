// The values of `format` that strings are held to, as regular expressions: exact or narrower than
// the standard they name.
#pragma once

#include <string>
#include <string_view>

namespace tg::grammar {

// The expression (whole text, ASCII) of a format, or empty: date-time, date, time, duration, email,
// hostname, ipv4, ipv6, uri, uuid.
std::string format_pattern(std::string_view name);

// Formats of numbers: int32, int64, float, double. Only int32 narrows what is written.
bool is_number_format(std::string_view name);

}  // namespace tg::grammar
