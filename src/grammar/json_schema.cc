#include "grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>

#include "grammar/conjunction.h"
#include "grammar/formats.h"
#include "grammar/json_number.h"
#include "grammar/regex.h"

namespace tg::grammar {
namespace {

constexpr const char* kStringKeywords[] = {"minLength", "maxLength", "pattern", "format"};
constexpr const char* kOtherKeywords[] = {"properties", "required",         "additionalProperties",
                                          "items",      "prefixItems",      "minItems",
                                          "maxItems",   "minLength",        "maxLength",
                                          "pattern",    "format",           "minimum",
                                          "maximum",    "exclusiveMinimum", "exclusiveMaximum",
                                          "multipleOf"};

i64 count_of(const SchemaJson& value) {
  return static_cast<i64>(value.get<f64>());
}

Decimal bound_value(const SchemaJson& value) {
  if (value.is_number_unsigned()) return decimal_of(value.get<u64>());
  if (value.is_number_integer()) return decimal_of(value.get<i64>());
  return decimal_of(value.get<f64>());
}

Error unsupported(const std::string& what) {
  return {Code::kUnsupported, "schema: not supported: " + what};
}

// Each place of the document that needs a rule has one, named by the schemas that hold there; their
// bodies are written one after the other, so that recursion in a schema is recursion of rules.
class SchemaCompiler {
 public:
  SchemaCompiler(const SchemaJson& root, const JsonOptions& options)
      : root_(root), text_(grammar_, options) {}

  Result<Grammar> run() {
    TG_ASSIGN(grammar_.root, rule_of({{&root_, false, false}}, "#"));
    while (!pending_.empty()) {
      Pending next = std::move(pending_.front());
      pending_.pop_front();
      TG_ASSIGN(i32 body, body_of(next.parts, next.name));
      grammar_.set_body(next.rule, body);
      TG_TRY(grammar_.check_limits());
    }
    return std::move(grammar_);
  }

 private:
  struct Pending {
    i32 rule;
    Conjunction parts;
    std::string name;
  };

  Result<i32> rule_of(const Conjunction& parts, const std::string& name) {
    TG_ASSIGN(Conjunction flat, flatten(root_, parts));
    return rule_of_flat(std::move(flat), name);
  }

  Result<i32> rule_of_flat(Conjunction flat, const std::string& name) {
    Conjunction key = flat;
    std::sort(key.begin(), key.end());
    std::map<Conjunction, i32>::iterator found = rules_.find(key);
    if (found != rules_.end()) return found->second;
    i32 rule = grammar_.add_rule(name);
    rules_.emplace(std::move(key), rule);
    pending_.push_back({rule, std::move(flat), name});
    TG_TRY(grammar_.check_limits());
    return rule;
  }

  // A place inside the one called `name`.
  Result<i32> place(const Conjunction& parts, const std::string& name) {
    TG_ASSIGN(i32 rule, rule_of(parts, name.size() > 200 ? "..." : name));
    return grammar_.rule(rule);
  }

  Result<i32> body_of(const Conjunction& parts, const std::string& name) {
    if (is_never(parts)) return grammar_.choice({});
    for (const Part& part : parts) {
      const SchemaJson* any = find(*part.schema, "anyOf");
      if (any != nullptr && !part.is_any_of_chosen) return any_of(parts, part, *any, name);
    }
    for (const Part& part : parts) {
      const SchemaJson* one = find(*part.schema, "oneOf");
      if (one != nullptr && !part.is_one_of_chosen) return one_of(parts, part, *one, name);
    }
    if (has(parts, "enum") || has(parts, "const")) return values(parts, name);
    return of_types(parts, name);
  }

  // `parts` with branch `schema` in place of the choice.
  static Conjunction chosen(const Conjunction& parts, const Part& part, bool is_any,
                            const SchemaJson& schema) {
    Conjunction out;
    for (Part p : parts) {
      if (p == part) (is_any ? p.is_any_of_chosen : p.is_one_of_chosen) = true;
      out.push_back(p);
    }
    out.push_back({&schema, false, false});
    return out;
  }

  // Behind flatten, `parts` have neither $ref nor allOf of their own to follow again: a flattened
  // part is followed once more only to find the same parts.
  Result<i32> any_of(const Conjunction& parts, const Part& part, const SchemaJson& branches,
                     const std::string& name) {
    std::vector<i32> ways;
    for (std::size_t i = 0; i < branches.size(); ++i) {
      TG_ASSIGN(Conjunction branch, flatten_branch(chosen(parts, part, true, branches[i])));
      TG_ASSIGN(i32 rule, rule_of_flat(std::move(branch), name + "/anyOf/" + std::to_string(i)));
      ways.push_back(grammar_.rule(rule));
    }
    return grammar_.choice(std::move(ways));
  }

