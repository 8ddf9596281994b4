// The first look at a schema: JSON within limits, every keyword known, every value of the right
// kind. What follows can then take them as they are.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::grammar {

// Members keep their order.
using SchemaJson = nlohmann::ordered_json;

// The document, checked; errors as parse_json_schema.
Result<SchemaJson> parse_schema(std::string_view text);

// The member `key`; nullptr if it is absent or `json` is no object.
const SchemaJson* find(const SchemaJson& json, std::string_view key);

// Text from outside for a message: control characters replaced, cut if it is long.
std::string printable(std::string_view text);
// The same as a step of a JSON pointer: '~' and '/' escaped.
std::string pointer_step(std::string_view name);

}  // namespace tg::grammar
