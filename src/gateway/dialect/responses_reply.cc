#include "base/json_out.h"
#include "gateway/dialect/responses.h"

namespace tg::gateway {
namespace {

using Kind = ReplyPart::Kind;

// ---- objects ------------------------------------------------------------------------------------

std::string_view item_prefix(Kind kind) {
  switch (kind) {
    case Kind::kText: return "msg_";
    case Kind::kReasoning: return "rs_";
    case Kind::kCall: return "fc_";
  }
  return "";
}

void write_content_part(JsonWriter& json, Kind kind, std::string_view text) {
  bool is_text = kind == Kind::kText;
  json.begin_object().key("type").string(is_text ? "output_text" : "reasoning_text");
  json.key("text").string(text);
  if (is_text) {
    json.key("annotations").begin_array().end_array();
    json.key("logprobs").begin_array().end_array();
  }
  json.end_object();
}

// `is_open`: as it stands when it is added, without content.
void write_item(JsonWriter& json, std::string_view id, const ReplyBlock& block, bool is_open) {
  std::string_view status = is_open ? "in_progress" : "completed";
  json.begin_object().key("id").string(id);
  switch (block.kind) {
    case Kind::kText:
      json.key("type").string("message").key("status").string(status);
      json.key("role").string("assistant");
      break;
    case Kind::kReasoning:
      json.key("type").string("reasoning").key("status").string(status);
      json.key("summary").begin_array().end_array();
      break;
    case Kind::kCall:
      json.key("type").string("function_call").key("status").string(status);
      json.key("call_id").string(block.id).key("name").string(block.name);
      json.key("arguments").string(is_open ? std::string_view() : block.text).end_object();
      return;
  }
  json.key("content").begin_array();
  if (!is_open) write_content_part(json, block.kind, block.text);
  json.end_array().end_object();
}

void write_usage(JsonWriter& json, const UsageReport& usage) {
  json.begin_object().key("input_tokens").number(usage.prompt_tokens);
  json.key("input_tokens_details").begin_object();
  json.key("cached_tokens").number(usage.cached_tokens);
  json.key("cache_write_tokens").number(0).end_object();
  json.key("output_tokens").number(usage.completion_tokens);
  json.key("output_tokens_details").begin_object();
  json.key("reasoning_tokens").number(usage.reasoning_tokens).end_object();
  json.key("total_tokens").number(usage.prompt_tokens + usage.completion_tokens);
  json.key("tokengrid").raw(tokengrid_json(usage)).end_object();
}

void write_text_or_null(JsonWriter& json, std::string_view text) {
  if (text.empty()) {
    json.null();
  } else {
    json.string(text);
  }
}

class ResponsesWriter final : public ReplyWriter {
 public:
  ResponsesWriter(const CompletionRequest& request, ReplyHead head)
      : head_(std::move(head)),
        fields_(*request.responses),
        max_tokens_(request.max_tokens),
        temperature_(request.sampling.temperature),
        top_p_(request.sampling.top_p),
        parallel_tool_calls_(request.parallel_tool_calls) {}

  std::string_view stream_type() const override { return "text/event-stream; charset=utf-8"; }

  void begin(std::string& out) override {
    for (std::string_view type : {"response.created", "response.in_progress"}) {
      JsonWriter json = open(out, type);
      json.key("response").raw(response_json("in_progress", nullptr, nullptr));
      close(out, json);
    }
  }

  void part(std::string& out, const StreamPart& part) override {
    bool is_same = is_open_ && blocks_.back().kind == part.part.kind && !part.part.is_new_call;
    if (!is_same) {
      end_item(out);
      begin_item(out, part);
    }
    if (part.part.text.empty()) return;
    blocks_.back().text += part.part.text;
    JsonWriter json = open(out, delta_type(part.part.kind));
    write_place(json, part.part.kind);
    json.key("delta").string(part.part.text);
    if (part.part.kind == Kind::kText) json.key("logprobs").begin_array().end_array();
    close(out, json);
  }

  void end_choice(std::string& out, i64, const Finish& finish, i64) override {
    end_item(out);
    finish_ = finish;
  }

