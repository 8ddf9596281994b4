#include "isa/attribute_text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "base/assert.h"
#include "isa/ew.h"
#include "isa/limits.h"

namespace tg::isa {

Result<u32> parse_real(TokenCursor& cursor) {
  bool minus = cursor.accept("-");
  TG_ASSIGN(std::string_view word, cursor.take(TokenKind::kWord, "a number"));
  if (word.starts_with("0x") && !minus) {
    TG_ASSIGN(i64 pattern, parse_digits(cursor, word));
    if (pattern > static_cast<i64>(UINT32_MAX))
      return cursor.error(std::string(word) + " does not fit 32 bits");
    return static_cast<u32>(pattern);
  }
  f32 value = 0.0f;
  std::from_chars_result r = std::from_chars(word.data(), word.data() + word.size(), value);
  if (r.ec != std::errc() || r.ptr != word.data() + word.size())
    return cursor.error("'" + std::string(word) + "' is not a number that f32 holds");
  return std::bit_cast<u32>(minus ? -value : value);
}

std::string real_text(u32 bits) {
  f32 value = std::bit_cast<f32>(bits);
  char text[64];
  if (!std::isfinite(value)) {
    std::to_chars_result hex = std::to_chars(text, text + sizeof(text), bits, 16);
    return "0x" + std::string(text, hex.ptr);
  }
  std::to_chars_result r = std::to_chars(text, text + sizeof(text), value);
  TG_ASSERT(r.ec == std::errc());
  return std::string(text, r.ptr);
}

void shorten_cycle(std::vector<u32>& words) {
  for (std::size_t period = 1; period < words.size(); ++period) {
    if (words.size() % period != 0) continue;
    if (!std::equal(words.begin() + static_cast<i64>(period), words.end(), words.begin())) continue;
    words.resize(period);
    return;
  }
}

// i8/32 is one value: words joined by slashes.
static Result<std::string> joined_word(TokenCursor& cursor) {
  TG_ASSIGN(std::string_view first, cursor.take(TokenKind::kWord, "a value"));
  std::string word(first);
  while (cursor.accept("/")) {
    TG_ASSIGN(std::string_view more, cursor.take(TokenKind::kWord, "a value"));
    word += "/" + std::string(more);
  }
  return word;
}

static Result<u32> parse_name(TokenCursor& cursor, AttributeKey key) {
  TG_ASSIGN(std::string word, joined_word(cursor));
  std::span<const std::string_view> names = value_names(key);
  std::span<const std::string_view>::iterator found = std::find(names.begin(), names.end(), word);
  if (found == names.end())
    return cursor.error(std::string(name(key)) + " has no value '" + word + "'");
  return static_cast<u32>(found - names.begin());
}

static Status parse_ew_step(TokenCursor& cursor, std::vector<u32>& words) {
  std::string_view text = cursor.peek().text;
  bool is_name = cursor.peek().kind == TokenKind::kWord;
  std::optional<EwOp> op = is_name ? ew_op_by_name(text) : std::nullopt;
  if (op && *op != EwOp::kInput && *op != EwOp::kConstant) {
    cursor.next();
    words.push_back(static_cast<u32>(*op));
    return {};
  }
  if (is_name && text.size() > 1 && text[0] == 'x') {
    cursor.next();
    TG_ASSIGN(i64 operand, parse_digits(cursor, text.substr(1)));
    if (operand >= kOperandsMax) return cursor.error("ew has no operand " + std::string(text));
    words.push_back(static_cast<u32>(EwOp::kInput) | static_cast<u32>(operand) << 8);
    return {};
  }
  TG_ASSIGN(u32 constant, parse_real(cursor));
  words.push_back(static_cast<u32>(EwOp::kConstant));
  words.push_back(constant);
  return {};
}

static Result<std::vector<u32>> parse_code(TokenCursor& cursor) {
  std::vector<u32> words;
  TG_TRY(cursor.expect("("));
  while (!cursor.accept(")")) {
    if (cursor.at_end()) return cursor.unexpected("')'");
    TG_TRY(parse_ew_step(cursor, words));
  }
  if (static_cast<i64>(words.size()) > kEwCodeMax)
    return cursor.error("code of " + std::to_string(words.size()) + " words, at most " +
                        std::to_string(kEwCodeMax));
  return words;
}

static Result<u32> parse_word(TokenCursor& cursor, const Config& config,
                              const AttributeRule& rule) {
  if (rule.type == AttributeType::kReal) return parse_real(cursor);
  if (rule.type == AttributeType::kName) return parse_name(cursor, rule.key);
  TG_ASSIGN(i64 value, parse_integer(cursor, config, static_cast<i64>(UINT32_MAX)));
  return static_cast<u32>(value);
}

static Result<std::vector<u32>> parse_words(TokenCursor& cursor, const Config& config,
                                            const AttributeRule& rule) {
  if (rule.type == AttributeType::kCode) return parse_code(cursor);
  std::vector<u32> words;
  if (!rule.list && (!rule.cyclic || !cursor.accept_word("cyc"))) {
    TG_ASSIGN(u32 word, parse_word(cursor, config, rule));
    words.push_back(word);
    return words;
  }
  TG_TRY(cursor.expect("("));
  do {
    TG_ASSIGN(u32 word, parse_word(cursor, config, rule));
    words.push_back(word);
  } while (cursor.accept(","));
  TG_TRY(cursor.expect(")"));
  if (static_cast<i64>(words.size()) > kCycleMax)
    return cursor.error("a list of " + std::to_string(words.size()) + ", at most " +
                        std::to_string(kCycleMax));
  if (rule.cyclic) shorten_cycle(words);
  return words;
}

static Result<Attribute> parse_attribute(TokenCursor& cursor, const Config& config,
                                         const OpInfo& op) {
  TG_ASSIGN(std::string_view word, cursor.take(TokenKind::kWord, "an attribute"));
  std::optional<AttributeKey> key = attribute_by_name(word);
  const AttributeRule* rule = key ? find_attribute(op, *key) : nullptr;
  if (rule == nullptr)
    return cursor.error(std::string(op.name) + " has no attribute '" + std::string(word) + "'");
  TG_TRY(cursor.expect("="));
  TG_ASSIGN(std::vector<u32> words, parse_words(cursor, config, *rule));
  return Attribute{rule->key, std::move(words)};
}

static bool is_default(const OpInfo& op, const Attribute& attribute) {
  const AttributeRule* rule = find_attribute(op, attribute.key);
  return !rule->required && !rule->list && attribute.words.size() == 1 &&
         attribute.words[0] == rule->fallback;
}

Result<std::vector<Attribute>> parse_attributes(TokenCursor& cursor, const Config& config,
                                                const OpInfo& op) {
  std::vector<Attribute> attributes;
  TG_TRY(cursor.expect("{"));
  while (!cursor.accept("}")) {
    TG_ASSIGN(Attribute attribute, parse_attribute(cursor, config, op));
    for (const Attribute& other : attributes) {
      if (other.key == attribute.key)
        return cursor.error("attribute " + std::string(name(other.key)) + " is given twice");
    }
    attributes.push_back(std::move(attribute));
    cursor.accept(",");
  }
  std::erase_if(attributes, [&](const Attribute& a) { return is_default(op, a); });
  std::sort(attributes.begin(), attributes.end(),
            [](const Attribute& a, const Attribute& b) { return a.key < b.key; });
  return attributes;
}

static std::string code_text(std::span<const u32> words) {
  std::string out = "(";
  for (std::size_t at = 0; at < words.size();) {
    if (at > 0) out += ' ';
    Result<EwStep> step = read_ew(words, at);
    TG_ASSERT(step.ok());
    if (step->op == EwOp::kInput) {
      out += "x" + std::to_string(step->input);
    } else if (step->op == EwOp::kConstant) {
      out += real_text(words[at - 1]);
    } else {
      out += info(step->op).name;
    }
  }
  return out + ")";
}

static std::string word_text(const AttributeRule& rule, u32 word) {
  if (rule.type == AttributeType::kReal) return real_text(word);
  if (rule.type == AttributeType::kName) return std::string(value_names(rule.key)[word]);
  return std::to_string(word);
}

std::string to_text(const OpInfo& op, const Attribute& attribute) {
  const AttributeRule* rule = find_attribute(op, attribute.key);
  TG_ASSERT(rule != nullptr);
  std::string out = std::string(name(attribute.key)) + "=";
  if (rule->type == AttributeType::kCode) return out + code_text(attribute.words);
  if (attribute.words.size() == 1 && !rule->list) return out + word_text(*rule, attribute.words[0]);
  for (std::size_t i = 0; i < attribute.words.size(); ++i) {
    out += i > 0 ? "," : rule->list ? "(" : "cyc(";
    out += word_text(*rule, attribute.words[i]);
  }
  return out + ")";
}

}  // namespace tg::isa
