// Input files and upload forms: what is read, and what is refused with its place.
#include "gateway/batch/batch_input.h"

#include <gtest/gtest.h>

#include "gateway/batch/multipart.h"

namespace tg::gateway {
namespace {

constexpr std::string_view kUrl = "/v1/chat/completions";
constexpr std::string_view kGood =
    R"({"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}})";

TEST(BatchInput, ReadsLines) {
  std::string text = "\xEF\xBB\xBF" + std::string(kGood) + "\r\n\n  \n" +
                     R"({ "body" : { "x" : [1, 2] }, "custom_id":"b","method":"POST",)" +
                     R"("url":"/v1/chat/completions"})";
  BatchInput input = read_batch_input(text, kUrl);
  EXPECT_TRUE(input.problems.empty());
  ASSERT_EQ(input.lines.size(), 2u);
  EXPECT_EQ(input.lines[1].number, 4);
  EXPECT_EQ(input.lines[1].body, R"({"x":[1,2]})");
  EXPECT_EQ(input.model, "m");
}

TEST(BatchInput, NamesWhatIsWrong) {
  struct Case {
    std::string line;
    std::string code;
  };
  const Case kCases[] = {
      {"x", "invalid_json_line"},
      {"[]", "invalid_json_line"},
      {R"({"method":"POST"})", "invalid_custom_id"},
      {R"({"custom_id":"","method":"POST"})", "invalid_custom_id"},
      {R"({"custom_id":"b","method":"GET"})", "invalid_method"},
      {R"({"custom_id":"b","method":"POST","url":"/v1/embeddings","body":{}})",
       "mismatched_endpoint"},
      {R"({"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":[]})",
       "invalid_body"},
      {R"({"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{"stream":true}})",
       "invalid_body"},
      {std::string(kGood), "duplicate_custom_id"},
  };
  for (const Case& each : kCases) {
    BatchInput input = read_batch_input(std::string(kGood) + "\n" + each.line, kUrl);
    ASSERT_EQ(input.problems.size(), 1u) << each.line;
    EXPECT_EQ(input.problems[0].code, each.code);
    EXPECT_EQ(input.problems[0].line, 2);
  }
  EXPECT_EQ(read_batch_input(" \n", kUrl).problems[0].code, "empty_file");
}

TEST(Form, ReadsParts) {
  std::string body =
      "--b x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b x\r\n"
      "content-disposition: form-data; name=file; filename=\"a\\\"b.jsonl\"\r\ncontent-type: "
      "x/y\r\n\r\n--b\r\n\r\n{}\r\n--b x--\r\n";
  std::vector<FormPart> parts =
      parse_form("Multipart/Form-Data; charset=x; boundary=\"b x\"", body).value();
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].name, "purpose");
  EXPECT_EQ(parts[0].content, "batch");
  EXPECT_EQ(parts[1].filename, "a\"b.jsonl");
  EXPECT_EQ(parts[1].content, "--b\r\n\r\n{}");
}

TEST(Form, RefusesBroken) {
  const char* type = "multipart/form-data; boundary=b";
  EXPECT_FALSE(parse_form("application/json", "").ok());
  EXPECT_FALSE(parse_form("multipart/form-data", "--b--").ok());
  for (const char* body : {"", "--c\r\n", "--b", "--b\r\nx", "--b\r\nx\r\n--b--",
                           "--b\r\n\r\nno name\r\n--b--", "--bx\r\n--b--"}) {
    EXPECT_FALSE(parse_form(type, body).ok()) << body;
  }
  EXPECT_TRUE(parse_form(type, "--b--").value().empty());
}

}  // namespace
}  // namespace tg::gateway
