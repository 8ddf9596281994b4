// Every API over real sockets with a scripted model: tools, reasoning, event orders, error shapes,
// and that the ways of asking agree on what was used.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/testing/json.h"
#include "text/reply_parser.h"

namespace tg::gateway {
namespace {

constexpr const char* kReply =
    "<think>\nwhy\n</think>\n\nSure.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "
    "{\"city\": \"Paris\"}}\n</tool_call>";
constexpr const char* kFunction =
    R"("name":"weather","description":"d","parameters":{"type":"object","properties":{}})";

class DialectTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    supplier_.set_script({.text = kReply, .tokens_per_event = 3, .tail = {kImEnd}});
    start();
  }
  void say(const std::string& text) {
    supplier_.set_script({.text = text, .tokens_per_event = 2, .tail = {kImEnd}});
  }
  Json ask_json(std::string_view path, const std::string& body, i32 status = 200) {
    Reply reply = ask(post(path, body));
    EXPECT_EQ(reply.status, status) << path << " " << body << " " << reply.body;
    return parse_json(reply.body);
  }
  std::string chat_body(const std::string& more) {
    return fmt::format(
        R"({{"model":"tools","messages":[{{"role":"user","content":"hi"}}],"tools":[{{"type":)"
        R"("function","function":{{{}}}}}]{}}})",
        kFunction, more);
  }
  std::string prompt() {
    std::string text;
    std::vector<fleet::SupplyRequest> all = supplier_.submitted();
    for (TokenId id : all.back().prompt) {
      if (id < 256) text.push_back(static_cast<char>(id));
    }
    return text;
  }
  // Named events, "event: X\ndata: {...}".
  static std::vector<std::pair<std::string, Json>> named_events(const Reply& reply) {
    std::vector<std::pair<std::string, Json>> out;
    std::string_view rest = reply.body;
    for (std::size_t end = rest.find("\n\n"); end != rest.npos; end = rest.find("\n\n")) {
      std::string_view event = rest.substr(0, end);
      rest.remove_prefix(end + 2);
      if (!event.starts_with("event: ")) continue;
      std::size_t line = event.find('\n');
      out.emplace_back(event.substr(7, line - 7),
                       parse_json(std::string(event.substr(event.find("data: ") + 6))));
    }
    return out;
  }
};

// ---- OpenAI chat
// ---------------------------------------------------------------------------------

