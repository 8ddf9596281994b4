#include "gateway/batch/batch_input.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <unordered_set>

#include "base/bytes.h"

namespace tg::gateway {
namespace {

namespace dom = simdjson::dom;
constexpr std::size_t kCustomIdBytesMax = 512;

std::optional<std::string> text_of(dom::object object, std::string_view name) {
  std::string_view value;
  if (object[name].get(value) != simdjson::SUCCESS) return std::nullopt;
  return std::string(value);
}

class Reader {
 public:
  explicit Reader(std::string_view endpoint) : endpoint_(endpoint) {}

  void read(std::string_view text, i64 number) {
    if (std::optional<BatchProblem> problem = read_line(text, number)) {
      problem->line = number;
      if (out_.problems.size() < kBatchProblemsMax) out_.problems.push_back(*std::move(problem));
    }
  }
  BatchInput take() { return std::move(out_); }

 private:
  std::optional<BatchProblem> read_line(std::string_view text, i64 number) {
    dom::element root;
    dom::object line;
    bool is_object = parser_.parse(simdjson::padded_string(text)).get(root) == simdjson::SUCCESS &&
                     root.get(line) == simdjson::SUCCESS;
    if (!is_object) return problem("invalid_json_line", "the line is no JSON object");
    std::optional<std::string> id = text_of(line, "custom_id");
    if (!id || id->empty() || id->size() > kCustomIdBytesMax)
      return problem("invalid_custom_id", "'custom_id' must be a text of 1 to 512 bytes",
                     "custom_id");
    if (!ids_.insert(*id).second)
      return problem("duplicate_custom_id", "'custom_id' was used by a line before", "custom_id");
    if (text_of(line, "method") != "POST")
      return problem("invalid_method", "'method' must be \"POST\"", "method");
    if (text_of(line, "url") != endpoint_)
      return problem("mismatched_endpoint",
                     fmt::format("'url' must be the batch's endpoint, {}", endpoint_), "url");
    dom::object body;
    if (line["body"].get(body) != simdjson::SUCCESS)
      return problem("invalid_body", "'body' must be an object", "body");
    bool is_stream = false;
    if (body["stream"].get(is_stream) == simdjson::SUCCESS && is_stream)
      return problem("invalid_body", "a batch's requests cannot be streamed", "body.stream");
    if (out_.model.empty()) out_.model = text_of(body, "model").value_or("");
    out_.lines.push_back(
        {.number = number, .custom_id = *std::move(id), .body = simdjson::minify(body)});
    return std::nullopt;
  }
  static BatchProblem problem(std::string code, std::string message, std::string param = "") {
    return {.code = std::move(code), .message = std::move(message), .param = std::move(param)};
  }

  std::string endpoint_;
  dom::parser parser_;
  std::unordered_set<std::string> ids_;
  BatchInput out_;
};

}  // namespace

bool is_batch_endpoint(std::string_view path) {
  return path == "/v1/chat/completions" || path == "/v1/completions" || path == "/v1/embeddings" ||
         path == "/v1/responses";
}

BatchInput read_batch_input(std::string_view text, std::string_view endpoint) {
  Reader reader(endpoint);
  BatchInput wrong;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  i64 number = 0;
  i64 requests = 0;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    if (++requests > kBatchLinesMax) {
      wrong.problems.push_back(
          {.code = "too_many_requests",
           .message = fmt::format("a batch has at most {} requests", kBatchLinesMax)});
      return wrong;
    }
    reader.read(line, number);
  }
  if (requests == 0) {
    wrong.problems.push_back({.code = "empty_file", .message = "the input file has no requests"});
    return wrong;
  }
  return reader.take();
}

}  // namespace tg::gateway
