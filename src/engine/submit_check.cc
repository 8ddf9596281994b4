#include "engine/submit_check.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

namespace tg::engine {

namespace {

template <typename... Args>
Error invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error{Code::kInvalid, "engine: " + fmt::format(format, std::forward<Args>(args)...)};
}

Status check_ids(const char* field, std::span<const i32> ids, i64 vocabulary) {
  for (i32 id : ids) {
    if (id < 0 || id >= vocabulary) {
      return invalid("{} token {} is outside the vocabulary of {}", field, id, vocabulary);
    }
  }
  return {};
}

Status check_real(const char* field, f32 value, f32 least, f32 most) {
  // Written so that a NaN fails.
  if (value >= least && value <= most) return {};
  return invalid("{} {} is not in [{}, {}]", field, value, least, most);
}

Status check_lengths(const EngineRequest& request, const RequestBounds& bounds) {
  i64 prompt = static_cast<i64>(request.prompt.size());
  if (prompt == 0) return invalid("prompt is empty");
  if (request.max_tokens <= 0) return invalid("max_tokens {} is not positive", request.max_tokens);
  if (request.max_tokens > bounds.context_max || prompt + request.max_tokens > bounds.context_max) {
    return invalid("prompt of {} and max_tokens {} exceed the context of {}", prompt,
                   request.max_tokens, bounds.context_max);
  }
  if (request.funded_tokens < 0 || request.funded_tokens > request.max_tokens) {
    return invalid("funded_tokens {} is not in [0, {}]", request.funded_tokens, request.max_tokens);
  }
  if (request.deadline_ns < 0) return invalid("deadline_ns {} is negative", request.deadline_ns);
  if (prompt + request.max_tokens - 1 > bounds.pool_tokens) {
    return invalid("prompt of {} and max_tokens {} exceed the KV pool of {} tokens", prompt,
                   request.max_tokens, bounds.pool_tokens);
  }
  return {};
}

Status check_bias(const isa::SamplingParams& params, i64 vocabulary) {
  if (static_cast<i64>(params.logit_bias.size()) > kLogitBiasMax) {
    return invalid("{} logit_bias entries, at most {}", params.logit_bias.size(), kLogitBiasMax);
  }
  for (const std::pair<i32, f32>& bias : params.logit_bias) {
    TG_TRY(check_ids("logit_bias", {&bias.first, 1}, vocabulary));
    TG_TRY(check_real("logit_bias", bias.second, -1e6f, 1e6f));
  }
  return {};
}

Status check_sampling(const isa::SamplingParams& params, i64 vocabulary) {
  TG_TRY(check_real("temperature", params.temperature, 0.0f, 1e6f));
  TG_TRY(check_real("top_p", params.top_p, 0.0f, 1.0f));
  TG_TRY(check_real("min_p", params.min_p, 0.0f, 1.0f));
  TG_TRY(check_real("repetition_penalty", params.repetition_penalty, 1e-3f, 1e3f));
  TG_TRY(check_real("presence_penalty", params.presence_penalty, -1e3f, 1e3f));
  TG_TRY(check_real("frequency_penalty", params.frequency_penalty, -1e3f, 1e3f));
  if (params.top_k < 0) return invalid("top_k {} is negative", params.top_k);
  if (params.logprobs < -1 || params.logprobs > kLogprobsMax) {
    return invalid("logprobs {} is not in [-1, {}]", params.logprobs, kLogprobsMax);
  }
  return check_bias(params, vocabulary);
}

}  // namespace

Status check_request(const EngineRequest& request, const RequestBounds& bounds) {
  TG_TRY(check_lengths(request, bounds));
  TG_TRY(check_ids("prompt", request.prompt, bounds.vocabulary));
  if (static_cast<i64>(request.stop_tokens.size()) > kStopTokensMax) {
    return invalid("{} stop_tokens, at most {}", request.stop_tokens.size(), kStopTokensMax);
  }
  TG_TRY(check_ids("stop", request.stop_tokens, bounds.vocabulary));
  return check_sampling(request.sampling, bounds.vocabulary);
}

}  // namespace tg::engine