TEST_F(DialectTest, ChatCallsATool) {
  Json json = ask_json("/v1/chat/completions", chat_body(""));
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Sure.");
  EXPECT_EQ(choice["message"]["reasoning_content"], "why");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "weather");
  EXPECT_EQ(call["function"]["arguments"], "{\"city\": \"Paris\"}");
  EXPECT_EQ(call["id"].get<std::string>().substr(0, 5), "call_");
  EXPECT_GT(json["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
  EXPECT_NE(prompt().find("\"name\": \"weather\""), std::string::npos) << prompt();
}

TEST_F(DialectTest, ChatStreamsTheSameCallForTheSameUsage) {
  Json whole = ask_json("/v1/chat/completions", chat_body(""));
  Reply reply = ask(post("/v1/chat/completions",
                         chat_body(R"(,"stream":true,"stream_options":{"include_usage":true})")));
  std::string text, reasoning, name, arguments, id, finish;
  Json usage;
  for (const std::string& event : reply.events()) {
    Json json = parse_json(event);
    if (!json.is_object()) continue;
    if (!json["usage"].is_null()) usage = json["usage"];
    if (json["choices"].empty()) continue;
    const Json& choice = json["choices"][0];
    text += choice["delta"].value("content", "");
    reasoning += choice["delta"].value("reasoning_content", "");
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    if (!choice["delta"].contains("tool_calls")) continue;
    const Json& call = choice["delta"]["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    id += call.value("id", "");
    name += call["function"].value("name", "");
    arguments += call["function"].value("arguments", "");
  }
  EXPECT_EQ(text, "Sure.");
  EXPECT_EQ(reasoning, "why");
  EXPECT_EQ(name, "weather");
  EXPECT_EQ(arguments, "{\"city\": \"Paris\"}");
  EXPECT_EQ(id.substr(0, 5), "call_");
  EXPECT_EQ(finish, "tool_calls");
  for (const char* field : {"prompt_tokens", "completion_tokens", "completion_tokens_details"}) {
    EXPECT_EQ(usage[field], whole["usage"][field]) << field;
  }
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, billing_.closed()[1].delivered_tokens);
}

TEST_F(DialectTest, AChoiceOfToolBeginsTheReply) {
  say("{\"city\": \"Rome\"}}\n</tool_call>");
  Json json =
      ask_json("/v1/chat/completions",
               chat_body(R"(,"tool_choice":{"type":"function","function":{"name":"weather"}})"));
  EXPECT_TRUE(prompt().ends_with("<tool_call>\n{\"name\": \"weather\", \"arguments\": "))
      << prompt();
  const Json& call = json["choices"][0]["message"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["arguments"], "{\"city\": \"Rome\"}");
  EXPECT_TRUE(json["choices"][0]["message"]["content"].is_null());
  say("weather\", \"arguments\": {}}\n</tool_call>");
  json = ask_json("/v1/chat/completions", chat_body(R"(,"tool_choice":"required")"));
  EXPECT_EQ(json["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "weather");
}

TEST_F(DialectTest, NoToolIsShownOrReadIfNoneIsWanted) {
  Json json = ask_json("/v1/chat/completions", chat_body(R"(,"tool_choice":"none")"));
  EXPECT_EQ(prompt().find("weather"), std::string::npos);
  EXPECT_NE(json["choices"][0]["message"]["content"].get<std::string>().find("<tool_call>"),
            std::string::npos);
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
}

TEST_F(DialectTest, OneCallIsEnoughIfTheyMayNotBeParallel) {
  std::string call = "<tool_call>{\"name\": \"weather\", \"arguments\": {}}</tool_call>";
  supplier_.set_script({.text = call + "\n" + call, .repeat = 50, .pause_us = 200});
  for (const char* stream : {"", R"(,"stream":true)"}) {
    Reply reply = ask(post("/v1/chat/completions",
                           chat_body(R"(,"parallel_tool_calls":false)" + std::string(stream))));
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.body.find("\"tool_calls\""), std::string::npos);
    EXPECT_EQ(reply.body.find("\"index\":1,"), std::string::npos);
  }
  ASSERT_TRUE(eventually([&] { return billing_.closed().size() == 2; }));
  EXPECT_EQ(supplier_.cancelled().size(), 2u);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kCompleted);
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, billing_.closed()[1].delivered_tokens);
}

// Wherever a client leaves, in text, in reasoning or in the middle of a call: what was shown to it
// is what it pays for, held back text and markup that led to nothing shown are not.
TEST_F(DialectTest, AnAbortChargesWhatWasShown) {
  std::string reply = kReply;
  ReplyParser::Options options;
  options.format = reply_format_of(tool_template());
  options.reads_calls = true;
  options.tool_names = {"weather"};
  std::size_t closed = 0;
  for (std::size_t k = 1; k <= reply.size(); k += 5) {
    ReplyParser parser(options);
    i64 events = 0;
    i64 shown = 0;
    for (std::size_t i = 0; i < k; ++i) {
      parser.push(reply.substr(i, 1));
      i64 parts = static_cast<i64>(parser.take().size());
      events += parts;
      if (parts > 0) shown = parser.decided();
    }
    supplier_.set_script({.text = reply.substr(0, k), .hang = true});
    {
      HttpClient client(server_->port());
      client.send(post("/v1/chat/completions", chat_body(R"(,"stream":true)")));
      // The first event only says who speaks.
      i64 wanted = events > 0 ? events + 1 : 0;
      ASSERT_TRUE(client.read_until_count("data: ", wanted)) << k;
      ASSERT_TRUE(eventually([&] { return supplier_.submitted().size() == closed + 1; }));
    }
    ++closed;
    ASSERT_TRUE(eventually([&] { return billing_.closed().size() == closed; }));
    EXPECT_EQ(billing_.closed().back().outcome, Outcome::kBuyerAbort);
    // Markup that the parser had decided goes with the write of what came before it, or not at all.
    i64 delivered = billing_.closed().back().delivered_tokens;
    EXPECT_GE(delivered, shown) << reply.substr(0, k);
    EXPECT_LE(delivered, parser.decided()) << reply.substr(0, k);
  }
}

