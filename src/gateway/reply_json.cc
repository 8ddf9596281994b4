#include "gateway/reply_json.h"

#include "base/json_out.h"
#include "unit/standard_token.h"

namespace tg::gateway {
namespace {

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

void write_completion_logprobs(JsonWriter& json, const ChoicePart& part) {
  json.begin_object().key("tokens").begin_array();
  for (const TokenReport& report : *part.reports) json.string(report.token);
  json.end_array().key("token_logprobs").begin_array();
  for (const TokenReport& report : *part.reports) json.real(report.logprob);
  json.end_array().key("top_logprobs").begin_array();
  for (const TokenReport& report : *part.reports) {
    json.begin_object();
    for (const auto& [token, logprob] : report.top) json.key(token).real(logprob);
    json.end_object();
  }
  json.end_array().key("text_offset").begin_array();
  i64 offset = part.text_offset;
  for (const TokenReport& report : *part.reports) {
    json.number(offset);
    offset += character_count(report.token);
  }
  json.end_array().end_object();
}

void write_logprobs(JsonWriter& json, const ReplyHead& head, const ChoicePart& part) {
  json.key("logprobs");
  if (!head.has_logprobs) {
    json.null();
  } else if (head.api == Api::kChat) {
    write_chat_logprobs(json, *part.reports);
  } else {
    write_completion_logprobs(json, part);
  }
}

void write_finish(JsonWriter& json, std::string_view reason) {
  json.key("finish_reason");
  if (reason.empty()) {
    json.null();
  } else {
    json.string(reason);
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
  json.key("reasoning_tokens").number(0).end_object();
  json.key("tokengrid").begin_object();
  json.key("nominal_st").string(unit::to_decimal(unit::NanoSt(usage.nominal_nst)));
  json.key("nominal_nst").number(usage.nominal_nst);
  json.key("receipt_id");
  if (usage.receipt_ids.empty()) {
    json.null();
  } else {
    json.string(usage.receipt_ids.front());
  }
  if (usage.receipt_ids.size() > 1) {
    json.key("receipt_ids").begin_array();
    for (const std::string& id : usage.receipt_ids) json.string(id);
    json.end_array();
  }
  json.end_object().end_object();
}

void write_whole_choice(JsonWriter& json, const ReplyHead& head, const ChoicePart& part) {
  json.begin_object().key("index").number(part.index);
  if (head.api == Api::kChat) {
    json.key("message").begin_object();
    json.key("role").string("assistant");
    json.key("content").string(part.text);
    json.key("refusal").null().end_object();
  } else {
    json.key("text").string(part.text);
  }
  write_logprobs(json, head, part);
  write_finish(json, part.finish_reason);
  json.end_object();
}

// Opens an event up to the choice's own fields; close_event ends it.
void open_event(std::string& out, JsonWriter& json, const ReplyHead& head, i64 index) {
  out += "data: ";
  json.begin_object();
  write_head(json, head, chunk_object(head.api));
  json.key("choices").begin_array().begin_object().key("index").number(index);
}

void close_event(std::string& out, JsonWriter& json, const ReplyHead& head) {
  json.end_object().end_array();
  if (head.include_usage) json.key("usage").null();
  json.end_object();
  out += "\n\n";
}

}  // namespace

void append_role_event(std::string& out, const ReplyHead& head, i64 index) {
  TG_ASSERT(head.api == Api::kChat);
  JsonWriter json(out);
  open_event(out, json, head, index);
  json.key("delta").begin_object();
  json.key("role").string("assistant").key("content").string("").key("refusal").null();
  json.end_object().key("logprobs").null();
  write_finish(json, "");
  close_event(out, json, head);
}

void append_delta_event(std::string& out, const ReplyHead& head, const ChoicePart& part) {
  JsonWriter json(out);
  open_event(out, json, head, part.index);
  if (head.api == Api::kChat) {
    json.key("delta").begin_object();
    if (!part.text.empty()) json.key("content").string(part.text);
    json.end_object();
  } else {
    json.key("text").string(part.text);
  }
  write_logprobs(json, head, part);
  write_finish(json, part.finish_reason);
  close_event(out, json, head);
}

void append_usage_event(std::string& out, const ReplyHead& head, const UsageReport& usage) {
  out += "data: ";
  JsonWriter json(out);
  json.begin_object();
  write_head(json, head, chunk_object(head.api));
  json.key("choices").begin_array().end_array();
  write_usage(json, usage);
  json.end_object();
  out += "\n\n";
}

void append_error_event(std::string& out, const ApiError& error) {
  out += "data: " + error_json(error) + "\n\n";
}

void append_done_event(std::string& out) {
  out += "data: [DONE]\n\n";
}

std::string completion_json(const ReplyHead& head, const std::vector<ChoicePart>& choices,
                            const UsageReport& usage) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  write_head(json, head, head.api == Api::kChat ? "chat.completion" : "text_completion");
  json.key("choices").begin_array();
  for (const ChoicePart& part : choices) write_whole_choice(json, head, part);
  json.end_array();
  write_usage(json, usage);
  json.end_object();
  return out;
}

static void write_model(JsonWriter& json, const ServedModel& model) {
  json.begin_object();
  json.key("id").string(model.id);
  json.key("object").string("model");
  json.key("created").number(model.created);
  json.key("owned_by").string("tokengrid");
  // vLLM's name for it; several clients size their prompts by it.
  json.key("max_model_len").number(model.context_max);
  json.key("tokengrid").begin_object().key("program").string(model.program).end_object();
  json.end_object();
}

std::string model_json(const ServedModel& model) {
  std::string out;
  JsonWriter json(out);
  write_model(json, model);
  return out;
}

std::string models_json(const std::vector<ServedModel>& models) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("list").key("data").begin_array();
  for (const ServedModel& model : models) write_model(json, model);
  json.end_array().end_object();
  return out;
}

i64 character_count(std::string_view text) {
  i64 count = 0;
  for (char c : text) count += (static_cast<u8>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

}  // namespace tg::gateway
