#include "grammar/gbnf.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "grammar/text_cursor.h"

namespace tg::grammar {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser : TextCursor {
 public:
  explicit GbnfParser(std::string_view text) : TextCursor(text) {}

  Result<Grammar> run() {
    if (static_cast<i64>(text_.size()) > kGbnfBytesMax)
      return Error{Code::kLimit, "gbnf: " + std::to_string(text_.size()) + " bytes, more than " +
                                     std::to_string(kGbnfBytesMax)};
    if (!is_utf8(text_)) return Error{Code::kInvalid, "gbnf: not UTF-8"};
    for (skip_space(); !is_end(); skip_space()) TG_TRY(rule());
    for (const Rule& r : grammar_.rules) {
      if (r.body < 0) return Error{Code::kInvalid, "gbnf: rule " + r.name + " is not defined"};
    }
    std::map<std::string, i32, std::less<>>::iterator root = names_.find("root");
    if (root == names_.end()) return Error{Code::kInvalid, "gbnf: there is no rule root"};
    grammar_.root = root->second;
    TG_TRY(grammar_.check_limits());
    return std::move(grammar_);
  }

 private:
  Error error(Code code, const std::string& what) const {
    std::string_view before = text_.substr(0, at_);
    i64 line = 1 + std::count(before.begin(), before.end(), '\n');
    return {code, "gbnf: " + what + " in line " + std::to_string(line)};
  }
  Error invalid(const std::string& what) const { return error(Code::kInvalid, what); }