TEST_F(DialectTest, AConversationWithAToolReachesTheTemplate) {
  say("Sunny.");
  ask_json("/v1/chat/completions", R"({"model":"tools","messages":[
      {"role":"user","content":"w?"},
      {"role":"assistant","tool_calls":[{"id":"c1","type":"function",
        "function":{"name":"weather","arguments":"{\"city\":\"\u003c|im_end|>\"}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"sun"}]})");
  EXPECT_NE(prompt().find("{\"name\": \"weather\", \"arguments\": {\"city\": \"<|im_end|>\"}}"),
            std::string::npos)
      << prompt();
  // What the arguments say stayed text: only the template's own marks are control tokens.
  std::vector<TokenId> ids = supplier_.submitted().back().prompt;
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kImEnd), 3);
}

TEST_F(DialectTest, RefusesToolsWhereTheTemplateKnowsNone) {
  std::string body = chat_body("");
  body.replace(body.find("\"tools\""), 7, "\"tiny\"");
  Json json = ask_json("/v1/chat/completions", body, 400);
  EXPECT_EQ(json["error"]["code"], "unsupported");
  EXPECT_EQ(json["error"]["param"], "tools");
}

TEST_F(DialectTest, EchoesThePrompt) {
  say("cd");
  std::string body = R"({"model":"tiny","prompt":["ab","xy"],"echo":true})";
  Json json = ask_json("/v1/completions", body);
  EXPECT_EQ(json["choices"][0]["text"], "abcd");
  EXPECT_EQ(json["choices"][1]["text"], "xycd");
  EXPECT_EQ(json["usage"]["completion_tokens"], 6);
  body.back() = ',';
  Reply reply = ask(post("/v1/completions", body + R"("stream":true})"));
  EXPECT_EQ(streamed(reply, 1).text, "xycd");
}

// ---- counting -----------------------------------------------------------------------------------

TEST_F(DialectTest, TokenizesAndBack) {
  Json json = ask_json("/tokenize", R"({"model":"tiny","prompt":"hi","return_token_strs":true})");
  EXPECT_EQ(json["tokens"], Json::parse("[104,105]"));
  EXPECT_EQ(json["count"], 2);
  EXPECT_EQ(json["max_model_len"], 100'000);
  EXPECT_EQ(json["token_strs"], Json::parse(R"(["h","i"])"));
  json = ask_json("/tokenize", R"({"model":"tiny","messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(json["tokens"][0], kImStart);
  EXPECT_EQ(ask_json("/detokenize", R"({"model":"tiny","tokens":[104,105,257]})")["prompt"],
            "hi<|im_end|>");
  EXPECT_EQ(supplier_.submitted().size(), 0u);
  EXPECT_EQ(billing_.opened().size(), 0u);
  ask_json("/detokenize", R"({"model":"tiny","tokens":[258]})", 400);
  ask_json("/detokenize", R"({"model":"none","tokens":[]})", 404);
  ask_json("/tokenize", R"({"model":"tiny"})", 400);
}

TEST_F(DialectTest, CountsForOtherApis) {
  Json json = ask_json("/v1/messages/count_tokens",
                       R"({"model":"tiny","messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(json["input_tokens"], 20);
  json = ask_json("/v1/responses/input_tokens", R"({"model":"tiny","input":"hi"})");
  EXPECT_EQ(json["input_tokens"], 20);
  EXPECT_EQ(json["object"], "response.input_tokens");
}

TEST_F(DialectTest, EstimatesOnlyWhatItCanPrice) {
  Json json = ask_json("/v1/estimate",
                       R"({"model":"tiny","messages":[{"role":"user","content":"hi"}]})", 400);
  EXPECT_NE(json["error"]["message"].get<std::string>().find("cost"), std::string::npos);
}

TEST_F(DialectTest, ModelsTellTheirCapabilities) {
  Reply reply = ask(get("/v1/models/tools", key_));
  Json json = parse_json(reply.body);
  EXPECT_EQ(json["tokengrid"]["capabilities"]["tools"], true);
  EXPECT_EQ(json["tokengrid"]["capabilities"]["reasoning"], true);
  json = parse_json(ask(get("/v1/models/tiny", key_)).body);
  EXPECT_EQ(json["tokengrid"]["capabilities"]["tools"], false);
}

// ---- Anthropic ----------------------------------------------------------------------------------

std::string messages_body(const std::string& more) {
  return R"({"model":"tools","max_tokens":500,"system":[{"type":"text","text":"Be brief.",)"
         R"("cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"}],)"
         R"("tools":[{"name":"weather","description":"d","input_schema":{"type":"object"}}])" +
         more + "}";
}

TEST_F(DialectTest, MessagesAnswerInBlocks) {
  Json json = ask_json("/v1/messages", messages_body(""));
  EXPECT_EQ(json["type"], "message");
  EXPECT_EQ(json["role"], "assistant");
  EXPECT_EQ(json["stop_reason"], "tool_use");
  EXPECT_TRUE(json["stop_sequence"].is_null());
  ASSERT_EQ(json["content"].size(), 3u);
  EXPECT_EQ(json["content"][0]["thinking"], "why");
  EXPECT_EQ(json["content"][1]["text"], "Sure.");
  EXPECT_EQ(json["content"][2]["type"], "tool_use");
  EXPECT_EQ(json["content"][2]["input"]["city"], "Paris");
  // Cached tokens are counted apart here.
  EXPECT_EQ(json["usage"]["cache_read_input_tokens"], 5);
  EXPECT_EQ(json["usage"]["input_tokens"].get<i64>() + 5,
            static_cast<i64>(supplier_.submitted().back().prompt.size()));
  EXPECT_NE(prompt().find("Be brief."), std::string::npos);
}

TEST_F(DialectTest, MessagesStreamInOrder) {
  Json whole = ask_json("/v1/messages", messages_body(""));
  Reply reply = ask(post("/v1/messages", messages_body(R"(,"stream":true)")));
  std::string order, input;
  Json last;
  for (const auto& [name, json] : named_events(reply)) {
    EXPECT_EQ(json["type"], name);
    std::string shown = name;
    if (name == "content_block_start") shown = json["content_block"]["type"];
    if (name == "content_block_delta") {
      shown = json["delta"]["type"];
      input += json["delta"].value("partial_json", "");
    }
    if (name == "message_delta") last = json;
    if (!order.ends_with(shown + " ")) order += shown + " ";
  }
  EXPECT_EQ(order,
            "message_start thinking thinking_delta content_block_stop text text_delta "
            "content_block_stop tool_use input_json_delta content_block_stop message_delta "
            "message_stop ");
  EXPECT_EQ(input, "{\"city\": \"Paris\"}");
  EXPECT_EQ(last["delta"]["stop_reason"], "tool_use");
  for (const char* field : {"input_tokens", "output_tokens", "cache_read_input_tokens"}) {
    EXPECT_EQ(last["usage"][field], whole["usage"][field]) << field;
  }
}

TEST_F(DialectTest, MessagesStopAtASequence) {
  say("one two three");
  Json json = ask_json("/v1/messages", R"({"model":"tools","max_tokens":50,"stop_sequences":[" tw"],
      "messages":[{"role":"user","content":"count"}]})");
  EXPECT_EQ(json["stop_reason"], "stop_sequence");
  EXPECT_EQ(json["stop_sequence"], " tw");
  EXPECT_EQ(json["content"][0]["text"], "one");
  json = ask_json("/v1/messages", R"({"model":"tools","max_tokens":3,
      "messages":[{"role":"user","content":"count"}]})");
  EXPECT_EQ(json["stop_reason"], "max_tokens");
}

TEST_F(DialectTest, MessagesTakeToolResults) {
  say("Sunny.");
  ask_json("/v1/messages", R"({"model":"tools","max_tokens":9,"messages":[
      {"role":"user","content":"w?"},
      {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},
        {"type":"text","text":"Let me."},{"type":"tool_use","id":"u1","name":"weather",
        "input":{"city":"Oslo"}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"u1",
        "content":[{"type":"text","text":"rain"}]},{"type":"text","text":"So?"}]}],
      "thinking":{"type":"disabled"}})");
  EXPECT_EQ(prompt(),
            "user\nw?\nassistant\nLet me.<tool_call>{\"name\": \"weather\", \"arguments\": "
            "{\"city\": \"Oslo\"}}</tool_call>\ntool\nrain\nuser\nSo?\nassistant\n"
            "<think>\n\n</think>\n\n");
}

