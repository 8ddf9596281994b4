#include "gateway/chat_request.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/json_out.h"

namespace tg::gateway {
namespace {

namespace dom = simdjson::dom;
using Problem = std::optional<ApiError>;

// The value as it was written, short enough for an error message.
std::string shown(dom::element value) {
  constexpr std::size_t kShownMax = 60;
  std::string text = simdjson::to_string(value);
  if (text.size() > kShownMax) text = text.substr(0, kShownMax) + "...";
  return text;
}

ApiError wrong_type(std::string_view name, std::string_view wanted, dom::element value) {
  ApiError error = invalid_value(
      std::string(name), fmt::format("'{}' must be {}, not {}", name, wanted, shown(value)));
  error.code = "invalid_type";
  return error;
}

struct Range {
  f64 low;
  f64 high;
};

Problem read_real(std::string_view name, dom::element value, Range range, f32& out) {
  f64 number = 0;
  if (!value.is_number() || value.get(number) != simdjson::SUCCESS) {
    return wrong_type(name, "a number", value);
  }
  if (!(number >= range.low && number <= range.high)) {
    return invalid_value(std::string(name), fmt::format("'{}' must be between {} and {}, not {}",
                                                        name, range.low, range.high, shown(value)));
  }
  out = static_cast<f32>(number);
  return std::nullopt;
}

struct IntegerRange {
  i64 low;
  i64 high;
};

Problem read_integer(std::string_view name, dom::element value, IntegerRange range, i64& out) {
  if (value.get(out) != simdjson::SUCCESS) {
    f64 real = 0;
    bool is_whole = value.is_double() && value.get(real) == simdjson::SUCCESS &&
                    std::floor(real) == real && std::abs(real) < 0x1p53;
    if (!is_whole && !value.is_uint64()) return wrong_type(name, "an integer", value);
    out = is_whole ? static_cast<i64>(real) : INT64_MAX;
  }
  if (out < range.low || out > range.high) {
    return invalid_value(std::string(name), fmt::format("'{}' must be between {} and {}, not {}",
                                                        name, range.low, range.high, shown(value)));
  }
  return std::nullopt;
}

Problem read_bool(std::string_view name, dom::element value, bool& out) {
  if (value.get(out) != simdjson::SUCCESS) return wrong_type(name, "true or false", value);
  return std::nullopt;
}

Problem read_string(std::string_view name, dom::element value, std::string& out) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return wrong_type(name, "a string", value);
  out = text;
  return std::nullopt;
}

// ---- messages -----------------------------------------------------------------------------------

Problem read_part(const std::string& name, dom::element part, std::string& content) {
  std::string_view type;
  if (part["type"].get(type) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' must be an object with a 'type'", name));
  }
  if (type != "text") {
    return unsupported(name, fmt::format("'{}': content of type \"{}\" (image, audio, file input) "
                                         "is not supported by this model; only \"text\" is",
                                         name, type));
  }
  dom::element value;
  if (part["text"].get(value) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' has no 'text'", name));
  }
  std::string text;
  if (Problem problem = read_string(name + ".text", value, text)) return problem;
  // Parts are separate paragraphs of one message; templates take one string.
  if (!content.empty()) content.push_back('\n');
  content += text;
  return std::nullopt;
}

Problem read_content(const std::string& name, dom::element value, std::string& content) {
  dom::array parts;
  if (value.is_string()) return read_string(name, value, content);
  if (value.get(parts) != simdjson::SUCCESS) {
    return wrong_type(name, "a string or an array of parts", value);
  }
  i64 index = 0;
  for (dom::element part : parts) {
    std::string part_name = fmt::format("{}[{}]", name, index++);
    if (Problem problem = read_part(part_name, part, content)) return problem;
  }
  return std::nullopt;
}

Problem read_role(const std::string& name, dom::element message, std::string& role) {
  dom::element value;
  if (message["role"].get(value) != simdjson::SUCCESS) {
    return invalid_value(name, fmt::format("'{}' must be an object with a 'role'", name));
  }
  if (Problem problem = read_string(name + ".role", value, role)) return problem;
  // The newer word for the same thing; chat templates know only the older.
  if (role == "developer") role = "system";
  if (role == "system" || role == "user" || role == "assistant") return std::nullopt;
  if (role == "tool" || role == "function") {
    return unsupported(name + ".role", fmt::format("'{}.role' \"{}\": tool calling is not "
                                                   "supported by this server yet",
                                                   name, role));
  }
  return invalid_value(name + ".role",
                       fmt::format("'{}.role' must be system, developer, user or assistant, not {}",
                                   name, shown(value)));
}

bool is_absent(simdjson::simdjson_result<dom::element> field) {
  return field.error() != simdjson::SUCCESS || field.value_unsafe().is_null();
}

Problem read_message(i64 index, dom::element value, ChatMessage& message) {
  std::string name = fmt::format("messages[{}]", index);
  if (Problem problem = read_role(name, value, message.role)) return problem;
  if (!is_absent(value["tool_calls"]) || !is_absent(value["function_call"])) {
    return unsupported(name + ".tool_calls", fmt::format("'{}.tool_calls': tool calling is not "
                                                         "supported by this server yet",
                                                         name));
  }
  simdjson::simdjson_result<dom::element> content = value["content"];
  if (is_absent(content)) {
    if (message.role == "assistant") return std::nullopt;
    return invalid_value(name + ".content", fmt::format("'{}' has no 'content'", name));
  }
  return read_content(name + ".content", content.value_unsafe(), message.content);
}

Problem read_messages(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::array messages;
  if (value.get(messages) != simdjson::SUCCESS) return wrong_type(name, "an array", value);
  for (dom::element element : messages) {
    i64 index = static_cast<i64>(out.messages.size());
    if (index == kMessagesMax) {
      return invalid_value("messages", fmt::format("more than {} messages", kMessagesMax));
    }
    out.messages.emplace_back();
    if (Problem problem = read_message(index, element, out.messages.back())) return problem;
  }
  if (out.messages.empty()) return invalid_value("messages", "'messages' is empty");
  return std::nullopt;
}

// ---- prompt -------------------------------------------------------------------------------------

Problem read_ids(const std::string& name, dom::array ids, std::vector<TokenId>& out) {
  for (dom::element element : ids) {
    i64 id = 0;
    std::string item = fmt::format("{}[{}]", name, out.size());
    if (Problem problem = read_integer(item, element, {0, INT32_MAX}, id)) return problem;
    out.push_back(static_cast<TokenId>(id));
  }
  return std::nullopt;
}

Problem read_prompt_item(const std::string& name, dom::element value, CompletionRequest& out) {
  if (static_cast<i64>(out.prompts.size()) == kPromptsMax) {
    return invalid_value("prompt", fmt::format("'prompt' has more than {} prompts", kPromptsMax));
  }
  dom::array ids;
  if (value.get(ids) == simdjson::SUCCESS) {
    std::vector<TokenId> prompt;
    if (Problem problem = read_ids(name, ids, prompt)) return problem;
    out.prompts.emplace_back(std::move(prompt));
    return std::nullopt;
  }
  std::string text;
  if (!value.is_string()) return wrong_type(name, "a string or an array of token ids", value);
  if (Problem problem = read_string(name, value, text)) return problem;
  out.prompts.emplace_back(std::move(text));
  return std::nullopt;
}

Problem read_prompt(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string name(field);
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return read_prompt_item(name, value, out);
  if (items.size() == 0) return invalid_value(name, "'prompt' is empty");
  if (items.at(0).is_number()) return read_prompt_item(name, value, out);
  i64 index = 0;
  for (dom::element item : items) {
    std::string item_name = fmt::format("{}[{}]", name, index++);
    if (Problem problem = read_prompt_item(item_name, item, out)) return problem;
  }
  return std::nullopt;
}

// ---- sampling and the rest ----------------------------------------------------------------------

Problem read_max_tokens(std::string_view name, dom::element value, CompletionRequest& out) {
  i64 tokens = 0;
  if (Problem problem = read_integer(name, value, {1, kOutputTokensMax}, tokens)) return problem;
  // The newer field wins whatever their order.
  if (name == "max_completion_tokens" || !out.max_tokens) out.max_tokens = tokens;
  return std::nullopt;
}

Problem read_top_p(std::string_view name, dom::element value, CompletionRequest& out) {
  if (Problem problem = read_real(name, value, {0, 1}, out.sampling.top_p)) return problem;
  // 0 means "the most likely token only"; the sampler's range is open at 0.
  out.sampling.top_p = std::max(out.sampling.top_p, 1e-6f);
  return std::nullopt;
}

Problem read_top_k(std::string_view name, dom::element value, CompletionRequest& out) {
  i64 k = 0;
  if (Problem problem = read_integer(name, value, {-1, INT32_MAX}, k)) return problem;
  out.sampling.top_k = static_cast<i32>(std::max<i64>(k, 0));
  return std::nullopt;
}

Problem read_seed(std::string_view name, dom::element value, CompletionRequest& out) {
  i64 seed = 0;
  if (value.get(out.sampling.seed) != simdjson::SUCCESS) {
    if (Problem problem = read_integer(name, value, {INT64_MIN, INT64_MAX}, seed)) return problem;
    out.sampling.seed = static_cast<u64>(seed);
  }
  out.has_seed = true;
  return std::nullopt;
}

Problem add_stop(std::string_view name, dom::element value, CompletionRequest& out) {
  std::string stop;
  if (Problem problem = read_string(name, value, stop)) return problem;
  if (stop.empty()) return invalid_value("stop", "'stop' holds an empty string");
  if (static_cast<i64>(stop.size()) > kStopBytesMax) {
    return invalid_value("stop", fmt::format("'stop' holds a string of {} bytes; at most {}",
                                             stop.size(), kStopBytesMax));
  }
  if (static_cast<i64>(out.stop.size()) == kStopsMax) {
    return invalid_value("stop", fmt::format("'stop' has more than {} strings", kStopsMax));
  }
  out.stop.push_back(std::move(stop));
  return std::nullopt;
}

Problem read_stop(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::array stops;
  if (value.is_string()) return add_stop(name, value, out);
  if (value.get(stops) != simdjson::SUCCESS) {
    return wrong_type(name, "a string or an array of strings", value);
  }
  for (dom::element stop : stops) {
    if (Problem problem = add_stop("stop", stop, out)) return problem;
  }
  return std::nullopt;
}

Problem read_logit_bias(std::string_view name, dom::element value, CompletionRequest& out) {
  dom::object entries;
  if (value.get(entries) != simdjson::SUCCESS) return wrong_type(name, "an object", value);
  for (dom::key_value_pair entry : entries) {
    if (static_cast<i64>(out.sampling.logit_bias.size()) == kLogitBiasMax) {
      return invalid_value("logit_bias",
                           fmt::format("'logit_bias' has more than {} entries", kLogitBiasMax));
    }
    bool is_id = !entry.key.empty() && entry.key.size() <= 9 &&
                 std::all_of(entry.key.begin(), entry.key.end(),
                             [](char c) { return c >= '0' && c <= '9'; });
    std::string item = fmt::format("logit_bias.{}", entry.key.substr(0, 20));
    if (!is_id) return invalid_value("logit_bias", fmt::format("'{}' is not a token id", item));
    f32 bias = 0;
    if (Problem problem = read_real(item, entry.value, {-100, 100}, bias)) return problem;
    out.sampling.logit_bias.emplace_back(std::stoi(std::string(entry.key)), bias);
  }
  return std::nullopt;
}

// Chat: a switch; completions: the number of alternatives.
Problem read_logprobs(std::string_view name, dom::element value, CompletionRequest& out) {
  if (out.api == Api::kChat) {
    bool wanted = false;
    if (Problem problem = read_bool(name, value, wanted)) return problem;
    if (wanted) out.sampling.logprobs = std::max(out.sampling.logprobs, 0);
    return std::nullopt;
  }
  i64 count = 0;
  if (Problem problem = read_integer(name, value, {0, kTopLogprobsMax}, count)) return problem;
  out.sampling.logprobs = static_cast<i32>(count);
  return std::nullopt;
}

Problem read_top_logprobs(std::string_view name, dom::element value, CompletionRequest& out) {
  i64 count = 0;
  if (Problem problem = read_integer(name, value, {0, kTopLogprobsMax}, count)) return problem;
  out.sampling.logprobs = static_cast<i32>(count);
  return std::nullopt;
}

Problem read_stream_options(std::string_view name, dom::element value, CompletionRequest& out) {
  if (!value.is_object()) return wrong_type(name, "an object", value);
  simdjson::simdjson_result<dom::element> usage = value["include_usage"];
  if (is_absent(usage)) return std::nullopt;
  return read_bool("stream_options.include_usage", usage.value_unsafe(), out.include_usage);
}

Problem read_response_format(std::string_view name, dom::element value, CompletionRequest&) {
  std::string_view type;
  if (value["type"].get(type) != simdjson::SUCCESS) {
    return wrong_type(name, "an object with a 'type'", value);
  }
  if (type == "text") return std::nullopt;
  return unsupported("response_format",
                     fmt::format("'response_format' of type \"{}\" (structured output) is not "
                                 "supported by this server yet; only \"text\" is",
                                 type.substr(0, 40)));
}

// Refused unless it is empty or false: ignoring it would change what the reply means.
Problem refuse_if_set(std::string_view name, dom::element value, CompletionRequest&) {
  dom::array items;
  bool flag = false;
  if (value.get(items) == simdjson::SUCCESS && items.size() == 0) return std::nullopt;
  if (value.get(flag) == simdjson::SUCCESS && !flag) return std::nullopt;
  return unsupported(std::string(name),
                     fmt::format("'{}' is not supported by this server yet", name));
}

Problem read_best_of(std::string_view name, dom::element value, CompletionRequest&) {
  i64 count = 0;
  if (Problem problem = read_integer(name, value, {1, kChoicesMax}, count)) return problem;
  if (count == 1) return std::nullopt;
  return unsupported("best_of", "'best_of' above 1 is not supported by this server yet");
}

Problem read_modalities(std::string_view name, dom::element value, CompletionRequest&) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return wrong_type(name, "an array", value);
  for (dom::element item : items) {
    std::string_view modality;
    if (item.get(modality) == simdjson::SUCCESS && modality == "text") continue;
    return unsupported("modalities", fmt::format("'modalities': {} output is not supported by "
                                                 "this model; only \"text\" is",
                                                 shown(item)));
  }
  return std::nullopt;
}

