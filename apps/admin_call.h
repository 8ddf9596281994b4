// The admin API (gateway/admin/api.h) over a data directory, for the command line: the same checks
// and effects as over HTTP, with or without a running server.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace tg::apps {

struct AdminCall {
  std::string data;  // The directory.
  std::string method;
  std::string path;  // Below /admin/v1, escaped where need be.
  nlohmann::json body = nullptr;
};

// The reply's JSON; a refusal becomes an Error with its message.
Result<nlohmann::json> call_admin(const AdminCall& call);

// Escapes what would end a segment of a path.
std::string path_segment(std::string_view text);

}  // namespace tg::apps