// ---- errors -------------------------------------------------------------------------------------

struct Refused {
  const char* path;
  const char* body;
  i32 status;
  const char* says;  // Part of the message.
};

constexpr Refused kRefused[] = {
    {"/v1/messages", "{", 400, "JSON"},
    {"/v1/messages", R"({"model":"tools","messages":[{"role":"user","content":"x"}]})", 400,
     "max_tokens"},
    {"/v1/messages", R"({"model":"tools","max_tokens":5})", 400, "messages"},
    {"/v1/messages",
     R"({"model":"none","max_tokens":5,"messages":[{"role":"user","content":"x"}]})", 404, "none"},
    {"/v1/messages", R"({"model":"tools","max_tokens":5,"messages":[{"role":"user","content":[
        {"type":"image","source":{}}]}]})",
     400, "image input"},
    {"/v1/messages", R"({"model":"tools","max_tokens":5,"messages":[{"role":"user","content":[
        {"type":"tool_result"}]}]})",
     400, "tool_use_id"},
    {"/v1/messages", R"({"model":"tools","max_tokens":5,"messages":[{"role":"user","content":"x"}],
        "tools":[{"type":"web_search_20250305","name":"web_search"}]})",
     400, "web_search"},
    {"/v1/messages", R"({"model":"tools","max_tokens":5,"messages":[{"role":"user","content":"x"}],
        "tools":[{"name":7}]})",
     400, "name"},
    {"/v1/messages", R"({"model":"tools","max_tokens":5,"messages":[{"role":"user","content":"x"}],
        "tool_choice":{"type":"tool","name":"f"}})",
     400, "tool_choice"},
    {"/v1/responses", R"({"model":"tools"})", 400, "input"},
    {"/v1/responses", R"({"model":"tools","input":[{"type":"item_reference","id":"x"}]})", 400,
     "item_reference"},
    {"/v1/responses", R"({"model":"tools","input":"x","previous_response_id":"resp_0"})", 400,
     "resp_0"},
    {"/v1/responses", R"({"model":"tools","input":"x","background":true})", 400, "background"},
    {"/v1/responses", R"({"model":"tools","input":"x","text":{"format":{"type":"json_schema"}}})",
     400, "text.format.schema"},
    {"/v1/responses", R"({"model":"tools","input":"x","tools":[{"type":"web_search"}]})", 400,
     "web_search"},
    {"/v1/responses", R"({"model":"tools","input":[{"role":"user","content":[
        {"type":"input_image"}]}]})",
     400, "image input"},
    {"/api/chat", R"({"model":"tools"})", 400, "messages"},
    {"/api/chat", R"({"model":"tools","messages":[{"role":"user","content":"x","images":["y"]}]})",
     400, "image input"},
    {"/api/chat", R"({"model":"tools","messages":[{"role":"user","content":"x"}],"format":"xml"})",
     400, "format"},
    {"/api/chat", R"({"model":"nope","messages":[{"role":"user","content":"x"}]})", 404, "nope"},
    {"/api/generate", R"({"model":"tools"})", 400, "prompt"},
    {"/api/embed", "{}", 400, "model"},
    {"/v1/embeddings", R"({"model":"tools","input":"x"})", 400, "embeddings"},
};

