// Replies of every family, cut in every way, against the parts they mean.
#include "text/reply_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace tg {
namespace {

// "R(reasoning) T(text) C:name(arguments)".
std::string shown(const std::vector<ReplyPart>& parts) {
  std::string out;
  const ReplyPart* last = nullptr;
  for (const ReplyPart& part : parts) {
    bool joins = last != nullptr && last->kind == part.kind && !part.is_new_call;
    if (joins) {
      out.pop_back();
    } else {
      if (last != nullptr) out += ' ';
      out += part.kind == ReplyPart::Kind::kText        ? "T("
             : part.kind == ReplyPart::Kind::kReasoning ? "R("
                                                        : "C:" + part.name + "(";
    }
    out += part.text + ")";
    last = &part;
  }
  return out;
}

std::string parsed(const ReplyParser::Options& options, const std::string& reply,
                   std::size_t piece) {
  ReplyParser parser(options);
  std::vector<ReplyPart> all;
  i64 decided = 0;
  for (std::size_t at = 0; at < reply.size(); at += piece) {
    parser.push(std::string_view(reply).substr(at, piece));
    EXPECT_GE(parser.decided(), decided);
    decided = parser.decided();
    for (ReplyPart& part : parser.take()) all.push_back(std::move(part));
  }
  parser.finish();
  EXPECT_EQ(parser.decided(), static_cast<i64>(reply.size())) << reply;
  for (ReplyPart& part : parser.take()) all.push_back(std::move(part));
  return shown(all);
}

#define TG_BAR "\xEF\xBD\x9C"
#define TG_LOW "\xE2\x96\x81"
#define TG_DS(words) "<" TG_BAR words TG_BAR ">"
const std::string kDsBegin = TG_DS("tool" TG_LOW "calls" TG_LOW "begin");
const std::string kDsCall = TG_DS("tool" TG_LOW "call" TG_LOW "begin");
const std::string kDsSep = TG_DS("tool" TG_LOW "sep");
const std::string kDsCallEnd = TG_DS("tool" TG_LOW "call" TG_LOW "end");
const std::string kDsEnd = TG_DS("tool" TG_LOW "calls" TG_LOW "end");

struct Row {
  CallSyntax calls;
  bool thinks;
  std::string reply;
  std::string parts;
};

const std::vector<Row>& rows() {
  using enum CallSyntax;
  static const std::vector<Row> table = {
      {kNone, false, "plain <tool_call>{}", "T(plain <tool_call>{})"},
      {kNone, false, "  spaces kept \n", "T(  spaces kept \n)"},
      // Reasoning.
      {kNone, true, "<think>\nwhy?\n</think>\n\nSo.", "R(why?) T(So.)"},
      {kNone, true, "\n<think>a</think>b<think>c</think>", "R(a) T(b<think>c</think>)"},
      {kNone, true, "No thought. <think>", "T(No thought. <think>)"},
      {kNone, true, "<think>cut off </thi", "R(cut off </thi)"},
      {kNone, true, "<thin", "T(<thin)"},
      {kNone, true, "<think>\n\n</think>\n\nyes", "T(yes)"},
      // Hermes and Qwen.
      {kHermes, false,
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"\"}}\n</tool_call>",
       "C:f({\"a\": \"}\\\"\"})"},
      {kHermes, false,
       "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>"
       "{\"arguments\": {\"x\": [1, {\"y\": 2}]}, \"name\": \"g\"}</tool_call>",
       "T(Let me see.) C:f({}) C:g({\"x\": [1, {\"y\": 2}]})"},
      {kHermes, false, "<tool_call>{\"name\": \"f\"}</tool_call> done", "C:f({}) T(done)"},
      {kHermes, false, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>",
       "C:f({\"a\":1})"},
      {kHermes, false, "<tool_call>{\"nome\": 1}</tool_call>",
       "T(<tool_call>{\"nome\": 1}</tool_call>)"},
      {kHermes, false, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1", "C:f({\"a\": 1)"},
      {kHermes, false, "<tool_call>{\"na", "T(<tool_call>{\"na)"},
      {kHermes, false, "a < b <tool", "T(a < b <tool)"},
      {kHermes, false, "ends in space \n", "T(ends in space \n)"},
      {kHermes, true,
       "<think>call f</think>\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
       "R(call f) C:f({})"},
      {kHermes, false,
       "<tool_call>\n<function=f>\n<parameter=city>\nParis\n</parameter>\n<parameter=n>\n3\n"
       "</parameter>\n</function>\n</tool_call>",
       "C:f({\"city\": \"Paris\", \"n\": 3})"},
      {kHermes, false,
       "<tool_call>f\n<arg_key>q</arg_key>\n<arg_value>two words</arg_value>\n</tool_call>",
       "C:f({\"q\": \"two words\"})"},
      {kHermes, false, "<tool_call>no call at all</tool_call>",
       "T(<tool_call>no call at all</tool_call>)"},
      // Mistral.
      {kMistral, false,
       "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"x\"}]",
       "C:f({\"a\": 1})"},
      {kMistral, false,
       "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}, {\"name\":\"g\",\"arguments\":{\"b\":[]}}]",
       "C:f({}) C:g({\"b\":[]})"},
      {kMistral, false, "Hm.[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]123456789[ARGS]{}",
       "T(Hm.) C:f({\"a\": 1}) C:g({})"},
      {kMistral, false, "a [list]", "T(a [list])"},
      // Llama 3.
      {kLlama3, false, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "C:f({\"a\": 1})"},
      {kLlama3, false,
       "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; "
       "{\"name\": \"g\", \"parameters\": {}}",
       "C:f({}) C:g({})"},
      {kLlama3, false, "{\"name\": \"Bob\", \"age\": 3}", "T({\"name\": \"Bob\", \"age\": 3})"},
      {kLlama3, false, "{\"a\": 1} is JSON", "T({\"a\": 1} is JSON)"},
      {kLlama3, false, "<|python_tag|>print(1)", "T(print(1))"},
      {kLlama3, false, "It is {\"name\": \"f\"}", "T(It is {\"name\": \"f\"})"},
      // DeepSeek.
      {kDeepSeek, true,
       "<think>h</think>" + kDsBegin + kDsCall + "function" + kDsSep +
           "f\n```json\n{\"a\": 1}\n```" + kDsCallEnd + "\n" + kDsCall + "function" + kDsSep +
           "g\n```json\n{}\n```" + kDsCallEnd + kDsEnd,
       "R(h) C:f({\"a\": 1}) C:g({})"},
      {kDeepSeek, false,
       "Now." + kDsBegin + kDsCall + "f" + kDsSep + "{\"a\": 1}" + kDsCallEnd + kDsEnd,
       "T(Now.) C:f({\"a\": 1})"},
      // Kimi.
      {kKimi, false,
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
       "{\"a\": 1}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}"
       "<|tool_call_end|><|tool_calls_section_end|>",
       "C:f({\"a\": 1}) C:g({})"},
      {kFunctionary, false, "<function=f>{\"a\": 1}</function><function=g>{}</function>",
       "C:f({\"a\": 1}) C:g({})"},
      // Harmony.
      {kHarmony, false,
       "<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>final<|message|>So.",
       "R(why) T(So.)"},
      {kHarmony, false,
       "<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.f <|constrain|>json<|message|>{\"a\": 1}<|call|>",
       "R(why) C:f({\"a\": 1})"},
      {kHarmony, false,
       "<|channel|>commentary<|message|>I will.<|end|><|start|>assistant to=functions.g<|channel|>"
       "commentary json<|message|>{}",
       "T(I will.) C:g({})"},
      {kHarmony, false, "no channels", "T(no channels)"},
      {kHarmony, false, "<|channel|>ana", ""},
  };
  return table;
}

ReplyParser::Options options_of(const Row& row) {
  ReplyParser::Options options;
  options.format.calls = row.calls;
  if (row.thinks) {
    options.format.think_open = "<think>";
    options.format.think_close = "</think>";
  }
  options.reads_calls = row.calls != CallSyntax::kNone;
  options.tool_names = {"f", "g"};
  return options;
}

TEST(ReplyParser, ReadsEveryFamilyHoweverItIsCut) {
  for (const Row& row : rows()) {
    for (std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}, row.reply.size()}) {
      EXPECT_EQ(parsed(options_of(row), row.reply, piece), row.parts)
          << row.reply << " / " << piece;
    }
  }
}

// Replies put together from markers, JSON and noise.
std::string random_reply(std::mt19937& random) {
  static const std::vector<std::string> kPieces = {"<think>",
                                                   "</think>",
                                                   "<tool_call>",
                                                   "</tool_call>",
                                                   "[TOOL_CALLS]",
                                                   "[ARGS]",
                                                   "[CALL_ID]",
                                                   "<|python_tag|>",
                                                   kDsBegin,
                                                   kDsCall,
                                                   kDsSep,
                                                   kDsCallEnd,
                                                   kDsEnd,
                                                   "<|tool_call_begin|>",
                                                   "<|tool_call_argument_begin|>",
                                                   "<|tool_call_end|>",
                                                   "<function=",
                                                   "</function>",
                                                   "<parameter=a>",
                                                   "</parameter>",
                                                   "<|channel|>",
                                                   "<|message|>",
                                                   "<|end|>",
                                                   "<|call|>",
                                                   "<|start|>",
                                                   "analysis",
                                                   "to=functions.f",
                                                   "{\"name\": \"f\", ",
                                                   "\"arguments\": ",
                                                   "{}",
                                                   "{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   ";",
                                                   "\"",
                                                   "\\",
                                                   "f",
                                                   " ",
                                                   "\n",
                                                   "text",
                                                   "<",
                                                   ":",
                                                   "1",
                                                   "null",
                                                   "```json",
                                                   "```",
                                                   "\"parameters\": {\"a\": [1, \"x\"]}"};
  std::string out;
  for (int i = static_cast<int>(random() % 16); i >= 0; --i)
    out += kPieces[random() % kPieces.size()];
  return out;
}

TEST(ReplyParser, AnyReplyIsReadTheSameHoweverItIsCut) {
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    ReplyParser::Options options =
        options_of({static_cast<CallSyntax>(random() % 8), random() % 2 == 0, "", ""});
    options.is_in_reasoning = !options.format.think_open.empty() && random() % 4 == 0;
    options.calls_max = static_cast<i64>(random() % 3);
    std::string reply = random_reply(random);
    std::string whole = parsed(options, reply, reply.size());
    for (std::size_t piece : {std::size_t{1}, 1 + random() % 9}) {
      ASSERT_EQ(parsed(options, reply, piece), whole)
          << reply << "\nsyntax " << static_cast<int>(options.format.calls) << " piece " << piece;
    }
  }
}

