// Request bodies: what is understood, and a table of what is refused with which field named.
#include "gateway/chat_request.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace tg::gateway {
namespace {

constexpr const char* kMessages = R"("model":"m","messages":[{"role":"user","content":"hi"}])";

CompletionRequest accepted(Api api, const std::string& body) {
  ApiResult<CompletionRequest> result = parse_completion_request(api, body);
  const ApiError* error = std::get_if<ApiError>(&result);
  EXPECT_EQ(error, nullptr) << body << ": " << (error ? error->message : "");
  return error ? CompletionRequest{} : std::get<CompletionRequest>(result);
}

CompletionRequest chat_with(const std::string& more) {
  return accepted(Api::kChat, fmt::format("{{{},{}}}", kMessages, more));
}

TEST(ChatRequest, ReadsEveryParameter) {
  CompletionRequest r = chat_with(R"("max_tokens":7,"temperature":0.5,"top_p":0.9,"top_k":40,
      "min_p":0.05,"n":3,"stop":["a","b"],"seed":-1,"presence_penalty":1,"frequency_penalty":-2,
      "repetition_penalty":1.1,"logit_bias":{"50":-100,"7":1.5},"logprobs":true,"top_logprobs":4,
      "stream":true,"stream_options":{"include_usage":true},"user":"u","ignore_eos":true)");
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(r.messages.at(0).content, "hi");
  EXPECT_EQ(r.max_tokens, 7);
  EXPECT_EQ(r.sampling.temperature, 0.5f);
  EXPECT_EQ(r.sampling.top_p, 0.9f);
  EXPECT_EQ(r.sampling.top_k, 40);
  EXPECT_EQ(r.sampling.min_p, 0.05f);
  EXPECT_EQ(r.sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(r.sampling.presence_penalty, 1.0f);
  EXPECT_EQ(r.sampling.frequency_penalty, -2.0f);
  EXPECT_EQ(r.sampling.seed, ~u64{0});
  EXPECT_TRUE(r.has_seed);
  EXPECT_EQ(r.sampling.logprobs, 4);
  EXPECT_EQ(r.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(r.sampling.logit_bias[0], (std::pair<i32, f32>{50, -100.0f}));
  EXPECT_EQ(r.n, 3);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(r.is_stream && r.include_usage && r.ignore_eos);
}

TEST(ChatRequest, DefaultsAreOpenAis) {
  CompletionRequest r = chat_with(R"("temperature":null,"unheard_of":{"a":[1]},"tools":[],
      "store":false,"metadata":{},"response_format":{"type":"text"},"modalities":["text"])");
  EXPECT_FALSE(r.max_tokens.has_value());
  EXPECT_EQ(r.sampling.temperature, 1.0f);
  EXPECT_EQ(r.sampling.top_p, 1.0f);
  EXPECT_EQ(r.sampling.logprobs, -1);
  EXPECT_EQ(r.n, 1);
  EXPECT_FALSE(r.is_stream || r.has_seed || r.include_usage);
}

TEST(ChatRequest, TheNewerTokenLimitWins) {
  EXPECT_EQ(chat_with(R"("max_tokens":1,"max_completion_tokens":2)").max_tokens, 2);
  EXPECT_EQ(chat_with(R"("max_completion_tokens":2,"max_tokens":1)").max_tokens, 2);
  EXPECT_EQ(chat_with(R"("max_tokens":16.0)").max_tokens, 16);
}

TEST(ChatRequest, ReadsContentParts) {
  CompletionRequest r = accepted(Api::kChat, R"({"model":"m","messages":[
      {"role":"developer","content":"be brief"},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":null}]})");
  EXPECT_EQ(r.messages[0].role, "system");
  EXPECT_EQ(r.messages[1].content, "a\nb");
  EXPECT_EQ(r.messages[2].content, "");
}

TEST(ChatRequest, ReadsToolsAndTheirMessages) {
  CompletionRequest r = accepted(Api::kChat, R"({"model":"m","messages":[
      {"role":"user","content":"weather?"},
      {"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
      {"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"sun"}]}],
      "tools":[{"type":"function","function":{"name":"f","description":"\u003cd>",
                "parameters":{"type":"object"}}}],
      "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,
      "reasoning_effort":"low","chat_template_kwargs":{"a": true}})");
  EXPECT_EQ(r.messages[1].reasoning, "hm");
  EXPECT_EQ(r.messages[1].calls.at(0), (ToolCall{"c1", "f", R"({"x":1})"}));
  EXPECT_EQ(r.messages[2].call_id, "c1");
  EXPECT_EQ(r.messages[2].content, "sun");
  EXPECT_EQ(r.tools.at(0).name, "f");
  // No escape can hide a control token's text from the guard.
  EXPECT_EQ(r.tools.at(0).function,
            R"({"name":"f","description":"<d>","parameters":{"type":"object"}})");
  EXPECT_EQ(r.tool_choice.kind, ToolChoice::Kind::kRequired);
  EXPECT_EQ(r.tool_choice.name, "f");
  EXPECT_FALSE(r.parallel_tool_calls);
  EXPECT_EQ(r.reasoning_effort, "low");
  EXPECT_EQ(r.template_variables, R"({"a":true})");
  EXPECT_EQ(chat_with(R"("tool_choice":"none")").tool_choice.kind, ToolChoice::Kind::kNone);
}

TEST(ChatRequest, ReadsPrompts) {
  CompletionRequest r = accepted(Api::kCompletions, R"({"model":"m","prompt":"x","logprobs":3})");
  EXPECT_EQ(std::get<std::string>(r.prompts.at(0)), "x");
  EXPECT_EQ(r.sampling.logprobs, 3);
  r = accepted(Api::kCompletions, R"({"model":"m","prompt":["x","y"],"echo":false})");
  EXPECT_EQ(r.prompts.size(), 2u);
  r = accepted(Api::kCompletions, R"({"model":"m","prompt":[1,2]})");
  EXPECT_EQ(std::get<1>(r.prompts.at(0)), (std::vector<TokenId>{1, 2}));
  r = accepted(Api::kCompletions, R"({"model":"m","prompt":[[1],[2,3]]})");
  EXPECT_EQ(std::get<1>(r.prompts.at(1)), (std::vector<TokenId>{2, 3}));
}

// Found by chat_request_fuzz: the second one has no effort to repeat.
TEST(ChatRequest, ReasoningMayComeTwice) {
  CompletionRequest r = accepted(
      Api::kResponses, R"({"model":"m","input":"x","reasoning":{"effort":"low"},"reasoning":{}})");
  EXPECT_EQ(r.reasoning_effort, "low");
  EXPECT_EQ(r.responses->effort, "\"low\"");
}

struct Refused {
  const char* fields;  // Beside model and messages.
  const char* param;
  const char* code;
  const char* says;  // Part of the message.
};

constexpr Refused kRefusedFields[] = {
    {R"("temperature":"hot")", "temperature", "invalid_type", "a number, not \"hot\""},
    {R"("temperature":2.5)", "temperature", "invalid_value", "between 0 and 2, not 2.5"},
    {R"("temperature":-0.1)", "temperature", "invalid_value", "-0.1"},
    {R"("temperature":true)", "temperature", "invalid_type", "true"},
    {R"("top_p":1.01)", "top_p", "invalid_value", "1.01"},
    {R"("min_p":-1)", "min_p", "invalid_value", "-1"},
    {R"("top_k":-2)", "top_k", "invalid_value", "-2"},
    {R"("top_k":1.5)", "top_k", "invalid_type", "an integer, not 1.5"},
    {R"("repetition_penalty":0)", "repetition_penalty", "invalid_value", "0"},
    {R"("presence_penalty":3)", "presence_penalty", "invalid_value", "3"},
    {R"("frequency_penalty":-3)", "frequency_penalty", "invalid_value", "-3"},
    {R"("max_tokens":0)", "max_tokens", "invalid_value", "not 0"},
    {R"("max_tokens":-5)", "max_tokens", "invalid_value", "-5"},
    {R"("max_tokens":"many")", "max_tokens", "invalid_type", "many"},
    {R"("max_tokens":18446744073709551615)", "max_tokens", "invalid_value", "1844674407370955161"},
    {R"("n":0)", "n", "invalid_value", "between 1 and 8, not 0"},
    {R"("n":9)", "n", "invalid_value", "9"},
    {R"("stop":"")", "stop", "invalid_value", "empty"},
    {R"("stop":["a","b","c","d","e"])", "stop", "invalid_value", "more than 4"},
    {R"("stop":5)", "stop", "invalid_type", "5"},
    {R"("stop":[1])", "stop", "invalid_type", "1"},
    {R"("seed":"x")", "seed", "invalid_type", "x"},
    {R"("logit_bias":[])", "logit_bias", "invalid_type", "an object"},
    {R"("logit_bias":{"a":1})", "logit_bias", "invalid_value", "'logit_bias.a' is not a token id"},
    {R"("logit_bias":{"-1":1})", "logit_bias", "invalid_value", "-1"},
    {R"("logit_bias":{"5":101})", "logit_bias.5", "invalid_value", "101"},
    {R"("logprobs":3)", "logprobs", "invalid_type", "true or false, not 3"},
    {R"("logprobs":true,"top_logprobs":21)", "top_logprobs", "invalid_value", "21"},
    {R"("top_logprobs":2)", "top_logprobs", "invalid_value", "only allowed with 'logprobs'"},
    {R"("stream":"yes")", "stream", "invalid_type", "yes"},
    {R"("stream_options":{"include_usage":true})", "stream_options", "invalid_value", "stream"},
    {R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage",
     "invalid_type", "1"},
    {R"("user":7)", "user", "invalid_type", "7"},
    {R"("tools":[{"type":"function"}])", "tools[0].function", "missing_required_parameter",
     "required"},
    {R"("tools":[{"type":"web_search"}])", "tools[0]", "unsupported", "web_search"},
    {R"("tools":[{"type":"function","function":{"name":"a b"}}])", "tools[0].function.name",
     "invalid_value", "a b"},
    {R"("tools":[{"type":"function","function":{}}])", "tools[0].function.name",
     "missing_required_parameter", "required"},
    {R"("tools":7)", "tools", "invalid_type", "7"},
    {R"("tool_choice":"required")", "tool_choice", "invalid_value", "'tools'"},
    {R"("tool_choice":"sometimes")", "tool_choice", "invalid_value", "sometimes"},
    {R"("tools":[{"type":"function","function":{"name":"f"}}],
        "tool_choice":{"type":"function","function":{"name":"g"}})",
     "tool_choice", "invalid_value", "'g'"},
    {R"("parallel_tool_calls":1)", "parallel_tool_calls", "invalid_type", "1"},
    {R"("chat_template_kwargs":[])", "chat_template_kwargs", "invalid_type", "an object"},
    {R"("reasoning_effort":3)", "reasoning_effort", "invalid_type", "3"},
    {R"("functions":[{}])", "functions", "unsupported", "'functions'"},
    {R"("response_format":{"type":"xml"})", "response_format", "unsupported", "xml"},
    {R"("response_format":{"type":"json_schema"})", "response_format.schema",
     "missing_required_parameter", "schema"},
    {R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})",
     "response_format.json_schema.schema", "missing_required_parameter", "schema"},
    {R"("response_format":{"type":"json_schema","json_schema":{"schema":3}})",
     "response_format.json_schema.schema", "invalid_type", "3"},
    {R"("guided_regex":"a","guided_choice":["b"])", "guided_choice", "invalid_value",
     "only one may"},
    {R"("guided_choice":[])", "guided_choice", "invalid_value", "1 to"},
    {R"("guided_choice":[1])", "guided_choice[0]", "invalid_type", "1"},
    {R"("guided_json":1)", "guided_json", "invalid_type", "a JSON schema"},
    {R"("structured_outputs":[])", "structured_outputs", "invalid_type", "an object"},
    {R"("structured_outputs":{"structural_tag":"x"})", "structured_outputs.structural_tag",
     "unsupported", "structural_tag"},
    {R"("response_format":"json")", "response_format", "invalid_type", "'type'"},
    {R"("modalities":["text","audio"])", "modalities", "unsupported", "audio"},
    {R"("audio":{"voice":"x"})", "audio", "unsupported", "'audio'"},
};

TEST(ChatRequest, RefusesBadFieldsByName) {
  for (const Refused& c : kRefusedFields) {
    std::string body = fmt::format("{{{},{}}}", kMessages, c.fields);
    ApiResult<CompletionRequest> result = parse_completion_request(Api::kChat, body);
    const ApiError* error = std::get_if<ApiError>(&result);
    ASSERT_NE(error, nullptr) << c.fields;
    EXPECT_EQ(error->status, 400);
    EXPECT_EQ(error->type, "invalid_request_error");
    EXPECT_EQ(error->param, c.param) << c.fields;
    EXPECT_EQ(error->code, c.code) << c.fields;
    EXPECT_NE(error->message.find(c.says), std::string::npos) << c.fields << error->message;
  }
}

constexpr Refused kRefusedBodies[] = {
    {"", "", "invalid_json", "JSON"},
    {"{", "", "invalid_json", "JSON"},
    {"[]", "", "invalid_json", "object"},
    {"{\"model\":\"\xFF\"}", "", "invalid_json", "JSON"},
    {"{}", "model", "missing_required_parameter", "required"},
    {R"({"model":5})", "model", "invalid_type", "5"},
    {R"({"model":"m"})", "messages", "missing_required_parameter", "required"},
    {R"({"model":"m","messages":"hi"})", "messages", "invalid_type", "an array"},
    {R"({"model":"m","messages":[]})", "messages", "invalid_value", "empty"},
    {R"({"model":"m","messages":["hi"]})", "messages[0]", "invalid_value", "role"},
    {R"({"model":"m","messages":[{"role":"king","content":"x"}]})", "messages[0].role",
     "invalid_value", "king"},
    {R"({"model":"m","messages":[{"role":"function","content":"x"}]})", "messages[0].role",
     "unsupported", "function"},
    {R"({"model":"m","messages":[{"role":"tool","content":"x","tool_call_id":5}]})",
     "messages[0].tool_call_id", "invalid_type", "5"},
    {R"({"model":"m","messages":[{"role":"user"}]})", "messages[0].content", "invalid_value",
     "no 'content'"},
    {R"({"model":"m","messages":[{"role":"user","content":5}]})", "messages[0].content",
     "invalid_type", "5"},
    {R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
     "messages[0].content[0]", "unsupported", "image_url"},
    {R"({"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]})",
     "messages[0].content[0]", "invalid_value", "no 'text'"},
    {R"({"model":"m","messages":[{"role":"assistant","tool_calls":[{}]}]})",
     "messages[0].tool_calls[0]", "invalid_value", "'function'"},
    {R"({"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]})",
     "messages[0].tool_calls[0].function.name", "missing_required_parameter", "required"},
};

