// JSON Schema (2020-12) as a grammar: every text it matches is a document the schema accepts. Not
// every such document is matched: members come in the order of `properties`, a schema with
// `properties` that does not speak of others has no others, and further choices below. What a
// grammar cannot hold is refused by name, never ignored.
//
// Applied: type, properties, required, additionalProperties, items, prefixItems, minItems,
// maxItems, enum, const, anyOf, oneOf (where the branches are seen to exclude each other), allOf,
// $ref to
// #/... and #, minLength, maxLength, pattern, format (formats.h), minimum, maximum,
// exclusiveMinimum, exclusiveMaximum, multipleOf (integers), minProperties and maxProperties where
// they say nothing new. Without effect: title, description, default, examples, $comment,
// deprecated, readOnly, writeOnly, discriminator, contentEncoding, contentMediaType, $schema, $id
// (at the root), $defs, definitions, names that begin with x-.
#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/json_text.h"

namespace tg::grammar {

inline constexpr i64 kSchemaBytesMax = i64{1} << 20;
inline constexpr i64 kSchemaDepthMax = 128;
inline constexpr i64 kPrefixItemsMax = 128;
// Most $ref and allOf steps from one schema, and schemas that hold together at one place.
inline constexpr i64 kTogetherMax = 128;

// kUnsupported names every keyword that is not here, with its JSON pointer (up to eight); kInvalid
// says what is wrong with a keyword's value; kLimit names the limit.
Result<Grammar> parse_json_schema(std::string_view text, const JsonOptions& options);

}  // namespace tg::grammar
