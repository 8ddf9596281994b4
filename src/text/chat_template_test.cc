// Chat templates: the table of small templates beside this file, every published template of the
// shared data, limits and errors.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/hash.h"

namespace tg {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The conversation and variables of testdata/refresh.py.
const std::vector<ChatMessage>& conversation() {
  static const std::vector<ChatMessage> messages = {
      {"system", "Be brief."},
      {"user", " Hello  \n"},
      {"assistant", "Hi \u2014 \"there\"!"},
      {"user", "How's \u65e5\u672c?"},
  };
  return messages;
}

ChatTemplate::RenderOptions options() {
  return {.bos_token = "<s>", .eos_token = "</s>", .unix_seconds = 1753272000};
}

constexpr const char* kVariables =
    R"({"d": {"a": 1, "b": [1, 2, 3], "c": {"x": "y"}}, "n": 7, "f": 2.5, "s": "Hello World",
        "u": "d\u00e9j\u00e0 \u65e5\u672c \ud83d\ude00", "l": [3, 1, 2], "yes": true, "nil": null,
        "users": [{"name": "bob", "age": 3, "ok": true}, {"name": "Al", "age": 1, "ok": false},
                  {"name": "cy", "age": 2}]})";

Result<std::string> render(std::string_view source, std::span<const ChatMessage> messages,
                           const ChatTemplate::RenderOptions& render_options) {
  TG_ASSIGN(ChatTemplate chat_template, ChatTemplate::parse(source));
  return chat_template.render(messages, render_options);
}

Result<std::string> render(std::string_view source) {
  return render(source, conversation(), options());
}

TEST(ChatTemplate, RendersTheTableAsJinja2Does) {
  std::string text = read_file(TG_SOURCE_DIR "/src/text/testdata/jinja_cases.txt");
  ChatTemplate::RenderOptions with_variables = options();
  with_variables.variables_json = kVariables;
  const std::string separator = "\n### ";
  int count = 0;
  for (std::size_t at = text.find(separator); at != text.npos;) {
    std::size_t next = text.find(separator, at + 1);
    if (next == text.npos) break;
    std::string block = text.substr(at + separator.size(), next - at - separator.size());
    at = next;
    std::size_t line = block.find('\n');
    std::size_t middle = block.find("\n---\n");
    ASSERT_NE(middle, block.npos) << block;
    std::string expected = block.substr(middle + 5);
    Result<std::string> result =
        render(block.substr(line + 1, middle - line - 1), conversation(), with_variables);
    EXPECT_EQ(result.ok() ? *result : "!error", expected)
        << block.substr(0, line) << (result.ok() ? "" : ": " + result.error().message);
    ++count;
  }
  EXPECT_GT(count, 70);
}

// First half of the SHA-256 of what jinja2 renders (refresh.py --hashes) over the conversation
// without its system message; "error" where the template itself refuses it.
struct Published {
  const char* name;
  const char* digest;
};

