// The admin API's description, OpenAPI 3.1, made from its table of operations.
#pragma once

#include <string>

namespace tg::gateway {

// The same text every time.
const std::string& admin_openapi();

}  // namespace tg::gateway
