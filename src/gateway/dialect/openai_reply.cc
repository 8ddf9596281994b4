#include "gateway/dialect/openai_reply.h"

#include <fmt/format.h>

#include "base/json_out.h"
#include "gateway/reply_json.h"

namespace tg::gateway {
namespace {

using Kind = ReplyPart::Kind;

void write_head(JsonWriter& json, const ReplyHead& head, std::string_view object) {
  json.key("id").string(head.id);
  json.key("object").string(object);
  json.key("created").number(head.created);
  json.key("model").string(head.model);
  json.key("system_fingerprint").string(head.fingerprint);
}

std::string_view chunk_object(Api api) {
  return api == Api::kChat ? "chat.completion.chunk" : "text_completion";
}

// A token's text and bytes: the text may be part of a character, the bytes are exact.
void write_token(JsonWriter& json, std::string_view token, f32 logprob) {
  json.key("token").string(token);
  json.key("logprob").real(logprob);
  json.key("bytes").begin_array();
  for (char c : token) json.number(static_cast<u8>(c));
  json.end_array();
}

void write_chat_logprobs(JsonWriter& json, const std::vector<TokenReport>& reports) {
  json.begin_object().key("content").begin_array();
  for (const TokenReport& report : reports) {
    json.begin_object();
    write_token(json, report.token, report.logprob);
    json.key("top_logprobs").begin_array();
    for (const auto& [token, logprob] : report.top) {
      json.begin_object();
      write_token(json, token, logprob);
      json.end_object();
    }
    json.end_array().end_object();
  }
  json.end_array().key("refusal").null().end_object();
}

void write_completion_logprobs(JsonWriter& json, const std::vector<TokenReport>& reports,
                               i64 offset) {
  json.begin_object().key("tokens").begin_array();
  for (const TokenReport& report : reports) json.string(report.token);
  json.end_array().key("token_logprobs").begin_array();
  for (const TokenReport& report : reports) json.real(report.logprob);
  json.end_array().key("top_logprobs").begin_array();
  for (const TokenReport& report : reports) {
    json.begin_object();
    for (const auto& [token, logprob] : report.top) json.key(token).real(logprob);
    json.end_object();
  }
  json.end_array().key("text_offset").begin_array();
  for (const TokenReport& report : reports) {
    json.number(offset);
    offset += character_count(report.token);
  }
  json.end_array().end_object();
}

void write_finish(JsonWriter& json, const Finish* finish) {
  json.key("finish_reason");
  if (finish == nullptr) {
    json.null();
  } else {
    json.string(finish_reason(*finish));
    // OpenAI's values have no word for it: beside theirs, as vLLM says which string stopped it.
    if (finish->reason == Finish::Reason::kBudget) json.key("stop_reason").string("budget");
  }
}

void write_usage(JsonWriter& json, const UsageReport& usage) {
  json.key("usage").begin_object();
  json.key("prompt_tokens").number(usage.prompt_tokens);
  json.key("completion_tokens").number(usage.completion_tokens);
  json.key("total_tokens").number(usage.prompt_tokens + usage.completion_tokens);
  json.key("prompt_tokens_details").begin_object();
  json.key("cached_tokens").number(usage.cached_tokens).end_object();
  json.key("completion_tokens_details").begin_object();
  json.key("reasoning_tokens").number(usage.reasoning_tokens).end_object();
  json.key("tokengrid").raw(tokengrid_json(usage));
  json.end_object();
}

void write_calls(JsonWriter& json, const std::vector<ReplyBlock>& blocks) {
  json.key("tool_calls").begin_array();
  for (const ReplyBlock& block : blocks) {
    if (block.kind != Kind::kCall) continue;
    json.begin_object().key("id").string(block.id).key("type").string("function");
    json.key("function").begin_object().key("name").string(block.name);
    json.key("arguments").string(block.text).end_object().end_object();
  }
  json.end_array();
}

void write_message(JsonWriter& json, const std::vector<ReplyBlock>& blocks) {
  bool has_calls = false;
  bool has_reasoning = false;
  bool has_text = false;
  for (const ReplyBlock& block : blocks) {
    has_calls = has_calls || block.kind == Kind::kCall;
    has_reasoning = has_reasoning || block.kind == Kind::kReasoning;
    has_text = has_text || block.kind == Kind::kText;
  }
  json.key("message").begin_object();
  json.key("role").string("assistant").key("content");
  if (has_calls && !has_text) {
    json.null();
  } else {
    json.string(joined(blocks, Kind::kText));
  }
  json.key("refusal").null();
  if (has_reasoning) json.key("reasoning_content").string(joined(blocks, Kind::kReasoning));
  if (has_calls) write_calls(json, blocks);
  json.end_object();
}

class OpenAiWriter final : public ReplyWriter {
 public:
  explicit OpenAiWriter(ReplyHead head) : head_(std::move(head)) {}

  std::string_view stream_type() const override { return "text/event-stream; charset=utf-8"; }
  void begin(std::string&) override {}

