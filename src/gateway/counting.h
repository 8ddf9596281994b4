// Questions about requests that run nothing and cost nothing: tokens of a prompt, text of tokens,
// what a request would cost. The same parsing and rendering as the real request, so that the answer
// is what would be billed.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "gateway/http.h"
#include "gateway/prompt.h"

namespace tg::gateway {

// Replies of a model that ended by themselves or at their limit, since the server started.
struct OutputHistory {
  i64 replies = 0;
  i64 tokens = 0;
};

struct CountingWorld {
  std::span<const ServedModel> models;
  std::span<const OutputHistory> history;  // Parallel to models.
  PrepareOptions options;
};

// True for the endpoints that answer_counting knows.
bool is_counting(Endpoint endpoint);

// The JSON that answers `body`. REQUIRES: is_counting(endpoint).
ApiResult<std::string> answer_counting(const CountingWorld& world, Endpoint endpoint,
                                       std::string_view body);

}  // namespace tg::gateway
