// Schemas that hold together at one place of a document: what allOf, $ref and a property named by
// several of them come to. Every question about such a place (which types, which value for this
// member) is put to all of them.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/schema_check.h"

namespace tg::grammar {

// One schema, without the keywords whose branches have been chosen already.
struct Part {
  const SchemaJson* schema = nullptr;
  bool is_any_of_chosen = false;
  bool is_one_of_chosen = false;
  auto operator<=>(const Part&) const = default;
};

using Conjunction = std::vector<Part>;

// Bits of a set of types. An integer is a number without a fraction.
enum TypeBit : u8 {
  kTypeNull = 1,
  kTypeBoolean = 2,
  kTypeInteger = 4,
  kTypeFraction = 8,
  kTypeString = 16,
  kTypeArray = 32,
  kTypeObject = 64,
  kTypeAll = 127,
};

// The same place without $ref and allOf: what they name takes their place. kNotFound for a
// reference that leads nowhere, kInvalid for one that leads back to itself, kLimit past
// kTogetherMax.
Result<Conjunction> flatten(const SchemaJson& root, const Conjunction& parts);

// The schema at "#/..." of `root`; nullptr if there is none.
const SchemaJson* resolve(const SchemaJson& root, std::string_view reference);

// REQUIRES of all below: flattened.

// Some part is the schema `false`.
bool is_never(const Conjunction& parts);
// The types that `type` allows.
u8 stated_types(const Conjunction& parts);
// Those, or if no part has `type`, those that its other keywords speak of, if any.
u8 written_types(const Conjunction& parts);
u8 type_of(const SchemaJson& value);

// The keyword's values, in order.
std::vector<const SchemaJson*> values_of(const Conjunction& parts, std::string_view keyword);
bool has(const Conjunction& parts, std::string_view keyword);
// The values that enum and const leave; REQUIRES: some part has one of them.
std::vector<const SchemaJson*> listed_values(const Conjunction& parts);

// Property names in order: those of `properties`, then required ones beyond them.
std::vector<std::string> property_names(const Conjunction& parts);
bool is_required(const Conjunction& parts, std::string_view name);
// What holds for that member.
Conjunction property(const Conjunction& parts, const std::string& name);
// What holds for members without a name in `properties`.
Conjunction other_properties(const Conjunction& parts);
// What holds for the element at `index`; past every prefixItems for an index without end.
Conjunction item(const Conjunction& parts, std::size_t index);
std::size_t prefix_size(const Conjunction& parts);

// No value that one of them writes is a value of the other, as far as types, listed values and
// required members with listed values show.
Result<bool> exclude_each_other(const SchemaJson& root, const Conjunction& a, const Conjunction& b);

}  // namespace tg::grammar
