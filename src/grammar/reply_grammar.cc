#include "grammar/reply_grammar.h"

#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace tg::grammar {
namespace {

constexpr char kMark = '\xFF';
constexpr u8 kTextByteMax = 0xFE;
// Space that models write between reasoning and reply.
constexpr i64 kSpaceMax = 4;

Result<Grammar> text_grammar(const ReplyShape& shape) {
  switch (shape.text_kind) {
    case GrammarKind::kJsonObject: return any_json_object({});
    case GrammarKind::kJsonSchema: return parse_json_schema(shape.text, {});
    case GrammarKind::kRegex: return parse_regex(shape.text);
    case GrammarKind::kGbnf: return parse_gbnf(shape.text);
    case GrammarKind::kFree: break;
  }
  return Error{Code::kInvalid, "grammar: free text has none"};
}

// Failure links of Knuth, Morris and Pratt: [i] is the longest proper border of the first i bytes.
std::vector<std::size_t> borders_of(std::string_view text) {
  std::vector<std::size_t> border(text.size() + 1, 0);
  for (std::size_t i = 1; i < text.size(); ++i) {
    std::size_t k = border[i];
    while (k > 0 && text[i] != text[k]) k = border[k];
    border[i + 1] = text[i] == text[k] ? k + 1 : 0;
  }
  return border;
}

std::size_t next_match(std::string_view text, const std::vector<std::size_t>& border,
                       std::size_t matched, char byte) {
  while (matched > 0 && text[matched] != byte) matched = border[matched];
  return text[matched] == byte ? matched + 1 : 0;
}

// Any bytes but kMark without `text` among them; `text` may be empty.
Automaton bytes_without(std::string_view text) {
  Automaton out;
  bool is_marker = !text.empty() && text[0] == kMark;
  if (text.empty() || is_marker) {
    out.add_state();
    out.states[0].edges.push_back({0, kTextByteMax, 0});
    out.states[0].is_final = true;
    return out;
  }
  std::vector<std::size_t> border = borders_of(text);
  for (std::size_t i = 0; i < text.size(); ++i) out.states[out.add_state()].is_final = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::vector<Edge>& edges = out.states[i].edges;
    for (int byte = 0; byte <= kTextByteMax; ++byte) {
      std::size_t to = next_match(text, border, i, static_cast<char>(byte));
      if (to == text.size()) continue;
      bool joins = !edges.empty() && edges.back().target == static_cast<i32>(to) &&
                   edges.back().last + 1 == byte;
      if (joins) {
        edges.back().last = static_cast<u8>(byte);
      } else {
        edges.push_back({static_cast<u8>(byte), static_cast<u8>(byte), static_cast<i32>(to)});
      }
    }
  }
  return out;
}

class ReplyBuilder {
 public:
  ReplyBuilder(const ReplyShape& shape, std::span<const std::string> markers)
      : shape_(shape), markers_(markers) {}

  Result<Grammar> run() {
    if (static_cast<i64>(shape_.tools.size()) > kToolsMax) {
      return Error{Code::kLimit, "grammar: " + std::to_string(shape_.tools.size()) +
                                     " tools, more than " + std::to_string(kToolsMax)};
    }
    i32 root = g_.add_rule("reply");
    TG_ASSIGN(i32 reply, body());
    std::vector<i32> parts;
    if (!shape_.think_open.empty()) parts.push_back(reasoning());
    parts.push_back(reply);
    g_.set_body(root, g_.sequence(std::move(parts)));
    g_.root = root;
    TG_TRY(g_.check_limits());
    return std::move(g_);
  }

 private:
  i32 literal(std::string_view text) { return g_.bytes(with_markers(text, markers_)); }
  i32 free_text(std::string_view without) {
    return g_.automaton(bytes_without(with_markers(without, markers_)));
  }