TEST(ReplyParser, PassesTextThroughAtOnce) {
  ReplyParser parser;
  parser.push("<think>");
  EXPECT_EQ(shown(parser.take()), "T(<think>)");
}

TEST(ReplyParser, StreamsArgumentsBeforeTheCallEnds) {
  ReplyParser parser(options_of({CallSyntax::kHermes, false, "", ""}));
  parser.push("<tool_call>{\"name\": \"f\", ");
  EXPECT_EQ(shown(parser.take()), "C:f()");
  parser.push("\"arguments\": {\"a\":");
  EXPECT_EQ(parser.take().at(0).text, "{\"a\":");
  parser.push(" 1}");
  EXPECT_EQ(parser.take().at(0).text, " 1}");
}

TEST(ReplyParser, HoldsOnlyWhatMayBecomeAMarker) {
  ReplyParser parser(options_of({CallSyntax::kHermes, false, "", ""}));
  parser.push("ab <tool_");
  EXPECT_EQ(shown(parser.take()), "T(ab)");
  EXPECT_EQ(parser.decided(), 2);
  parser.push("x");
  EXPECT_EQ(shown(parser.take()), "T( <tool_x)");
}

TEST(ReplyParser, StopsAfterTheLastCallWanted) {
  ReplyParser::Options options = options_of({CallSyntax::kHermes, false, "", ""});
  options.calls_max = 1;
  std::string call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  EXPECT_EQ(parsed(options, call + call + "more", 5), "C:f({})");
}