constexpr Published kPublished[] = {
    {"Apertus-8B-Instruct", "f0ab784b59d5bb1a"},
    {"Apriel-1.6-15b-Thinker-fixed", "e085dea741b13c62"},
    {"ByteDance-Seed-OSS", "23ab7119765e08aa"},
    {"Cohere2MoE", "f9272554c98d09ef"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "3c9668064e394e30"},
    {"GLM-4.6", "32e1e317327bddd9"},
    {"GigaChat3-10B-A1.8B", "a93ec9a7234ddbf7"},
    {"GigaChat3.1-10B-A1.8B", "a93ec9a7234ddbf7"},
    {"Kimi-K2-Instruct", "616996b6c896b098"},
    {"Kimi-K2-Thinking", "653fa054f1abae54"},
    {"LFM2-8B-A1B", "29f2b913c6e96b59"},
    {"LFM2.5-8B-A1B", "29f2b913c6e96b59"},
    {"MiMo-VL", "90ed2a27528c5856"},
    {"MiniMax-M1", "c4dc88f53648335c"},
    {"MiniMax-M3", "29e9b0fba8dae287"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "0631bb33d73adba4"},
    {"NVIDIA-Nemotron-Nano-v2", "675126d11c0490ab"},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "error"},
    {"Qwen-QwQ-32B", "c6cf506c0db2573b"},
    {"Qwen-Qwen2.5-7B-Instruct", "851b7faca15e0d46"},
    {"Qwen3-Coder", "4175b87258fcc583"},
    {"Qwen3.5-4B", "b0593db8822355b5"},
    {"Spark2.5", "9edd17387c6d01d9"},
    {"StepFun3.5-Flash", "e8842c98321c9ec9"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "8b57b7414cc029b4"},
    {"deepseek-ai-DeepSeek-V3.1", "52810582905a52d2"},
    {"deepseek-ai-DeepSeek-V4-Flash-0731", "a85f78fa12e928d6"},
    {"deepseek-ai-DeepSeek-V4", "a85f78fa12e928d6"},
    {"google-gemma-2-2b-it", "08e4159c4ee8b005"},
    {"google-gemma-4-31B-it-interleaved", "2f97216afc7ee8d7"},
    {"ibm-granite-granite-3.3-2B-Instruct", "935af79a80477328"},
    {"ibm-granite-granite-4.0", "4ce2cfc1255b51e5"},
    {"inclusionai-ling-3.0-flash", "0dc9c14c0d9c252f"},
    {"llama-cpp-deepseek-r1", "d5eb3b1148307ce6"},
    {"meetkai-functionary-medium-v3.1", "c86ecfe03f9389ba"},
    {"meetkai-functionary-medium-v3.2", "d76402eb8a3580c4"},
    {"meta-llama-Llama-3.2-3B-Instruct", "cc5dbf54712a548a"},
    {"meta-llama-Llama-3.3-70B-Instruct", "db6c527d3bb06579"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "3a3149bf031cfa3f"},
    {"mistralai-Mistral-Nemo-Instruct-2407", "60e402232e7bc6f5"},
    {"muse-glimmer", "793411f0dad69301"},
    {"openai-gpt-oss-120b", "25202cc560672b71"},
    {"poolside-Laguna-S-2.1", "dd95204fb9c1abae"},
    {"poolside-Laguna-XS-2.1", "922f5829fcd85d42"},
    {"tencent-Hy3", "bae99c8d50d32425"},
    {"unsloth-Apriel-1.5", "4b3e7b9d43bed776"},
    {"upstage-Solar-Open-100B", "51fe1d610566b9f0"},
};

TEST(ChatTemplate, RendersPublishedTemplates) {
  std::string folder = TG_SOURCE_DIR "/../shared/data/models/chat-templates/";
  if (read_file(folder + kPublished[0].name + ".jinja").empty()) GTEST_SKIP() << "no shared data";
  for (const Published& published : kPublished) {
    std::string source = read_file(folder + published.name + ".jinja");
    ASSERT_FALSE(source.empty()) << published.name;
    Result<std::string> text = render(source, std::span(conversation()).subspan(1), options());
    std::string digest = text.ok() ? to_hex(sha256(*text)).substr(0, 16) : "error";
    EXPECT_EQ(digest, published.digest)
        << published.name << ": " << (text.ok() ? *text : text.error().message);
  }
}

struct BadTemplate {
  const char* source;
  Code code;
  const char* message;
};

TEST(ChatTemplate, NamesWhatItRefuses) {
  constexpr BadTemplate kBad[] = {
      {"a\n{% include 'x' %}", Code::kUnsupported, "chat template line 2: tag 'include'"},
      {"{{ x | nope }}", Code::kUnsupported, "chat template line 1: filter 'nope'"},
      {"{{ x is nope }}", Code::kUnsupported, "chat template line 1: test 'nope'"},
      {"{% for x in y recursive %}", Code::kUnsupported, "chat template line 1: recursive loop"},
      {"{{ f(*x) }}", Code::kUnsupported, "chat template line 1: argument unpacking with '*'"},
      {"\n\n{{ 1 + }}", Code::kInvalid, "chat template line 3: unexpected '}}'"},
      {"{% if x %}", Code::kInvalid,
       "chat template line 1: block is not closed, no 'endif' follows"},
      {"{% endif %}", Code::kInvalid, "chat template line 1: tag 'endif'"},
      {"{{ 'abc }}", Code::kInvalid, "chat template line 1: string is not closed"},
      {"{{ 1", Code::kInvalid, "chat template line 1: tag is not closed"},
      {"{# x", Code::kInvalid, "chat template line 1: comment is not closed"},
      {"{{ (1] }}", Code::kInvalid, "chat template line 1: unexpected ']'"},
      {"{% break %}", Code::kInvalid, "chat template line 1: 'break' outside a loop"},
      {"{% for x in y %}{% set z %}{% break %}{% endset %}{% endfor %}", Code::kInvalid,
       "chat template line 1: 'break' outside a loop"},
      {"\xFF", Code::kInvalid, "chat template: not UTF-8"},
  };
  for (const BadTemplate& bad : kBad) {
    Result<ChatTemplate> parsed = ChatTemplate::parse(bad.source);
    ASSERT_FALSE(parsed.ok()) << bad.source;
    EXPECT_EQ(parsed.error().code, bad.code) << bad.source;
    EXPECT_EQ(parsed.error().message, bad.message);
  }
}

