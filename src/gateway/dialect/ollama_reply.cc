#include "base/json_out.h"
#include "env/clock.h"
#include "gateway/dialect/ollama.h"
#include "gateway/json_fields.h"

namespace tg::gateway {
namespace {

using Kind = ReplyPart::Kind;

constexpr i64 kNsPerSecond = 1'000'000'000;

std::string_view done_reason(const Finish& finish) {
  return is_cut(finish) ? "length" : "stop";
}

void write_call(JsonWriter& json, const ReplyBlock& call) {
  std::string arguments = object_json(call.text);
  json.begin_object().key("function").begin_object().key("name").string(call.name);
  json.key("arguments").raw(arguments.empty() ? "{}" : arguments);
  json.end_object().end_object();
}

void write_end(JsonWriter& json, const Finish& finish, const UsageReport& usage) {
  json.key("done_reason").string(done_reason(finish)).key("done").boolean(true);
  json.key("total_duration").number(usage.total_ns).key("load_duration").number(0);
  json.key("prompt_eval_count").number(usage.prompt_tokens);
  json.key("prompt_eval_duration").number(usage.first_token_ns);
  json.key("eval_count").number(usage.completion_tokens);
  json.key("eval_duration").number(usage.total_ns - usage.first_token_ns);
  json.key("tokengrid").raw(tokengrid_json(usage));
}

// One JSON object per line.
class OllamaWriter final : public ReplyWriter {
 public:
  explicit OllamaWriter(ReplyHead head) : head_(std::move(head)) {}

  std::string_view stream_type() const override { return "application/x-ndjson"; }
  void begin(std::string&) override {}

  // Calls are written whole: this API knows no pieces of arguments.
  void part(std::string& out, const StreamPart& part) override {
    bool ends_call = part.part.is_new_call || part.part.kind != Kind::kCall;
    if (ends_call) flush_call(out);
    if (part.part.kind == Kind::kCall) {
      add_part(call_, part.part, part.call_id);
      return;
    }
    std::vector<ReplyBlock> blocks;
    add_part(blocks, part.part, "");
    write_line(out, blocks);
  }

  void end_choice(std::string& out, i64, const Finish& finish, i64) override {
    flush_call(out);
    finish_ = finish;
  }

  void end(std::string& out, const UsageReport& usage) override {
    JsonWriter json(out);
    open(json);
    write_content(json, {});
    write_end(json, finish_, usage);
    json.end_object();
    out += "\n";
  }

  void fail(std::string& out, const ApiError& error) override {
    out += error_json(error, ErrorShape::kOllama) + "\n";
  }

  // An empty piece: clients append it and go on waiting.
  void ping(std::string& out) override { write_line(out, {}); }

  std::string whole(const std::vector<WholeChoice>& choices, const UsageReport& usage) override {
    TG_ASSERT(choices.size() == 1);
    std::string out;
    JsonWriter json(out);
    open(json);
    write_content(json, *choices[0].blocks);
    write_end(json, choices[0].finish, usage);
    json.end_object();
    return out;
  }

 private:
  bool is_chat() const { return head_.api == Api::kOllamaChat; }

  void open(JsonWriter& json) const {
    json.begin_object().key("model").string(head_.model);
    json.key("created_at").string(to_rfc3339(Timestamp{head_.created * kNsPerSecond}));
  }

  void write_content(JsonWriter& json, const std::vector<ReplyBlock>& blocks) const {
    std::string reasoning = joined(blocks, Kind::kReasoning);
    if (is_chat()) json.key("message").begin_object().key("role").string("assistant");
    json.key(is_chat() ? "content" : "response").string(joined(blocks, Kind::kText));
    if (!reasoning.empty()) json.key("thinking").string(reasoning);
    bool has_calls = false;
    for (const ReplyBlock& block : blocks) has_calls = has_calls || block.kind == Kind::kCall;
    if (has_calls) {
      json.key("tool_calls").begin_array();
      for (const ReplyBlock& block : blocks) {
        if (block.kind == Kind::kCall) write_call(json, block);
      }
      json.end_array();
    }
    if (is_chat()) json.end_object();
  }

  void write_line(std::string& out, const std::vector<ReplyBlock>& blocks) const {
    JsonWriter json(out);
    open(json);
    write_content(json, blocks);
    json.key("done").boolean(false).end_object();
    out += "\n";
  }

  void flush_call(std::string& out) {
    if (call_.empty()) return;
    write_line(out, call_);
    call_.clear();
  }

  ReplyHead head_;
  Finish finish_;
  std::vector<ReplyBlock> call_;  // The call that is being written, if any.
};

}  // namespace

std::unique_ptr<ReplyWriter> make_ollama_writer(ReplyHead head) {
  return std::make_unique<OllamaWriter>(std::move(head));
}

std::string ollama_tags_json(std::span<const ServedModel> models) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("models").begin_array();
  for (const ServedModel& model : models) {
    json.begin_object().key("name").string(model.id).key("model").string(model.id);
    json.key("modified_at").string(to_rfc3339(Timestamp{model.created * kNsPerSecond}));
    json.key("size").number(0).key("digest").string(model.program);
    json.key("details").begin_object().key("format").string("gguf").key("family").string("");
    json.key("families").null().key("parameter_size").string("");
    json.key("quantization_level").string("").end_object().end_object();
  }
  json.end_array().end_object();
  return out;
}

std::string ollama_version_json() {
  std::string out;
  JsonWriter(out).begin_object().key("version").string(TG_VERSION).end_object();
  return out;
}

}  // namespace tg::gateway