TEST(ReplyParser, GoesOnFromAPromptThatOpenedTheReasoning) {
  ReplyParser::Options options = options_of({CallSyntax::kNone, true, "", ""});
  options.is_in_reasoning = true;
  EXPECT_EQ(parsed(options, "\nhm\n</think>\n\nYes.", 3), "R(hm) T(Yes.)");
}

// ---- what templates say -------------------------------------------------------------------------

constexpr const char* kTemplates = TG_SOURCE_DIR "/../shared/data/models/chat-templates";

struct Published {
  const char* name;
  CallSyntax calls;
  bool has_tools;
  bool thinks;
  bool wants_object;
};

TEST(ReplyFormat, KnowsPublishedTemplates) {
  if (!std::filesystem::exists(kTemplates)) GTEST_SKIP() << "no " << kTemplates;
  using enum CallSyntax;
  const Published table[] = {
      {"Qwen-Qwen2.5-7B-Instruct", kHermes, true, false, true},
      {"Qwen-QwQ-32B", kHermes, true, true, true},
      {"Qwen3-Coder", kHermes, true, false, true},
      {"Qwen3.5-4B", kHermes, true, true, true},
      {"GLM-4.6", kHermes, true, true, true},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", kHermes, true, false, true},
      {"mistralai-Mistral-Nemo-Instruct-2407", kMistral, true, false, true},
      {"Mistral-Small-3.2-24B-Instruct-2506", kMistral, true, false, true},
      {"meta-llama-Llama-3.2-3B-Instruct", kLlama3, true, false, true},
      {"meta-llama-Llama-3.3-70B-Instruct", kLlama3, true, false, true},
      {"deepseek-ai-DeepSeek-V3.1", kDeepSeek, false, true, true},
      {"llama-cpp-deepseek-r1", kDeepSeek, true, true, true},
      {"Kimi-K2-Instruct", kKimi, true, false, true},
      {"meetkai-functionary-medium-v3.1", kFunctionary, true, false, true},
      {"openai-gpt-oss-120b", kHarmony, true, false, true},
      {"google-gemma-2-2b-it", kNone, false, false, true},
  };
  for (const Published& row : table) {
    std::filesystem::path path = std::filesystem::path(kTemplates) / row.name;
    path += ".jinja";
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    Result<ChatTemplate> chat_template = ChatTemplate::parse(text.str());
    ASSERT_TRUE(chat_template.ok()) << row.name;
    ReplyFormat format = reply_format_of(*chat_template);
    EXPECT_EQ(format.calls, row.calls) << row.name;
    EXPECT_EQ(format.has_tools, row.has_tools) << row.name;
    EXPECT_EQ(!format.think_open.empty(), row.thinks) << row.name;
    EXPECT_EQ(format.wants_object_arguments, row.wants_object) << row.name;
  }
}