  Result<i32> one_of(const Conjunction& parts, const Part& part, const SchemaJson& branches,
                     const std::string& name) {
    std::vector<Conjunction> all;
    for (const SchemaJson& branch : branches) {
      TG_ASSIGN(Conjunction flat, flatten_branch(chosen(parts, part, false, branch)));
      all.push_back(std::move(flat));
    }
    if (static_cast<i64>(all.size()) > kTogetherMax)
      return Error{Code::kLimit, "schema: oneOf of more than " + std::to_string(kTogetherMax) +
                                     " branches at " + name};
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t j = i + 1; j < all.size(); ++j) {
        TG_ASSIGN(bool are_apart, exclude_each_other(root_, all[i], all[j]));
        if (!are_apart)
          return unsupported("oneOf at " + name + ": branches " + std::to_string(i) + " and " +
                             std::to_string(j) + " may both match (anyOf does not mind)");
      }
    }
    std::vector<i32> ways;
    for (std::size_t i = 0; i < all.size(); ++i) {
      TG_ASSIGN(i32 rule, rule_of_flat(std::move(all[i]), name + "/oneOf/" + std::to_string(i)));
      ways.push_back(grammar_.rule(rule));
    }
    return grammar_.choice(std::move(ways));
  }

  // Only the last part is new; the others are flat.
  Result<Conjunction> flatten_branch(Conjunction parts) {
    Part branch = parts.back();
    parts.pop_back();
    TG_ASSIGN(Conjunction more, flatten(root_, {branch}));
    for (const Part& p : more) {
      // A branch that names the schema it stands in would choose again for ever.
      bool is_open = std::any_of(parts.begin(), parts.end(), [&](const Part& q) {
        return q.schema == p.schema && (q.is_any_of_chosen || q.is_one_of_chosen);
      });
      if (is_open) return Error{Code::kInvalid, "schema: a $ref leads back to itself"};
      if (std::find(parts.begin(), parts.end(), p) == parts.end()) parts.push_back(p);
    }
    if (static_cast<i64>(parts.size()) > kTogetherMax)
      return Error{Code::kLimit, "schema: more than " + std::to_string(kTogetherMax) +
                                     " schemas hold together at one place"};
    return parts;
  }

  Result<i32> values(const Conjunction& parts, const std::string& name) {
    for (const char* keyword : kOtherKeywords) {
      if (has(parts, keyword))
        return unsupported(std::string(keyword) + " beside enum or const at " + name);
    }
    std::vector<i32> ways;
    for (const SchemaJson* value : listed_values(parts))
      ways.push_back(grammar_.bytes(value->dump()));
    return grammar_.choice(std::move(ways));
  }

  Result<i32> of_types(const Conjunction& parts, const std::string& name) {
    u8 types = written_types(parts);
    bool is_free = std::all_of(parts.begin(), parts.end(), [](const Part& p) {
      return p.schema->is_boolean() || p.schema->empty();
    });
    if (is_free) return text_.value();
    std::vector<i32> ways;
    if ((types & kTypeNull) != 0) ways.push_back(grammar_.bytes("null"));
    if ((types & kTypeBoolean) != 0) {
      ways.push_back(grammar_.bytes("true"));
      ways.push_back(grammar_.bytes("false"));
    }
    if ((types & (kTypeInteger | kTypeFraction)) != 0) {
      TG_ASSIGN(i32 way, number(parts, (types & kTypeFraction) == 0, name));
      ways.push_back(way);
    }
    if ((types & kTypeString) != 0) {
      TG_ASSIGN(i32 way, string(parts, name));
      ways.push_back(way);
    }
    if ((types & kTypeArray) != 0) {
      TG_ASSIGN(i32 way, array(parts, name));
      ways.push_back(way);
    }
    if ((types & kTypeObject) != 0) {
      TG_ASSIGN(i32 way, object(parts, name));
      ways.push_back(way);
    }
    return grammar_.choice(std::move(ways));
  }