  i32 reasoning() {
    i32 text = free_text(shape_.think_close);
    std::vector<i32> parts = {literal(shape_.think_open), text, literal(shape_.think_close)};
    bool has_channels = !shape_.text_open.empty();
    if (!has_channels) {
      i32 space = g_.chars(CharSet({{'\n', '\n'}, {' ', ' '}}));
      parts.push_back(g_.repeat(space, 0, kSpaceMax));
    }
    return g_.repeat(g_.sequence(std::move(parts)), 0, has_channels ? kUnbounded : 1);
  }

  // A grammar of its own, as one expression of this one.
  Result<i32> embedded(Result<Grammar> made) {
    if (!made.ok()) return made.error();
    return g_.embed(*made);
  }

  Result<i32> body() {
    bool has_calls = !shape_.tools.empty();
    if (!has_calls && !shape_.may_be_text)
      return Error{Code::kUnsupported, "grammar: a reply without text and calls"};
    if (!has_calls) return text();
    TG_ASSIGN(i32 called, calls());
    if (!shape_.may_be_text) return called;
    bool is_free = shape_.text_kind == GrammarKind::kFree;
    if (is_free && !shape_.calls.mark.empty() && shape_.text_open.empty()) {
      return g_.sequence({free_text(shape_.calls.mark), g_.optional(called)});
    }
    if (is_free && shape_.text_open.empty()) return g_.choice({called, text_unlike_calls()});
    TG_ASSIGN(i32 written, text());
    return g_.choice({written, called});
  }

  Result<i32> text() {
    i32 inner = -1;
    if (shape_.text_kind == GrammarKind::kFree) {
      inner = free_text("");
    } else {
      TG_ASSIGN(inner, embedded(text_grammar(shape_)));
    }
    if (shape_.text_open.empty()) return inner;
    return g_.sequence({literal(shape_.text_open), inner});
  }

  // Where nothing marks calls, what begins as they do is one.
  i32 text_unlike_calls() {
    u32 first = static_cast<u8>(shape_.calls.open.empty() ? '{' : shape_.calls.open[0]);
    i32 other = g_.chars(complement(CharSet({{first, first}})));
    return g_.optional(g_.sequence({other, free_text("")}));
  }

  Result<i32> calls() {
    i32 rule = g_.add_rule("call");
    std::vector<i32> each;
    for (const ToolShape& tool : shape_.tools) {
      Result<i32> arguments = embedded(
          tool.parameters.empty() ? any_json_object({}) : parse_json_schema(tool.parameters, {}));
      if (!arguments.ok())
        return Error{arguments.error().code,
                     "tool '" + tool.name + "': " + arguments.error().message};
      each.push_back(g_.sequence({literal(tool.name + shape_.calls.middle), *arguments}));
    }
    g_.set_body(rule, g_.sequence({g_.choice(std::move(each)), literal(shape_.calls.close)}));
    std::vector<i32> parts = {literal(shape_.calls.open), g_.rule(rule)};
    if (!shape_.is_single_call && !shape_.calls.next.empty()) {
      i32 again = g_.sequence({literal(shape_.calls.next), g_.rule(rule)});
      parts.push_back(g_.repeat(again, 0, kUnbounded));
    }
    parts.push_back(literal(shape_.calls.end));
    return g_.sequence(std::move(parts));
  }

  const ReplyShape& shape_;
  std::span<const std::string> markers_;
  Grammar g_;
};

}  // namespace

std::string marker_text(std::string_view marker) {
  return kMark + std::string(marker) + kMark;
}

std::string with_markers(std::string_view text, std::span<const std::string> markers) {
  std::string out;
  while (!text.empty()) {
    std::string_view longest;
    for (const std::string& marker : markers) {
      if (text.starts_with(marker) && marker.size() > longest.size()) longest = marker;
    }
    out += longest.empty() ? std::string(1, text[0]) : marker_text(longest);
    text.remove_prefix(std::max<std::size_t>(1, longest.size()));
  }
  return out;
}

Result<Grammar> reply_grammar(const ReplyShape& shape, std::span<const std::string> markers) {
  return ReplyBuilder(shape, markers).run();
}

}  // namespace tg::grammar
