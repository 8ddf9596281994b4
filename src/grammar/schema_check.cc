#include "grammar/schema_check.h"

#include <algorithm>
#include <array>
#include <vector>

#include "grammar/formats.h"
#include "grammar/json_schema.h"

namespace tg::grammar {
namespace {

constexpr std::size_t kListedMax = 8;
constexpr std::size_t kNameShownMax = 60;

// What a keyword's value has to be.
enum class Want : u8 {
  kAnything,
  kSchema,
  kSchemaMap,
  kSchemaList,
  kText,
  kCount,
  kNumber,
  kPositive,
  kValues,
  kNames,
  kTypes,
  kFormat,
  kReference,
  kFalse,  // Supported only so.
};

struct Keyword {
  const char* name;
  Want want;
};

constexpr Keyword kKeywords[] = {
    {"type", Want::kTypes},
    {"properties", Want::kSchemaMap},
    {"required", Want::kNames},
    {"additionalProperties", Want::kSchema},
    {"items", Want::kSchema},
    {"prefixItems", Want::kSchemaList},
    {"minItems", Want::kCount},
    {"maxItems", Want::kCount},
    {"enum", Want::kValues},
    {"const", Want::kAnything},
    {"anyOf", Want::kSchemaList},
    {"oneOf", Want::kSchemaList},
    {"allOf", Want::kSchemaList},
    {"$ref", Want::kReference},
    {"minLength", Want::kCount},
    {"maxLength", Want::kCount},
    {"pattern", Want::kText},
    {"format", Want::kFormat},
    {"minimum", Want::kNumber},
    {"maximum", Want::kNumber},
    {"exclusiveMinimum", Want::kNumber},
    {"exclusiveMaximum", Want::kNumber},
    {"multipleOf", Want::kPositive},
    {"minProperties", Want::kCount},
    {"maxProperties", Want::kCount},
    {"uniqueItems", Want::kFalse},
    {"nullable", Want::kFalse},
    {"$defs", Want::kSchemaMap},
    {"definitions", Want::kSchemaMap},
    {"title", Want::kAnything},
    {"description", Want::kAnything},
    {"default", Want::kAnything},
    {"example", Want::kAnything},
    {"examples", Want::kAnything},
    {"$comment", Want::kAnything},
    {"deprecated", Want::kAnything},
    {"readOnly", Want::kAnything},
    {"writeOnly", Want::kAnything},
    {"discriminator", Want::kAnything},
    {"contentEncoding", Want::kAnything},
    {"contentMediaType", Want::kAnything},
    {"$schema", Want::kAnything},
};

const Keyword* find_keyword(std::string_view name) {
  for (const Keyword& k : kKeywords)
    if (name == k.name) return &k;
  return nullptr;
}

bool is_type_name(const SchemaJson& json) {
  constexpr std::array<std::string_view, 7> kTypes = {"null",   "boolean", "integer", "number",
                                                      "string", "array",   "object"};
  const std::string* name = json.get_ptr<const std::string*>();
  return name != nullptr && std::find(kTypes.begin(), kTypes.end(), *name) != kTypes.end();
}

bool is_count(const SchemaJson& json) {
  if (json.is_number_unsigned()) return json.get<u64>() <= u64{1} << 40;
  return json.is_number_float() && json.get<f64>() >= 0 && json.get<f64>() <= 1e12 &&
         json.get<f64>() == static_cast<f64>(static_cast<i64>(json.get<f64>()));
}

// Why the value is wrong, or nullptr. Schemas inside are looked at elsewhere.
const char* problem(Want want, const SchemaJson& value) {
  auto all = [&](bool (*test)(const SchemaJson&)) {
    return value.is_array() && std::all_of(value.begin(), value.end(), test);
  };
  switch (want) {
    case Want::kText:
    case Want::kFormat:
    case Want::kReference: return value.is_string() ? nullptr : "is not a string";
    case Want::kCount: return is_count(value) ? nullptr : "is not a count";
    case Want::kNumber: return value.is_number() ? nullptr : "is not a number";
    case Want::kPositive:
      return value.is_number() && value.get<f64>() > 0 ? nullptr : "is not a positive number";
    case Want::kValues: return value.is_array() ? nullptr : "is not an array";
    case Want::kNames:
      return all([](const SchemaJson& v) { return v.is_string(); }) ? nullptr
                                                                    : "is not an array of strings";
    case Want::kTypes:
      return is_type_name(value) || (all(is_type_name) && !value.empty()) ? nullptr
                                                                          : "names no type";
    case Want::kSchemaMap: return value.is_object() ? nullptr : "is not an object";
    case Want::kSchemaList:
      return value.is_array() && !value.empty() ? nullptr : "is not a list of schemas";
    case Want::kAnything:
    case Want::kSchema:
    case Want::kFalse: break;
  }
  return nullptr;
}

class Checker {
 public:
  Status run(const SchemaJson& root) {
    TG_TRY(check(root, "#"));
    if (unsupported_.empty()) return {};
    std::string list;
    for (std::size_t i = 0; i < unsupported_.size() && i < kListedMax; ++i)
      list += (i > 0 ? ", " : "") + unsupported_[i];
    if (unsupported_.size() > kListedMax)
      list += " and " + std::to_string(unsupported_.size() - kListedMax) + " more";
    return Error{Code::kUnsupported, "schema: not supported: " + list};
  }