TEST_F(DialectTest, RefusesInEachApisShape) {
  for (const Refused& c : kRefused) {
    Json json = ask_json(c.path, c.body, c.status);
    std::string path = c.path;
    std::string message;
    if (path.starts_with("/v1/messages")) {
      EXPECT_EQ(json["type"], "error") << c.body;
      EXPECT_EQ(json["error"]["type"],
                c.status == 404 ? "not_found_error" : "invalid_request_error");
      EXPECT_TRUE(json["request_id"].is_string());
      message = json["error"]["message"];
    } else if (path.starts_with("/api/")) {
      message = json["error"];
    } else {
      for (const char* key : {"message", "type", "param", "code"}) {
        EXPECT_TRUE(json["error"].contains(key)) << c.body;
      }
      message = json["error"]["message"];
    }
    EXPECT_NE(message.find(c.says), std::string::npos) << c.path << c.body << message;
  }
  EXPECT_EQ(billing_.opened().size(), 0u);
}

TEST_F(DialectTest, TakesAnthropicsKeyHeader) {
  std::string body = messages_body("");
  std::string request = post("/v1/messages", body);
  std::size_t at = request.find("authorization: Bearer ");
  request.replace(at, 22, "x-api-key: ");
  EXPECT_EQ(ask(request).status, 200);
  request.replace(request.find(key_), 8, "tg-wrong");
  Reply reply = ask(request);
  EXPECT_EQ(reply.status, 401);
  EXPECT_EQ(parse_json(reply.body)["error"]["type"], "authentication_error");
}

