#include "grammar/regex.h"

#include <optional>

#include "base/bytes.h"
#include "grammar/text_cursor.h"

namespace tg::grammar {
namespace {

CharSet digit_chars() {
  return CharSet({{'0', '9'}});
}
CharSet word_chars() {
  return CharSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}
CharSet space_chars() {
  return CharSet({{'\t', '\r'},
                  {' ', ' '},
                  {0xA0, 0xA0},
                  {0x1680, 0x1680},
                  {0x2000, 0x200A},
                  {0x2028, 0x2029},
                  {0x202F, 0x202F},
                  {0x205F, 0x205F},
                  {0x3000, 0x3000},
                  {0xFEFF, 0xFEFF}});
}
CharSet dot_chars() {
  return complement(CharSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
}
CharSet one_char(u32 c) {
  return CharSet({{c, c}});
}

// Recursive descent.
class RegexParser : TextCursor {
 public:
  RegexParser(Grammar& grammar, std::string_view pattern, const RegexOptions& options)
      : TextCursor(pattern), grammar_(grammar), options_(options) {}

  Result<i32> run() {
    if (static_cast<i64>(text_.size()) > kRegexBytesMax)
      return Error{Code::kLimit, "regex: " + std::to_string(text_.size()) + " bytes, more than " +
                                     std::to_string(kRegexBytesMax)};
    if (!is_utf8(text_)) return Error{Code::kInvalid, "regex: not UTF-8"};
    std::vector<i32> branches;
    do {
      TG_ASSIGN(i32 branch, top_branch());
      branches.push_back(branch);
    } while (take('|'));
    if (at_ < text_.size()) return invalid("unmatched ')'");
    return grammar_.choice(std::move(branches));
  }

 private:
  Error invalid(const std::string& what) const {
    return {Code::kInvalid, "regex: " + what + " at byte " + std::to_string(at_)};
  }
  Error unsupported(const std::string& what) const {
    return {Code::kUnsupported,
            "regex: " + what + " at byte " + std::to_string(at_) + " is not supported"};
  }

  i32 chars(const CharSet& set) {
    return options_.is_json ? add_json_chars(grammar_, set) : grammar_.chars(set);
  }

  // An alternative of the whole expression, which may be anchored.
  Result<i32> top_branch() {
    bool is_begun = take('^');
    TG_ASSIGN(i32 body, sequence());
    bool is_ended = take('$');
    if (!is_end() && !has('|') && !has(')')) {
      if (is_ended) return unsupported("an anchor inside the expression");
      return invalid("unexpected character");
    }
    if (!options_.is_search) return body;
    std::vector<i32> parts;
    if (!is_begun) parts.push_back(any_text());
    parts.push_back(body);
    if (!is_ended) parts.push_back(any_text());
    return grammar_.sequence(std::move(parts));
  }

  i32 any_text() { return grammar_.repeat(chars(all_chars()), 0, kUnbounded); }

  Result<i32> alternatives() {
    std::vector<i32> branches;
    do {
      TG_ASSIGN(i32 branch, sequence());
      branches.push_back(branch);
    } while (take('|'));
    return grammar_.choice(std::move(branches));
  }

  Result<i32> sequence() {
    std::vector<i32> parts;
    while (!is_end() && !has('|') && !has(')')) {
      if (has('$')) break;
      if (has('^')) return unsupported("an anchor inside the expression");
      TG_ASSIGN(i32 atom, term());
      TG_ASSIGN(atom, quantified(atom));
      parts.push_back(atom);
    }
    if (parts.empty()) return grammar_.bytes("");
    return grammar_.sequence(std::move(parts));
  }

  Result<i32> term() {
    if (take('(')) return group();
    if (take('[')) {
      TG_ASSIGN(CharSet set, bracket());
      return chars(set);
    }
    if (take('.')) return chars(dot_chars());
    if (take('\\')) {
      TG_ASSIGN(CharSet set, escape(false));
      return chars(set);
    }
    if (has('*') || has('+') || has('?') || has('{')) return invalid("nothing to repeat");
    return chars(one_char(next_char()));
  }

  Result<i32> group() {
    if (++depth_ > kRegexDepthMax)
      return Error{Code::kLimit,
                   "regex: groups nest deeper than " + std::to_string(kRegexDepthMax)};
    if (take('?')) TG_TRY(group_kind());
    TG_ASSIGN(i32 body, alternatives());
    if (has('$')) return unsupported("an anchor inside the expression");
    if (!take(')')) return invalid("a group is not closed");
    --depth_;
    return body;
  }

  // Behind "(?".
  Status group_kind() {
    if (take(':')) return {};
    take('P');
    if (take('<')) {
      if (has('=') || has('!')) return unsupported("lookbehind");
      while (!is_end() && !has('>')) ++at_;
      if (!take('>')) return invalid("a group's name is not closed");
      return {};
    }
    if (has('=') || has('!')) return unsupported("lookahead");
    return unsupported("a group of this kind");
  }

  Result<i32> quantified(i32 atom) {
    i64 min = 0;
    i64 max = kUnbounded;
    if (take('*')) {
    } else if (take('+')) {
      min = 1;
    } else if (take('?')) {
      max = 1;
    } else if (take('{')) {
      TG_TRY(bounds(min, max));
    } else {
      return atom;
    }
    take('?');
    if (has('+')) return unsupported("a possessive quantifier");
    if (has('*') || has('?') || has('{')) return invalid("nothing to repeat");
    return grammar_.repeat(atom, min, max);
  }

  Status bounds(i64& min, i64& max) {
    TG_ASSIGN(min, count());
    max = min;
    if (take(',')) {
      max = kUnbounded;
      if (!has('}')) {
        TG_ASSIGN(max, count());
      }
    }
    if (!take('}')) return invalid("a quantifier is not closed");
    if (max != kUnbounded && max < min) return invalid("a quantifier's bounds are out of order");
    return {};
  }

  Result<i64> count() {
    std::optional<i64> value = take_number(kRepeatMax);
    if (!value) return invalid("a quantifier without a number");
    if (*value > kRepeatMax)
      return Error{Code::kLimit, "regex: a repetition of more than " + std::to_string(kRepeatMax)};
    return *value;
  }

  Result<CharSet> bracket() {
    bool is_negated = take('^');
    std::vector<CodeRange> ranges;
    while (!take(']')) {
      if (is_end()) return invalid("a class is not closed");
      TG_ASSIGN(CharSet first, class_atom());
      bool is_one = first.ranges().size() == 1 && first.ranges()[0].first == first.ranges()[0].last;
      if (has('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        TG_ASSIGN(CharSet last, class_atom());
        bool is_other_one =
            last.ranges().size() == 1 && last.ranges()[0].first == last.ranges()[0].last;
        if (!is_one || !is_other_one) return invalid("a range between classes");
        if (last.ranges()[0].first < first.ranges()[0].first)
          return invalid("a range out of order");
        ranges.push_back({first.ranges()[0].first, last.ranges()[0].last});
      } else {
        ranges.insert(ranges.end(), first.ranges().begin(), first.ranges().end());
      }
    }
    CharSet set(std::move(ranges));
    return is_negated ? complement(set) : set;
  }

  Result<CharSet> class_atom() {
    if (is_end()) return invalid("a class is not closed");
    if (take('\\')) return escape(true);
    if (text_.substr(at_, 2) == "[:") return unsupported("a named class");
    return one_char(next_char());
  }

  Result<CharSet> escape(bool is_in_class) {
    if (is_end()) return invalid("nothing behind '\\'");
    char c = text_[at_];
    if (static_cast<u8>(c) >= 0x80) return invalid("an escape of a character that needs none");
    ++at_;
    switch (c) {
      case 'd': return digit_chars();
      case 'D': return complement(digit_chars());
      case 'w': return word_chars();
      case 'W': return complement(word_chars());
      case 's': return space_chars();
      case 'S': return complement(space_chars());
      case 'n': return one_char('\n');
      case 'r': return one_char('\r');
      case 't': return one_char('\t');
      case 'f': return one_char('\f');
      case 'v': return one_char('\v');
      case '0': return one_char(0);
      case 'x': return hex(2);
      case 'u': return unicode_escape();
      case 'b':
        if (is_in_class) return one_char('\b');
        return unsupported("a word boundary");
      default: break;
    }
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c >= '1' && c <= '9') return unsupported("a back reference");
    if (is_letter) return unsupported(std::string("\\") + c);
    return one_char(static_cast<u8>(c));
  }

  Result<u32> hex_value(i64 digits) {
    std::optional<u32> value = take_hex(digits);
    if (!value) return invalid("a hexadecimal digit is missing");
    return *value;
  }

  Result<CharSet> hex(i64 digits) {
    TG_ASSIGN(u32 value, hex_value(digits));
    return as_char(value);
  }

  Result<CharSet> as_char(u32 value) const {
    CharSet set = one_char(value);
    if (set.is_empty()) return invalid("an escape that is no character");
    return set;
  }

  Result<CharSet> unicode_escape() {
    if (take('{')) {
      std::size_t end = text_.find('}', at_);
      if (end == std::string_view::npos || end == at_ || end - at_ > 6)
        return invalid("\\u{ without its }");
      TG_ASSIGN(u32 value, hex_value(static_cast<i64>(end - at_)));
      ++at_;
      return as_char(value);
    }
    TG_ASSIGN(u32 value, hex_value(4));
    bool is_high = value >= 0xD800 && value < 0xDC00;
    if (is_high && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      TG_ASSIGN(u32 low, hex_value(4));
      if (low >= 0xDC00 && low < 0xE000)
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
    }
    return as_char(value);
  }

  Grammar& grammar_;
  RegexOptions options_;
  i64 depth_ = 0;
};

// How JSON escapes a character that cannot stand for itself in a string.
std::string json_escape(u32 c) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\b': return "\\b";
    case '\f': return "\\f";
    default: break;
  }
  constexpr char kDigits[] = "0123456789abcdef";
  return std::string("\\u00") + kDigits[c >> 4] + kDigits[c & 15];
}

}  // namespace

i32 add_json_chars(Grammar& grammar, const CharSet& set) {
  CharSet escaped({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  std::vector<i32> ways;
  CharSet raw = intersect(set, complement(escaped));
  if (!raw.is_empty()) ways.push_back(grammar.chars(raw));
  CharSet others = intersect(set, escaped);
  for (const CodeRange& range : others.ranges())
    for (u32 c = range.first; c <= range.last; ++c) ways.push_back(grammar.bytes(json_escape(c)));
  return grammar.choice(std::move(ways));
}

Result<i32> add_regex(Grammar& grammar, std::string_view pattern, const RegexOptions& options) {
  return RegexParser(grammar, pattern, options).run();
}

Result<Grammar> parse_regex(std::string_view pattern) {
  Grammar grammar;
  grammar.root = grammar.add_rule("regex");
  TG_ASSIGN(i32 body, add_regex(grammar, pattern, {}));
  grammar.set_body(grammar.root, body);
  TG_TRY(grammar.check_limits());
  return grammar;
}

}  // namespace tg::grammar
