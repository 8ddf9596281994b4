// Whole replies: text, calls and reasoning in the ways that models write them. A table of shapes
// with replies they accept and refuse, with control tokens as tokens and as plain text.
#include "grammar/reply_grammar.h"

#include "grammar/cache.h"
#include "grammar/grammar_testing.h"

namespace tg::grammar {
namespace {

constexpr const char* kCity =
    R"({"type":"object","properties":{"city":{"type":"string"}},"required":["city"]})";
constexpr const char* kWhole = R"({"type":"integer"})";

CallLayout hermes() {
  return {.mark = "<tool_call>",
          .open = "<tool_call>\n{\"name\": \"",
          .middle = "\", \"arguments\": ",
          .close = "}\n</tool_call>",
          .next = "\n<tool_call>\n{\"name\": \""};
}

ReplyShape calling(CallLayout layout) {
  ReplyShape shape;
  shape.tools = {{"weather", kCity}, {"time", ""}};
  shape.calls = std::move(layout);
  return shape;
}

ReplyShape text_of(GrammarKind kind, std::string text) {
  ReplyShape shape;
  shape.text_kind = kind;
  shape.text = std::move(text);
  return shape;
}

struct Case {
  const char* name;
  ReplyShape shape;
  std::vector<std::string> accepted;
  std::vector<std::string> refused;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  const std::string weather =
      "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"x\"}}\n</tool_call>";
  const std::string time =
      "<tool_call>\n{\"name\": \"time\", \"arguments\": {\"any\": [1]}}\n</tool_call>";
  out.push_back({"text or calls",
                 calling(hermes()),
                 {"", "hello <tool", "Sure.\n" + weather, weather + "\n" + time, "<<tool_call"},
                 {weather + "x", "<tool_call>", weather + weather,
                  "<tool_call>\n{\"name\": \"other\", \"arguments\": {}}\n</tool_call>",
                  "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>"}});
  ReplyShape must = calling(hermes());
  must.may_be_text = false;
  out.push_back(
      {"calls only", must, {weather, time + "\n" + weather}, {"", "hello", "x" + weather}});
  must.is_single_call = true;
  out.push_back({"one call", must, {weather}, {weather + "\n" + time}});
  ReplyShape both = calling(hermes());
  both.text_kind = GrammarKind::kJsonSchema;
  both.text = kWhole;
  out.push_back({"a number or calls", both, {"12", weather}, {"", "12" + weather, "hello"}});
  ReplyShape thinks = text_of(GrammarKind::kJsonSchema, kWhole);
  thinks.think_open = "<think>";
  thinks.think_close = "</think>";
  out.push_back({"reasoning before text",
                 thinks,
                 {"7", "<think>\nwhy <x> </thin\n</think>\n\n7", "<think></think>7"},
                 {"<think>why", "<think>a</think>b</think>7", "7<think></think>"}});
  ReplyShape bare = calling(
      {.open = "{\"name\": \"", .middle = "\", \"parameters\": ", .close = "}", .next = ""});
  const std::string called = R"({"name": "weather", "parameters": {"city": "x"}})";
  out.push_back({"bare calls", bare, {"", "hi {", called}, {"{\"a\": 1}", "{", called + called}});
  ReplyShape channels = calling({.open = "<|channel|>commentary to=functions.",
                                 .middle = " <|constrain|>json<|message|>",
                                 .close = "",
                                 .next = ""});
  channels.text_open = "<|channel|>final<|message|>";
  channels.think_open = "<|channel|>analysis<|message|>";
  channels.think_close = "<|end|><|start|>assistant";
  channels.text_kind = GrammarKind::kJsonSchema;
  channels.text = kWhole;
  const std::string think = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant";
  const std::string call =
      "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"x\"}";
  const std::string final = "<|channel|>final<|message|>12";
  out.push_back({"channels",
                 channels,
                 {final, think + final, think + think + call},
                 {"12", think, think + "12", call + final, final + call}});
  out.push_back({"a list of calls",
                 calling({.mark = "[TOOL_CALLS]",
                          .open = "[TOOL_CALLS][{\"name\": \"",
                          .middle = "\", \"arguments\": ",
                          .close = "}",
                          .next = ", {\"name\": \"",
                          .end = "]"}),
                 {"[TOOL", "[TOOL_CALLS][{\"name\": \"time\", \"arguments\": {}}]",
                  "[TOOL_CALLS][{\"name\": \"time\", \"arguments\": {}}, {\"name\": \"time\", "
                  "\"arguments\": {}}]"},
                 {"[TOOL_CALLS]", "[TOOL_CALLS][{\"name\": \"time\", \"arguments\": {}}"}});
  return out;
}

const std::vector<std::string> kMarkers = {
    "<tool_call>", "</tool_call>", "<think>",       "</think>", "[TOOL_CALLS]",
    "<|channel|>", "<|message|>",  "<|constrain|>", "<|end|>",  "<|start|>"};

bool accepts(const ReplyShape& shape, const std::string& text,
             const std::vector<std::string>& markers) {
  Result<Grammar> grammar = reply_grammar(shape, markers);
  EXPECT_TRUE(grammar.ok()) << grammar.error().message;
  if (!grammar.ok()) return false;
  GrammarMatcher matcher(CompiledGrammar::create(*grammar, testing::small_table()).value());
  std::string written = with_markers(text, markers);
  return (written.empty() || matcher.accept_bytes(written)) && matcher.can_end();
}

TEST(ReplyGrammar, AcceptsAndRefusesWholeReplies) {
  for (const Case& c : cases()) {
    for (const std::vector<std::string>& markers : {std::vector<std::string>(), kMarkers}) {
      SCOPED_TRACE(std::string(c.name) + (markers.empty() ? ", as text" : ", as tokens"));
      for (const std::string& text : c.accepted)
        EXPECT_TRUE(accepts(c.shape, text, markers)) << text;
      for (const std::string& text : c.refused)
        EXPECT_FALSE(accepts(c.shape, text, markers)) << text;
    }
  }
}

// Where a control token is one token, no text may hold it, nor spell it where it means something.
TEST(ReplyGrammar, ControlTokensStandWhereTheyMeanSomething) {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  texts.emplace_back();  // The end.
  texts.push_back(marker_text("<tool_call>"));
  std::shared_ptr<const TokenTable> table =
      std::make_shared<const TokenTable>(TokenTable::create(texts, {256}));
  constexpr TokenId kOpen = 257;
  ReplyShape shape = calling(hermes());
  const std::vector<std::string> markers = {"<tool_call>"};
  GrammarMatcher matcher(
      CompiledGrammar::create(reply_grammar(shape, markers).value(), table).value());
  std::vector<u64> mask(static_cast<std::size_t>(matcher.words()));
  matcher.fill_mask(mask);
  EXPECT_TRUE(testing::has_bit(mask, kOpen));
  ASSERT_TRUE(matcher.accept_bytes("Text."));
  ASSERT_TRUE(matcher.accept(kOpen));
  matcher.fill_mask(mask);
  EXPECT_FALSE(testing::has_bit(mask, kOpen));
  ASSERT_TRUE(matcher.accept_bytes("\n{\"name\": \"time\", \"arguments\": {\"a\": \""));
  matcher.fill_mask(mask);
  EXPECT_TRUE(testing::has_bit(mask, 'x'));
  EXPECT_FALSE(testing::has_bit(mask, kOpen)) << "inside a string";
}

TEST(ReplyGrammar, ErrorsNameTheTool) {
  ReplyShape shape = calling(hermes());
  shape.tools[0].parameters = R"({"type":"object","properties":{"a":{"not":{}}}})";
  Result<Grammar> grammar = reply_grammar(shape, {});
  ASSERT_FALSE(grammar.ok());
  EXPECT_EQ(grammar.error().code, Code::kUnsupported);
  EXPECT_TRUE(grammar.error().message.starts_with("tool 'weather': ")) << grammar.error().message;
  EXPECT_NE(grammar.error().message.find("not at #/properties/a"), std::string::npos)
      << grammar.error().message;
  ReplyShape nothing;
  nothing.may_be_text = false;
  EXPECT_FALSE(reply_grammar(nothing, {}).ok());
}

TEST(ReplyGrammar, TheCacheTellsShapesApart) {
  std::shared_ptr<const TokenTable> tokens = testing::small_table();
  ModelGrammars grammars(tokens);
  ReplyShape a = text_of(GrammarKind::kJsonSchema, kWhole);
  std::shared_ptr<const CompiledGrammar> compiled = grammars.get(a).value();
  EXPECT_EQ(grammars.get(a).value(), compiled);
  ReplyShape b = a;
  b.written = "1";
  EXPECT_EQ(grammars.get(b).value(), compiled) << "what is written is the matcher's business";
  for (void (*change)(ReplyShape&) :
       {+[](ReplyShape& s) { s.text = kCity; }, +[](ReplyShape& s) { s.text_open = "a"; },
        +[](ReplyShape& s) { s.think_open = s.think_close = "t"; },
        +[](ReplyShape& s) {
          s.tools = {{"f", ""}};
        },
        +[](ReplyShape& s) {
          s.text_kind = GrammarKind::kRegex;
          s.text = "1";
        }}) {
    ReplyShape other = a;
    change(other);
    EXPECT_NE(grammars.get(other).value(), compiled);
  }
}

TEST(ReplyGrammar, MarkersAreTheLongestThatFit) {
  const std::vector<std::string> markers = {"<a>", "<a><b>"};
  EXPECT_EQ(with_markers("x<a>y<a><b>", markers),
            "x" + marker_text("<a>") + "y" + marker_text("<a><b>"));
  EXPECT_EQ(with_markers("plain", {}), "plain");
}

}  // namespace
}  // namespace tg::grammar
