// What clients ask of a reply's form, in every API's words, as the shape that the supplier gets;
// and what is refused, with the field, the keyword and its place named, before anything is charged.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

using grammar::GrammarKind;

constexpr const char* kSchema = R"({"type":"object","properties":{"a":{"type":"integer"}}})";
constexpr const char* kBad = R"({"type":"object","properties":{"a":{"not":{}}}})";

class StructuredTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    supplier_.set_script({.text = "{}", .tail = {kImEnd}});
    start();
  }
  // `fields` beside what every request of the API needs.
  std::string body(const std::string& path, const std::string& fields) {
    std::string asked = R"("messages":[{"role":"user","content":"hi"}])";
    if (path == "/v1/completions" || path == "/api/generate") asked = R"("prompt":"hi")";
    if (path == "/v1/responses") asked = R"("input":"hi")";
    if (path == "/v1/messages") asked += R"(,"max_tokens":50)";
    if (path.starts_with("/api/")) asked += R"(,"stream":false)";
    return fmt::format(R"({{"model":"tools",{},{}}})", asked, fields);
  }
  std::shared_ptr<const grammar::ReplyShape> shape_for(const std::string& path,
                                                       const std::string& fields) {
    Reply reply = ask(post(path, body(path, fields)));
    EXPECT_EQ(reply.status, 200) << path << " " << fields << " " << reply.body;
    return supplier_.submitted().empty() ? nullptr : supplier_.submitted().back().shape;
  }
};

struct Asked {
  const char* path;
  std::string fields;
  GrammarKind kind;
  std::string text;
};

TEST_F(StructuredTest, EveryApisWayOfAskingReachesTheSupplier) {
  const std::string schema = kSchema;
  const std::string named = R"({"type":"json_schema","json_schema":{"name":"x","strict":true,)"
                            R"("schema":)" +
                            schema + "}}";
  const std::string flat =
      R"({"type":"json_schema","name":"x","strict":true,"schema":)" + schema + "}";
  const Asked table[] = {
      {"/v1/chat/completions", R"("response_format":)" + named, GrammarKind::kJsonSchema, schema},
      {"/v1/chat/completions", R"("response_format":{"type":"json_object"})",
       GrammarKind::kJsonObject, ""},
      {"/v1/completions", R"("response_format":)" + named, GrammarKind::kJsonSchema, schema},
      {"/v1/chat/completions", R"("guided_json":)" + schema, GrammarKind::kJsonSchema, schema},
      {"/v1/chat/completions", R"("guided_json":"{\"type\":\"null\"}")", GrammarKind::kJsonSchema,
       R"({"type":"null"})"},
      {"/v1/chat/completions", R"("guided_regex":"[ab]+")", GrammarKind::kRegex, "[ab]+"},
      {"/v1/completions", R"("guided_grammar":"root ::= \"a\"")", GrammarKind::kGbnf,
       R"(root ::= "a")"},
      {"/v1/chat/completions", R"("guided_choice":["yes","n\"o\\\n"])", GrammarKind::kGbnf,
       R"(root ::= "yes" | "n\"o\\\x0A")"},
      {"/v1/chat/completions", R"("structured_outputs":{"regex":"a|b","json":null})",
       GrammarKind::kRegex, "a|b"},
      {"/v1/chat/completions", R"("structured_outputs":{"json_object":true})",
       GrammarKind::kJsonObject, ""},
      {"/v1/responses", R"("text":{"format":)" + flat + "}", GrammarKind::kJsonSchema, schema},
      {"/v1/responses", R"("text":{"format":{"type":"json_object"},"verbosity":"low"})",
       GrammarKind::kJsonObject, ""},
      {"/v1/messages", R"("output_format":{"type":"json_schema","schema":)" + schema + "}",
       GrammarKind::kJsonSchema, schema},
      {"/v1/messages",
       R"("output_config":{"format":{"type":"json_schema","schema":)" + schema + "}}",
       GrammarKind::kJsonSchema, schema},
      {"/api/chat", R"("format":"json")", GrammarKind::kJsonObject, ""},
      {"/api/chat", R"("format":)" + schema, GrammarKind::kJsonSchema, schema},
      {"/api/generate", R"("format":)" + schema, GrammarKind::kJsonSchema, schema},
  };
  for (const Asked& row : table) {
    SCOPED_TRACE(std::string(row.path) + " " + row.fields);
    std::shared_ptr<const grammar::ReplyShape> shape = shape_for(row.path, row.fields);
    ASSERT_NE(shape, nullptr);
    EXPECT_EQ(shape->text_kind, row.kind);
    EXPECT_EQ(shape->text, row.text);
    EXPECT_TRUE(shape->may_be_text && shape->tools.empty());
  }
  for (const char* path :
       {"/v1/chat/completions", "/v1/completions", "/v1/messages", "/api/chat"}) {
    EXPECT_EQ(shape_for(path, R"("temperature":1)"), nullptr) << path;
  }
  EXPECT_EQ(shape_for("/v1/chat/completions", R"("response_format":{"type":"text"})"), nullptr);
}

