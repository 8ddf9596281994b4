// OpenAI's bodies of /v1/chat/completions and /v1/completions. Unknown fields are ignored; what
// would change the meaning of the reply and is not supported is refused by name.
#pragma once

#include "gateway/completion_request.h"
#include "gateway/json_fields.h"

namespace tg::gateway {

// REQUIRES: kChat or kCompletions.
ApiResult<CompletionRequest> parse_openai_request(Api api, std::string_view body);

// The fields that other APIs share with OpenAI's.
Problem read_stop(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_seed(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_max_tokens(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_temperature(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_top_p(std::string_view name, dom::element value, CompletionRequest& out);
Problem read_top_k(std::string_view name, dom::element value, CompletionRequest& out);
// Texts or arrays of token ids, one or several.
Problem read_prompts(std::string_view name, dom::element value, CompletionRequest& out);
// Refused unless it is empty or false: ignoring it would change what the reply means.
Problem refuse_if_set(std::string_view name, dom::element value, CompletionRequest& out);

// One entry of a table of fields, and the reading of an object by such a table: unknown fields and
// nulls are passed over.
struct Field {
  std::string_view name;
  Problem (*read)(std::string_view name, dom::element value, CompletionRequest& out);
};
template <typename Fields>
Problem read_fields(dom::object object, const Fields& fields, CompletionRequest& out) {
  for (dom::key_value_pair field : object) {
    if (field.value.is_null()) continue;
    for (const Field& known : fields) {
      if (known.name != field.key) continue;
      if (Problem problem = known.read(known.name, field.value, out)) return problem;
    }
  }
  return std::nullopt;
}

}  // namespace tg::gateway
