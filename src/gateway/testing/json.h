// Parsed JSON for tests' expectations.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gateway/testing/server_fixture.h"

namespace tg::gateway {

using Json = nlohmann::json;

inline Json parse_json(const std::string& text) {
  return Json::parse(text, nullptr, false);
}

inline Streamed streamed(const Reply& reply, i64 index = 0) {
  Streamed out;
  for (const std::string& event : reply.events()) {
    Json json = parse_json(event);
    if (!json.is_object() || !json.contains("choices")) continue;
    for (const Json& choice : json["choices"]) {
      if (choice["index"] != index) continue;
      if (choice.contains("text")) out.text += choice["text"].get<std::string>();
      if (choice.contains("delta")) {
        if (choice["delta"].contains("role")) ++out.roles;
        out.text += choice["delta"].value("content", "");
      }
      if (!choice["finish_reason"].is_null()) out.finish = choice["finish_reason"];
    }
  }
  return out;
}

}  // namespace tg::gateway