  Result<i32> number(const Conjunction& parts, bool is_integer, const std::string& name) {
    NumberRange range;
    range.is_integer = is_integer;
    for (const SchemaJson* v : values_of(parts, "minimum"))
      range.raise_least({bound_value(*v), false});
    for (const SchemaJson* v : values_of(parts, "exclusiveMinimum"))
      range.raise_least({bound_value(*v), true});
    for (const SchemaJson* v : values_of(parts, "maximum"))
      range.lower_most({bound_value(*v), false});
    for (const SchemaJson* v : values_of(parts, "exclusiveMaximum"))
      range.lower_most({bound_value(*v), true});
    for (const SchemaJson* v : values_of(parts, "format")) {
      if (*v != "int32") continue;
      range.raise_least({decimal_of(i64{INT32_MIN}), false});
      range.lower_most({decimal_of(i64{INT32_MAX}), false});
    }
    for (const SchemaJson* v : values_of(parts, "multipleOf")) {
      f64 value = v->get<f64>();
      if (value != std::floor(value) || value >= 1e15)
        return unsupported("multipleOf " + v->dump() + " at " + name);
      if (range.multiple_of != 0 && range.multiple_of != static_cast<i64>(value))
        return unsupported("two multipleOf at " + name);
      range.multiple_of = static_cast<i64>(value);
    }
    Result<i32> added = add_number(grammar_, range);
    if (added.ok()) return added;
    return Error{added.error().code, "schema: " + added.error().message + " at " + name};
  }

  Result<i32> string(const Conjunction& parts, const std::string& name) {
    bool is_plain = std::none_of(std::begin(kStringKeywords), std::end(kStringKeywords),
                                 [&](const char* k) { return has(parts, k); });
    if (is_plain) return text_.string();
    Result<i32> made = bound_string(parts);
    if (made.ok()) return made;
    return Error{made.error().code, "schema: " + made.error().message + " at " + name};
  }

  Result<i32> bound_string(const Conjunction& parts) {
    i64 min = 0;
    i64 max = kUnbounded;
    for (const SchemaJson* v : values_of(parts, "minLength")) min = std::max(min, count_of(*v));
    for (const SchemaJson* v : values_of(parts, "maxLength"))
      max = max == kUnbounded ? count_of(*v) : std::min(max, count_of(*v));
    if (max != kUnbounded && min > max) return grammar_.choice({});
    std::vector<Automaton> all;
    for (const SchemaJson* v : values_of(parts, "pattern")) {
      TG_ASSIGN(Automaton a, pattern(*v->get_ptr<const std::string*>(), true));
      all.push_back(std::move(a));
    }
    for (const SchemaJson* v : values_of(parts, "format")) {
      std::string expression = format_pattern(*v->get_ptr<const std::string*>());
      if (expression.empty()) continue;
      TG_ASSIGN(Automaton a, pattern(expression, false));
      all.push_back(std::move(a));
    }
    if (all.empty()) return text_.counted_string(min, max);
    if (min > 0 || max != kUnbounded) {
      if (min > kStringCharsMax) return text_.counted_string(min, max);
      TG_ASSIGN(Automaton a, json_length_automaton(min, max));
      all.push_back(std::move(a));
    }
    Automaton both = std::move(all[0]);
    for (std::size_t i = 1; i < all.size(); ++i) {
      TG_ASSIGN(both, intersect(both, all[i]));
    }
    return grammar_.sequence(
        {grammar_.bytes("\""), grammar_.automaton(std::move(both)), grammar_.bytes("\"")});
  }

  static Result<Automaton> pattern(std::string_view expression, bool is_search) {
    Grammar scratch;
    TG_ASSIGN(i32 expr, add_regex(scratch, expression, {.is_json = true, .is_search = is_search}));
    return to_automaton(scratch, expr);
  }

  Result<i32> array(const Conjunction& parts, const std::string& name) {
    i64 min = 0;
    i64 max = kUnbounded;
    for (const SchemaJson* v : values_of(parts, "minItems")) min = std::max(min, count_of(*v));
    for (const SchemaJson* v : values_of(parts, "maxItems"))
      max = max == kUnbounded ? count_of(*v) : std::min(max, count_of(*v));
    if (max != kUnbounded && min > max) return grammar_.choice({});
    if (max > kRepeatMax) max = kRepeatMax;  // Shorter arrays are arrays of the schema, too.
    if (min > kRepeatMax)
      return Error{Code::kLimit, "schema: minItems " + std::to_string(min) + " at " + name +
                                     ", more than " + std::to_string(kRepeatMax)};
    i64 prefix = static_cast<i64>(prefix_size(parts));
    if (prefix > kPrefixItemsMax)
      return Error{Code::kLimit, "schema: prefixItems of more than " +
                                     std::to_string(kPrefixItemsMax) + " at " + name};
    if (max == kUnbounded || max > prefix) {
      TG_ASSIGN(Conjunction others, flatten(root_, item(parts, SIZE_MAX)));
      if (is_never(others)) max = prefix;
    }
    if (max != kUnbounded && min > max) return grammar_.choice({});
    if (max == 0) return text_.framed("[", grammar_.bytes(""), "]");
    TG_ASSIGN(i32 inner, elements(parts, min, max, prefix, name));
    return text_.framed("[", inner, "]");
  }