// ---- the table of fields ------------------------------------------------------------------------

enum class For { kBoth, kChat, kCompletions };

struct Field {
  std::string_view name;
  For api;
  Problem (*read)(std::string_view name, dom::element value, CompletionRequest& out);
};

constexpr Field kFields[] = {
    {"model", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_string(name, v, out.model);
     }},
    {"messages", For::kChat, read_messages},
    {"prompt", For::kCompletions, read_prompt},
    {"max_tokens", For::kBoth, read_max_tokens},
    {"max_completion_tokens", For::kChat, read_max_tokens},
    {"temperature", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0, 2}, out.sampling.temperature);
     }},
    {"top_p", For::kBoth, read_top_p},
    {"top_k", For::kBoth, read_top_k},
    {"min_p", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0, 1}, out.sampling.min_p);
     }},
    {"repetition_penalty", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0.01, 2}, out.sampling.repetition_penalty);
     }},
    {"presence_penalty", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {-2, 2}, out.sampling.presence_penalty);
     }},
    {"frequency_penalty", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {-2, 2}, out.sampling.frequency_penalty);
     }},
    {"n", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_integer(name, v, {1, kChoicesMax}, out.n);
     }},
    {"seed", For::kBoth, read_seed},
    {"stop", For::kBoth, read_stop},
    {"logit_bias", For::kBoth, read_logit_bias},
    {"logprobs", For::kBoth, read_logprobs},
    {"top_logprobs", For::kChat, read_top_logprobs},
    {"stream", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_bool(name, v, out.is_stream);
     }},
    {"stream_options", For::kBoth, read_stream_options},
    {"ignore_eos", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_bool(name, v, out.ignore_eos);
     }},
    {"user", For::kBoth,
     [](std::string_view name, dom::element v, CompletionRequest&) {
       std::string unused;
       return read_string(name, v, unused);
     }},
    {"response_format", For::kBoth, read_response_format},
    {"modalities", For::kChat, read_modalities},
    {"best_of", For::kCompletions, read_best_of},
    {"tools", For::kChat, refuse_if_set},
    {"functions", For::kChat, refuse_if_set},
    {"audio", For::kChat, refuse_if_set},
    {"web_search_options", For::kChat, refuse_if_set},
    {"echo", For::kCompletions, refuse_if_set},
    {"suffix", For::kCompletions, refuse_if_set},
    {"structured_outputs", For::kBoth, refuse_if_set},
    {"guided_json", For::kBoth, refuse_if_set},
    {"guided_regex", For::kBoth, refuse_if_set},
    {"guided_choice", For::kBoth, refuse_if_set},
    {"guided_grammar", For::kBoth, refuse_if_set},
};

