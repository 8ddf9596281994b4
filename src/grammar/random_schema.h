// Random schemas of the supported subset, for tests: every keyword, alone and combined, nested,
// recursive; always with some document that matches.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "base/json_out.h"
#include "base/types.h"

namespace tg::grammar::testing {

class RandomSchema {
 public:
  explicit RandomSchema(u64 seed) : random_(seed) {}

  std::string make() {
    int form = pick(10);
    std::string body = form < 7 ? object(3) : schema(3);
    if (body == "true" || body == "{}") body = array(3);
    std::string node = R"({"type":"object","properties":{"v":)" + scalar() +
                       R"(,"next":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/node"}]}},)" +
                       R"("required":["v","next"]})";
    std::string tree = R"({"type":"object","properties":{"kids":{"type":"array",)"
                       R"("items":{"$ref":"#/$defs/tree"},"maxItems":3},)"
                       R"("n":{"type":"integer"}},"required":["kids"],)"
                       R"("additionalProperties":false})";
    std::string word = R"({"type":"string","minLength":1,"maxLength":12})";
    std::string definitions =
        R"({"node":)" + node + R"(,"tree":)" + tree + R"(,"word":)" + word + "}";
    return R"({"$defs":)" + definitions + "," + body.substr(1);
  }

 private:
  int pick(int count) { return std::uniform_int_distribution<int>(0, count - 1)(random_); }
  bool chance(int percent) { return pick(100) < percent; }
  i64 between(i64 a, i64 b) { return std::uniform_int_distribution<i64>(a, b)(random_); }

  static std::string quoted(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
  }

  std::string schema(int depth) {
    if (depth <= 0) return scalar();
    switch (pick(12)) {
      case 0:
      case 1:
      case 2: return object(depth);
      case 3:
      case 4: return array(depth);
      case 5: return any_of(depth);
      case 6: return one_of(depth);
      case 7: return all_of(depth);
      case 8: return reference();
      case 9: return chance(50) ? "true" : "{}";
      default: return scalar();
    }
  }

  std::string scalar() {
    switch (pick(12)) {
      case 0:
      case 1:
      case 2: return string();
      case 3: return pattern();
      case 4: return format();
      case 5:
      case 6: return integer();
      case 7:
      case 8: return number();
      case 9: return enumeration();
      case 10: return R"({"type":["string","null","boolean"],"title":"three"})";
      default:
        return chance(50) ? R"({"type":"boolean","description":"a flag"})" : R"({"type":"null"})";
    }
  }

  std::string string() {
    std::string out = R"({"type":"string")";
    i64 least = between(0, 8);
    if (chance(50)) out += ",\"minLength\":" + std::to_string(least);
    if (chance(50)) out += ",\"maxLength\":" + std::to_string(least + between(0, 300));
    return out + "}";
  }

  std::string pattern() {
    constexpr const char* kPatterns[] = {"^[a-z]+$",
                                         "^[A-Z]{2,4}-[0-9]{3}$",
                                         "b",
                                         "^(foo|bar)",
                                         "[0-9]$",
                                         "^\\d{3}\\s\\w*$",
                                         "^[^\\s\"]{1,9}$",
                                         "^.{2,5}$",
                                         "^\\S{1,6}@\\w{1,3}\\.(com|org)$",
                                         "^$|^x$",
                                         "^[\\u4e00-\\u9fff]{1,4}$",
                                         "^(\\\\|\"|/)*$",
                                         "^[\\w.-]+/[a-f]?$",
                                         "a.*z"};
    std::string out = "{\"type\":\"string\",\"pattern\":";
    int index = pick(static_cast<int>(std::size(kPatterns)));
    out += quoted(kPatterns[index]);
    if (chance(30) && index != 1 && index != 5)
      out += ",\"maxLength\":" + std::to_string(pick(9) + 9);
    return out + "}";
  }

  std::string format() {
    constexpr const char* kFormats[] = {"date-time", "date", "time", "duration", "email",
                                        "hostname",  "ipv4", "ipv6", "uri",      "uuid"};
    return R"({"type":"string","format":)" + quoted(kFormats[pick(10)]) + "}";
  }

  std::string integer() {
    std::string out = R"({"type":"integer")";
    i64 least = between(-2000, 2000);
    if (chance(50))
      out += (chance(50) ? ",\"minimum\":" : ",\"exclusiveMinimum\":") + std::to_string(least);
    if (chance(50))
      out += (chance(50) ? ",\"maximum\":" : ",\"exclusiveMaximum\":") +
             std::to_string(least + between(60, 90000));
    if (chance(25)) out += ",\"multipleOf\":" + std::to_string(between(2, 25));
    return out + "}";
  }

  std::string number() {
    std::string out = R"({"type":"number")";
    i64 least = between(-50000, 50000);
    auto hundredths = [](i64 value) {
      i64 size = value < 0 ? -value : value;
      std::string fraction = std::to_string(size % 100);
      return (value < 0 ? "-" : "") + std::to_string(size / 100) + "." +
             (fraction.size() < 2 ? "0" : "") + fraction;
    };
    if (chance(60))
      out += (chance(50) ? ",\"minimum\":" : ",\"exclusiveMinimum\":") + hundredths(least);
    if (chance(60))
      out += (chance(50) ? ",\"maximum\":" : ",\"exclusiveMaximum\":") +
             hundredths(least + between(2, 900000));
    return out + "}";
  }

  std::string enumeration() {
    switch (pick(4)) {
      case 0: return R"({"enum":["red","green","dark \"blue\"","é中😀"]})";
      case 1: return R"({"enum":[1,2.5,-3,null,true,"x",{"a":[1]},[]]})";
      case 2: return R"({"const":{"kind":"fixed","n":[1,2]}})";
      default: return R"({"type":"string","enum":["a","ab","abc","b\n",""]})";
    }
  }

  std::string array(int depth) {
    std::string out = R"({"type":"array")";
    i64 least = between(0, 3);
    bool is_closed = false;
    int prefix = chance(30) ? pick(3) + 1 : 0;
    if (prefix > 0) {
      out += ",\"prefixItems\":[";
      for (int i = 0; i < prefix; ++i) out += (i > 0 ? "," : "") + schema(depth - 1);
      out += "]";
      is_closed = chance(40);
    }
    out += is_closed ? ",\"items\":false" : ",\"items\":" + schema(depth - 1);
    if (is_closed) least = std::min<i64>(least, prefix);
    if (chance(50)) out += ",\"minItems\":" + std::to_string(least);
    if (chance(60)) out += ",\"maxItems\":" + std::to_string(least + between(0, 3));
    return out + "}";
  }

  std::string object(int depth, const std::string& first = "") {
    constexpr const char* kNames[] = {"id",    "name", "a b",        "é", "q\"uote",
                                      "x/y~z", "tags", "ids",        "n", "value",
                                      "$ref",  "type", "properties", "\\"};
    std::string properties = first;
    std::string required = first.empty() ? "" : "\"kind\"";
    int offset = pick(14);
    int count = pick(6);
    for (int i = 0; i < count; ++i) {
      std::string name = quoted(kNames[(offset + i) % 14]);
      properties += (properties.empty() ? "" : ",") + name + ":" + schema(depth - 1);
      if (chance(50)) required += (required.empty() ? "" : ",") + name;
    }
    std::string out = R"({"type":"object","properties":{)" + properties + "}";
    if (!required.empty()) out += ",\"required\":[" + required + "]";
    switch (pick(4)) {
      case 0: out += ",\"additionalProperties\":false"; break;
      case 1: out += ",\"additionalProperties\":" + schema(depth - 1); break;
      default: break;
    }
    return out + "}";
  }

  std::string any_of(int depth) {
    std::string out = "{\"anyOf\":[";
    int count = pick(3) + 1;
    for (int i = 0; i < count; ++i) out += (i > 0 ? "," : "") + schema(depth - 1);
    return out + "]}";
  }

  std::string one_of(int depth) {
    if (chance(40)) return "{\"oneOf\":[" + integer() + "," + string() + ",{\"type\":\"null\"}]}";
    return "{\"oneOf\":[" + object(depth, R"("kind":{"const":"one"})") + "," +
           object(depth, R"("kind":{"enum":["two","three"]})") + "]}";
  }

  std::string all_of(int depth) {
    switch (pick(3)) {
      case 0:
        return R"({"allOf":[{"type":"number","minimum":-3},{"type":"integer"},{"maximum":88.5}]})";
      case 1: return R"({"allOf":[{"$ref":"#/$defs/word"},{"maxLength":5},{"pattern":"[aeiou]"}]})";
      default:
        return R"({"allOf":[{"type":"object","properties":{"a":)" + schema(depth - 1) +
               R"(}},{"properties":{"b":)" + schema(depth - 1) + R"(},"required":["b"]}]})";
    }
  }

  std::string reference() {
    constexpr const char* kNames[] = {"node", "tree", "word"};
    return R"({"$ref":"#/$defs/)" + std::string(kNames[pick(3)]) + R"("})";
  }

  std::mt19937_64 random_;
};

}  // namespace tg::grammar::testing
