// Anthropic's Messages API: /v1/messages and its token count.
#pragma once

#include <memory>

#include "gateway/completion_request.h"
#include "gateway/reply.h"

namespace tg::gateway {

// A request to count tokens needs no max_tokens.
ApiResult<CompletionRequest> parse_anthropic_request(std::string_view body, bool is_count);

std::unique_ptr<ReplyWriter> make_anthropic_writer(ReplyHead head);

}  // namespace tg::gateway
