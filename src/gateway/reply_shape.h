// From what a client asked for to the shape of the reply (grammar/reply_shape.h): the format of its
// text, and tools whose calls must follow their schemas, in the way that the model writes calls and
// reasoning.
#pragma once

#include <memory>

#include "gateway/completion_request.h"
#include "gateway/served_model.h"
#include "grammar/reply_shape.h"
#include "text/reply_parser.h"

namespace tg::gateway {

// None if anything may be said. 400 for what the model's way of writing calls cannot be held to.
// `reply`, `prefix`: as rendering the chat made them.
ApiResult<std::shared_ptr<const grammar::ReplyShape>> shape_of(const ServedModel& model,
                                                               const CompletionRequest& request,
                                                               const ReplyParser::Options& reply,
                                                               const std::string& prefix);

// Compiles it, if the model's grammars are here: 400 names the field, the keyword and its place.
std::optional<ApiError> check_shape(const ServedModel& model, const CompletionRequest& request,
                                    const grammar::ReplyShape& shape);

}  // namespace tg::gateway