  // From the last element to the first: an element can only be there if the one before it is.
  Result<i32> elements(const Conjunction& parts, i64 min, i64 max, i64 prefix,
                       const std::string& name) {
    i64 named = max == kUnbounded ? prefix : std::min(prefix, max);
    i32 rest = grammar_.bytes("");
    if (max == kUnbounded || max > named) {
      TG_ASSIGN(i32 other, place(item(parts, SIZE_MAX), name + "/items"));
      i32 next = grammar_.sequence({text_.comma(), other});
      i64 before = std::max<i64>(named, 1);  // Elements in front of the repetition.
      rest = grammar_.repeat(next, std::max<i64>(min - before, 0),
                             max == kUnbounded ? kUnbounded : max - before);
      if (named == 0) {
        i32 all = grammar_.sequence({other, rest});
        return min == 0 ? grammar_.optional(all) : all;
      }
    }
    for (i64 i = named; i-- > 0;) {
      TG_ASSIGN(i32 element, place(item(parts, static_cast<std::size_t>(i)),
                                   name + "/prefixItems/" + std::to_string(i)));
      std::vector<i32> sequence = {element, rest};
      if (i > 0) sequence.insert(sequence.begin(), text_.comma());
      rest = grammar_.sequence(std::move(sequence));
      if (i >= min) rest = grammar_.optional(rest);
    }
    return rest;
  }

  Result<i32> object(const Conjunction& parts, const std::string& name) {
    std::vector<std::string> names = property_names(parts);
    std::vector<i32> members;
    std::vector<bool> required;
    for (const std::string& key : names) {
      TG_ASSIGN(Conjunction value, flatten(root_, property(parts, key)));
      bool must = is_required(parts, key);
      if (is_never(value) && must) return grammar_.choice({});
      if (is_never(value)) continue;
      TG_ASSIGN(i32 rule, rule_of_flat(std::move(value), (name.size() > 200 ? "..." : name) +
                                                             "/properties/" + pointer_step(key)));
      members.push_back(text_.member(text_.literal(key), grammar_.rule(rule)));
      required.push_back(must);
    }
    bool is_silent = !has(parts, "additionalProperties") && has(parts, "properties");
    TG_ASSIGN(Conjunction others, flatten(root_, other_properties(parts)));
    bool is_closed = is_silent || is_never(others);
    TG_TRY(check_counts(parts, required, is_closed, name));
    i32 tail = -1;
    if (!is_closed) {
      TG_ASSIGN(i32 key, text_.key_except(names));
      TG_ASSIGN(i32 value, place(others, name + "/additionalProperties"));
      tail = text_.member(key, value);
    }
    i32 list = grammar_.list(std::move(members), std::move(required), tail, text_.comma());
    return text_.framed("{", list, "}");
  }

  // minProperties and maxProperties are fine where they follow from the rest.
  static Status check_counts(const Conjunction& parts, const std::vector<bool>& required,
                             bool is_closed, const std::string& name) {
    i64 least = std::count(required.begin(), required.end(), true);
    for (const SchemaJson* v : values_of(parts, "minProperties"))
      if (count_of(*v) > least)
        return unsupported("minProperties beyond the required ones at " + name);
    for (const SchemaJson* v : values_of(parts, "maxProperties"))
      if (!is_closed || count_of(*v) < static_cast<i64>(required.size()))
        return unsupported("maxProperties below the possible ones at " + name);
    return {};
  }

  const SchemaJson& root_;
  Grammar grammar_;
  JsonText text_;
  std::map<Conjunction, i32> rules_;
  std::deque<Pending> pending_;
};

}  // namespace

Result<Grammar> parse_json_schema(std::string_view text, const JsonOptions& options) {
  TG_ASSIGN(SchemaJson root, parse_schema(text));
  return SchemaCompiler(root, options).run();
}

}  // namespace tg::grammar
