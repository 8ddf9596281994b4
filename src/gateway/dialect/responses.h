// OpenAI's Responses API: items in, items and typed events out.
#pragma once

#include <memory>

#include "gateway/batch/batch_book.h"
#include "gateway/completion_request.h"
#include "gateway/reply.h"

namespace tg::gateway {

ApiResult<CompletionRequest> parse_responses_request(std::string_view body);

std::unique_ptr<ReplyWriter> make_responses_writer(const CompletionRequest& request,
                                                   ReplyHead head);

// A reply's blocks as the message that a later request continues from.
Message message_of(const std::vector<ReplyBlock>& blocks);

// A page of a response's input `items`, a JSON array as the client sent it; what lacks an id gets
// one.
std::string input_items_json(std::string_view items, std::string_view response_id,
                             const ListQuery& query);
std::string deleted_json(std::string_view id);
// What a client sees of a response that it has cancelled.
std::string cancelled_json(std::string_view id);

}  // namespace tg::gateway
