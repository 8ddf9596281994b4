#include "gateway/chat_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "gateway/format_fields.h"
#include "gateway/funds_terms.h"
#include "gateway/openai_messages.h"
#include "text/detokenizer.h"

namespace tg::gateway {

// ---- fields that other APIs share ---------------------------------------------------------------

static Problem add_stop(std::string_view name, dom::element value, CompletionRequest& out) {
  std::string stop;
  if (Problem problem = read_string(name, value, stop)) return problem;
  if (stop.empty()) return invalid_value("stop", "'stop' holds an empty string");
  if (static_cast<i64>(stop.size()) > kStopBytesMax) {
    return invalid_value("stop", fmt::format("'stop' holds a string of {} bytes; at most {}",
                                             stop.size(), kStopBytesMax));
  }
  bool is_openai = out.api == Api::kChat || out.api == Api::kCompletions;
  i64 stops_max = is_openai ? kStopsMax : StopMatcher::kStopsMax;
  if (static_cast<i64>(out.stop.size()) == stops_max) {
    return invalid_value("stop", fmt::format("'stop' has more than {} strings", stops_max));
  }
  out.stop.push_back(std::move(stop));
  return std::nullopt;
}

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

Problem refuse_if_set(std::string_view name, dom::element value, CompletionRequest&) {
  dom::array items;
  bool flag = false;
  if (value.get(items) == simdjson::SUCCESS && items.size() == 0) return std::nullopt;
  if (value.get(flag) == simdjson::SUCCESS && !flag) return std::nullopt;
  return unsupported(std::string(name),
                     fmt::format("'{}' is not supported by this server yet", name));
}

Problem read_temperature(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_real(name, value, {0, 2}, out.sampling.temperature);
}

namespace {

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
  i64 most = out.embedding ? kEmbeddingInputsMax : kPromptsMax;
  if (static_cast<i64>(out.prompts.size()) == most) {
    std::string field = name.substr(0, name.find('['));
    return invalid_value(field, fmt::format("'{}' has more than {} entries", field, most));
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

Problem read_best_of(std::string_view name, dom::element value, CompletionRequest& out) {
  return read_integer(name, value, {1, kChoicesMax}, out.best_of);
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

Problem read_template_variables(std::string_view name, dom::element value, CompletionRequest& out) {
  if (!value.is_object()) return wrong_type(name, "an object", value);
  out.template_variables = json_text(value);
  return std::nullopt;
}

// ---- the tables of fields -----------------------------------------------------------------------

constexpr Field kFields[] = {
    {"model", [](std::string_view name, dom::element v,
                 CompletionRequest& out) { return read_string(name, v, out.model); }},
    {"max_tokens", read_max_tokens},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"min_p",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0, 1}, out.sampling.min_p);
     }},
    {"repetition_penalty",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {0.01, 2}, out.sampling.repetition_penalty);
     }},
    {"presence_penalty",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {-2, 2}, out.sampling.presence_penalty);
     }},
    {"frequency_penalty",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_real(name, v, {-2, 2}, out.sampling.frequency_penalty);
     }},
    {"n",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_integer(name, v, {1, kChoicesMax}, out.n);
     }},
    {"seed", read_seed},
    {"stop", read_stop},
    {"logit_bias", read_logit_bias},
    {"logprobs", read_logprobs},
    {"stream", [](std::string_view name, dom::element v,
                  CompletionRequest& out) { return read_bool(name, v, out.is_stream); }},
    {"stream_options", read_stream_options},
    {"ignore_eos", [](std::string_view name, dom::element v,
                      CompletionRequest& out) { return read_bool(name, v, out.ignore_eos); }},
    {"user",
     [](std::string_view name, dom::element v, CompletionRequest&) {
       std::string unused;
       return read_string(name, v, unused);
     }},
    {"response_format", read_format_object},
    {"structured_outputs", read_structured_outputs},
    {"guided_json", read_guided},
    {"guided_regex", read_guided},
    {"guided_choice", read_guided},
    {"guided_grammar", read_guided},
    {"tokengrid", [](std::string_view name, dom::element v,
                     CompletionRequest& out) { return read_funds_object(name, v, out.funds); }},
};

constexpr Field kChatFields[] = {
    {"messages", read_messages},
    {"max_completion_tokens", read_max_tokens},
    {"top_logprobs", read_top_logprobs},
    {"modalities", read_modalities},
    {"tools", read_tools},
    {"tool_choice", read_tool_choice},
    {"parallel_tool_calls",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_bool(name, v, out.parallel_tool_calls);
     }},
    {"reasoning_effort",
     [](std::string_view name, dom::element v, CompletionRequest& out) {
       return read_string(name, v, out.reasoning_effort);
     }},
    {"chat_template_kwargs", read_template_variables},
    {"functions", refuse_if_set},
    {"audio", refuse_if_set},
    {"web_search_options", refuse_if_set},
};

constexpr Field kCompletionFields[] = {
    {"prompt", read_prompts},
    {"best_of", read_best_of},
    {"echo", [](std::string_view name, dom::element v,
                CompletionRequest& out) { return read_bool(name, v, out.echo); }},
    {"suffix", refuse_if_set},
};

// What depends on more than one field.
Problem check_together(dom::object object, const CompletionRequest& out) {
  if (out.model.empty()) return missing_field("model");
  if (out.api == Api::kChat && out.messages.empty()) return missing_field("messages");
  if (out.api == Api::kCompletions && out.prompts.empty()) return missing_field("prompt");
  if (Problem problem = check_tool_choice(out)) return problem;
  if (out.echo && out.sampling.logprobs >= 0) {
    return unsupported("echo",
                       "'echo' together with 'logprobs' (log probabilities of the prompt) "
                       "is not supported by this server yet");
  }
  if (out.best_of > 0 && out.best_of < out.n) {
    return invalid_value(
        "best_of", fmt::format("'best_of' is {}, less than 'n', which is {}", out.best_of, out.n));
  }
  if (out.is_stream && out.best_of > out.n) {
    return invalid_value("best_of",
                         "'best_of' above 'n' cannot be streamed: which are best is known at the "
                         "end");
  }
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

}  // namespace

Problem read_prompts(std::string_view field, dom::element value, CompletionRequest& out) {
  std::string name(field);
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return read_prompt_item(name, value, out);
  if (items.size() == 0) return invalid_value(name, fmt::format("'{}' is empty", name));
  if (items.at(0).is_number()) return read_prompt_item(name, value, out);
  i64 index = 0;
  for (dom::element item : items) {
    std::string item_name = fmt::format("{}[{}]", name, index++);
    if (Problem problem = read_prompt_item(item_name, item, out)) return problem;
  }
  return std::nullopt;
}

ApiResult<CompletionRequest> parse_openai_request(Api api, std::string_view body) {
  ReusedParser parser;
  dom::object object;
  if (Problem problem = parse_object(*parser, body, object)) return *std::move(problem);
  CompletionRequest request;
  request.api = api;
  Problem problem = api == Api::kChat ? read_fields(object, kChatFields, request)
                                      : read_fields(object, kCompletionFields, request);
  if (!problem) problem = read_fields(object, kFields, request);
  if (!problem) problem = check_together(object, request);
  if (problem) return *std::move(problem);
  return request;
}

}  // namespace tg::gateway