TEST(ChatRequest, RefusesBadBodies) {
  for (const Refused& c : kRefusedBodies) {
    ApiResult<CompletionRequest> result = parse_completion_request(Api::kChat, c.fields);
    const ApiError* error = std::get_if<ApiError>(&result);
    ASSERT_NE(error, nullptr) << c.fields;
    EXPECT_EQ(error->param, c.param) << c.fields;
    EXPECT_EQ(error->code, c.code) << c.fields;
    EXPECT_NE(error->message.find(c.says), std::string::npos) << c.fields << error->message;
  }
}

constexpr Refused kRefusedCompletions[] = {
    {R"("prompt":5)", "prompt", "invalid_type", "5"},
    {R"("prompt":[])", "prompt", "invalid_value", "empty"},
    {R"("prompt":[1,"a"])", "prompt[1]", "invalid_type", "a"},
    {R"("prompt":["a",1])", "prompt[1]", "invalid_type", "1"},
    {R"("prompt":[-1])", "prompt[0]", "invalid_value", "-1"},
    {R"("prompt":[2147483648])", "prompt[0]", "invalid_value", "2147483648"},
    {R"("prompt":"x","echo":true,"logprobs":1)", "echo", "unsupported", "logprobs"},
    {R"("prompt":"x","echo":"yes")", "echo", "invalid_type", "yes"},
    {R"("prompt":"x","suffix":"y")", "suffix", "unsupported", "suffix"},
    {R"("prompt":"x","best_of":2,"n":3)", "best_of", "invalid_value", "less than 'n'"},
    {R"("prompt":"x","best_of":2,"stream":true)", "best_of", "invalid_value", "streamed"},
    {R"("prompt":"x","best_of":9)", "best_of", "invalid_value", "9"},
    {R"("prompt":"x","logprobs":true)", "logprobs", "invalid_type", "true"},
};

TEST(ChatRequest, RefusesBadCompletions) {
  for (const Refused& c : kRefusedCompletions) {
    std::string body = fmt::format(R"({{"model":"m",{}}})", c.fields);
    ApiResult<CompletionRequest> result = parse_completion_request(Api::kCompletions, body);
    const ApiError* error = std::get_if<ApiError>(&result);
    ASSERT_NE(error, nullptr) << c.fields;
    EXPECT_EQ(error->param, c.param) << c.fields;
    EXPECT_EQ(error->code, c.code) << c.fields;
    EXPECT_NE(error->message.find(c.says), std::string::npos) << c.fields << error->message;
  }
}

}  // namespace
}  // namespace tg::gateway
