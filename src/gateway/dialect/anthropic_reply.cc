#include "base/json_out.h"
#include "gateway/dialect/anthropic.h"
#include "gateway/json_fields.h"

namespace tg::gateway {
namespace {

using Kind = ReplyPart::Kind;

std::string_view stop_reason(const Finish& finish) {
  switch (finish.reason) {
    case Finish::Reason::kStop: return "end_turn";
    case Finish::Reason::kStopString: return "stop_sequence";
    case Finish::Reason::kLength:
    case Finish::Reason::kBudget: return "max_tokens";
    case Finish::Reason::kToolCalls: return "tool_use";
  }
  return "end_turn";
}

void write_stop(JsonWriter& json, const Finish& finish) {
  json.key("stop_reason").string(stop_reason(finish));
  json.key("stop_sequence");
  if (finish.reason == Finish::Reason::kStopString) {
    json.string(finish.stop);
  } else {
    json.null();
  }
}

// Here cached tokens are not among the input's.
void write_usage(JsonWriter& json, const UsageReport& usage, bool with_ours) {
  json.key("usage").begin_object();
  json.key("input_tokens").number(usage.prompt_tokens - usage.cached_tokens);
  json.key("cache_creation_input_tokens").number(0);
  json.key("cache_read_input_tokens").number(usage.cached_tokens);
  json.key("output_tokens").number(usage.completion_tokens);
  if (with_ours) json.key("tokengrid").raw(tokengrid_json(usage));
  json.end_object();
}

// Opens a block without what its deltas add.
void write_block_start(JsonWriter& json, const ReplyPart& part, std::string_view call_id) {
  json.begin_object();
  switch (part.kind) {
    case Kind::kText: json.key("type").string("text").key("text").string(""); break;
    case Kind::kReasoning:
      json.key("type").string("thinking").key("thinking").string("");
      json.key("signature").string("");
      break;
    case Kind::kCall:
      json.key("type").string("tool_use").key("id").string(call_id);
      json.key("name").string(part.name).key("input").begin_object().end_object();
      break;
  }
  json.end_object();
}

void write_block(JsonWriter& json, const ReplyBlock& block) {
  json.begin_object();
  switch (block.kind) {
    case Kind::kText: json.key("type").string("text").key("text").string(block.text); break;
    case Kind::kReasoning:
      json.key("type").string("thinking").key("thinking").string(block.text);
      json.key("signature").string("");
      break;
    case Kind::kCall: {
      json.key("type").string("tool_use").key("id").string(block.id);
      json.key("name").string(block.name).key("input");
      // The API knows only objects; what a model left unfinished is shown as it is.
      std::string input = object_json(block.text);
      if (input.empty()) {
        json.begin_object().key("unparsed").string(block.text).end_object();
      } else {
        json.raw(input);
      }
      break;
    }
  }
  json.end_object();
}

class AnthropicWriter final : public ReplyWriter {
 public:
  explicit AnthropicWriter(ReplyHead head) : head_(std::move(head)) {}

  std::string_view stream_type() const override { return "text/event-stream; charset=utf-8"; }

  void begin(std::string& out) override {
    JsonWriter json = open(out, "message_start");
    json.key("message").begin_object();
    write_head(json);
    json.key("content").begin_array().end_array();
    json.key("stop_reason").null().key("stop_sequence").null();
    write_usage(json, {.prompt_tokens = head_.prompt_tokens}, false);
    json.end_object();
    close(out, json);
  }

  void part(std::string& out, const StreamPart& part) override {
    bool is_same = is_open_ && kind_ == part.part.kind && !part.part.is_new_call;
    if (!is_same) {
      end_block(out);
      begin_block(out, part);
    }
    if (part.part.text.empty()) return;
    JsonWriter json = open(out, "content_block_delta");
    json.key("index").number(index_).key("delta").begin_object();
    switch (kind_) {
      case Kind::kText: json.key("type").string("text_delta").key("text"); break;
      case Kind::kReasoning: json.key("type").string("thinking_delta").key("thinking"); break;
      case Kind::kCall: json.key("type").string("input_json_delta").key("partial_json"); break;
    }
    json.string(part.part.text).end_object();
    close(out, json);
  }

  void end_choice(std::string& out, i64, const Finish& finish, i64) override {
    end_block(out);
    finish_ = finish;
  }

  void end(std::string& out, const UsageReport& usage) override {
    JsonWriter json = open(out, "message_delta");
    json.key("delta").begin_object();
    write_stop(json, finish_);
    json.end_object();
    write_usage(json, usage, true);
    close(out, json);
    JsonWriter stop = open(out, "message_stop");
    close(out, stop);
  }

  void fail(std::string& out, const ApiError& error) override {
    out += "event: error\ndata: " + error_json(error, ErrorShape::kAnthropic) + "\n\n";
  }

  void ping(std::string& out) override {
    JsonWriter json = open(out, "ping");
    close(out, json);
  }

  std::string whole(const std::vector<WholeChoice>& choices, const UsageReport& usage) override {
    TG_ASSERT(choices.size() == 1);
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    write_head(json);
    json.key("content").begin_array();
    for (const ReplyBlock& block : *choices[0].blocks) write_block(json, block);
    json.end_array();
    write_stop(json, choices[0].finish);
    write_usage(json, usage, true);
    json.end_object();
    return out;
  }

 private:
  void write_head(JsonWriter& json) const {
    json.key("id").string(head_.id).key("type").string("message");
    json.key("role").string("assistant").key("model").string(head_.model);
  }

  static JsonWriter open(std::string& out, std::string_view type) {
    out.append("event: ").append(type).append("\ndata: ");
    JsonWriter json(out);
    json.begin_object().key("type").string(type);
    return json;
  }
  static void close(std::string& out, JsonWriter& json) {
    json.end_object();
    out += "\n\n";
  }

  void begin_block(std::string& out, const StreamPart& part) {
    is_open_ = true;
    kind_ = part.part.kind;
    JsonWriter json = open(out, "content_block_start");
    json.key("index").number(index_).key("content_block");
    write_block_start(json, part.part, part.call_id);
    close(out, json);
  }

  void end_block(std::string& out) {
    if (!is_open_) return;
    is_open_ = false;
    JsonWriter json = open(out, "content_block_stop");
    json.key("index").number(index_++);
    close(out, json);
  }

  ReplyHead head_;
  Finish finish_;
  i64 index_ = 0;
  bool is_open_ = false;
  Kind kind_ = Kind::kText;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_anthropic_writer(ReplyHead head) {
  return std::make_unique<AnthropicWriter>(std::move(head));
}

}  // namespace tg::gateway
