#include "grammar/conjunction.h"

#include <algorithm>

#include "grammar/json_schema.h"

namespace tg::grammar {
namespace {

class Flattening {
 public:
  explicit Flattening(const SchemaJson& root) : root_(root) {}

  Status add(const Part& part) {
    if (static_cast<i64>(path_.size()) >= kTogetherMax ||
        static_cast<i64>(out_.size()) >= kTogetherMax)
      return Error{Code::kLimit, "schema: more than " + std::to_string(kTogetherMax) +
                                     " schemas hold together at one place"};
    if (std::find(path_.begin(), path_.end(), part.schema) != path_.end())
      return Error{Code::kInvalid, "schema: a $ref leads back to itself"};
    path_.push_back(part.schema);
    if (const SchemaJson* reference = find(*part.schema, "$ref")) {
      const std::string& text = *reference->get_ptr<const std::string*>();
      const SchemaJson* target = resolve(root_, text);
      if (target == nullptr)
        return Error{Code::kNotFound, "schema: $ref " + printable(text) + " leads nowhere"};
      TG_TRY(add({target, false, false}));
    }
    if (const SchemaJson* all = find(*part.schema, "allOf"))
      for (const SchemaJson& schema : *all) TG_TRY(add({&schema, false, false}));
    path_.pop_back();
    if (std::find(out_.begin(), out_.end(), part) == out_.end()) out_.push_back(part);
    return {};
  }

  Conjunction take() { return std::move(out_); }