TEST_F(DialectTest, AFailingSupplierIsAnErrorEventInEveryStream) {
  for (const char* path : {"/v1/messages", "/v1/responses", "/api/chat"}) {
    supplier_.set_script({.text = "ab", .reason = fleet::FinishReason::kError});
    std::string body = R"({"model":"tools","max_tokens":9,"input":"hi","stream":true,)"
                       R"("messages":[{"role":"user","content":"hi"}]})";
    Reply reply = ask(post(path, body));
    EXPECT_EQ(reply.status, 200) << path;
    EXPECT_NE(reply.body.find("supplier of this model failed"), std::string::npos) << reply.body;
    EXPECT_EQ(reply.body.find("message_stop"), std::string::npos);
    EXPECT_EQ(reply.body.find("response.completed"), std::string::npos);
    EXPECT_EQ(reply.body.find("\"done\":true"), std::string::npos);
  }
}

// ---- responses ----------------------------------------------------------------------------------

std::string responses_body(const std::string& more) {
  return R"({"model":"tools","input":"hi","instructions":"Be brief.","metadata":{"a":"b"},)"
         R"("tools":[{"type":"function","name":"weather","parameters":{"type":"object"},)"
         R"("strict":true}])" +
         more + "}";
}

TEST_F(DialectTest, ResponsesAnswerInItems) {
  Json json = ask_json("/v1/responses", responses_body(""));
  EXPECT_EQ(json["object"], "response");
  EXPECT_EQ(json["status"], "completed");
  EXPECT_TRUE(json["error"].is_null() && json["incomplete_details"].is_null());
  ASSERT_EQ(json["output"].size(), 3u);
  EXPECT_EQ(json["output"][0]["type"], "reasoning");
  EXPECT_EQ(json["output"][0]["content"][0]["text"], "why");
  EXPECT_EQ(json["output"][1]["content"][0]["text"], "Sure.");
  EXPECT_EQ(json["output"][2]["type"], "function_call");
  EXPECT_EQ(json["output"][2]["name"], "weather");
  EXPECT_EQ(json["output"][2]["arguments"], "{\"city\": \"Paris\"}");
  EXPECT_EQ(json["metadata"]["a"], "b");
  EXPECT_EQ(json["tools"][0]["name"], "weather");
  EXPECT_EQ(json["store"], false);
  EXPECT_GT(json["usage"]["output_tokens"], 0);
  // Nothing is kept unasked.
  EXPECT_EQ(ask(get("/v1/responses/" + json["id"].get<std::string>(), key_)).status, 404);
}