  void end(std::string& out, const UsageReport& usage) override {
    bool is_cut = tg::gateway::is_cut(finish_);
    JsonWriter json = open(out, is_cut ? "response.incomplete" : "response.completed");
    final_ = response_json(status_of(finish_), &usage, nullptr);
    json.key("response").raw(final_);
    close(out, json);
  }

  void fail(std::string& out, const ApiError& error) override {
    JsonWriter json = open(out, "response.failed");
    json.key("response").raw(response_json("failed", nullptr, &error));
    close(out, json);
  }

  void ping(std::string& out) override { out += ": ping\n\n"; }

  std::string whole(const std::vector<WholeChoice>& choices, const UsageReport& usage) override {
    TG_ASSERT(choices.size() == 1);
    blocks_ = *choices[0].blocks;
    finish_ = choices[0].finish;
    final_ = response_json(status_of(finish_), &usage, nullptr);
    return final_;
  }

  std::string final_json() const override { return final_; }
  std::vector<ReplyBlock> final_blocks() const override { return blocks_; }

 private:
  static std::string_view status_of(const Finish& finish) {
    return is_cut(finish) ? "incomplete" : "completed";
  }
  static std::string_view delta_type(Kind kind) {
    switch (kind) {
      case Kind::kText: return "response.output_text.delta";
      case Kind::kReasoning: return "response.reasoning_text.delta";
      case Kind::kCall: return "response.function_call_arguments.delta";
    }
    return "";
  }

  std::string item_id(std::size_t index) const {
    std::string digits = head_.id.substr(head_.id.find('_') + 1);
    return std::string(item_prefix(blocks_[index].kind)) + digits + std::to_string(index);
  }

  JsonWriter open(std::string& out, std::string_view type) {
    out.append("event: ").append(type).append("\ndata: ");
    JsonWriter json(out);
    json.begin_object().key("type").string(type).key("sequence_number").number(sequence_++);
    return json;
  }
  static void close(std::string& out, JsonWriter& json) {
    json.end_object();
    out += "\n\n";
  }

  void write_place(JsonWriter& json, Kind kind) const {
    std::size_t index = blocks_.size() - 1;
    json.key("item_id").string(item_id(index));
    json.key("output_index").number(static_cast<i64>(index));
    if (kind != Kind::kCall) json.key("content_index").number(0);
  }

  void write_item_event(std::string& out, std::string_view type, bool is_open) {
    std::size_t index = blocks_.size() - 1;
    JsonWriter json = open(out, type);
    json.key("output_index").number(static_cast<i64>(index)).key("item");
    write_item(json, item_id(index), blocks_.back(), is_open);
    close(out, json);
  }

  void begin_item(std::string& out, const StreamPart& part) {
    is_open_ = true;
    blocks_.push_back({.kind = part.part.kind,
                       .text = "",
                       .name = part.part.name,
                       .id = std::string(part.call_id)});
    write_item_event(out, "response.output_item.added", true);
    write_part_event(out, "response.content_part.added", "");
  }

  // Text and reasoning are parts of their items' content; a call has none.
  void write_part_event(std::string& out, std::string_view type, std::string_view text) {
    Kind kind = blocks_.back().kind;
    if (kind == Kind::kCall) return;
    JsonWriter json = open(out, type);
    write_place(json, kind);
    json.key("part");
    write_content_part(json, kind, text);
    close(out, json);
  }

  void end_item(std::string& out) {
    if (!is_open_) return;
    is_open_ = false;
    const ReplyBlock& block = blocks_.back();
    write_done(out, block);
    write_part_event(out, "response.content_part.done", block.text);
    write_item_event(out, "response.output_item.done", false);
  }