 private:
  const SchemaJson& root_;
  std::vector<const SchemaJson*> path_;
  Conjunction out_;
};

u8 type_bits(const std::string& name) {
  if (name == "null") return kTypeNull;
  if (name == "boolean") return kTypeBoolean;
  if (name == "integer") return kTypeInteger;
  if (name == "number") return kTypeInteger | kTypeFraction;
  if (name == "string") return kTypeString;
  return name == "array" ? kTypeArray : kTypeObject;
}

u8 types_of(const SchemaJson& type) {
  if (type.is_string()) return type_bits(*type.get_ptr<const std::string*>());
  u8 bits = 0;
  for (const SchemaJson& name : type) bits |= type_bits(*name.get_ptr<const std::string*>());
  return bits;
}

u8 type_spoken_of(std::string_view keyword) {
  for (const char* name : {"properties", "required", "additionalProperties"})
    if (keyword == name) return kTypeObject;
  for (const char* name : {"items", "prefixItems", "minItems", "maxItems"})
    if (keyword == name) return kTypeArray;
  for (const char* name : {"minLength", "maxLength", "pattern", "format"})
    if (keyword == name) return kTypeString;
  for (const char* name :
       {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
    if (keyword == name) return kTypeInteger | kTypeFraction;
  return 0;
}

bool contains(const SchemaJson& list, const SchemaJson& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool are_apart(const std::vector<const SchemaJson*>& a, const std::vector<const SchemaJson*>& b) {
  return std::none_of(a.begin(), a.end(), [&](const SchemaJson* x) {
    return std::any_of(b.begin(), b.end(), [&](const SchemaJson* y) { return *x == *y; });
  });
}

bool is_listed(const Conjunction& parts) {
  return has(parts, "enum") || has(parts, "const");
}

}  // namespace

Result<Conjunction> flatten(const SchemaJson& root, const Conjunction& parts) {
  Flattening flattening(root);
  for (const Part& part : parts) TG_TRY(flattening.add(part));
  return flattening.take();
}

const SchemaJson* resolve(const SchemaJson& root, std::string_view reference) {
  if (reference == "#") return &root;
  if (reference.substr(0, 2) != "#/") return nullptr;
  const SchemaJson* at = &root;
  std::string_view rest = reference.substr(1);
  while (at != nullptr && !rest.empty()) {
    std::size_t end = std::min(rest.find('/', 1), rest.size());
    std::string step;
    for (std::size_t i = 1; i < end; ++i) {
      bool is_escape = rest[i] == '~' && i + 1 < end;
      step.push_back(is_escape ? (rest[++i] == '1' ? '/' : '~') : rest[i]);
    }
    rest.remove_prefix(end);
    bool is_index = !step.empty() && step.size() < 8 &&
                    step.find_first_not_of("0123456789") == std::string::npos;
    if (at->is_array() && is_index && std::stoull(step) < at->size()) {
      at = &(*at)[std::stoull(step)];
    } else {
      at = find(*at, step);
    }
  }
  bool is_schema = at != nullptr && (at->is_object() || at->is_boolean());
  return is_schema ? at : nullptr;
}

bool is_never(const Conjunction& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const Part& p) { return p.schema->is_boolean() && *p.schema == false; });
}

u8 stated_types(const Conjunction& parts) {
  u8 bits = kTypeAll;
  for (const SchemaJson* type : values_of(parts, "type")) bits &= types_of(*type);
  return bits;
}

u8 written_types(const Conjunction& parts) {
  if (has(parts, "type")) return stated_types(parts);
  u8 bits = 0;
  for (const Part& part : parts) {
    if (!part.schema->is_object()) continue;
    for (const auto& [name, value] : part.schema->items()) bits |= type_spoken_of(name);
  }
  return bits == 0 ? u8{kTypeAll} : bits;
}

u8 type_of(const SchemaJson& value) {
  if (value.is_null()) return kTypeNull;
  if (value.is_boolean()) return kTypeBoolean;
  if (value.is_number_integer()) return kTypeInteger;
  if (value.is_number_float()) {
    f64 number = value.get<f64>();
    bool is_whole =
        number > -1e15 && number < 1e15 && number == static_cast<f64>(static_cast<i64>(number));
    return is_whole ? kTypeInteger : kTypeFraction;
  }
  if (value.is_string()) return kTypeString;
  return value.is_array() ? kTypeArray : kTypeObject;
}

std::vector<const SchemaJson*> values_of(const Conjunction& parts, std::string_view keyword) {
  std::vector<const SchemaJson*> values;
  for (const Part& part : parts)
    if (const SchemaJson* value = find(*part.schema, keyword)) values.push_back(value);
  return values;
}

bool has(const Conjunction& parts, std::string_view keyword) {
  return !values_of(parts, keyword).empty();
}

std::vector<const SchemaJson*> listed_values(const Conjunction& parts) {
  std::vector<const SchemaJson*> lists = values_of(parts, "enum");
  std::vector<const SchemaJson*> constants = values_of(parts, "const");
  TG_ASSERT(!lists.empty() || !constants.empty());
  std::vector<const SchemaJson*> candidates;
  if (!constants.empty()) {
    candidates.push_back(constants[0]);
  } else {
    for (const SchemaJson& value : *lists[0]) candidates.push_back(&value);
  }
  std::erase_if(candidates, [&](const SchemaJson* value) {
    return std::any_of(constants.begin(), constants.end(),
                       [&](const SchemaJson* c) { return *c != *value; }) ||
           std::any_of(lists.begin(), lists.end(),
                       [&](const SchemaJson* list) { return !contains(*list, *value); }) ||
           (type_of(*value) & stated_types(parts)) == 0;
  });
  return candidates;
}

std::vector<std::string> property_names(const Conjunction& parts) {
  std::vector<std::string> names;
  auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const SchemaJson* properties : values_of(parts, "properties"))
    for (const auto& [name, value] : properties->items()) add(name);
  for (const SchemaJson* required : values_of(parts, "required"))
    for (const SchemaJson& name : *required) add(*name.get_ptr<const std::string*>());
  return names;
}

bool is_required(const Conjunction& parts, std::string_view name) {
  for (const SchemaJson* required : values_of(parts, "required"))
    if (contains(*required, std::string(name))) return true;
  return false;
}

Conjunction property(const Conjunction& parts, const std::string& name) {
  Conjunction out;
  for (const Part& part : parts) {
    const SchemaJson* properties = find(*part.schema, "properties");
    const SchemaJson* own = properties == nullptr ? nullptr : find(*properties, name);
    if (own == nullptr) own = find(*part.schema, "additionalProperties");
    if (own != nullptr) out.push_back({own, false, false});
  }
  return out;
}

Conjunction other_properties(const Conjunction& parts) {
  Conjunction out;
  for (const SchemaJson* schema : values_of(parts, "additionalProperties"))
    out.push_back({schema, false, false});
  return out;
}

Conjunction item(const Conjunction& parts, std::size_t index) {
  Conjunction out;
  for (const Part& part : parts) {
    const SchemaJson* prefix = find(*part.schema, "prefixItems");
    const SchemaJson* items = find(*part.schema, "items");
    if (prefix != nullptr && index < prefix->size()) items = &(*prefix)[index];
    if (items != nullptr) out.push_back({items, false, false});
  }
  return out;
}

std::size_t prefix_size(const Conjunction& parts) {
  std::size_t size = 0;
  for (const SchemaJson* prefix : values_of(parts, "prefixItems"))
    size = std::max(size, prefix->size());
  return size;
}

Result<bool> exclude_each_other(const SchemaJson& root, const Conjunction& a,
                                const Conjunction& b) {
  if ((written_types(a) & stated_types(b)) == 0 && (written_types(b) & stated_types(a)) == 0)
    return true;
  if (is_listed(a) && is_listed(b)) return are_apart(listed_values(a), listed_values(b));
  bool are_objects = written_types(a) == kTypeObject && written_types(b) == kTypeObject;
  if (!are_objects) return false;
  for (const std::string& name : property_names(a)) {
    if (!is_required(a, name) || !is_required(b, name)) continue;
    TG_ASSIGN(Conjunction of_a, flatten(root, property(a, name)));
    TG_ASSIGN(Conjunction of_b, flatten(root, property(b, name)));
    if (is_listed(of_a) && is_listed(of_b) && are_apart(listed_values(of_a), listed_values(of_b)))
      return true;
  }
  return false;
}

}  // namespace tg::grammar