Problem read_field(dom::key_value_pair field, CompletionRequest& out) {
  if (field.value.is_null()) return std::nullopt;
  for (const Field& known : kFields) {
    if (known.name != field.key) continue;
    bool is_chat = out.api == Api::kChat;
    if (known.api == (is_chat ? For::kCompletions : For::kChat)) return std::nullopt;
    return known.read(known.name, field.value, out);
  }
  return std::nullopt;
}

ApiError missing(std::string name) {
  ApiError error = invalid_value(name, fmt::format("'{}' is required", name));
  error.code = "missing_required_parameter";
  return error;
}

// What depends on more than one field.
Problem check_together(dom::object object, const CompletionRequest& out) {
  if (out.model.empty()) return missing("model");
  if (out.api == Api::kChat && out.messages.empty()) return missing("messages");
  if (out.api == Api::kCompletions && out.prompts.empty()) return missing("prompt");
  if (!out.is_stream && !is_absent(object["stream_options"])) {
    return invalid_value("stream_options", "'stream_options' is only allowed with 'stream': true");
  }
  bool wanted = false;
  if (out.api == Api::kChat && !is_absent(object["top_logprobs"]) &&
      (object["logprobs"].get(wanted) != simdjson::SUCCESS || !wanted)) {
    return invalid_value("top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true");
  }
  return std::nullopt;
}

ApiError not_json(simdjson::error_code error) {
  ApiError problem = {
      .message = fmt::format("the body is not valid JSON: {}", simdjson::error_message(error))};
  problem.code = "invalid_json";
  return problem;
}

}  // namespace

ApiResult<CompletionRequest> parse_completion_request(Api api, std::string_view body) {
  dom::parser parser;
  dom::element root;
  if (simdjson::error_code error = parser.parse(body.data(), body.size()).get(root)) {
    return not_json(error);
  }
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return ApiError{.message = "the body must be a JSON object", .code = "invalid_json"};
  }
  CompletionRequest request;
  request.api = api;
  for (dom::key_value_pair field : object) {
    if (Problem problem = read_field(field, request)) return *std::move(problem);
  }
  if (Problem problem = check_together(object, request)) return *std::move(problem);
  return request;
}

}  // namespace tg::gateway
