// JSON from a model's directory as a tree, within limits, and the few questions its readers ask.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::huggingface {

using Json = nlohmann::json;

// Longest file, most values and deepest nesting accepted. A vocabulary of kVocabTokensMax tokens
// with its merges fits.
inline constexpr i64 kJsonBytesMax = i64{256} << 20;
inline constexpr i64 kJsonValuesMax = i64{1} << 25;
inline constexpr i64 kJsonDepthMax = 64;

// `what` names the file in errors. kLimit past the limits, kInvalid if it is not JSON.
Result<Json> parse_json(std::string_view bytes, std::string_view what);

// The member `key` of an object; nullptr if it is absent or null, or `json` is no object.
const Json* member(const Json& json, const char* key);
// The string there; nullptr if there is none.
const std::string* text_member(const Json& json, const char* key);
// The truth value there; `otherwise` if it is absent, null or no truth value.
bool flag_member(const Json& json, const char* key, bool otherwise);
// The string under "type"; empty if there is none.
std::string_view type_of(const Json& json);

// Short form of untrusted text for a message: cut, control characters as '?'.
std::string shown(std::string_view text);
// "tokenizer.json: <component> is not supported".
Error unsupported(const std::string& component);
Error invalid(const std::string& what);

// A component and, if it is a Sequence, those it consists of under `key`, in order; none if it is
// null. `what` ("normalizer") names it in errors. Pointers into `root`, which must stay in place.
Result<std::vector<const Json*>> flatten(const Json& root, const char* what, const char* key);

}  // namespace tg::huggingface