 private:
  Status check(const SchemaJson& schema, const std::string& at) {
    if (schema.is_boolean()) return {};
    if (!schema.is_object()) return Error{Code::kInvalid, "schema: " + at + " is not a schema"};
    for (const auto& [name, value] : schema.items()) {
      std::string place = at + "/" + pointer_step(name);
      const Keyword* keyword = find_keyword(name);
      if (keyword != nullptr) {
        TG_TRY(check_value(*keyword, value, at, place));
      } else if (name.rfind("x-", 0) != 0 && !(name == "$id" && at == "#")) {
        unsupported_.push_back(pointer_step(name) + " at " + at);
      }
    }
    return {};
  }

  Status check_value(const Keyword& keyword, const SchemaJson& value, const std::string& at,
                     const std::string& place) {
    if (const char* what = problem(keyword.want, value))
      return Error{Code::kInvalid, "schema: " + place + " " + what};
    std::string name = keyword.name;
    switch (keyword.want) {
      case Want::kSchema:
        if (value.is_array()) {
          unsupported_.push_back(name + " as an array at " + at + " (use prefixItems)");
          return {};
        }
        return check(value, place);
      case Want::kSchemaMap:
        for (const auto& [key, inner] : value.items())
          TG_TRY(check(inner, place + "/" + pointer_step(key)));
        return {};
      case Want::kSchemaList:
        for (std::size_t i = 0; i < value.size(); ++i)
          TG_TRY(check(value[i], place + "/" + std::to_string(i)));
        return {};
      case Want::kFormat:
        if (format_pattern(*value.get_ptr<const std::string*>()).empty() &&
            !is_number_format(*value.get_ptr<const std::string*>()))
          unsupported_.push_back("format " + printable(*value.get_ptr<const std::string*>()) +
                                 " at " + at);
        return {};
      case Want::kReference:
        if (value.get_ptr<const std::string*>()->rfind("#", 0) != 0)
          unsupported_.push_back("$ref outside the document at " + at);
        return {};
      case Want::kFalse:
        if (value != false) unsupported_.push_back(name + " at " + at);
        return {};
      default: return {};
    }
  }

  std::vector<std::string> unsupported_;
};

// The deepest nesting, without parsing: what is not JSON is found later.
i64 nesting(std::string_view text) {
  i64 depth = 0;
  i64 deepest = 0;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (is_in_string) {
      if (c == '\\') ++i;
      if (c == '"') is_in_string = false;
    } else if (c == '"') {
      is_in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Result<SchemaJson> parse_schema(std::string_view text) {
  if (static_cast<i64>(text.size()) > kSchemaBytesMax)
    return Error{Code::kLimit, "schema: " + std::to_string(text.size()) + " bytes, more than " +
                                   std::to_string(kSchemaBytesMax)};
  if (nesting(text) > kSchemaDepthMax)
    return Error{Code::kLimit, "schema: nests deeper than " + std::to_string(kSchemaDepthMax)};
  SchemaJson root = SchemaJson::parse(text.begin(), text.end(), nullptr, false);
  if (root.is_discarded()) return Error{Code::kInvalid, "schema: not JSON"};
  TG_TRY(Checker().run(root));
  return root;
}

const SchemaJson* find(const SchemaJson& json, std::string_view key) {
  if (!json.is_object()) return nullptr;
  SchemaJson::const_iterator found = json.find(std::string(key));
  return found == json.end() ? nullptr : &*found;
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kNameShownMax))
    out.push_back(static_cast<u8>(c) < 0x20 || c == 0x7F ? '?' : c);
  return text.size() > kNameShownMax ? out + "..." : out;
}

std::string pointer_step(std::string_view name) {
  std::string out;
  for (char c : printable(name)) {
    if (c == '~' || c == '/') {
      out += c == '~' ? "~0" : "~1";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace tg::grammar
