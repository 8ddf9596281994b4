// Questions about requests that run nothing and cost nothing: tokens of a prompt, text of tokens,
// what a request would cost. The same parsing and rendering as the real request, so that the answer
// is what would be billed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/billing.h"
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
  // Of who asks, for where an estimated request would go: the salt of its account's prefixes and
  // its headers (route_wishes.h).
  u64 cache_salt = 0;
  std::vector<std::pair<std::string, std::string>> extensions = {};
};

// What an estimate is of, for a quote: the first prompt, one choice.
struct EstimateShape {
  std::string model;
  i64 prompt_tokens = 0;
  i64 output_tokens_max = 0;
  i64 output_tokens_expected = 0;  // output_tokens_max if there is no history.
  bool is_embedding = false;
};
// Of a body that answer_counting has answered for kEstimate.
ApiResult<EstimateShape> estimate_shape(const CountingWorld& world, std::string_view body);
// The estimate with what billing says of it put in as its last field, "quote".
std::string with_quote(std::string estimate, const QuoteReply& quote);

// True for the endpoints that answer_counting knows.
bool is_counting(Endpoint endpoint);

// The JSON that answers `body`. REQUIRES: is_counting(endpoint).
ApiResult<std::string> answer_counting(const CountingWorld& world, Endpoint endpoint,
                                       std::string_view body);

}  // namespace tg::gateway