TEST(ChatTemplate, RaisedMessageIsTheError) {
  Result<std::string> result = render("{{ raise_exception('roles must alternate') }}");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::kInvalid);
  EXPECT_EQ(result.error().message, "chat template: roles must alternate");
}

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

// Each would run, recurse or grow without end.
TEST(ChatTemplate, LimitsHold) {
  const std::string sources[] = {
      "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{% endfor %}"
      "{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}"
      "{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set x = [1] %}{% set _ = x.append(x) %}{{ x }}",
      "{% set x = [1] %}{% set _ = x.append(x) %}{{ x == [1, x] }}{{ x | tojson }}",
      "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% endfor %}{{ ns.x }}",
      "{{ 'a' * 999999999999 }}",
      "{{ range(99999999999) }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ 2 ** 64 }}",
      "{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}",
      "{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}",
      "{{ 1" + repeated(" + 1", 5000) + " }}",
      "{{ " + repeated("-", 5000) + "1 }}",
      "{{ x" + repeated(".a", 5000) + " }}",
      repeated("{% if true %}", 5000) + repeated("{% endif %}", 5000),
      repeated("a", 2 << 20),
  };
  for (const std::string& source : sources) {
    Result<std::string> result = render(source);
    ASSERT_FALSE(result.ok()) << source.substr(0, 80);
    EXPECT_EQ(result.error().code, Code::kLimit) << source.substr(0, 80) << result.error().message;
  }
}

TEST(ChatTemplate, MessagesCarryFurtherFields) {
  std::vector<ChatMessage> messages = {
      {"assistant",
       "",
       {{"tool_calls", R"([{"function": {"name": "f", "arguments": {"x": 1}}}])"}}},
      {"tool", "ignored", {{"content", R"([{"type": "text", "text": "21"}])"}, {"name", "\"f\""}}},
  };
  ChatTemplate::RenderOptions with_tools = options();
  with_tools.tools_json = R"([{"name": "f"}])";
  Result<std::string> text = render(
      "{{ tools[0].name }} {{ messages[0].tool_calls[0].function.arguments | tojson }} "
      "{{ messages[1].content[0].text }} {{ messages[1].name }}",
      messages, with_tools);
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(*text, "f {\"x\": 1} 21 f");

  messages[0].extra[0].second = "[1,";
  text = render("x", messages, options());
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().message,
            "chat message field 'tool_calls': json: unexpected end at offset 3");
}

TEST(ChatTemplate, DatesFollowTheCalendar) {
  struct Case {
    i64 seconds;
    const char* text;
  };
  constexpr Case kCases[] = {
      {0, "1970-01-01 Thursday 001"},         {951782400, "2000-02-29 Tuesday 060"},
      {1735603200, "2024-12-31 Tuesday 366"}, {-1, "1969-12-31 Wednesday 365"},
      {4107542400, "2100-03-01 Monday 060"},
  };
  for (const Case& c : kCases) {
    ChatTemplate::RenderOptions at = options();
    at.unix_seconds = c.seconds;
    Result<std::string> text = render("{{ strftime_now('%Y-%m-%d %A %j') }}", {}, at);
    ASSERT_TRUE(text.ok());
    EXPECT_EQ(*text, c.text);
  }
}

}  // namespace
}  // namespace tg
