// What the engines' dialects share: JSON that may be anything, looked at without surprises.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fleet/supplier.h"
#include "node/engines/dialect.h"

namespace tg::node {

using Json = nlohmann::json;

inline constexpr i64 kEngineCountMax = i64{1} << 40;

// kInvalid unless it is an object.
Result<Json> parse_object(std::string_view text, std::string_view engine);
// The member, or a null that lives as long as the process.
const Json& member(const Json& object, const char* name);
// A count; 0 if it is none, negative or beyond kEngineCountMax.
i64 count_of(const Json& value);
std::string text_of(const Json& value);
// Appends the ids of an array; what is no id of a vocabulary ends it.
void append_ids(const Json& array, std::vector<TokenId>& out);
// "token_id:123" as vLLM names tokens when asked to; -1 for others.
TokenId id_in_name(std::string_view name);
// An engine's error in any of the shapes {"error": "..."}, {"error": {"message": ...}}, {"message":
// ..., "object": "error"}; "" if the object is none.
std::string error_of(const Json& object);
// "stop", "eos", "eos_token", "stop_sequence", "length", ...
fleet::FinishReason finish_reason_of(std::string_view name, std::string& error);

}  // namespace tg::node