TEST_F(DialectTest, ToolsThatNobodyHereRunsAreLeftOutBesideFunctions) {
  constexpr const char* kTools =
      R"({"model":"tools","input":"hi","tools":[{"type":"web_search"},)"
      R"({"type":"function","name":"weather","parameters":{"type":"object"}},)"
      R"({"type":"namespace","name":"many","tools":[]}]%s})";
  auto body = [&](const std::string& more) {
    std::string out = kTools;
    return out.replace(out.find("%s"), 2, more);
  };
  Reply reply = ask(post("/v1/responses", body("")));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.header("x-tokengrid-tools-left-out"), "web_search, namespace");
  Json json = Json::parse(reply.body);
  EXPECT_EQ(json["tools"].size(), 3u);
  EXPECT_EQ(json["output"][2]["name"], "weather");
  reply = ask(post("/v1/responses", body(R"(,"tool_choice":{"type":"web_search"})")));
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find("web_search"), std::string::npos);
}

TEST_F(DialectTest, ResponsesStreamTypedEvents) {
  Reply reply = ask(post("/v1/responses", responses_body(R"(,"stream":true)")));
  std::string order;
  i64 sequence = 0;
  Json last;
  for (const auto& [name, json] : named_events(reply)) {
    EXPECT_EQ(json["type"], name);
    EXPECT_EQ(json["sequence_number"], sequence++);
    std::string shown = name.substr(name.find('.') + 1);
    if (!order.ends_with(shown + " ")) order += shown + " ";
    last = json;
  }
  EXPECT_EQ(order,
            "created in_progress output_item.added content_part.added reasoning_text.delta "
            "reasoning_text.done content_part.done output_item.done output_item.added "
            "content_part.added output_text.delta output_text.done content_part.done "
            "output_item.done output_item.added "
            "function_call_arguments.delta function_call_arguments.done output_item.done "
            "completed ");
  Json whole = ask_json("/v1/responses", responses_body(""));
  EXPECT_EQ(last["response"]["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
  EXPECT_EQ(last["response"]["output"].size(), 3u);
}

TEST_F(DialectTest, ResponsesAreKeptContinuedAndDeleted) {
  say("first");
  Json kept = ask_json("/v1/responses", responses_body(R"(,"store":true)"));
  std::string path = "/v1/responses/" + kept["id"].get<std::string>();
  EXPECT_EQ(parse_json(ask(get(path, key_)).body), kept);
  EXPECT_EQ(ask(get(path, other_key_)).status, 404);
  Json items = parse_json(ask(get(path + "/input_items", key_)).body);
  EXPECT_EQ(items["data"][0]["content"][0]["text"], "hi");
  EXPECT_EQ(items["first_id"], items["data"][0]["id"]);
  EXPECT_EQ(parse_json(ask(get(path + "/input_items", key_)).body), items);
  EXPECT_EQ(ask(get(path + "/input_items?limit=101", key_)).status, 400);
  i64 charged = static_cast<i64>(billing_.closed().size());
  say("second");
  ask_json("/v1/responses", R"({"model":"tools","input":"more","previous_response_id":")" +
                                kept["id"].get<std::string>() + "\"}");
  EXPECT_EQ(prompt(), "user\nhi\nassistant\nfirst\nuser\nmore\nassistant\n");
  EXPECT_EQ(static_cast<i64>(billing_.closed().size()), charged + 1);
  Reply cancelled = ask(post(path + "/cancel", "{}"));
  EXPECT_EQ(cancelled.status, 400);
  std::string deletion = get(path, key_);
  deletion.replace(0, 3, "DELETE");
  EXPECT_EQ(parse_json(ask(deletion).body)["deleted"], true);
  EXPECT_EQ(ask(deletion).status, 404);
}

TEST_F(DialectTest, AResponseCanBeCancelledFromElsewhere) {
  supplier_.set_script({.text = "working ", .hang = true});
  HttpClient client(server_->port());
  client.send(post("/v1/responses", R"({"model":"tools","input":"x","stream":true})"));
  ASSERT_TRUE(client.read_until("output_text.delta"));
  // Its id stands in the first event; the supplier's one run is it.
  Reply reply = ask(post("/v1/responses/resp_0/cancel", "{}"));
  EXPECT_EQ(reply.status, 404);
  std::string id = client.unread().substr(client.unread().find("resp_"), 37);
  EXPECT_EQ(parse_json(ask(post("/v1/responses/" + id + "/cancel", "{}")).body)["status"],
            "cancelled");
  ASSERT_TRUE(client.read_until("response.failed"));
  EXPECT_EQ(supplier_.cancelled().size(), 1u);
}

// ---- Ollama -------------------------------------------------------------------------------------

constexpr const char* kOllamaChat =
    R"({"model":"tools:latest","messages":[{"role":"user","content":"hi"}],"tools":[{"type":)"
    R"("function","function":{"name":"weather","parameters":{}}}],"options":{"num_predict":500,)"
    R"("temperature":0,"num_ctx":4096})";

TEST_F(DialectTest, OllamaAnswersWhole) {
  Json json = ask_json("/api/chat", std::string(kOllamaChat) + R"(,"stream":false})");
  EXPECT_EQ(json["message"]["content"], "Sure.");
  EXPECT_EQ(json["message"]["thinking"], "why");
  EXPECT_EQ(json["message"]["tool_calls"][0]["function"]["arguments"]["city"], "Paris");
  EXPECT_EQ(json["done"], true);
  EXPECT_EQ(json["done_reason"], "stop");
  EXPECT_GT(json["eval_count"], 0);
  EXPECT_GT(json["total_duration"], 0);
}

TEST_F(DialectTest, OllamaStreamsLines) {
  Reply reply = ask(post("/api/chat", std::string(kOllamaChat) + "}"));
  EXPECT_EQ(reply.headers["content-type"], "application/x-ndjson");
  std::string content, thinking;
  i64 calls = 0, ends = 0;
  std::string_view rest = reply.body;
  for (std::size_t end = rest.find('\n'); end != rest.npos; end = rest.find('\n')) {
    Json json = parse_json(std::string(rest.substr(0, end)));
    rest.remove_prefix(end + 1);
    content += json["message"].value("content", "");
    thinking += json["message"].value("thinking", "");
    if (json["message"].contains("tool_calls")) ++calls;
    if (json["done"] == true) ++ends;
  }
  EXPECT_EQ(content, "Sure.");
  EXPECT_EQ(thinking, "why");
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(ends, 1);
}

TEST_F(DialectTest, OllamaGeneratesListsAndShows) {
  say("there");
  Json json =
      ask_json("/api/generate", R"({"model":"tools","prompt":"hi","system":"s","stream":false})");
  EXPECT_EQ(json["response"], "there");
  EXPECT_EQ(prompt(), "system\ns\nuser\nhi\nassistant\n");
  json = ask_json("/api/generate", R"({"model":"tools","prompt":"raw","raw":true,"stream":false})");
  EXPECT_EQ(prompt(), "raw");
  EXPECT_EQ(parse_json(ask(get("/api/tags", key_)).body)["models"][2]["name"], "tools");
  EXPECT_TRUE(parse_json(ask(get("/api/version", "")).body)["version"].is_string());
  json = ask_json("/api/show", R"({"model":"tools:latest"})");
  EXPECT_EQ(json["capabilities"], Json::parse(R"(["completion","tools","thinking"])"));
}

}  // namespace
}  // namespace tg::gateway
