// The JSON of replies: whole completions, stream chunks, usage. OpenAI's shapes; what is ours sits
// under "tokengrid".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/api_error.h"
#include "gateway/chat_request.h"
#include "gateway/choice.h"
#include "gateway/served_model.h"

namespace tg::gateway {

// What every chunk of a reply repeats.
struct ReplyHead {
  Api api = Api::kChat;
  std::string id;  // "chatcmpl-..." or "cmpl-..."
  i64 created = 0;
  std::string model;
  std::string fingerprint;     // Names the program that ran.
  bool include_usage = false;  // Streams: other chunks carry "usage": null.
  bool has_logprobs = false;
};

struct UsageReport {
  i64 prompt_tokens = 0;
  i64 completion_tokens = 0;
  i64 cached_tokens = 0;
  i64 nominal_nst = 0;
  std::vector<std::string> receipt_ids;  // One per choice.
};

// One choice's part of a chunk or reply.
struct ChoicePart {
  i64 index = 0;
  std::string_view text;
  const std::vector<TokenReport>* reports = nullptr;  // REQUIRES: not null if head.has_logprobs.
  i64 text_offset = 0;                                // Characters of this choice before `text`.
  std::string_view finish_reason;                     // "" = null.
};

// Server-sent events, "data: {...}\n\n" each.
void append_role_event(std::string& out, const ReplyHead& head, i64 index);
void append_delta_event(std::string& out, const ReplyHead& head, const ChoicePart& part);
void append_usage_event(std::string& out, const ReplyHead& head, const UsageReport& usage);
void append_error_event(std::string& out, const ApiError& error);
void append_done_event(std::string& out);

std::string completion_json(const ReplyHead& head, const std::vector<ChoicePart>& choices,
                            const UsageReport& usage);

std::string model_json(const ServedModel& model);
std::string models_json(const std::vector<ServedModel>& models);

// Characters (code points) in well-formed UTF-8.
i64 character_count(std::string_view text);

}  // namespace tg::gateway
