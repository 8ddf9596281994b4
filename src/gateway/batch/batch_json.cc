#include "gateway/batch/batch_json.h"

#include <nlohmann/json.hpp>

#include "base/json_out.h"

namespace tg::gateway {
namespace {

struct StatusTime {
  BatchStatus status;
  const char* name;
};
constexpr StatusTime kTimes[] = {
    {BatchStatus::kInProgress, "in_progress_at"}, {BatchStatus::kFinalizing, "finalizing_at"},
    {BatchStatus::kCompleted, "completed_at"},    {BatchStatus::kFailed, "failed_at"},
    {BatchStatus::kExpired, "expired_at"},        {BatchStatus::kCancelling, "cancelling_at"},
    {BatchStatus::kCancelled, "cancelled_at"}};

void write_usage(JsonWriter& json, const BatchUsage& usage) {
  json.key("usage").begin_object();
  json.key("input_tokens").number(usage.input_tokens);
  json.key("input_tokens_details").begin_object();
  json.key("cached_tokens").number(usage.cached_tokens).end_object();
  json.key("output_tokens").number(usage.output_tokens);
  json.key("output_tokens_details").begin_object();
  json.key("reasoning_tokens").number(usage.reasoning_tokens).end_object();
  json.key("total_tokens").number(usage.input_tokens + usage.output_tokens).end_object();
}

i64 integer_in(const nlohmann::json& object, const char* name) {
  auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() && found->is_number_integer() ? found->get<i64>() : 0;
}

}  // namespace

std::string file_json(const StoredFile& file) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(file.id).key("object").string("file");
  json.key("bytes").number(file.bytes).key("created_at").number(file.created_s);
  if (file.expires_s > 0) json.key("expires_at").number(file.expires_s);
  json.key("filename").string(file.filename).key("purpose").string(file.purpose);
  json.key("status").string("processed").end_object();
  return out;
}

std::string deleted_file_json(std::string_view id) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(id).key("object").string("file");
  json.key("deleted").boolean(true).end_object();
  return out;
}

// Fields that have no value yet are left out: the document that describes them allows no null.
std::string batch_json(const Batch& batch) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(batch.id).key("object").string("batch");
  json.key("endpoint").string(batch.endpoint);
  if (!batch.model.empty()) json.key("model").string(batch.model);
  if (batch.errors != "null") json.key("errors").raw(batch.errors);
  json.key("input_file_id").string(batch.input_file);
  json.key("completion_window").string("24h").key("status").string(name(batch.status));
  if (!batch.output_file.empty()) json.key("output_file_id").string(batch.output_file);
  if (!batch.error_file.empty()) json.key("error_file_id").string(batch.error_file);
  json.key("created_at")
      .number(batch.entered_s[static_cast<std::size_t>(BatchStatus::kValidating)]);
  json.key("expires_at").number(batch.expires_s);
  for (const StatusTime& time : kTimes) {
    i64 at = batch.entered_s[static_cast<std::size_t>(time.status)];
    if (at > 0) json.key(time.name).number(at);
  }
  json.key("request_counts").begin_object().key("total").number(batch.total);
  json.key("completed").number(batch.completed).key("failed").number(batch.failed).end_object();
  write_usage(json, batch.usage);
  json.key("metadata").raw(batch.metadata).end_object();
  return out;
}

std::string list_json(const std::vector<std::string>& items, std::string_view first_id,
                      std::string_view last_id, bool has_more) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("list").key("data").begin_array();
  for (const std::string& item : items) json.raw(item);
  json.end_array().key("first_id").string(first_id).key("last_id").string(last_id);
  json.key("has_more").boolean(has_more).end_object();
  return out;
}

std::string problems_json(const std::vector<BatchProblem>& problems) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("list").key("data").begin_array();
  for (const BatchProblem& problem : problems) {
    json.begin_object().key("code").string(problem.code).key("message").string(problem.message);
    json.key("param");
    problem.param.empty() ? json.null() : json.string(problem.param);
    json.key("line");
    problem.line == 0 ? json.null() : json.number(problem.line);
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

std::string line_json(const BatchLine& line, const LineReply& reply) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(reply.id).key("custom_id").string(line.custom_id);
  json.key("response").begin_object().key("status_code").number(reply.status);
  json.key("request_id").string(reply.request_id).key("body").raw(reply.body).end_object();
  json.key("error").null().end_object();
  return out;
}

std::string skipped_line_json(const BatchLine& line, std::string_view id, std::string_view code,
                              std::string_view message) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("id").string(id).key("custom_id").string(line.custom_id);
  json.key("response").null().key("error").begin_object();
  json.key("code").string(code).key("message").string(message).end_object().end_object();
  return out;
}

BatchUsage usage_in(std::string_view body) {
  nlohmann::json reply = nlohmann::json::parse(body, nullptr, false);
  if (!reply.is_object() || !reply.contains("usage")) return {};
  const nlohmann::json& usage = reply["usage"];
  if (!usage.is_object()) return {};
  bool is_response = usage.contains("input_tokens");
  const char* input = is_response ? "input_tokens" : "prompt_tokens";
  const char* output = is_response ? "output_tokens" : "completion_tokens";
  nlohmann::json none = nlohmann::json::object();
  return {.input_tokens = integer_in(usage, input),
          .cached_tokens =
              integer_in(usage.value(std::string(input) + "_details", none), "cached_tokens"),
          .output_tokens = integer_in(usage, output),
          .reasoning_tokens =
              integer_in(usage.value(std::string(output) + "_details", none), "reasoning_tokens")};
}

}  // namespace tg::gateway
