// multipart/form-data (RFC 7578), as clients upload files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tg::gateway {

struct FormPart {
  std::string name;
  std::string filename;      // "" if none was given.
  std::string_view content;  // Of the body.
};

inline constexpr std::size_t kFormPartsMax = 32;

// kInvalid says what is wrong. `body` may be any bytes and must outlive the parts.
Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body);

}  // namespace tg::gateway