  void part(std::string& out, const StreamPart& part) override {
    if (is_chat()) write_role(out, part.index);
    JsonWriter json(out);
    open_event(out, part.index);
    if (is_chat()) {
      json.key("delta").begin_object();
      write_delta(json, part);
      json.end_object();
    } else {
      json.key("text").string(part.part.text);
    }
    write_logprobs(json, part.reports, part.text_offset);
    write_finish(json, nullptr);
    close_event(out, json);
  }

  void end_choice(std::string& out, i64 index, const Finish& finish, i64 text_offset) override {
    if (is_chat()) write_role(out, index);
    JsonWriter json(out);
    open_event(out, index);
    if (is_chat()) {
      json.key("delta").begin_object().end_object();
    } else {
      json.key("text").string("");
    }
    const std::vector<TokenReport> none;
    write_logprobs(json, &none, text_offset);
    write_finish(json, &finish);
    close_event(out, json);
  }

  void end(std::string& out, const UsageReport& usage) override {
    if (head_.include_usage) {
      out += "data: ";
      JsonWriter json(out);
      json.begin_object();
      write_head(json, head_, chunk_object(head_.api));
      json.key("choices").begin_array().end_array();
      write_usage(json, usage);
      json.end_object();
      out += "\n\n";
    }
    out += "data: [DONE]\n\n";
  }

  void fail(std::string& out, const ApiError& error) override {
    out += "data: " + error_json(error) + "\n\n";
  }

  void ping(std::string& out) override { out += ": ping\n\n"; }

  std::string whole(const std::vector<WholeChoice>& choices, const UsageReport& usage) override {
    std::string out;
    std::size_t bytes = 1'024;  // Of all but the text.
    for (const WholeChoice& choice : choices) {
      for (const ReplyBlock& block : *choice.blocks) bytes += 128 + block.text.size();
    }
    out.reserve(bytes);
    JsonWriter json(out);
    json.begin_object();
    write_head(json, head_, is_chat() ? "chat.completion" : "text_completion");
    json.key("choices").begin_array();
    for (const WholeChoice& choice : choices) {
      json.begin_object().key("index").number(choice.index);
      if (is_chat()) {
        write_message(json, *choice.blocks);
      } else {
        json.key("text").string(joined(*choice.blocks, Kind::kText));
      }
      write_logprobs(json, choice.reports, 0);
      write_finish(json, &choice.finish);
      json.end_object();
    }
    json.end_array();
    write_usage(json, usage);
    json.end_object();
    return out;
  }

 private:
  bool is_chat() const { return head_.api == Api::kChat; }

  // Opens an event up to the choice's own fields; close_event ends it. All events begin alike, up
  // to the choice's number.
  void open_event(std::string& out, i64 index) {
    if (event_head_.empty()) {
      event_head_ = "data: ";
      JsonWriter json(event_head_);
      json.begin_object();
      write_head(json, head_, chunk_object(head_.api));
      json.key("choices").begin_array().begin_object().key("index");
    }
    out += event_head_;
    out += fmt::format_int(index).c_str();
    out += ',';
  }

  void close_event(std::string& out, JsonWriter& json) const {
    json.end_object().end_array();
    if (head_.include_usage) json.key("usage").null();
    json.end_object();
    out += "\n\n";
  }

  // A choice's first event says who speaks.
  void write_role(std::string& out, i64 index) {
    std::size_t at = static_cast<std::size_t>(index);
    if (at >= is_opened_.size()) is_opened_.resize(at + 1, false);
    if (is_opened_[at]) return;
    is_opened_[at] = true;
    JsonWriter json(out);
    open_event(out, index);
    json.key("delta").begin_object();
    json.key("role").string("assistant").key("content").string("").key("refusal").null();
    json.end_object().key("logprobs").null();
    write_finish(json, nullptr);
    close_event(out, json);
  }

  static void write_delta(JsonWriter& json, const StreamPart& part) {
    switch (part.part.kind) {
      case Kind::kText: json.key("content").string(part.part.text); return;
      case Kind::kReasoning: json.key("reasoning_content").string(part.part.text); return;
      case Kind::kCall: break;
    }
    json.key("tool_calls").begin_array().begin_object();
    json.key("index").number(part.call_index);
    if (part.part.is_new_call) {
      json.key("id").string(part.call_id).key("type").string("function");
    }
    json.key("function").begin_object();
    if (part.part.is_new_call) json.key("name").string(part.part.name);
    json.key("arguments").string(part.part.text);
    json.end_object().end_object().end_array();
  }

  void write_logprobs(JsonWriter& json, const std::vector<TokenReport>* reports,
                      i64 text_offset) const {
    json.key("logprobs");
    if (!head_.has_logprobs) {
      json.null();
    } else if (is_chat()) {
      write_chat_logprobs(json, *reports);
    } else {
      write_completion_logprobs(json, *reports, text_offset);
    }
  }

  ReplyHead head_;
  std::string event_head_;
  std::vector<bool> is_opened_;  // By choice: its role event is written.
};

}  // namespace

std::unique_ptr<ReplyWriter> make_openai_writer(ReplyHead head) {
  return std::make_unique<OpenAiWriter>(std::move(head));
}

}  // namespace tg::gateway