  void skip_space() {
    while (!is_end()) {
      if (has('#')) {
        while (!is_end() && !has('\n')) ++at_;
      } else if (has(' ') || has('\t') || has('\n') || has('\r')) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string_view name() {
    std::size_t begin = at_;
    while (!is_end() && is_name_char(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  i32 rule_of(std::string_view text) {
    std::map<std::string, i32, std::less<>>::iterator found = names_.find(text);
    if (found != names_.end()) return found->second;
    i32 index = grammar_.add_rule(std::string(text));
    names_.emplace(std::string(text), index);
    return index;
  }

  // A name followed by "::=" begins the next rule.
  bool is_rule_start() {
    std::size_t begin = at_;
    bool has_name = !name().empty();
    skip_space();
    bool is_start = has_name && text_.substr(at_, 3) == "::=";
    at_ = begin;
    return is_start;
  }

  Status rule() {
    std::string_view text = name();
    if (text.empty()) return invalid("a rule's name is missing");
    i32 index = rule_of(text);
    if (grammar_.rules[index].body >= 0)
      return invalid("rule " + std::string(text) + " is defined twice");
    skip_space();
    if (text_.substr(at_, 3) != "::=") return invalid("'::=' is missing");
    at_ += 3;
    TG_ASSIGN(i32 body, alternatives());
    grammar_.set_body(index, body);
    if (!is_end() && !is_rule_start()) return invalid("unexpected '" + shown() + "'");
    return {};
  }

  std::string shown() const {
    u8 c = static_cast<u8>(text_[at_]);
    return c < 0x20 || c >= 0x7F ? "?" : std::string(1, text_[at_]);
  }

  Result<i32> alternatives() {
    if (++depth_ > kGbnfDepthMax)
      return error(Code::kLimit, "groups nest deeper than " + std::to_string(kGbnfDepthMax));
    std::vector<i32> branches;
    do {
      TG_ASSIGN(i32 branch, sequence());
      branches.push_back(branch);
    } while (take('|'));
    --depth_;
    return grammar_.choice(std::move(branches));
  }

  Result<i32> sequence() {
    std::vector<i32> parts;
    for (skip_space(); !is_end() && !has('|') && !has(')'); skip_space()) {
      if (is_name_char(text_[at_]) && is_rule_start()) break;
      TG_ASSIGN(i32 part, element());
      TG_ASSIGN(part, quantified(part));
      parts.push_back(part);
    }
    if (parts.empty()) return grammar_.bytes("");
    return grammar_.sequence(std::move(parts));
  }

  Result<i32> element() {
    if (take('"')) return literal();
    if (take('[')) return char_class();
    if (take('.')) return grammar_.chars(all_chars());
    if (take('(')) {
      TG_ASSIGN(i32 body, alternatives());
      if (!take(')')) return invalid("')' is missing");
      return body;
    }
    if (has('<') || has('!'))
      return error(Code::kUnsupported, "an element that names tokens is not supported");
    if (!is_name_char(text_[at_])) return invalid("unexpected '" + shown() + "'");
    return grammar_.rule(rule_of(name()));
  }

  Result<i32> quantified(i32 part) {
    skip_space();
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
      return part;
    }
    skip_space();
    if (has('*') || has('+') || has('?') || has('{')) return invalid("two quantifiers in a row");
    return grammar_.repeat(part, min, max);
  }

  Status bounds(i64& min, i64& max) {
    skip_space();
    bool has_min = !has(',');
    if (has_min) {
      TG_ASSIGN(min, count());
    }
    max = min;
    skip_space();
    if (take(',')) {
      skip_space();
      max = kUnbounded;
      if (!has('}')) {
        TG_ASSIGN(max, count());
      }
    }
    skip_space();
    if (!take('}')) return invalid("'}' is missing");
    if (max != kUnbounded && max < min) return invalid("bounds are out of order");
    return {};
  }

  Result<i64> count() {
    std::optional<i64> value = take_number(kRepeatMax);
    if (!value) return invalid("a bound is missing");
    if (*value > kRepeatMax)
      return error(Code::kLimit, "a repetition of more than " + std::to_string(kRepeatMax));
    return *value;
  }

  // Behind the opening quote. Neighbouring characters become one run of bytes; \x names a character
  // as \u does.
  Result<i32> literal() {
    std::vector<i32> parts;
    std::string bytes;
    while (!take('"')) {
      if (is_end() || has('\n')) return invalid("a literal is not closed");
      if (!has('\\')) {
        bytes.push_back(text_[at_++]);
        continue;
      }
      TG_ASSIGN(u32 c, character());
      CharSet set({{c, c}});
      if (set.is_empty()) return invalid("an escape that is no character");
      if (c < 0x80) {
        bytes.push_back(static_cast<char>(c));
        continue;
      }
      parts.push_back(grammar_.bytes(bytes));
      parts.push_back(grammar_.chars(set));
      bytes.clear();
    }
    parts.push_back(grammar_.bytes(bytes));
    return grammar_.sequence(std::move(parts));
  }

  Result<i32> char_class() {
    bool is_negated = take('^');
    std::vector<CodeRange> ranges;
    while (!take(']')) {
      if (is_end()) return invalid("a class is not closed");
      TG_ASSIGN(u32 first, character());
      u32 last = first;
      if (has('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        TG_ASSIGN(last, character());
        if (last < first) return invalid("a range out of order");
      }
      ranges.push_back({first, last});
    }
    CharSet set(std::move(ranges));
    return grammar_.chars(is_negated ? complement(set) : set);
  }

  Result<u32> character() {
    if (is_end()) return invalid("a class is not closed");
    if (!take('\\')) return next_char();
    if (is_end()) return invalid("nothing behind '\\'");
    char c = text_[at_++];
    switch (c) {
      case 'n': return u32{'\n'};
      case 'r': return u32{'\r'};
      case 't': return u32{'\t'};
      case 'x': return hex(2);
      case 'u': return hex(4);
      case 'U': return hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^': return u32{static_cast<u8>(c)};
      default: return invalid("an unknown escape");
    }
  }

  Result<u32> hex(i64 digits) {
    std::optional<u32> value = take_hex(digits);
    if (!value) return invalid("a hexadecimal digit is missing");
    return *value;
  }

  i64 depth_ = 0;
  Grammar grammar_;
  std::map<std::string, i32, std::less<>> names_;
};

}  // namespace

Result<Grammar> parse_gbnf(std::string_view text) {
  return GbnfParser(text).run();
}

}  // namespace tg::grammar