TEST_F(StructuredTest, AResponseRepeatsItsFormat) {
  std::string fields = R"("text":{"format":{"type":"json_schema","name":"x","schema":)" +
                       std::string(kSchema) + "}}";
  Json json = parse_json(ask(post("/v1/responses", body("/v1/responses", fields))).body);
  EXPECT_EQ(json["text"]["format"]["type"], "json_schema");
  EXPECT_EQ(json["text"]["format"]["schema"], parse_json(kSchema));
}

struct Refused {
  const char* path;
  std::string fields;
  std::vector<std::string> says;
};

TEST_F(StructuredTest, WhatCannotBeHeldIsRefusedByKeywordAndPlace) {
  const std::string bad = kBad;
  const std::vector<std::string> named = {"not at #/properties/a"};
  const Refused table[] = {
      {"/v1/chat/completions",
       R"("response_format":{"type":"json_schema","json_schema":{"schema":)" + bad + "}}",
       {"response_format.json_schema.schema", "not at #/properties/a"}},
      {"/v1/responses",
       R"("text":{"format":{"type":"json_schema","name":"x","schema":)" + bad + "}}",
       {"text.format.schema", "not at #/properties/a"}},
      {"/v1/messages", R"("output_format":{"type":"json_schema","schema":)" + bad + "}", named},
      {"/api/chat", R"("format":)" + bad, named},
      {"/v1/completions", R"("guided_json":)" + bad, {"guided_json", "not at #/properties/a"}},
      {"/v1/chat/completions", R"("guided_json":"{")", {"guided_json"}},
      {"/v1/chat/completions", R"("guided_regex":"a\\b")", {"guided_regex"}},
      {"/v1/chat/completions", R"("guided_grammar":"root ::= root \"a\"")", {"guided_grammar"}},
      {"/v1/chat/completions",
       R"("tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":)" + bad +
           "}}]",
       {"tools", "tool 'f'", "not at #/properties/a"}},
      {"/v1/messages",
       R"("tools":[{"name":"f","strict":true,"input_schema":)" + bad + "}]",
       {"tool 'f'", "not at #/properties/a"}},
  };
  for (const Refused& row : table) {
    Reply reply = ask(post(row.path, body(row.path, row.fields)));
    EXPECT_EQ(reply.status, 400) << row.path << row.fields << reply.body;
    for (const std::string& part : row.says) EXPECT_THAT(reply.body, ::testing::HasSubstr(part));
  }
  EXPECT_TRUE(supplier_.submitted().empty());
  EXPECT_TRUE(billing_.opened().empty()) << "refused before any hold";
}

std::string tool(const std::string& name, bool is_strict, const std::string& parameters) {
  return fmt::format(
      R"({{"type":"function","function":{{"name":"{}","strict":{},"parameters":{}}}}})", name,
      is_strict, parameters);
}

TEST_F(StructuredTest, StrictToolsAndForcedCallsHaveShapes) {
  const std::string path = "/v1/chat/completions";
  std::string loose = "\"tools\":[" + tool("f", false, kSchema) + "]";
  EXPECT_EQ(shape_for(path, loose), nullptr) << "nothing was promised";
  std::string strict =
      "\"tools\":[" + tool("f", true, kSchema) + "," + tool("g", false, kBad) + "]";
  std::shared_ptr<const grammar::ReplyShape> shape = shape_for(path, strict);
  ASSERT_NE(shape, nullptr);
  EXPECT_TRUE(shape->may_be_text);
  EXPECT_EQ(shape->tools, (std::vector<grammar::ToolShape>{{"f", kSchema}, {"g", ""}}));
  EXPECT_EQ(shape->calls.mark, "<tool_call>");
  EXPECT_EQ(shape->think_open, "<think>");
  EXPECT_EQ(shape->written, "");
  EXPECT_EQ(shape_for(path, strict + R"(,"tool_choice":"none")"), nullptr);
  shape = shape_for(path, loose + R"(,"tool_choice":"required")");
  ASSERT_NE(shape, nullptr);
  EXPECT_FALSE(shape->may_be_text || shape->is_single_call);
  EXPECT_EQ(shape->tools[0].parameters, kSchema);
  EXPECT_EQ(shape->written, "<tool_call>\n{\"name\": \"");
  // Nobody asked for strictness: a schema beyond the subset does not refuse the call.
  shape = shape_for(path, strict + R"(,"tool_choice":{"type":"function","function":{"name":"g"}})");
  ASSERT_NE(shape, nullptr);
  EXPECT_EQ(shape->tools, (std::vector<grammar::ToolShape>{{"g", ""}}));
  EXPECT_TRUE(shape->is_single_call);
  EXPECT_EQ(shape->written, "<tool_call>\n{\"name\": \"g\", \"arguments\": ");
}

TEST_F(StructuredTest, ASupplierThatCannotSaysSo) {
  supplier_.set_script({.refusal = Error{Code::kUnsupported, "no shapes here"}});
  Reply reply =
      ask(post("/v1/chat/completions",
               body("/v1/chat/completions", R"("response_format":{"type":"json_object"})")));
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, ::testing::HasSubstr("no shapes here"));
}

}  // namespace
}  // namespace tg::gateway