  void write_done(std::string& out, const ReplyBlock& block) {
    switch (block.kind) {
      case Kind::kText: {
        JsonWriter json = open(out, "response.output_text.done");
        write_place(json, block.kind);
        json.key("text").string(block.text).key("logprobs").begin_array().end_array();
        close(out, json);
        return;
      }
      case Kind::kReasoning: {
        JsonWriter json = open(out, "response.reasoning_text.done");
        write_place(json, block.kind);
        json.key("text").string(block.text);
        close(out, json);
        return;
      }
      case Kind::kCall: {
        JsonWriter json = open(out, "response.function_call_arguments.done");
        write_place(json, block.kind);
        json.key("name").string(block.name).key("arguments").string(block.text);
        close(out, json);
        return;
      }
    }
  }

  std::string response_json(std::string_view status, const UsageReport* usage,
                            const ApiError* error) const {
    std::string out;
    JsonWriter json(out);
    json.begin_object().key("id").string(head_.id).key("object").string("response");
    json.key("created_at").number(head_.created).key("status").string(status);
    json.key("background").boolean(false);
    write_outcome(json, status, error);
    json.key("instructions");
    write_text_or_null(json, fields_.instructions);
    json.key("max_output_tokens");
    if (max_tokens_) {
      json.number(*max_tokens_);
    } else {
      json.null();
    }
    json.key("model").string(head_.model).key("output").begin_array();
    for (std::size_t i = 0; i < blocks_.size() && usage != nullptr; ++i) {
      write_item(json, item_id(i), blocks_[i], false);
    }
    json.end_array();
    write_settings(json);
    // Absent until it is known: the document allows no null.
    if (usage != nullptr) {
      json.key("usage");
      write_usage(json, *usage);
    }
    json.end_object();
    return out;
  }

  static void write_outcome(JsonWriter& json, std::string_view status, const ApiError* error) {
    json.key("error");
    if (error != nullptr) {
      json.begin_object().key("code").string("server_error");
      json.key("message").string(error->message).end_object();
    } else {
      json.null();
    }
    json.key("incomplete_details");
    if (status == "incomplete") {
      json.begin_object().key("reason").string("max_output_tokens").end_object();
    } else {
      json.null();
    }
  }

  // What the object repeats of the request.
  void write_settings(JsonWriter& json) const {
    json.key("parallel_tool_calls").boolean(parallel_tool_calls_);
    json.key("previous_response_id");
    write_text_or_null(json, fields_.previous_id);
    json.key("reasoning").begin_object().key("effort").raw(fields_.effort);
    json.key("summary").null().end_object();
    json.key("store").boolean(fields_.is_stored);
    json.key("temperature").real(static_cast<f64>(temperature_));
    json.key("text").begin_object().key("format").raw(fields_.format).end_object();
    json.key("tool_choice").raw(fields_.tool_choice).key("tools").raw(fields_.tools);
    json.key("top_p").real(static_cast<f64>(top_p_));
    json.key("truncation").string("disabled").key("metadata").raw(fields_.metadata);
  }

  ReplyHead head_;
  ResponsesFields fields_;
  std::optional<i64> max_tokens_;
  f32 temperature_;
  f32 top_p_;
  bool parallel_tool_calls_;

  std::vector<ReplyBlock> blocks_;  // The output so far; the last one may be open.
  bool is_open_ = false;
  Finish finish_;
  i64 sequence_ = 0;
  std::string final_;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_responses_writer(const CompletionRequest& request,
                                                   ReplyHead head) {
  return std::make_unique<ResponsesWriter>(request, std::move(head));
}

Message message_of(const std::vector<ReplyBlock>& blocks) {
  Message message{.role = "assistant", .content = joined(blocks, Kind::kText)};
  message.reasoning = joined(blocks, Kind::kReasoning);
  for (const ReplyBlock& block : blocks) {
    if (block.kind != Kind::kCall) continue;
    message.calls.push_back({.id = block.id, .name = block.name, .arguments = block.text});
  }
  return message;
}

std::string deleted_json(std::string_view id) {
  std::string out;
  JsonWriter(out).begin_object().key("id").string(id).key("object").string("response");
  out += R"(,"deleted":true})";
  return out;
}

std::string cancelled_json(std::string_view id) {
  std::string out;
  JsonWriter(out).begin_object().key("id").string(id).key("object").string("response");
  out += R"(,"status":"cancelled","output":[]})";
  return out;
}

}  // namespace tg::gateway
