// JSON text to template values.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/jinja/value.h"

namespace tg::jinja {

inline constexpr i64 kJsonBytesMax = i64{16} << 20;

// One JSON value with nothing but white space around it. Of equal keys the last one's value counts.
// Borrows the text: strings without escapes point into it. kInvalid names the offset.
Result<Value> parse_json(Heap& heap, std::string_view text);

}  // namespace tg::jinja