// Calls written as the layout says are read as calls, one and several.
void expect_layout_is_read(const ReplyFormat& format, const std::string& name) {
  SCOPED_TRACE(name);
  for (int calls : {1, 2}) {
    if (calls > 1 && format.call_next.empty()) continue;
    std::string reply;
    for (int i = 0; i < calls; ++i) {
      reply += (i == 0 ? format.call_open : format.call_next) + "f" + format.call_middle +
               "{\"a\": 1}" + format.call_close;
    }
    reply += format.calls_end;
    ReplyParser parser({.format = format, .reads_calls = true, .tool_names = {"f"}});
    parser.push(reply);
    parser.finish();
    EXPECT_EQ(parser.calls(), calls) << reply;
    for (const ReplyPart& part : parser.take()) {
      EXPECT_EQ(part.kind, ReplyPart::Kind::kCall) << reply << " " << part.text;
      EXPECT_TRUE(!part.is_new_call || part.name == "f") << part.name;
      EXPECT_TRUE(part.text.empty() || part.text == "{\"a\": 1}") << part.text;
    }
    EXPECT_TRUE(reply.starts_with(format.call_mark));
  }
}

TEST(ReplyFormat, LayoutsAreReadAsCalls) {
  int known = 0;
  for (const char* mark : {"<tool_call>", "[TOOL_CALLS]", "[TOOL_CALLS] [ARGS]", "<|python_tag|>",
                           "</function>", "<|channel|>", "<tool_call><function="}) {
    std::string source = "{% if false %}" + std::string(mark) +
                         "{% endif %}{{ tools | tojson }}{% for m in messages %}{{ m.content }}"
                         "{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}"
                         "{% endfor %}{% endfor %}";
    ReplyFormat format = reply_format_of(ChatTemplate::parse(source).value());
    ASSERT_TRUE(format.has_tools) << mark;
    if (!format.has_json_calls) continue;
    expect_layout_is_read(format, mark);
    ++known;
  }
  EXPECT_EQ(known, 6);
  if (!std::filesystem::exists(kTemplates)) GTEST_SKIP() << "no " << kTemplates;
  for (const auto& entry : std::filesystem::directory_iterator(kTemplates)) {
    if (entry.path().extension() != ".jinja") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    Result<ChatTemplate> parsed = ChatTemplate::parse(text.str());
    if (!parsed.ok()) continue;
    ReplyFormat format = reply_format_of(*parsed);
    if (format.has_json_calls) expect_layout_is_read(format, entry.path().stem().string());
  }
}

TEST(ReplyFormat, TriesHowArgumentsAreWritten) {
  constexpr const char* kStart =
      "{{ tools | tojson }}{% for m in messages %}{{ m.content }}"
      "{% for c in m.tool_calls %}<tool_call>{\"name\": \"f\", "
      "\"arguments\": ";
  for (auto [print, wants_object] : {std::pair{"{{ c.function.arguments }}", false},
                                     std::pair{"{{ c.function.arguments | tojson }}", true}}) {
    std::string source = kStart + std::string(print) + "}</tool_call>{% endfor %}{% endfor %}";
    ReplyFormat format = reply_format_of(ChatTemplate::parse(source).value());
    EXPECT_TRUE(format.has_tools);
    EXPECT_EQ(format.wants_object_arguments, wants_object) << print;
  }
}

TEST(ReplyFormat, ABareTemplateHasNothing) {
  ChatTemplate bare =
      ChatTemplate::parse("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
          .value();
  ReplyFormat format = reply_format_of(bare);
  EXPECT_EQ(format.calls, CallSyntax::kNone);
  EXPECT_FALSE(format.has_tools || format.has_reasoning());
  EXPECT_TRUE(format.markers().empty());
}

}  // namespace
}  // namespace tg
